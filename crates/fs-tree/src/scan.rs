//! A directory becomes a tree.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::attributes::{node_type, read_xattrs};
use crate::{Device, Inode, InodeId, Kind, Metadata, Name, Timestamp, Tree, TreePath};

/// A SHA-256 digest; prints as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a scan keeps of a regular file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileContent {
    /// Bytes.
    pub size: u64,
    /// SHA-256, where [`ScanOptions::digest`] asked for it.
    pub digest: Option<Digest>,
}

/// What a scan reads, and its limits.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// Read each regular file and keep its digest.
    pub digest: bool,
    /// Read extended attributes.
    pub xattrs: bool,
    /// List a directory on which another file system is mounted, but not what is in it.
    pub one_file_system: bool,
    /// Paths, the root included.
    pub max_entries: usize,
    /// Components of a path; each level holds a file descriptor while it is read.
    pub max_depth: usize,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            digest: true,
            xattrs: true,
            one_file_system: true,
            max_entries: 4_000_000,
            max_depth: 256,
        }
    }
}

/// A directory that cannot be scanned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where, below the directory that is scanned.
        path: TreePath,
        /// What the system said.
        source: io::Error,
    },
    /// A limit of [`ScanOptions`] was reached.
    #[error("{path}: more than {limit} {what}")]
    Limit {
        /// Where.
        path: TreePath,
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// Reads the tree below `root`. No symbolic link is followed, and nothing but directories and
/// regular files is opened for reading.
///
/// # Errors
/// When something cannot be read, also when it vanishes meanwhile, and at a limit.
pub fn scan(root: &Dir, options: &ScanOptions) -> Result<Tree<FileContent>, ScanError> {
    scan_with(root, options, None).map(|(tree, _)| tree)
}

/// As [`scan`], without what this user may not read: such a directory is empty in the tree, and its
/// path is returned. With [`ScanOptions::digest`] or [`ScanOptions::xattrs`], which open files, one of
/// them that may not be read is an error still.
///
/// # Errors
/// As [`scan`], but for that.
pub fn scan_readable(
    root: &Dir,
    options: &ScanOptions,
) -> Result<(Tree<FileContent>, Vec<TreePath>), ScanError> {
    scan_with(root, options, Some(Vec::new()))
}

fn scan_with(
    root: &Dir,
    options: &ScanOptions,
    skipped: Option<Vec<TreePath>>,
) -> Result<(Tree<FileContent>, Vec<TreePath>), ScanError> {
    let path = TreePath::root();
    let fd =
        rustix::fs::openat(root, ".", DIRECTORY, Mode::empty()).map_err(failed("open", &path))?;
    let stat = rustix::fs::fstat(&fd).map_err(failed("stat", &path))?;
    let mut scanner = Scanner {
        tree: Tree::new(Metadata::default()),
        options,
        device: stat.st_dev,
        links: HashMap::new(),
        entries: 1,
        skipped,
    };
    let id = scanner.tree.root();
    *scanner.tree.metadata_mut(id) = scanner.metadata(&fd, &stat, &path)?;
    scanner.directory(&fd, id, &path, 1)?;
    Ok((scanner.tree, scanner.skipped.unwrap_or_default()))
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &TreePath,
) -> impl FnOnce(E) -> ScanError {
    let path = path.clone();
    move |error| ScanError::Io {
        operation,
        path,
        source: error.into(),
    }
}

struct Scanner<'a> {
    tree: Tree<FileContent>,
    options: &'a ScanOptions,
    device: u64,
    links: HashMap<(u64, u64), InodeId>,
    entries: usize,
    /// Directories that were not read, where that is no error.
    skipped: Option<Vec<TreePath>>,
}

