//! Directories become trees that know where each content is.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cap_std::fs::Dir;
use pleach_fs_tree::{
    ContentSource, Digest, FileContent, Inode, Kind, MaterializeError, ScanError, ScanOptions,
    Tree, TreePath, scan,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use sha2::{Digest as _, Sha256};

use super::ApplyOptions;
use crate::{Error, Sides};

/// Which of the three directories a content is in.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Pristine,
    Current,
    New,
}

/// The content of a file, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Located {
    origin: Origin,
    path: TreePath,
    pub(super) content: FileContent,
}

/// Reads the three trees. What is below a mount point of the current one is replaced by what the
/// pristine one has there.
pub(super) fn read(
    sides: Sides<&Dir>,
    options: &ApplyOptions,
) -> Result<(Sides<Tree<Located>>, Vec<TreePath>), Error> {
    let read = |dir, origin, side: &str| -> Result<Tree<Located>, Error> {
        Ok(locate(&scan_whole(dir, side, options)?, origin))
    };
    let pristine = read(sides.pristine, Origin::Pristine, "pristine")?;
    let mut current = read(sides.current, Origin::Current, "current")?;
    let new = read(sides.new, Origin::New, "new")?;
    let mounts = mount_points(sides.current, &current)?;
    for path in &mounts {
        hide(&mut current, path, &pristine);
    }
    let trees = Sides {
        pristine,
        current,
        new,
    };
    Ok((trees, mounts))
}

pub(super) fn scan_whole(
    dir: &Dir,
    side: &str,
    options: &ApplyOptions,
) -> Result<Tree<FileContent>, Error> {
    let options = ScanOptions {
        digest: true,
        xattrs: true,
        one_file_system: true,
        ..options.scan.clone()
    };
    scan(dir, &options).map_err(|source| Error::Scan {
        side: side.to_owned(),
        source,
    })
}

fn locate(tree: &Tree<FileContent>, origin: Origin) -> Tree<Located> {
    let mut out = Tree::new(tree.inode(tree.root()).metadata.clone());
    for (path, id) in tree.walk() {
        let Inode { metadata, kind } = alone(tree.inode(id));
        let kind = match kind {
            Kind::File(content) => Kind::File(Located {
                origin,
                path: path.clone(),
                content,
            }),
            Kind::Directory(_) => Kind::Directory(Default::default()),
            Kind::Symlink(target) => Kind::Symlink(target),
            Kind::CharDevice(device) => Kind::CharDevice(device),
            Kind::BlockDevice(device) => Kind::BlockDevice(device),
            Kind::Fifo => Kind::Fifo,
            Kind::Socket => Kind::Socket,
        };
        out.put(&path, Inode { metadata, kind })
            .expect("a walk gives parents first");
    }
    out
}

/// An inode without its entries, if it is a directory.
pub(super) fn alone<C: Clone>(inode: &Inode<C>) -> Inode<C> {
    match &inode.kind {
        Kind::Directory(_) => Inode::directory(inode.metadata.clone()),
        _ => inode.clone(),
    }
}

/// Puts what the pristine tree has at a path into the current one. A mounted directory that is in
/// no image is kept, empty: it is there to be mounted on. A mounted file in no image is left out.
fn hide(current: &mut Tree<Located>, path: &TreePath, pristine: &Tree<Located>) {
    let directory = current.get(path).filter(|inode| inode.entries().is_some());
    let empty = directory.map(alone);
    current.remove(path);
    match (pristine.lookup(path), empty) {
        (Some(id), _) => {
            for (below, id) in pristine.walk_from(id) {
                let put = current.put(&path.concat(&below), alone(pristine.inode(id)));
                put.expect("a walk gives parents first");
            }
        }
        (None, Some(empty)) => {
            current.put(path, empty).expect("its parent is there");
        }
        (None, None) => {}
    }
}

