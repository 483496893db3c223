//! A commit into a bootable deployment, in two steps between which the caller may write to it.
//!
//! ```text
//! stage:    checkout (unlisted) ─ /var at first      finalize: record, kernel, link ─ sync ─ entry ─ sync
//!                                 caller: merge /etc                                     └ the machine boots it
//! ```
//!
//! Up to the rename of the entry nothing leads to what was written, and a second attempt begins anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use ostree_ext::gio::Cancellable;
use ostree_ext::ostree;
use rustix::fs::{AtFlags, IFlags};
use serde::{Deserialize, Serialize};

use crate::boot_entry::BootEntry;
use crate::commit::Checksum;
use crate::deploy::{DeployOptions, Deployment, deployment_path};
use crate::error::{Error, Result, io, ostree as failed};
use crate::loader::{Loader, make_dir, names};
use crate::owners::OwnedArguments;
use crate::record::{self, Record};
use crate::sysroot::{Lock, Sysroot, stateroot_path};
use crate::walk::open_dir;
use crate::{checkout, kargs_d, kernel, var};

/// The right to write to a sysroot: whoever has it holds the lock that all of ostree's writers take.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) sysroot: &'a Sysroot,
    _lock: Lock<'a>,
}

/// A deployment that nothing leads to yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staged {
    /// Its stateroot.
    pub stateroot: String,
    /// Its root, below the sysroot.
    pub path: PathBuf,
    /// What of its kernel and initramfs ostree takes for a name.
    pub boot_checksum: String,
    /// Its kernel arguments. A caller may change them before it is finalized.
    pub kernel_arguments: OwnedArguments,
}

impl Sysroot {
    /// Take the lock.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it.
    pub fn writer(&self) -> Result<Writer<'_>> {
        Ok(Writer {
            sysroot: self,
            _lock: self.lock()?,
        })
    }

    /// Take the lock as soon as it is free.
    pub fn writer_when_free(&self) -> Result<Writer<'_>> {
        Ok(Writer {
            sysroot: self,
            _lock: self.wait_for_lock()?,
        })
    }

    /// The root of a staged deployment.
    pub fn staged_root(&self, staged: &Staged) -> Result<Dir> {
        open_dir(self.dir(), &staged.path)
    }
}

