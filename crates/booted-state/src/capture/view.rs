//! The file system that is captured: one directory, with others mounted into it.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use pleach_fs_tree::{MAX_SYMLINKS, Name, TreePath};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;

/// Opens nothing but directories, and follows no link.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Does not hang on a pipe, and follows no link.
pub(crate) const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A path that stands in this crate's source.
pub(crate) fn at(path: &str) -> TreePath {
    TreePath::new(path).expect("a plain path")
}

pub(crate) fn io_error<E: Into<io::Error>>(
    operation: &'static str,
    path: &TreePath,
) -> impl FnOnce(E) -> Error {
    let path = path.to_string();
    move |source| Error::Io {
        operation,
        path,
        source: source.into(),
    }
}

/// `None` for what does not exist, or exists no longer.
pub(crate) fn existing<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ESRCH: a process that ended while its files in /proc were read.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::SRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A root directory and what is mounted into it. All paths are inside; symbolic links are resolved
/// here, component by component, and never by the kernel.
pub(crate) struct View<'a> {
    root: &'a Dir,
    mounted: Vec<(TreePath, &'a Dir)>,
    /// The most that [`View::read`] reads of a file.
    max_file_bytes: u64,
}

impl<'a> View<'a> {
    pub(crate) fn new(root: &'a Dir, max_file_bytes: u64) -> Self {
        Self {
            root,
            mounted: Vec::new(),
            max_file_bytes,
        }
    }

    /// Puts a directory in place of what is at a path.
    pub(crate) fn mount(mut self, path: TreePath, directory: &'a Dir) -> Self {
        self.mounted.push((path, directory));
        self
    }

    /// What is mounted at exactly this path.
    pub(crate) fn mounted_at(&self, path: &TreePath) -> Option<&'a Dir> {
        let mut found = self.mounted.iter().filter(|(at, _)| at == path);
        found.next().map(|(_, directory)| *directory)
    }

    /// Opens a directory without following any link.
    pub(crate) fn open_dir(&self, path: &TreePath) -> rustix::io::Result<OwnedFd> {
        let (below, directory) = self
            .mounted
            .iter()
            .filter_map(|(at, directory)| Some((path.strip_prefix(at)?, *directory)))
            .min_by_key(|(rest, _)| rest.depth())
            .unwrap_or_else(|| (path.clone(), self.root));
        let start = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?;
        below.components().try_fold(start, |fd, name| {
            rustix::fs::openat(fd, name, DIRECTORY, Mode::empty())
        })
    }

    /// The inode at a path; the last component is not followed.
    pub(crate) fn stat(&self, path: &TreePath) -> Result<Option<Stat>, Error> {
        let stat = || {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return rustix::fs::fstat(self.open_dir(path)?);
            };
            if self.mounted_at(path).is_some() {
                return rustix::fs::fstat(self.open_dir(path)?);
            }
            let parent = self.open_dir(&parent)?;
            rustix::fs::statat(parent, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
        };
        existing(stat()).map_err(io_error("stat", path))
    }

    /// The target of a symbolic link; `None` if there is nothing, or something else.
    pub(crate) fn link(&self, path: &TreePath) -> Result<Option<Vec<u8>>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let read = || {
            let parent = self.open_dir(&parent)?;
            rustix::fs::readlinkat(parent, name.as_bytes(), Vec::new())
        };
        match existing(read()) {
            Ok(target) => Ok(target.map(std::ffi::CString::into_bytes)),
            Err(Errno::INVAL) => Ok(None),
            Err(error) => Err(io_error("read the link", path)(error)),
        }
    }

    /// Where a path leads when all links on the way are followed, as the kernel would with the
    /// root of the view as `/`. What does not exist stays as it is.
    pub(crate) fn real_path(&self, path: &TreePath) -> Result<TreePath, Error> {
        let mut rest: Vec<Vec<u8>> = path.components().rev().map(Into::into).collect();
        let mut done = TreePath::root();
        let mut hops = 0;
        while let Some(component) = rest.pop() {
            if component == b".." {
                done = done.parent().unwrap_or_default();
                continue;
            }
            let Ok(name) = Name::new(&component) else {
                return Err(io_error("resolve", path)(Errno::INVAL));
            };
            let next = done.join(&name);
            let Some(target) = self.link(&next)? else {
                done = next;
                continue;
            };
            hops += 1;
            if hops > MAX_SYMLINKS {
                return Err(io_error("resolve", path)(Errno::LOOP));
            }
            if target.first() == Some(&b'/') {
                done = TreePath::root();
            }
            let parts = target.rsplit(|&b| b == b'/');
            rest.extend(
                parts
                    .filter(|p| !p.is_empty() && *p != b".")
                    .map(Into::into),
            );
        }
        Ok(done)
    }

    /// The content of a regular file, links followed inside the view; `None` if it does not exist
    /// or is something else.
    pub(crate) fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, Error> {
        let real = self.real_path(path)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Ok(None);
        };
        let open = || {
            let parent = self.open_dir(&parent)?;
            rustix::fs::openat(parent, name.as_bytes(), REGULAR, Mode::empty())
        };
        let Some(fd) = existing(open()).map_err(io_error("open", path))? else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&fd).map_err(io_error("stat", path))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Ok(None);
        }
        let mut content = Vec::new();
        cap_std::fs::File::from_std(fd.into())
            .take(self.max_file_bytes + 1)
            .read_to_end(&mut content)
            .map_err(io_error("read", path))?;
        if content.len() as u64 > self.max_file_bytes {
            return Err(Error::Limit {
                path: path.to_string(),
                what: "bytes",
                limit: self.max_file_bytes,
            });
        }
        Ok(Some(content))
    }

    /// [`View::read`] as text without the white space at its ends.
    pub(crate) fn line(&self, path: &str) -> Result<Option<String>, Error> {
        let content = self.read(&at(path))?;
        Ok(content.map(|bytes| pleach_fs_tree::escape(bytes.trim_ascii())))
    }

    /// The names in a directory, sorted, links followed; none if it does not exist.
    pub(crate) fn list(&self, path: &TreePath) -> Result<Vec<Name>, Error> {
        let real = self.real_path(path)?;
        match existing(self.open_dir(&real)).map_err(io_error("open", path))? {
            Some(fd) => names(fd).map_err(io_error("list", path)),
            None => Ok(Vec::new()),
        }
    }
}

/// The names in an open directory, sorted.
pub(crate) fn names(directory: impl AsFd) -> rustix::io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        // Not names: `.` and `..`.
        names.extend(Name::new(entry.file_name().to_bytes()));
    }
    names.sort_unstable();
    Ok(names)
}
