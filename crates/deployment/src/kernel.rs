//! A deployment's kernel and initramfs, where a boot loader finds them.
//!
//! ostree names a kernel by the checksum of what it is, and numbers the links of deployments that share
//! one. Where it finds kernels and arguments as they were, it writes those links anew, in boot order, and
//! leaves the entries as they are: right for its own, which are always numbered in that order. Entries
//! here are only ever added, so they are in none; and one that was changed so boots another deployment,
//! or none. So each deployment has a name of its own for its kernel, with one link, number 0: the
//! checksum with another last byte. The files of all names are the same ones, as hard links.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, io};
use crate::loader::{Durable, gone, make_dir, names};
use crate::walk::open_dir;

const MODULES: &str = "usr/lib/modules";

/// Paths as a boot loader entry has them: from `/boot`, which is a link to itself where `/boot` is a
/// file system of its own.
pub(crate) struct Kernel {
    pub(crate) linux: String,
    pub(crate) initrd: Option<String>,
}

/// The files of a kernel in `/usr/lib/modules/VERSION`, and their names beside each other, as ostree has
/// both.
const FILES: [(&str, &str, &str); 3] = [
    ("vmlinuz", "vmlinuz-", ""),
    ("initramfs.img", "initramfs-", ".img"),
    (".vmlinuz.hmac", ".vmlinuz-", ".hmac"),
];

/// Device trees, which ostree installs and this does not.
const UNSUPPORTED: [&str; 2] = ["devicetree", "dtb"];

/// The folders of kernels, below the sysroot.
pub(crate) const FOLDERS: &str = "boot/ostree";

/// Digits of the byte in which the names of one kernel differ.
const OWN: usize = 2;

/// What the names of one kernel have in common.
fn common(name: &str) -> &str {
    let end = name.len().saturating_sub(OWN);
    name.get(..end).unwrap_or(name)
}

/// The names that a kernel may have, beside the one that ostree gives it.
pub(crate) fn names_of(boot_checksum: &str) -> impl Iterator<Item = String> + '_ {
    let all = (0..=u8::MAX).map(|own| format!("{}{own:02x}", common(boot_checksum)));
    all.filter(move |name| name != boot_checksum)
}

/// Whether both are names of one kernel.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    common(one) == common(other)
}

/// The one name by which all deployments of a kernel find it where there are no hard links.
pub(crate) fn shared_name(name: &str) -> String {
    format!("{}{:0OWN$}", common(name), 0)
}