impl Writer<'_> {
    /// Check out a commit beside the deployments that are there. `/etc` is a copy of the commit's
    /// `/usr/etc`, and the root can be written to: what the machine changed is the caller's to merge.
    ///
    /// The stateroot's `/var` is filled from the image if nobody has put anything into it. Kernel
    /// arguments are the image's and, as the machine's, those of the options.
    ///
    /// # Errors
    /// Nothing is left of what was begun.
    pub fn stage(&self, options: &DeployOptions) -> Result<Staged> {
        let mut arguments = options.kernel_arguments.iter();
        if let Some(reserved) = arguments.find(|a| a.has_key("ostree")) {
            return Err(Error::ReservedKernelArgument {
                argument: reserved.to_string(),
            });
        }
        let origin = options.origin.to_key_file()?;
        self.sysroot.require_stateroot(&options.stateroot)?;
        let sysroot = self.sysroot.loaded()?;
        let first = sysroot.merge_deployment(Some(&options.stateroot)).is_none();
        let staged = self.check_out(sysroot, &origin, options, first);
        staged.inspect_err(|_| {
            // What was made is garbage, being in no list; the first error is the one to report.
            let _ = self.collect();
        })
    }

    fn check_out(
        &self,
        sysroot: &ostree::Sysroot,
        origin: &ostree_ext::glib::KeyFile,
        options: &DeployOptions,
        first: bool,
    ) -> Result<Staged> {
        let (repo, commit) = (self.sysroot.repo(), options.commit.as_str());
        let linked = match checkout::is_for_libostree(repo, commit)? {
            true => None,
            false => self.link(origin, options)?,
        };
        let (path, known) = match linked {
            Some(path) => (path, None),
            None => {
                let new = sysroot
                    .deploy_tree(
                        Some(&options.stateroot),
                        commit,
                        Some(origin),
                        None,
                        &[],
                        Cancellable::NONE,
                    )
                    .map_err(failed("deploy tree"))?;
                (deployment_path(sysroot, &new), Some(new.bootcsum().into()))
            }
        };
        let root = open_dir(self.sysroot.dir(), &path)?;
        let boot_checksum = match known {
            Some(known) => known,
            None => kernel::checksum(&root, &self.kernels()?)?,
        };
        let fragments = kargs_d::read(&root, &options.kargs_d)?;
        let mut kernel_arguments = OwnedArguments::of_image(kargs_d::kernel_arguments(&fragments));
        kernel_arguments.machine = options.kernel_arguments.clone();
        if first {
            let var = self.sysroot.var(&options.stateroot)?;
            var::seed(repo, &options.commit, &root, &var)?;
        }
        // libostree seals it; exchanging its /etc for a merged one is a change of the root.
        seal(&root, &path, false)?;
        Ok(Staged {
            stateroot: options.stateroot.clone(),
            boot_checksum,
            path,
            kernel_arguments,
        })
    }

    /// The root of a new deployment of a commit, and its origin beside it; none where libostree has to make
    /// it.
    fn link(
        &self,
        origin: &ostree_ext::glib::KeyFile,
        options: &DeployOptions,
    ) -> Result<Option<PathBuf>> {
        let folder = PathBuf::from(stateroot_path(&options.stateroot)).join("deploy");
        make_dir(self.sysroot.dir(), &folder)?;
        let dir = open_dir(self.sysroot.dir(), &folder)?;
        let commit = options.commit.as_str();
        let serials = names(&dir, &folder)?.into_iter().filter_map(|name| {
            let name = name.into_string().ok()?;
            let rest = name.strip_prefix(commit)?.strip_prefix('.')?;
            rest.split('.').next()?.parse::<u32>().ok()
        });
        let serial = serials.max().map_or(0, |last| last + 1);
        let name = format!("{commit}.{serial}");
        let objects = open_dir(self.sysroot.dir(), "ostree/repo")?;
        if !checkout::check_out(self.sysroot.repo(), &objects, commit, &dir, &name)? {
            return Ok(None);
        }
        let shown = folder.join(format!("{name}.origin"));
        let text = origin.to_data();
        let mut file = self
            .sysroot
            .dir()
            .create(&shown)
            .map_err(io("create", &shown))?;
        file.write_all(text.as_bytes())
            .map_err(io("write", &shown))?;
        Ok(Some(folder.join(name)))
    }

    /// The roots of the deployments that there are, each with what ostree calls its kernel.
    fn kernels(&self) -> Result<Vec<(Dir, String)>> {
        let mut found = Vec::new();
        for deployment in self.sysroot.deployments()? {
            // One that is damaged is not this one's concern.
            let record = self.sysroot.record(&deployment).ok().flatten();
            let root = self.sysroot.deployment_root(&deployment).ok();
            found.extend(root.zip(record.and_then(|record| record.boot_checksum)));
        }
        Ok(found)
    }

    /// Let a staged deployment be written to again, which [`finalize`](Self::finalize) may have sealed
    /// before it was interrupted.
    ///
    /// # Errors
    /// When it is gone, or its flags cannot be changed.
    pub fn reopen(&self, staged: &Staged) -> Result<()> {
        let root = self.sysroot.staged_root(staged)?;
        seal(&root, &staged.path, false)
    }

    /// Make a staged deployment the one that the machine boots next.
    ///
    /// # Errors
    /// [`Error::AfterCommit`] if the entry is there and what follows failed: the machine boots it, unless
    /// the power fails before its file system is written. Any other error: the machine boots what it
    /// booted before, and a second call may succeed.
    pub fn finalize(&self, staged: &Staged, record: &Record) -> Result<Deployment> {
        let (dir, durable) = (self.sysroot.dir(), self.sysroot.durable());
        let root = self.sysroot.staged_root(staged)?;
        let mut record = record.clone();
        record.kernel_arguments = staged.kernel_arguments.clone();
        record.boot_checksum = Some(staged.boot_checksum.clone());
        record::write(dir, &staged.path, &record)?;
        seal(&root, &staged.path, true)?;
        let loader = Loader::open(dir, durable)?;
        let entry = BootEntry {
            title: Some(title(&root, &staged.path)?),
            options: staged.kernel_arguments.line(),
            ..BootEntry::default()
        };
        let (stateroot, checksum) = (&*staged.stateroot, &*staged.boot_checksum);
        let name = loader.free_name(stateroot, checksum, &staged.path)?;
        let kernel = kernel::install(dir, &root, stateroot, &name, durable)?;
        let mut entry = BootEntry {
            linux: Some(kernel.linux),
            initrd: kernel.initrd.into_iter().collect(),
            ..entry
        };
        let link = loader.link(stateroot, &name, &staged.path)?;
        entry.options.append(format!("ostree={link}").parse()?);
        loader.append(entry, &staged.stateroot)?;
        self.committed(&loader)?;
        let found = self.sysroot.deployments()?;
        let made = found.into_iter().find(|d| d.path == staged.path);
        made.ok_or_else(|| Error::Ostree {
            operation: "deploy tree",
            message: format!("{} is not listed afterwards", staged.path.display()),
        })
    }

    /// Make a deployment that is there the one that the machine boots next; nothing, if it is.
    ///
    /// # Errors
    /// As those of [`Writer::finalize`].
    pub fn set_default(&self, deployment: &Deployment) -> Result<()> {
        let loader = Loader::open(self.sysroot.dir(), self.sysroot.durable())?;
        let entries = loader.entries()?;
        let own = deployment.boot_entry.as_ref();
        let Some(own) = own.filter(|own| entries.contains(own)) else {
            return Err(Error::Invalid {
                what: "deployment",
                value: deployment.path.display().to_string(),
                reason: "has no boot loader entry".into(),
            });
        };
        if entries.first() == Some(own) {
            return Ok(());
        }
        let mut entry = own.clone();
        if !loader.is_alone(own)? {
            self.rename_kernel(&loader, &mut entry, &deployment.path)?;
        }
        loader.append(entry, &deployment.stateroot)?;
        self.committed(&loader)?;
        let after = |error| Error::AfterCommit(Box::new(error));
        // The entry that it had; until now it was the only one.
        loader.remove(std::slice::from_ref(own)).map_err(after)
    }

    /// Gives a kernel that ostree has numbered, in an order that is no longer that of the entries, a name
    /// and a link that are its deployment's alone. All else in the entry stays.
    fn rename_kernel(
        &self,
        loader: &Loader<'_>,
        entry: &mut BootEntry,
        deployment: &Path,
    ) -> Result<()> {
        let (dir, durable) = (self.sysroot.dir(), self.sysroot.durable());
        let Some((stateroot, checksum, _)) = entry.link() else {
            return Ok(());
        };
        let (stateroot, checksum) = (stateroot.to_owned(), checksum.to_owned());
        let name = loader.free_name(&stateroot, &checksum, deployment)?;
        let [old, new] = [&checksum, &name].map(|name| format!("{stateroot}-{name}"));
        kernel::rename(dir, &old, &new, durable)?;
        let link = loader.link(&stateroot, &name, deployment)?;
        entry.options.delete_key("ostree");
        entry.options.append(format!("ostree={link}").parse()?);
        let paths = entry.linux.iter_mut().chain(&mut entry.initrd);
        for path in paths.chain(entry.other.iter_mut().map(|(_, value)| value)) {
            *path = path.replace(&format!("/{old}/"), &format!("/{new}/"));
        }
        Ok(())
    }

    /// What follows the rename.
    fn committed(&self, loader: &Loader<'_>) -> Result<()> {
        let done = loader.commit().and_then(|()| self.sysroot.touch());
        done.map_err(|error| Error::AfterCommit(Box::new(error)))
    }

    /// Keep a deployment until it is unpinned, or no longer.
    pub fn set_pinned(&self, deployment: &Deployment, pinned: bool) -> Result<()> {
        let found = self.sysroot.find(deployment)?;
        let sysroot = self.sysroot.loaded()?;
        sysroot
            .deployment_set_pinned(&found, pinned)
            .map_err(failed("pin deployment"))
    }
}