/// The paths on which something is mounted; not those below one. Before Linux 5.8 a bind mount
/// within one file system is not noticed.
fn mount_points(root: &Dir, tree: &Tree<Located>) -> Result<Vec<TreePath>, Error> {
    let mut opener = Opener::new(root);
    let mount = |fd: BorrowedFd<'_>, name: &[u8]| {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let stat = rustix::fs::statx(fd, name, flags, StatxFlags::MNT_ID)?;
        let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        let id = known.then_some(stat.stx_mnt_id);
        Ok::<_, io::Error>((id, stat.stx_dev_major, stat.stx_dev_minor))
    };
    let failed = |path: &TreePath| {
        let (operation, path) = ("stat", path.clone());
        move |source| Error::Io {
            operation,
            path,
            source,
        }
    };
    let top = mount(root.as_fd(), b"").map_err(failed(&TreePath::root()))?;
    let mut out: Vec<TreePath> = Vec::new();
    for (path, _) in tree.walk() {
        let Some(name) = path.file_name() else {
            continue;
        };
        if out.last().is_some_and(|mount| path.starts_with(mount)) {
            continue;
        }
        let here = opener
            .parent(&path)
            .and_then(|fd| mount(fd, name.as_bytes()));
        if here.map_err(failed(&path))? != top {
            out.push(path);
        }
    }
    Ok(out)
}

/// Opens directories below one, component by component, and keeps the last ones open.
struct Opener<'a> {
    root: &'a Dir,
    open: Vec<(Box<[u8]>, OwnedFd)>,
}

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl<'a> Opener<'a> {
    fn new(root: &'a Dir) -> Self {
        let open = Vec::new();
        Self { root, open }
    }

    /// The directory that holds a path.
    fn parent(&mut self, path: &TreePath) -> io::Result<BorrowedFd<'_>> {
        let parent = path.parent().unwrap_or_default();
        let names = || parent.components();
        let common = self
            .open
            .iter()
            .zip(names())
            .take_while(|(a, b)| *a.0 == **b)
            .count();
        self.open.truncate(common);
        for name in names().skip(common) {
            let fd = rustix::fs::openat(self.top(), name, DIRECTORY, Mode::empty())?;
            self.open.push((name.into(), fd));
        }
        Ok(self.top())
    }

    fn top(&self) -> BorrowedFd<'_> {
        match self.open.last() {
            Some((_, fd)) => fd.as_fd(),
            None => self.root.as_fd(),
        }
    }
}

/// Opens contents, and makes sure that they are still what was compared.
pub(super) struct Source<'a> {
    openers: Sides<Opener<'a>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(sides: Sides<&'a Dir>) -> Self {
        let openers = sides.map(Opener::new);
        Self { openers }
    }
}

impl ContentSource<Located> for Source<'_> {
    fn open(&mut self, located: &Located) -> io::Result<Box<dyn Read + '_>> {
        let opener = match located.origin {
            Origin::Pristine => &mut self.openers.pristine,
            Origin::Current => &mut self.openers.current,
            Origin::New => &mut self.openers.new,
        };
        let name = located.path.file_name().ok_or(Changed)?;
        let parent = opener.parent(&located.path)?;
        let fd = rustix::fs::openat(parent, name.as_bytes(), REGULAR, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Changed.into());
        }
        Ok(Box::new(Verified {
            file: cap_std::fs::File::from_std(fd.into()),
            hasher: Sha256::new(),
            expected: located.content.digest,
        }))
    }
}

/// A content is no longer what the plan was made from.
#[derive(Debug, thiserror::Error)]
#[error("changed since it was compared")]
struct Changed;

impl From<Changed> for io::Error {
    fn from(changed: Changed) -> Self {
        Self::other(changed)
    }
}

struct Verified {
    file: cap_std::fs::File,
    hasher: Sha256,
    expected: Option<Digest>,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        if length == 0 && !buffer.is_empty() {
            let digest = Digest(self.hasher.clone().finalize().into());
            if self.expected != Some(digest) {
                return Err(Changed.into());
            }
        }
        Ok(length)
    }
}

/// Where something changed or vanished while it was read, if that is what the error says. The
/// target's side of a write does not vanish by itself, so only reading counts.
pub(super) fn changed_meanwhile(error: &Error) -> Option<TreePath> {
    let gone = |source: &io::Error| {
        let kind = source.kind();
        matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            || source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
            || source.get_ref().is_some_and(|inner| inner.is::<Changed>())
    };
    match error {
        Error::Scan {
            source: ScanError::Io { path, source, .. },
            ..
        } if gone(source) => Some(path.clone()),
        Error::Write {
            source:
                MaterializeError::Io {
                    operation: "read" | "write",
                    path,
                    source,
                },
            ..
        } if gone(source) => Some(path.clone()),
        Error::Io {
            operation: "stat",
            path,
            source,
        } if gone(source) => Some(path.clone()),
        _ => None,
    }
}
