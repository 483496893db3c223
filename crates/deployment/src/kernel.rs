//! A deployment's kernel and initramfs, where a boot loader finds them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt as _};

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

/// The folder of a kernel, below the sysroot.
pub(crate) fn folder(stateroot: &str, boot_checksum: &str) -> PathBuf {
    format!("boot/ostree/{stateroot}-{boot_checksum}").into()
}

/// Copies them there. A file that is there is whole, since it got its name last.
pub(crate) fn install(
    sysroot: &Dir,
    deployment: &Dir,
    stateroot: &str,
    boot_checksum: &str,
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
    let path = folder(stateroot, boot_checksum);
    make_dir(sysroot, &path)?;
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
        if to.symlink_metadata(&target).is_err() {
            copy(opened, &to, &target, &path, durable)?;
        }
        found.push(Some(format!("/{}/{target}", path.display())));
    }
    durable.sync(&to, &path)?;
    let mut found = found.into_iter().flatten();
    let kernel = found.next().unwrap_or_default();
    Ok(Kernel {
        linux: kernel,
        initrd: found.next().filter(|path| path.ends_with(".img")),
    })
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