impl Scanner<'_> {
    fn directory(
        &mut self,
        fd: &OwnedFd,
        id: InodeId,
        path: &TreePath,
        depth: usize,
    ) -> Result<(), ScanError> {
        let limit = self.options.max_depth;
        if depth > limit {
            return Err(ScanError::Limit {
                path: path.clone(),
                what: "levels of directories",
                limit,
            });
        }
        let listing = rustix::fs::Dir::read_from(fd).map_err(failed("list", path))?;
        for entry in listing {
            let entry = entry.map_err(failed("list", path))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = Name::new(name).expect("the kernel gives plain names");
            self.entry(fd, id, path.join(&name), name, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent_fd: &OwnedFd,
        parent: InodeId,
        path: TreePath,
        name: Name,
        depth: usize,
    ) -> Result<(), ScanError> {
        self.entries += 1;
        let limit = self.options.max_entries;
        if self.entries > limit {
            return Err(ScanError::Limit {
                path,
                what: "entries",
                limit,
            });
        }
        let stat = rustix::fs::statat(parent_fd, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("stat", &path))?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let flags = match file_type {
            FileType::Directory => DIRECTORY,
            FileType::RegularFile if self.options.digest || self.options.xattrs => REGULAR,
            _ => PATH_ONLY,
        };
        let opened = rustix::fs::openat(parent_fd, name.as_bytes(), flags, Mode::empty());
        if let (FileType::Directory, Err(rustix::io::Errno::ACCESS), Some(skipped)) =
            (file_type, &opened, &mut self.skipped)
        {
            skipped.push(path);
            let metadata = bare_metadata(&stat);
            self.tree
                .insert(parent, name, Inode::directory(metadata))
                .expect("the parent is a directory");
            return Ok(());
        }
        let fd = opened.map_err(failed("open", &path))?;
        // From here on only what was opened counts, not what has the name now.
        let stat = rustix::fs::fstat(&fd).map_err(failed("stat", &path))?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let key = (stat.st_dev, stat.st_ino);
        if let Some(&first) = self.links.get(&key) {
            self.tree
                .link(first, parent, name)
                .expect("no directory has two names");
            return Ok(());
        }
        let metadata = self.metadata(&fd, &stat, &path)?;
        let device = Device {
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
        };
        let kind = match file_type {
            FileType::Directory => {
                let id = self
                    .tree
                    .insert(parent, name, Inode::directory(metadata))
                    .expect("the parent is a directory");
                if stat.st_dev != self.device && self.options.one_file_system {
                    return Ok(());
                }
                return self.directory(&fd, id, &path, depth + 1);
            }
            FileType::RegularFile => Kind::File(self.content(fd, &stat, &path)?),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())
                    .map_err(failed("read the link", &path))?;
                Kind::Symlink(target.into_bytes().into())
            }
            FileType::CharacterDevice => Kind::CharDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            FileType::Fifo => Kind::Fifo,
            _ => Kind::Socket,
        };
        let id = self
            .tree
            .insert(parent, name, Inode { metadata, kind })
            .expect("the parent is a directory");
        if stat.st_nlink > 1 {
            self.links.insert(key, id);
        }
        Ok(())
    }

    fn metadata(&self, fd: &OwnedFd, stat: &Stat, path: &TreePath) -> Result<Metadata, ScanError> {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        Ok(Metadata {
            xattrs: if self.options.xattrs {
                read_xattrs(fd, node_type(file_type))
                    .map_err(failed("read the extended attributes of", path))?
            } else {
                Default::default()
            },
            ..bare_metadata(stat)
        })
    }

    fn content(&self, fd: OwnedFd, stat: &Stat, path: &TreePath) -> Result<FileContent, ScanError> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if !self.options.digest {
            return Ok(FileContent { size, digest: None });
        }
        let (size, digest) = digest_fd(fd).map_err(failed("read", path))?;
        Ok(FileContent {
            size,
            digest: Some(digest),
        })
    }
}

/// All but extended attributes.
fn bare_metadata(stat: &Stat) -> Metadata {
    Metadata {
        mode: u16::try_from(stat.st_mode & 0o7777).expect("12 bits"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        },
        xattrs: Default::default(),
    }
}

fn digest_fd(fd: OwnedFd) -> io::Result<(u64, Digest)> {
    let mut file = cap_std::fs::File::from_std(fd.into());
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, Digest(hasher.finalize().into()))),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}
