//! Reads paths by rules.
//!
//! Unlike `pleach_fs_tree::scan` this goes over a system that runs: what vanishes meanwhile is not
//! there, each path is read as closely as its rule says, and of links there is no tree to make.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use pleach_fs_tree::{Digest, TreePath, escape};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::rules::{Look, PathRule};
use super::view::{REGULAR, View, at, existing, io_error, names};
use crate::Error;
use crate::model::{Mode, PathEntry, PathType, Unlisted};

/// Limits of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) depth: usize,
}

/// Walks every rule's path and what is below.
pub(crate) fn walk(
    view: &View<'_>,
    rules: &[PathRule],
    limits: Limits,
    hard_links: bool,
) -> Result<BTreeMap<String, PathEntry>, Error> {
    let mut walker = Walker {
        view,
        rules: HashMap::new(),
        limits,
        found: BTreeMap::new(),
        links: HashMap::new(),
    };
    let mut starts = Vec::new();
    for rule in rules {
        let real = view.real_path(&at(&rule.path))?;
        walker.rules.insert(real.clone(), rule.look);
        // A node alone is an exception to the rule above it.
        if rule.look != Look::Node {
            starts.push(real);
        }
    }
    starts.sort();
    for start in starts {
        walker.start(&start)?;
    }
    if hard_links {
        walker.note_hard_links();
    }
    Ok(walker
        .found
        .into_iter()
        .map(|(path, entry)| (path.to_string(), entry))
        .collect())
}

struct Walker<'a> {
    view: &'a View<'a>,
    rules: HashMap<TreePath, Look>,
    limits: Limits,
    found: BTreeMap<TreePath, PathEntry>,
    links: HashMap<(u64, u64), Vec<TreePath>>,
}

/// Where a walk is: how closely to look, and on which device.
#[derive(Clone, Copy)]
struct State {
    look: Look,
    device: u64,
}