impl Sysroot {
    /// Tell those who watch a sysroot that its deployments are others now, as ostree does.
    pub(crate) fn touch(&self) -> Result<()> {
        const PATH: &str = "ostree/deploy";
        let was = rustix::fs::statat(self.dir(), PATH, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io("stat", PATH))?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        // They compare it with the one they saw, and the kernel's own is of its last tick.
        let later = match was.st_mtime_nsec {
            999_999_999.. => (was.st_mtime + 1, 0),
            nanoseconds => (was.st_mtime, nanoseconds as i64 + 1),
        };
        let (tv_sec, tv_nsec) = later.max((now.tv_sec, now.tv_nsec));
        let now = rustix::fs::Timespec { tv_sec, tv_nsec };
        let times = rustix::fs::Timestamps {
            last_access: now,
            last_modification: now,
        };
        rustix::fs::utimensat(self.dir(), PATH, &times, AtFlags::empty())
            .map_err(io("set time of", PATH))
    }

    /// The root of the deployment that an entry boots, below the sysroot: `ostree=/ostree/boot.N/…` is a
    /// chain of links.
    pub(crate) fn target(&self, entry: &BootEntry) -> Option<PathBuf> {
        let path = entry.ostree()?.trim_start_matches('/');
        self.dir().canonicalize(path).ok()
    }
}

