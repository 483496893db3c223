//! Whether what comes next fits, before anything of it is written.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use pleach_deployment::{Deployment, Sysroot};
use pleach_fs_tree::{FileContent, Kind, TreePath};
use pleach_layer_merge::Merged;

use crate::cli::image::OpenImage;

/// What a deployment takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Need {
    bytes: u64,
    inodes: u64,
    /// Kernel and initramfs, which lie in /boot.
    boot_bytes: u64,
}

/// Of a file system that is neither known to be large nor small.
const BLOCK: u64 = 4096;
/// Metadata of the file system, journals of ours, what else runs at the same time.
const MARGIN: u64 = 16 << 20;

impl Need {
    /// The most that the image takes beside one that holds the layers `there` already: objects of files,
    /// directories of the checkout, a copy of /etc, the kernel.
    pub(super) fn of(
        image: &OpenImage,
        merged: &Merged<FileContent>,
        there: &BTreeSet<String>,
    ) -> Result<Self> {
        let layers = image.image().layers();
        let (etc, usr_etc) = (TreePath::new("etc")?, TreePath::new("usr/etc")?);
        let modules = TreePath::new("usr/lib/modules")?;
        let mut need = Self::default();
        for (path, id) in merged.tree.walk() {
            let size = match &merged.tree.inode(id).kind {
                Kind::File(content) => content.size.next_multiple_of(BLOCK),
                Kind::Directory(_) => BLOCK,
                _ => 0,
            };
            let directory = merged.tree.inode(id).entries().is_some();
            let origin = merged.provenance.origin(&merged.tree, &path);
            let known = origin.is_some_and(|o| there.contains(&layers[o.layer].digest.to_string()));
            if directory || !known {
                need.bytes += size;
                need.inodes += 1;
            }
            if path.starts_with(&etc) || path.starts_with(&usr_etc) {
                need.bytes += size;
                need.inodes += 1;
            }
            let boots = [b"vmlinuz".as_slice(), b"initramfs.img"];
            if path.starts_with(&modules)
                && path
                    .file_name()
                    .is_some_and(|name| boots.contains(&name.as_bytes()))
            {
                need.boot_bytes += size;
            }
        }
        need.bytes += need.bytes / 20 + MARGIN;
        Ok(need)
    }

    /// With the image unpacked beside it, and its contents beside that.
    pub(super) fn unpacked(self) -> Self {
        Self {
            bytes: self.bytes * 3,
            inodes: self.inodes * 2,
            ..self
        }
    }

    /// Refuses what does not fit.
    pub(super) fn check(self, sysroot: &Dir, path: &Path) -> Result<()> {
        let boot = sysroot.open_dir("boot").context("opening boot")?;
        let device = |dir: &Dir| -> Result<_> { Ok(rustix::fs::fstat(dir)?.st_dev) };
        let apart = device(&boot)? != device(sysroot)?;
        let bytes = match apart {
            true => self.bytes,
            false => self.bytes + self.boot_bytes,
        };
        fits(sysroot, path, bytes, self.inodes)?;
        if apart {
            fits(&boot, &path.join("boot"), self.boot_bytes + BLOCK, 8)?;
        }
        Ok(())
    }
}

fn fits(dir: &Dir, path: &Path, bytes: u64, inodes: u64) -> Result<()> {
    let has = rustix::fs::fstatvfs(dir)
        .with_context(|| format!("asking {} for its room", path.display()))?;
    let free = has.f_bavail * has.f_frsize;
    let shown = path.display();
    if free < bytes {
        bail!(
            "{shown}: the deployment needs up to {bytes} bytes, {free} are free; nothing was written. Remove an old deployment (`pleach deploy cleanup`, `unpin`) or other files"
        );
    }
    // btrfs counts none.
    if has.f_files > 0 && has.f_favail < inodes {
        bail!(
            "{shown}: the deployment needs up to {inodes} inodes, {} are free; nothing was written",
            has.f_favail
        );
    }
    Ok(())
}

/// Digests of the layers whose files a deployment's commit has put into the repository.
pub(super) fn layers_of(sysroot: &Sysroot, deployment: &Deployment) -> Result<BTreeSet<String>> {
    // One without its commit has put nothing there that can be relied on.
    let Ok(Some(manifest)) = sysroot.manifest(&deployment.checksum) else {
        return Ok(BTreeSet::new());
    };
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let digests = layers.filter_map(|layer| layer["digest"].as_str());
    Ok(digests.map(str::to_owned).collect())
}
