//! A physical root: `/ostree/repo`, `/ostree/deploy` and `/boot`.

use std::os::fd::{AsFd, AsRawFd};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use ostree_ext::{gio, gio::Cancellable, ostree};

use crate::boot_entry::{self, BootEntry};
use crate::deploy::{Deployment, deployment_path};
use crate::error::{Error, Result, io, ostree as failed};
use crate::loader::{Durable, read_entries};
use crate::walk::open_dir;

/// An ostree sysroot.
///
/// Not `Send`: libostree's object is for one thread.
#[derive(Debug)]
pub struct Sysroot {
    // libostree reaches a directory as /proc/self/fd/N, so these must stay open as long as it does.
    dir: Dir,
    root: Option<Dir>,
    running: Option<Dir>,
    sysroot: ostree::Sysroot,
    repo: ostree::Repo,
    durable: Durable,
}

/// Holds the lock that all of ostree's writers take.
#[derive(Debug)]
pub(crate) struct Lock<'a>(&'a ostree::Sysroot);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

impl Sysroot {
    /// Make an empty sysroot in a directory, as `ostree admin init-fs --modern` does: a `bare` repository,
    /// `/ostree/deploy` and `/boot`. Deploying makes `/boot/loader`. One that is there already is opened.
    pub fn init(dir: &Dir) -> Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        for path in ["boot", "ostree/deploy"] {
            dir.create_dir_with(path, &builder)
                .map_err(io("create directory", path))?;
        }
        let (dir, sysroot) = handle(dir)?;
        sysroot
            .ensure_initialized(Cancellable::NONE)
            .map_err(failed("make sysroot"))?;
        let opened = Self::load(dir, sysroot)?;
        opened.configure()?;
        Ok(opened)
    }

    /// As bootc has it: entries by the Boot Loader Specification alone, with paths that hold where /boot
    /// is no file system of its own. Ours are so anyway; this is for the machine's own ostree.
    fn configure(&self) -> Result<()> {
        let config = self.repo.copy_config();
        let values = [("bootloader", "none"), ("bootprefix", "true")];
        let is = |key, value| {
            config
                .string("sysroot", key)
                .is_ok_and(|found| found == value)
        };
        if values.iter().all(|&(key, value)| is(key, value)) {
            return Ok(());
        }
        for (key, value) in values {
            config.set_string("sysroot", key, value);
        }
        self.repo
            .write_config(&config)
            .map_err(failed("configure repository"))
    }

    /// Open a sysroot that exists.
    pub fn open(dir: &Dir) -> Result<Self> {
        let (dir, sysroot) = handle(dir)?;
        Self::load(dir, sysroot)
    }

    /// Open the sysroot of the machine that runs this, to write to it: `dir` is its `/sysroot`, `root` its
    /// `/`, by which libostree knows that it is this machine's.
    ///
    /// Both are read-only for all others, and so is `/boot`; who takes the lock makes them writable for
    /// itself. So this process must be in a mount namespace of its own, and have been when it opened them.
    pub fn open_booted(dir: &Dir, root: &Dir) -> Result<Self> {
        let (root, sysroot) = handle(root)?;
        sysroot.set_mount_namespace_in_use();
        let dir = dir.try_clone().map_err(io("open directory", "."))?;
        let mut opened = Self::load(dir, sysroot)?;
        opened.root = Some(root);
        Ok(opened)
    }

    fn load(dir: Dir, sysroot: ostree::Sysroot) -> Result<Self> {
        sysroot
            .load(Cancellable::NONE)
            .map_err(failed("open sysroot"))?;
        let repo = sysroot.repo();
        Ok(Self {
            dir,
            root: None,
            running: None,
            sysroot,
            repo,
            durable: Durable(true),
        })
    }

    /// Never wait for the disk: right for a sysroot that lives only until it is
    /// made into a disk image, wrong for one that a machine boots from.
    pub fn without_fsync(self) -> Self {
        self.repo.set_disable_fsync(true);
        Self {
            durable: Durable(false),
            ..self
        }
    }

    /// Make a stateroot: a group of deployments that share `/var`. Its `/var` is empty until the first
    /// deployment fills it from the image.
    pub fn init_stateroot(&self, name: &str) -> Result<()> {
        check_stateroot(name)?;
        let _lock = self.lock()?;
        let path = stateroot_path(name);
        // libostree 2022.7's own `init_osname` puts five entries into /var, which later versions leave to
        // the image.
        let mut builder = DirBuilder::new();
        builder.mode(0o755);
        for path in [path.clone(), format!("{path}/var")] {
            self.dir
                .create_dir_with(&path, &builder)
                .map_err(io("create directory", &path))?;
        }
        Ok(())
    }

    /// Names of the stateroots, in order.
    pub fn stateroots(&self) -> Result<Vec<String>> {
        const PATH: &str = "ostree/deploy";
        let mut names = Vec::new();
        for entry in open_dir(&self.dir, PATH)?
            .entries()
            .map_err(io("read directory", PATH))?
        {
            let name = entry.map_err(io("read directory", PATH))?.file_name();
            names.extend(name.into_string());
        }
        names.sort();
        Ok(names)
    }

    /// The stateroot's `/var`, which all of its deployments share.
    pub fn var(&self, stateroot: &str) -> Result<Dir> {
        self.require_stateroot(stateroot)?;
        open_dir(&self.dir, format!("{}/var", stateroot_path(stateroot)))
    }

    /// The root of a deployment. libostree marks this one directory immutable (`chattr +i`) on filesystems
    /// that can; the directories in it, `etc` among them, are not. See [`Sysroot::set_mutable`].
    pub fn deployment_root(&self, deployment: &Deployment) -> Result<Dir> {
        open_dir(&self.dir, &deployment.path)
    }

    /// A deployment's `/etc`: a copy of its `/usr/etc`, for others to write to before it is booted.
    pub fn deployment_etc(&self, deployment: &Deployment) -> Result<Dir> {
        open_dir(&self.dir, deployment.path.join("etc"))
    }

    /// Set or clear the immutable flag of a deployment's root; needed to create or remove entries of the
    /// root itself, and to delete the sysroot.
    pub fn set_mutable(&self, deployment: &Deployment, mutable: bool) -> Result<()> {
        let found = self.find(deployment)?;
        self.sysroot
            .deployment_set_mutable(&found, mutable, Cancellable::NONE)
            .map_err(failed("set the immutable flag"))
    }

    /// libostree's own object of a deployment.
    pub(crate) fn find(&self, deployment: &Deployment) -> Result<ostree::Deployment> {
        let sysroot = self.loaded()?;
        let mut all = sysroot.deployments().into_iter();
        let found = all.find(|found| deployment_path(sysroot, found) == deployment.path);
        found.ok_or_else(|| Error::Invalid {
            what: "deployment",
            value: deployment.path.display().to_string(),
            reason: "is not in this sysroot".into(),
        })
    }

    /// All boot loader entries, the default one first.
    pub fn boot_entries(&self) -> Result<Vec<BootEntry>> {
        const DIR: &str = boot_entry::DIRECTORY;
        // /boot/loader is a symbolic link, ostree's own switch between two versions of the entries.
        let entries = match self.dir.open_dir(DIR) {
            Ok(dir) => dir,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io("open directory", DIR)(e)),
        };
        read_entries(&entries)
    }

    /// Tell what `/` is: the deployment that this process runs in is never removed.
    ///
    /// # Errors
    /// When the directory cannot be opened a second time.
    pub fn with_running_root(mut self, root: &Dir) -> Result<Self> {
        self.running = Some(root.try_clone().map_err(io("open directory", "/"))?);
        Ok(self)
    }

    /// Whether this process runs in that deployment.
    pub(crate) fn is_running(&self, deployment: &Dir) -> Result<bool> {
        let Some(root) = self.running.as_ref().or(self.root.as_ref()) else {
            return Ok(false);
        };
        let identity = |dir: &Dir| {
            let found = rustix::fs::fstat(dir).map_err(io("stat", "/"))?;
            Ok::<_, Error>((found.st_dev, found.st_ino))
        };
        Ok(identity(root)? == identity(deployment)?)
    }

    pub(crate) fn durable(&self) -> Durable {
        self.durable
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn repo(&self) -> &ostree::Repo {
        &self.repo
    }

    /// libostree's object, with the deployments as they are on disk now.
    pub(crate) fn loaded(&self) -> Result<&ostree::Sysroot> {
        self.sysroot
            .load_if_changed(Cancellable::NONE)
            .map_err(failed("read deployments"))?;
        Ok(&self.sysroot)
    }

    pub(crate) fn lock(&self) -> Result<Lock<'_>> {
        match self.sysroot.try_lock().map_err(failed("lock sysroot"))? {
            true => Ok(Lock(&self.sysroot)),
            false => Err(Error::Locked),
        }
    }

    pub(crate) fn wait_for_lock(&self) -> Result<Lock<'_>> {
        self.sysroot.lock().map_err(failed("lock sysroot"))?;
        Ok(Lock(&self.sysroot))
    }

    pub(crate) fn require_stateroot(&self, name: &str) -> Result<()> {
        check_stateroot(name)?;
        match open_dir(&self.dir, stateroot_path(name)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::NoStateroot {
                stateroot: name.into(),
            }),
        }
    }
}

fn handle(dir: &Dir) -> Result<(Dir, ostree::Sysroot)> {
    let dir = dir.try_clone().map_err(io("open directory", "."))?;
    let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    let sysroot = ostree::Sysroot::new(Some(&gio::File::for_path(path)));
    Ok((dir, sysroot))
}

pub(crate) fn stateroot_path(name: &str) -> String {
    format!("ostree/deploy/{name}")
}

/// The name is a directory and a word of the kernel command line.
fn check_stateroot(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !name.is_empty() && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "stateroot",
        value: name.into(),
        reason: "must be letters, digits, - _ and ., not starting with .".into(),
    })
}
