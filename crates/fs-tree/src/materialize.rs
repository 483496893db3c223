//! A tree becomes a directory.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use thiserror::Error;

use crate::attributes::{MetadataError, node_type, write_metadata};
use crate::{Inode, InodeId, Kind, Metadata, Tree, TreePath};

/// Where the bytes of regular files come from.
pub trait ContentSource<C> {
    /// Opens the content of one regular file.
    ///
    /// # Errors
    /// When it cannot be had; the error is reported with the file's path.
    fn open(&mut self, content: &C) -> io::Result<Box<dyn Read + '_>>;
}

impl<C, F, R> ContentSource<C> for F
where
    F: FnMut(&C) -> io::Result<R>,
    R: Read + 'static,
{
    fn open(&mut self, content: &C) -> io::Result<Box<dyn Read + '_>> {
        self(content).map(|r| Box::new(r) as Box<dyn Read>)
    }
}

/// What of the metadata is written.
#[derive(Debug, Clone)]
pub struct MaterializeOptions {
    /// Set owner and group (needs root, or a user namespace).
    pub owner: bool,
    /// Set extended attributes.
    pub xattrs: bool,
    /// Set modification times.
    pub mtime: bool,
    /// Make device nodes (needs root).
    pub devices: bool,
    /// Components of a path; each level holds a file descriptor while it is written.
    pub max_depth: usize,
}

impl Default for MaterializeOptions {
    fn default() -> Self {
        Self {
            owner: true,
            xattrs: true,
            mtime: true,
            devices: true,
            max_depth: 256,
        }
    }
}

/// A tree that cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MaterializeError {
    /// A system call, or the content source, failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where, below the target.
        path: TreePath,
        /// What the system said.
        source: io::Error,
    },
    /// [`MaterializeOptions::max_depth`] was reached.
    #[error("{path}: more than {limit} levels of directories")]
    Depth {
        /// Where.
        path: TreePath,
        /// The limit.
        limit: usize,
    },
}

/// Writes the tree into `target`, which must be empty where the tree has entries: nothing that
/// exists is overwritten or followed. Inherited default ACLs are removed, so the result has exactly
/// the tree's extended attributes. Nothing is synced: that is the caller's, once, at the end.
///
/// # Errors
/// When something cannot be written; what was written until then stays.
pub fn materialize<C>(
    tree: &Tree<C>,
    target: &Dir,
    source: &mut dyn ContentSource<C>,
    options: &MaterializeOptions,
) -> Result<(), MaterializeError> {
    let root = TreePath::root();
    let fd =
        rustix::fs::openat(target, ".", DIRECTORY, Mode::empty()).map_err(failed("open", &root))?;
    let mut writer = Writer {
        tree,
        source,
        options,
        links: HashMap::new(),
        top: &fd,
    };
    writer.directory(&fd, tree.root(), &root, 1)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &TreePath,
) -> impl FnOnce(E) -> MaterializeError {
    let path = path.clone();
    move |error| MaterializeError::Io {
        operation,
        path,
        source: error.into(),
    }
}

struct Writer<'a, C> {
    tree: &'a Tree<C>,
    source: &'a mut dyn ContentSource<C>,
    options: &'a MaterializeOptions,
    links: HashMap<InodeId, TreePath>,
    top: &'a OwnedFd,
}

impl<C> Writer<'_, C> {
    fn directory(
        &mut self,
        fd: &OwnedFd,
        id: InodeId,
        path: &TreePath,
        depth: usize,
    ) -> Result<(), MaterializeError> {
        let limit = self.options.max_depth;
        if depth > limit {
            return Err(MaterializeError::Depth {
                path: path.clone(),
                limit,
            });
        }
        let tree = self.tree;
        let inode = tree.inode(id);
        for (name, &child) in inode.entries().into_iter().flatten() {
            let path = path.join(name);
            self.entry(fd, name.as_bytes(), child, path, depth)?;
        }
        self.finish(fd, FileType::Directory, &inode.metadata, path)
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        id: InodeId,
        path: TreePath,
        depth: usize,
    ) -> Result<(), MaterializeError> {
        let Inode { metadata, kind } = self.tree.inode(id);
        if let Kind::Directory(_) = kind {
            rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed("create", &path))?;
            let fd = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
                .map_err(failed("open", &path))?;
            return self.directory(&fd, id, &path, depth + 1);
        }
        if let Some(first) = self.links.get(&id) {
            return self.hard_link(&first.clone(), parent, name, &path);
        }
        self.links.insert(id, path.clone());
        let file_type = match kind {
            Kind::File(content) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(failed("create", &path))?;
                let mut file = cap_std::fs::File::from_std(fd.into());
                let mut bytes = self.source.open(content).map_err(failed("read", &path))?;
                io::copy(&mut bytes, &mut file).map_err(failed("write", &path))?;
                drop(bytes);
                return self.finish(&file, FileType::RegularFile, metadata, &path);
            }
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(&**target, parent, name).map_err(failed("create", &path))?;
                FileType::Symlink
            }
            Kind::CharDevice(_) | Kind::BlockDevice(_) if !self.options.devices => return Ok(()),
            Kind::CharDevice(device) => {
                let device = rustix::fs::makedev(device.major, device.minor);
                self.node(parent, name, FileType::CharacterDevice, device, &path)?
            }
            Kind::BlockDevice(device) => {
                let device = rustix::fs::makedev(device.major, device.minor);
                self.node(parent, name, FileType::BlockDevice, device, &path)?
            }
            Kind::Fifo => self.node(parent, name, FileType::Fifo, 0, &path)?,
            Kind::Socket => self.node(parent, name, FileType::Socket, 0, &path)?,
            Kind::Directory(_) => unreachable!("handled above"),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(failed("open", &path))?;
        self.finish(&fd, file_type, metadata, &path)
    }

    fn node(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        file_type: FileType,
        device: u64,
        path: &TreePath,
    ) -> Result<FileType, MaterializeError> {
        rustix::fs::mknodat(parent, name, file_type, Mode::RUSR | Mode::WUSR, device)
            .map_err(failed("create", path))?;
        Ok(file_type)
    }

    /// The first name was made by us, so its parents are directories; still, none is followed.
    fn hard_link(
        &self,
        first: &TreePath,
        parent: &OwnedFd,
        name: &[u8],
        path: &TreePath,
    ) -> Result<(), MaterializeError> {
        let mut at = self.top.try_clone().map_err(failed("open", first))?;
        let directory = first.parent().unwrap_or_default();
        for component in directory.components() {
            at = rustix::fs::openat(&at, component, DIRECTORY, Mode::empty())
                .map_err(failed("open", first))?;
        }
        let last = first.file_name().expect("the root is a directory");
        rustix::fs::linkat(&at, last.as_bytes(), parent, name, AtFlags::empty())
            .map_err(failed("link", path))
    }

    fn finish(
        &self,
        fd: impl AsFd,
        file_type: FileType,
        metadata: &Metadata,
        path: &TreePath,
    ) -> Result<(), MaterializeError> {
        write_metadata(fd, node_type(file_type), metadata, self.options).map_err(|error| {
            let MetadataError { operation, source } = error;
            let path = path.clone();
            MaterializeError::Io {
                operation,
                path,
                source,
            }
        })
    }
}