impl Walker<'_> {
    fn start(&mut self, path: &TreePath) -> Result<(), Error> {
        if self.found.contains_key(path) {
            return Ok(());
        }
        let Some(stat) = self.view.stat(path)? else {
            return Ok(());
        };
        // The parent is only there to name the path by; the root names itself.
        let parent = path.parent().unwrap_or_default();
        let opened = existing(self.view.open_dir(&parent)).map_err(io_error("open", &parent))?;
        let Some(parent) = opened else {
            return Ok(());
        };
        let state = State {
            look: Look::Node,
            device: stat.st_dev,
        };
        self.path(&parent, path, stat, state)
    }

    /// One path, and below it what the rule in force there wants.
    fn path(
        &mut self,
        parent: &OwnedFd,
        path: &TreePath,
        stat: Stat,
        mut state: State,
    ) -> Result<(), Error> {
        if self.found.len() >= self.limits.entries {
            return Err(self.limit(path, "entries", self.limits.entries));
        }
        if path.depth() > self.limits.depth {
            return Err(self.limit(path, "levels of directories", self.limits.depth));
        }
        if let Some(&look) = self.rules.get(path) {
            state = State {
                look,
                device: stat.st_dev,
            };
        }
        let Some(mut entry) = self.entry(parent, path, &stat, state.look)? else {
            return Ok(());
        };
        if entry.path_type != PathType::Directory {
            if stat.st_nlink > 1 {
                let key = (stat.st_dev, stat.st_ino);
                self.links.entry(key).or_default().push(path.clone());
            }
            self.found.insert(path.clone(), entry);
            return Ok(());
        }
        entry.unlisted = if state.look == Look::Node {
            Some(Unlisted::Rule)
        } else if stat.st_dev != state.device {
            Some(Unlisted::OtherFileSystem)
        } else {
            None
        };
        let listed = entry.unlisted.is_none();
        self.found.insert(path.clone(), entry);
        if listed {
            if state.look == Look::Entries {
                state.look = Look::Node;
            }
            self.directory(parent, path, state)?;
        }
        Ok(())
    }

    fn directory(&mut self, parent: &OwnedFd, path: &TreePath, state: State) -> Result<(), Error> {
        let opened = match (self.view.mounted_at(path), path.file_name()) {
            (None, Some(name)) => rustix::fs::openat(
                parent,
                name.as_bytes(),
                super::view::DIRECTORY,
                rustix::fs::Mode::empty(),
            ),
            _ => self.view.open_dir(path),
        };
        let Some(fd) = existing(opened).map_err(io_error("open", path))? else {
            return Ok(());
        };
        for name in names(&fd).map_err(io_error("list", path))? {
            let child = path.join(&name);
            let stat = if self.view.mounted_at(&child).is_some() {
                self.view.stat(&child)?
            } else {
                let stat = rustix::fs::statat(&fd, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW);
                existing(stat).map_err(io_error("stat", &child))?
            };
            if let Some(stat) = stat {
                self.path(&fd, &child, stat, state)?;
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        parent: &OwnedFd,
        path: &TreePath,
        stat: &Stat,
        look: Look,
    ) -> Result<Option<PathEntry>, Error> {
        let name = path.file_name();
        let name = name
            .as_ref()
            .map_or(b".".as_slice(), |name| name.as_bytes());
        let path_type = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => PathType::Directory,
            FileType::RegularFile => PathType::File,
            FileType::Symlink => PathType::Symlink,
            FileType::CharacterDevice => PathType::CharDevice,
            FileType::BlockDevice => PathType::BlockDevice,
            FileType::Fifo => PathType::Fifo,
            _ => PathType::Socket,
        };
        let mounted = match self.view.mounted_at(path) {
            Some(_) => Some(self.view.open_dir(path).map_err(io_error("open", path))?),
            None => None,
        };
        let xattrs = match &mounted {
            Some(fd) => xattrs(fd, b"."),
            None => xattrs(parent, name),
        };
        let Some(xattrs) = existing(xattrs).map_err(io_error("read the xattrs of", path))? else {
            return Ok(None);
        };
        let mut entry = PathEntry {
            path_type,
            mode: Mode(u16::try_from(stat.st_mode & 0o7777).expect("12 bits")),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: None,
            digest: None,
            target: None,
            device: None,
            xattrs,
            hard_link: None,
            unlisted: None,
        };
        match path_type {
            PathType::File => {
                if matches!(look, Look::Digest | Look::Size) {
                    entry.size = Some(u64::try_from(stat.st_size).unwrap_or_default());
                }
                if look == Look::Digest {
                    let Some((size, digest)) = digest(parent, name, path)? else {
                        return Ok(None);
                    };
                    entry.size = Some(size);
                    entry.digest = Some(digest.to_string());
                }
            }
            PathType::Symlink => {
                let target = existing(rustix::fs::readlinkat(parent, name, Vec::new()));
                match target.map_err(io_error("read the link", path))? {
                    Some(target) => entry.target = Some(escape(target.to_bytes())),
                    None => return Ok(None),
                }
            }
            PathType::CharDevice | PathType::BlockDevice => {
                let (major, minor) = (
                    rustix::fs::major(stat.st_rdev),
                    rustix::fs::minor(stat.st_rdev),
                );
                entry.device = Some(format!("{major}:{minor}"));
            }
            PathType::Directory | PathType::Fifo | PathType::Socket => {}
        }
        Ok(Some(entry))
    }

    fn note_hard_links(&mut self) {
        for paths in self.links.values_mut().filter(|paths| paths.len() > 1) {
            paths.sort();
            for path in paths.iter() {
                let other = if *path == paths[0] {
                    &paths[1]
                } else {
                    &paths[0]
                };
                if let Some(entry) = self.found.get_mut(path) {
                    entry.hard_link = Some(other.to_string());
                }
            }
        }
    }

    fn limit(&self, path: &TreePath, what: &'static str, limit: usize) -> Error {
        Error::Limit {
            path: path.to_string(),
            what,
            limit: limit as u64,
        }
    }
}

/// Size and digest of a file; `None` if it has vanished.
fn digest(parent: &OwnedFd, name: &[u8], path: &TreePath) -> Result<Option<(u64, Digest)>, Error> {
    let opened = rustix::fs::openat(parent, name, REGULAR, rustix::fs::Mode::empty());
    let Some(fd) = existing(opened).map_err(io_error("open", path))? else {
        return Ok(None);
    };
    let mut file = cap_std::fs::File::from_std(fd.into());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer).map_err(io_error("read", path))? {
            0 => return Ok(Some((size, Digest(hasher.finalize().into())))),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

/// The extended attributes of `name` in an open directory. A link, a pipe or a device cannot be
/// opened for that; its name below the directory's own magic link works for all.
fn xattrs(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<BTreeMap<String, String>> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut list = vec![0; 1024];
    let length = loop {
        match rustix::fs::llistxattr(&*path, &mut list[..]) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(error) => return Err(error),
        }
    };
    let mut out = BTreeMap::new();
    for name in list[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 256];
        loop {
            match rustix::fs::lgetxattr(&*path, name, &mut value[..]) {
                Ok(length) => {
                    out.insert(escape(name), escape(&value[..length]));
                    break;
                }
                Err(Errno::RANGE) => value.resize(value.len() * 4, 0),
                Err(Errno::NODATA) => break, // removed since it was listed
                Err(error) => return Err(error),
            }
        }
    }
    Ok(out)
}