/// What ostree calls the kernel of a deployment: SHA-256 of kernel and initramfs, one behind the other. Where
/// one of `others` has the same files, it is what is known of that one.
pub(crate) fn checksum(deployment: &Dir, others: &[(Dir, String)]) -> Result<String> {
    let files = FILES[..2].iter().map(|(name, ..)| *name);
    let identity = |root: &Dir| -> Result<Vec<Option<(u64, u64)>>> {
        let modules = open_dir(root, Path::new(MODULES).join(version(root)?))?;
        let of = |name| {
            let found = modules.symlink_metadata(name).ok()?;
            Some((found.dev(), found.ino()))
        };
        Ok(files.clone().map(of).collect())
    };
    let own = identity(deployment)?;
    for (other, checksum) in others {
        // One that is damaged is not this one's concern.
        if identity(other).is_ok_and(|other| other == own) {
            return Ok(checksum.clone());
        }
    }
    let modules = Path::new(MODULES).join(version(deployment)?);
    let mut hash = Sha256::new();
    for name in files {
        let path = modules.join(name);
        match deployment.open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            opened => {
                let mut file = opened.map_err(io("open", &path))?;
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let length = file.read(&mut buffer).map_err(io("read", &path))?;
                    if length == 0 {
                        break;
                    }
                    hash.update(&buffer[..length]);
                }
            }
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// Brings them there under one of its [names](names_of). A file that is there is whole, since it got its
/// name last; that it is there, whoever writes the entry sees to.
pub(crate) fn install(
    sysroot: &Dir,
    deployment: &Dir,
    stateroot: &str,
    name: &str,
    durable: Durable,
) -> Result<Kernel> {
    let version = version(deployment)?;
    let modules = Path::new(MODULES).join(&version);
    let from = open_dir(deployment, &modules)?;
    for name in UNSUPPORTED {
        if from.symlink_metadata(name).is_ok() {
            return Err(Error::FileName {
                path: modules.join(name),
                reason: "a device tree cannot be installed by this crate",
            });
        }
    }
    let path = Path::new(FOLDERS).join(format!("{stateroot}-{name}"));
    make_dir(sysroot, &path)?;
    let others = others(sysroot, name)?;
    let to = open_dir(sysroot, &path)?;
    let version = version.to_string_lossy();
    let mut found = Vec::new();
    for (name, before, after) in FILES {
        let target = format!("{before}{version}{after}");
        let opened = match from.open(name) {
            Err(e) if e.kind() == ErrorKind::NotFound && name != "vmlinuz" => {
                found.push(None);
                continue;
            }
            opened => opened.map_err(io("open", modules.join(name)))?,
        };
        if !is_there(sysroot, &others, &to, &target)? {
            copy(opened, &to, &target, &path, durable)?;
        }
        found.push(Some(format!("/{}/{target}", path.display())));
    }
    let mut found = found.into_iter().flatten();
    let kernel = found.next().unwrap_or_default();
    Ok(Kernel {
        linux: kernel,
        initrd: found.next().filter(|path| path.ends_with(".img")),
    })
}

/// Gives all files of a kernel another name beside the one that they have.
pub(crate) fn rename(sysroot: &Dir, old: &str, new: &str, durable: Durable) -> Result<()> {
    let [old, new] = [old, new].map(|name| Path::new(FOLDERS).join(name));
    make_dir(sysroot, &new)?;
    let (from, to) = (open_dir(sysroot, &old)?, open_dir(sysroot, &new)?);
    for name in names(&from, &old)? {
        let name = name.to_string_lossy();
        if !is_there(sysroot, std::slice::from_ref(&old), &to, &name)? {
            let file = from.open(&*name).map_err(io("open", old.join(&*name)))?;
            copy(file, &to, &name, &new, durable)?;
        }
    }
    durable.sync(&to, &new)
}

/// The folders that a kernel is in under other names.
fn others(sysroot: &Dir, name: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(FOLDERS);
    let mut others = Vec::new();
    for folder in names(&open_dir(sysroot, path)?, path)? {
        let shown = folder.to_string_lossy();
        let other = shown.rsplit_once('-').map(|(_, other)| other);
        if other.is_some_and(|other| other != name && is_same(other, name)) {
            others.push(path.join(&folder));
        }
    }
    Ok(others)
}

/// Whether a file is there, or could be linked from one of the folders where it may be already.
fn is_there(sysroot: &Dir, folders: &[PathBuf], to: &Dir, name: &str) -> Result<bool> {
    use rustix::io::Errno;
    if to.symlink_metadata(name).is_ok() {
        return Ok(true);
    }
    for folder in folders {
        let linked = sysroot.hard_link(folder.join(name), to, name);
        let Err(error) = linked else { return Ok(true) };
        // It is not in this one, has too many links, or the file system knows none.
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => {}
            _ => return Err(io("link", folder.join(name))(error)),
        }
    }
    Ok(false)
}

fn copy(mut from: File, to: &Dir, name: &str, folder: &Path, durable: Durable) -> Result<()> {
    let shown = folder.join(name);
    let part = format!(".{name}.part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let write = || -> Result<()> {
        let mut file = to
            .open_with(&part, &options)
            .map_err(io("create", &shown))?;
        std::io::copy(&mut from, &mut file).map_err(io("write", &shown))?;
        durable.sync(&file, &shown)?;
        to.rename(&part, to, name).map_err(io("rename", &shown))
    };
    let mut write = write;
    write().inspect_err(|_| {
        // Half of a kernel only takes room, which may be what was missing.
        let _ = gone(to.remove_file(&part));
    })
}

/// The version of the one kernel of an image.
fn version(deployment: &Dir) -> Result<OsString> {
    let path = Path::new(MODULES);
    let dir = open_dir(deployment, path)?;
    let mut kernels = names(&dir, path)?.into_iter().filter(|name| {
        dir.symlink_metadata(Path::new(name).join("vmlinuz"))
            .is_ok_and(|found| found.is_file())
    });
    let one = kernels.next();
    match (one, kernels.next()) {
        (Some(one), None) => Ok(one),
        (one, _) => Err(Error::FileName {
            path: path.into(),
            reason: match one {
                None => "no kernel (VERSION/vmlinuz) to boot",
                Some(_) => "more than one kernel (VERSION/vmlinuz): which is to boot?",
            },
        }),
    }
}
