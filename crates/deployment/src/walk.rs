//! Directories without following links: opening, and visiting every entry.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use crate::error::{Error, Result, io};

/// How much of a tree is read before giving up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeLimits {
    /// Most entries of a tree.
    pub max_entries: u64,
    /// Most directories above an entry.
    pub max_depth: u64,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self {
            max_entries: 4_000_000,
            max_depth: 512,
        }
    }
}

/// Open a directory below `dir`; a symbolic link anywhere on the way is an error.
pub(crate) fn open_dir(dir: &Dir, path: impl AsRef<Path>) -> Result<Dir> {
    let path = path.as_ref();
    let mut fd = open_at(dir.as_fd(), OsStr::new("."), path)?;
    for component in path.components() {
        match component {
            Component::Normal(name) => fd = open_at(fd.as_fd(), name, path)?,
            Component::CurDir => {}
            _ => {
                return Err(Error::Invalid {
                    what: "path",
                    value: path.display().to_string(),
                    reason: "must be relative, without ..".into(),
                });
            }
        }
    }
    Ok(Dir::from_std_file(fd.into()))
}

fn open_at(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(io("open directory", path))
}

/// Call `visit` with each entry below `root`, in no particular order; parents come before children.
pub(crate) fn walk(
    root: &Dir,
    limits: &TreeLimits,
    visit: &mut dyn FnMut(&Path, &Stat) -> Result<()>,
) -> Result<()> {
    let fd = open_at(root.as_fd(), OsStr::new("."), Path::new("."))?;
    let mut entries = 0;
    walk_fd(fd, &mut PathBuf::new(), 0, &mut entries, limits, visit)
}

fn walk_fd(
    fd: OwnedFd,
    path: &mut PathBuf,
    depth: u64,
    entries: &mut u64,
    limits: &TreeLimits,
    visit: &mut dyn FnMut(&Path, &Stat) -> Result<()>,
) -> Result<()> {
    if depth > limits.max_depth {
        return Err(limit("max_depth", limits.max_depth, path));
    }
    for entry in rustix::fs::Dir::read_from(&fd).map_err(io("read directory", &*path))? {
        let entry = entry.map_err(io("read directory", &*path))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        *entries += 1;
        path.push(name);
        if *entries > limits.max_entries {
            return Err(limit("max_entries", limits.max_entries, path));
        }
        let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io("stat", &*path))?;
        visit(path, &stat)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let child = open_at(fd.as_fd(), name, path)?;
            walk_fd(child, path, depth + 1, entries, limits, visit)?;
        }
        path.pop();
    }
    Ok(())
}

fn limit(limit: &'static str, value: u64, path: &Path) -> Error {
    Error::Limit {
        limit,
        value,
        path: path.to_owned(),
    }
}
