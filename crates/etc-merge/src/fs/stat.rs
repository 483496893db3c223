//! One inode looked at, opened and listed, always below an open directory.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use pleach_fs_tree::{Device, Metadata, Name, NodeType, Timestamp, Xattrs};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags};
use rustix::io::Errno;

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Something is no longer what it was a moment ago; whoever reads begins again.
#[derive(Debug, thiserror::Error)]
#[error("changed while it was read")]
pub(super) struct Changed;

impl From<Changed> for io::Error {
    fn from(changed: Changed) -> Self {
        Self::other(changed)
    }
}

/// Whether an error says that something changed or vanished while it was read.
pub(super) fn changed_meanwhile(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::STALE];
    let errno = error.raw_os_error();
    gone.iter().any(|gone| errno == Some(gone.raw_os_error()))
        || error.get_ref().is_some_and(|inner| inner.is::<Changed>())
}

/// What the kernel says of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) node_type: NodeType,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    /// When anything of it was changed last; nobody can set it.
    pub(super) ctime: Timestamp,
    pub(super) device: Device,
    pub(super) inode: u64,
    pub(super) node: Device,
    /// Bytes that it takes on the disk; fewer than its size if it has holes.
    pub(super) allocated: u64,
    /// The mount that it is reached through; `None` before Linux 5.8.
    pub(super) mount: Option<u64>,
}

fn time(time: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    }
}

/// Tells an inode from one that had its number before: a number is given again when it is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) inode: u64,
    /// `None` where the file system does not say.
    pub(super) born: Option<Timestamp>,
}

impl Birth {
    /// Of a name in a directory; `None` where nothing has it.
    pub(super) fn find(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Self>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = match rustix::fs::statx(directory, name, flags, wanted) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Some(Self {
            inode: stat.stx_ino,
            born: known.then(|| time(stat.stx_btime)),
        }))
    }
}

impl Stat {
    /// Looks at `name` in a directory, or at the directory itself where it is empty.
    pub(super) fn at(directory: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let flags = match name.is_empty() {
            true => AtFlags::EMPTY_PATH,
            false => AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        };
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        Ok(Self::new(&rustix::fs::statx(
            directory, name, flags, wanted,
        )?))
    }