/// Set or clear the immutable flag of a deployment's root, where the file system has one and this process
/// may, as libostree does.
pub(crate) fn seal(root: &Dir, path: &Path, sealed: bool) -> Result<()> {
    use rustix::io::Errno;
    let flags = match rustix::fs::ioctl_getflags(root) {
        Ok(flags) => flags,
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(()),
        Err(e) => return Err(io("read flags of", path)(e)),
    };
    if flags.contains(IFlags::IMMUTABLE) == sealed {
        return Ok(());
    }
    let mut flags = flags;
    flags.set(IFlags::IMMUTABLE, sealed);
    match rustix::fs::ioctl_setflags(root, flags) {
        Err(Errno::PERM) if sealed => Ok(()),
        done => done.map_err(io("set flags of", path)),
    }
}

/// For people who choose in a boot menu: the system, and which deployment of it.
fn title(root: &Dir, path: &Path) -> Result<String> {
    let name = pretty_name(root)?;
    let name = name.as_deref().unwrap_or("Linux");
    let deployment = path.file_name().unwrap_or_default().to_string_lossy();
    let (checksum, serial) = deployment.split_once('.').unwrap_or((&deployment, "0"));
    let short = checksum.get(..10).unwrap_or(checksum);
    Ok(format!("{name} (ostree:{short}.{serial})"))
}

/// `PRETTY_NAME` of os-release(5).
fn pretty_name(root: &Dir) -> Result<Option<String>> {
    const PATH: &str = "usr/lib/os-release";
    let text = match root.read_to_string(PATH) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io("read", PATH))?,
    };
    let mut values = text.lines().filter_map(|l| l.strip_prefix("PRETTY_NAME="));
    let value = values.next_back().map(|v| v.trim_matches(['"', '\'']));
    Ok(value.filter(|v| !v.is_empty()).map(str::to_owned))
}

/// Checked where it is used: a checksum is the first part of a deployment's name.
impl Staged {
    /// The commit.
    pub fn checksum(&self) -> Result<Checksum> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.split('.').next().unwrap_or_default().parse()
    }
}
