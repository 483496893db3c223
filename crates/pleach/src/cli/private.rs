//! Files that may hold secrets: they are their owner's alone from the moment they exist.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _};

use super::image::open_dir;

/// Makes a directory that nobody else looks into: documents and disks hold password hashes.
pub(crate) fn make_private(path: &Path) -> Result<Dir> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("creating {}", path.display()))?;
    open_dir(path)
}

/// A folder to write into.
pub(crate) struct Folder {
    dir: Dir,
    shown: PathBuf,
}

impl Folder {
    /// Makes it with its parents, or takes the one that is there.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        let (dir, shown) = (make_private(path)?, path.to_owned());
        Ok(Self { dir, shown })
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where it is, for another program.
    pub(crate) fn path(&self) -> &Path {
        &self.shown
    }

    /// Gives a file in it another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let renamed = self.dir.rename(from, &self.dir, to);
        renamed.with_context(|| format!("writing {}", self.shown.join(to).display()))
    }

    /// A folder in it, without what an earlier run left there.
    pub(crate) fn anew(&self, name: &str) -> Result<Self> {
        let shown = self.shown.join(name);
        let made = (|| {
            match self.dir.remove_dir_all(name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut builder = DirBuilder::new();
            self.dir.create_dir_with(name, builder.mode(0o700))?;
            self.dir.open_dir(name)
        })();
        let dir = made.with_context(|| format!("creating {}", shown.display()))?;
        Ok(Self { dir, shown })
    }

    /// Writes a file whole.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let part = format!(".{name}.part");
        let written = (|| {
            match self.dir.remove_file(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            self.dir.open_with(&part, &options)?.write_all(contents)?;
            self.dir.rename(&part, &self.dir, name)
        })();
        written.with_context(|| format!("writing {}", self.shown.join(name).display()))
    }
}