    /// Like [`at`](Self::at); `None` where nothing has that name.
    pub(super) fn find(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Self>> {
        match Self::at(directory, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(stat: &Statx) -> Self {
        let node_type = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Directory => NodeType::Directory,
            FileType::RegularFile => NodeType::File,
            FileType::Symlink => NodeType::Symlink,
            FileType::CharacterDevice => NodeType::CharDevice,
            FileType::BlockDevice => NodeType::BlockDevice,
            FileType::Fifo => NodeType::Fifo,
            _ => NodeType::Socket,
        };
        let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            node_type,
            mode: stat.stx_mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            device: Device {
                major: stat.stx_dev_major,
                minor: stat.stx_dev_minor,
            },
            inode: stat.stx_ino,
            node: Device {
                major: stat.stx_rdev_major,
                minor: stat.stx_rdev_minor,
            },
            allocated: stat.stx_blocks.saturating_mul(512),
            mount: known.then_some(stat.stx_mnt_id),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.node_type == NodeType::Directory
    }

    /// One inode under two names.
    pub(super) fn same_inode(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Both are on one mounted file system. Before Linux 5.8 a bind mount within one file system is
    /// not noticed.
    pub(super) fn same_mount(&self, other: &Self) -> bool {
        (self.device, self.mount) == (other.device, other.mount)
    }

    /// Nothing of the inode was changed in between.
    pub(super) fn unchanged(&self, later: &Self) -> bool {
        self.same_inode(later)
            && (self.ctime, self.mtime, self.size) == (later.ctime, later.mtime, later.size)
            && self.node_type == later.node_type
    }

    pub(super) fn same_owner_and_mode(&self, other: &Self) -> bool {
        (self.node_type, self.mode, self.uid, self.gid)
            == (other.node_type, other.mode, other.uid, other.gid)
    }

    pub(super) fn metadata(&self, xattrs: Xattrs) -> Metadata {
        Metadata {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            xattrs,
        }
    }

    /// All that tells one state of an inode from another, as bytes. When it was read last, how many
    /// names it has and through which mount do not count.
    pub(super) fn identity(&self) -> [u8; 76] {
        let mut out = [0; 76];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[self.node_type as u8, 0]);
        put(&self.mode.to_le_bytes());
        put(&self.uid.to_le_bytes());
        put(&self.gid.to_le_bytes());
        put(&self.size.to_le_bytes());
        for time in [self.mtime, self.ctime] {
            put(&time.seconds.to_le_bytes());
            put(&time.nanoseconds.to_le_bytes());
        }
        put(&self.inode.to_le_bytes());
        for device in [self.device, self.node] {
            put(&device.major.to_le_bytes());
            put(&device.minor.to_le_bytes());
        }
        out
    }
}

/// Opens a regular file, and makes sure that it is the one that was looked at, unchanged.
pub(super) fn open_file(directory: impl AsFd, name: &[u8], seen: &Stat) -> io::Result<OwnedFd> {
    let fd = rustix::fs::openat(directory, name, REGULAR, Mode::empty())?;
    match seen.unchanged(&Stat::at(&fd, b"")?) {
        true => Ok(fd),
        false => Err(Changed.into()),
    }
}

/// Opens what is said to be a regular file or a symbolic link, and looks at what was opened; `None`
/// where it is not, or cannot be opened: then it has to be looked at first.
pub(super) fn open_and_look(
    directory: impl AsFd,
    name: &[u8],
    said: FileType,
) -> Option<(OwnedFd, Stat)> {
    let (flags, node_type) = match said {
        FileType::RegularFile => (REGULAR, NodeType::File),
        FileType::Symlink => (PATH_ONLY, NodeType::Symlink),
        _ => return None,
    };
    let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    let stat = Stat::at(&fd, b"").ok()?;
    (stat.node_type == node_type).then_some((fd, stat))
}

/// Opens a directory below another, whatever it is.
pub(super) fn open_directory(directory: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        DIRECTORY,
        Mode::empty(),
    )?)
}

/// Opens something that is neither a regular file nor a directory, as a path alone, and makes sure
/// that it is what was looked at.
pub(super) fn open_special(directory: impl AsFd, name: &[u8], seen: &Stat) -> io::Result<OwnedFd> {
    let fd = open_path(directory, name)?;
    match seen.unchanged(&Stat::at(&fd, b"")?) {
        true => Ok(fd),
        false => Err(Changed.into()),
    }
}

/// Opens whatever has a name, as a path alone.
pub(super) fn open_path(directory: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        PATH_ONLY,
        Mode::empty(),
    )?)
}

/// The names in a directory, sorted by their bytes, in one piece of memory.
#[derive(Default)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    /// Where each begins (it ends where a NUL is), and what the directory says of it.
    starts: Vec<(u32, Said)>,
}

/// What a directory says of an entry, which need not be so a moment later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) file_type: FileType,
    pub(super) inode: u64,
}

impl Listing {
    pub(super) fn read(directory: impl AsFd) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name == b".\0" || name == b"..\0" {
                continue;
            }
            let start = u32::try_from(listing.bytes.len()).map_err(io::Error::other)?;
            let said = Said {
                file_type: entry.file_type(),
                inode: entry.ino(),
            };
            listing.starts.push((start, said));
            listing.bytes.extend_from_slice(name);
        }
        let bytes = &listing.bytes;
        listing
            .starts
            .sort_unstable_by_key(|&(start, _)| name_at(bytes, start));
        Ok(listing)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.entries().map(|(name, _)| name)
    }

    /// Each name, and what the directory says of it.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], Said)> {
        let entry = |&(start, said): &(u32, Said)| (name_at(&self.bytes, start), said);
        self.starts.iter().map(entry)
    }
}

fn name_at(bytes: &[u8], start: u32) -> &[u8] {
    let rest = &bytes[start as usize..];
    let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
    &rest[..end]
}

/// A name that the kernel gave.
pub(super) fn name(bytes: &[u8]) -> Name {
    Name::new(bytes).expect("the kernel gives plain names")
}
