//! Directories without following links: opening, and visiting every entry.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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

/// The same, where it need not be there.
pub(crate) fn open_dir_if_there(dir: &Dir, path: impl AsRef<Path>) -> Result<Option<Dir>> {
    match open_dir(dir, path) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

pub(crate) fn open_at(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(io("open directory", path))
}

/// What `walk` calls with each entry: the directory that it is in, its path below the root, its status.
pub(crate) type Visit<'a> = dyn FnMut(BorrowedFd<'_>, &Path, &Stat) -> Result<()> + 'a;

/// Call `visit` with each entry below `root`: names in order, parents before children.
pub(crate) fn walk(root: &Dir, limits: &TreeLimits, visit: &mut Visit<'_>) -> Result<()> {
    let fd = open_at(root.as_fd(), OsStr::new("."), Path::new("."))?;
    let mut walk = Walk {
        limits,
        entries: 0,
        visit,
    };
    walk.directory(fd, &mut PathBuf::new(), 0)
}

struct Walk<'a, 'v> {
    limits: &'a TreeLimits,
    entries: u64,
    visit: &'a mut Visit<'v>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, fd: OwnedFd, path: &mut PathBuf, depth: u64) -> Result<()> {
        if depth > self.limits.max_depth {
            return Err(limit("max_depth", self.limits.max_depth, path));
        }
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd).map_err(io("read directory", &*path))? {
            let entry = entry.map_err(io("read directory", &*path))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_owned());
            }
            self.entries += u64::from(name != b"." && name != b"..");
            if self.entries > self.limits.max_entries {
                return Err(limit("max_entries", self.limits.max_entries, path));
            }
        }
        names.sort_unstable();
        for name in names {
            let name = OsStr::from_bytes(&name);
            path.push(name);
            let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(io("stat", &*path))?;
            (self.visit)(fd.as_fd(), path, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let child = open_at(fd.as_fd(), name, path)?;
                self.directory(child, path, depth + 1)?;
            }
            path.pop();
        }
        Ok(())
    }
}

fn limit(limit: &'static str, value: u64, path: &Path) -> Error {
    Error::Limit {
        limit,
        value,
        path: match path.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => path.to_owned(),
        },
    }
}
