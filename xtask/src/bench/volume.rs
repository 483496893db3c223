//! A file system of its own to measure on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// A fresh ext4 on a loop device where that can be had, else a directory. Dropped, it is gone.
pub(super) struct Volume<'a> {
    sh: &'a Shell,
    path: PathBuf,
    mounted: bool,
}

impl<'a> Volume<'a> {
    /// One of that name, with so many bytes, and an inode for each `bytes_per_inode`.
    pub(super) fn new(
        workspace: &'a Workspace,
        name: &str,
        bytes: usize,
        bytes_per_inode: usize,
    ) -> Result<Self> {
        let sh = &workspace.sh;
        let path = workspace.artifacts().join(name);
        let mut volume = Self {
            sh,
            path,
            mounted: false,
        };
        // One that was killed leaves its own behind.
        volume.mounted = volume.is_mounted();
        volume.remove().with_context(|| {
            let path = volume.path.display();
            format!("removing {path}, which another run left or still uses")
        })?;
        sh.create_dir(&volume.path)?;
        let root = cmd!(sh, "id -u").quiet().read()? == "0";
        if root && let Err(error) = volume.mount(bytes, bytes_per_inode) {
            eprintln!("bench: no loop device ({error:#}), so the target directory is measured");
        }
        Ok(volume)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it is, for the report.
    pub(super) fn what(&self) -> &'static str {
        match self.mounted {
            true => "ext4 on a loop device",
            false => "the target directory",
        }
    }

    /// Writes out what is dirty, so that the next run does not wait for it.
    pub(super) fn settle(&self) -> Result<()> {
        let path = &self.path;
        Ok(cmd!(self.sh, "sync --file-system {path}").quiet().run()?)
    }

    fn mount(&mut self, bytes: usize, bytes_per_inode: usize) -> Result<()> {
        let (sh, path) = (self.sh, &self.path);
        let image = path.with_extension("img");
        let (bytes, bytes_per_inode) = (bytes.to_string(), bytes_per_inode.to_string());
        cmd!(sh, "truncate --size {bytes} {image}").quiet().run()?;
        // Nothing is initialised later, in the background of what is measured.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        let made = cmd!(
            sh,
            "mkfs.ext4 -q -F -i {bytes_per_inode} -E {options} {image}"
        )
        .quiet()
        .run();
        let mounted = made.and_then(|()| {
            // What is on it is cached once, not again as a part of the image.
            let device = cmd!(sh, "losetup --find --show --direct-io=on {image}")
                .quiet()
                .read()?;
            let mounted = cmd!(sh, "mount {device} {path}").quiet().run();
            // Now, or else once it is unmounted.
            cmd!(sh, "losetup --detach {device}").quiet().run()?;
            mounted
        });
        // The loop device keeps it.
        sh.remove_path(&image)?;
        mounted?;
        self.mounted = true;
        Ok(())
    }

    fn is_mounted(&self) -> bool {
        let path = &self.path;
        cmd!(self.sh, "mountpoint --quiet {path}")
            .quiet()
            .ignore_stderr()
            .run()
            .is_ok()
    }

    fn remove(&mut self) -> Result<()> {
        let path = &self.path;
        if self.mounted {
            cmd!(self.sh, "umount {path}").quiet().run()?;
            self.mounted = false;
        }
        Ok(self.sh.remove_path(path)?)
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("bench: {} is left behind: {error:#}", self.path.display());
        }
    }
}
