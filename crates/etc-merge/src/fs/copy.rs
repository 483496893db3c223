//! One inode copied, with its exact attributes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use pleach_fs_tree::{
    Inode, Kind, MaterializeOptions, Metadata, NodeType, read_xattrs, write_metadata,
};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::open::read_up_to;
use super::stat::{Changed, Stat, open_file, open_path, open_special};
use crate::inode::without_overlayfs;

/// What failed, and on which end.
#[derive(Debug)]
pub(super) struct CopyError {
    pub(super) reading: bool,
    pub(super) operation: &'static str,
    pub(super) source: io::Error,
}

impl CopyError {
    pub(super) fn reading(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        reading(operation)
    }
}

fn reading<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> CopyError {
    move |error| CopyError {
        reading: true,
        operation,
        source: error.into(),
    }
}

fn writing<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> CopyError {
    move |error| CopyError {
        reading: false,
        operation,
        source: error.into(),
    }
}

/// A name in an open directory.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
}

const BUFFER: usize = 64 * 1024;

/// Copies what is no directory.
pub(super) struct Copier<'a> {
    options: &'a MaterializeOptions,
    buffer: Vec<u8>,
    /// Whether the file system may share blocks between files.
    shares_blocks: bool,
}

impl<'a> Copier<'a> {
    pub(super) fn new(options: &'a MaterializeOptions) -> Self {
        Self {
            options,
            buffer: vec![0; BUFFER + 1],
            shares_blocks: true,
        }
    }

    /// Copies a regular file that still is what was `seen`. With `metadata` it gets those instead of
    /// its own.
    pub(super) fn file(
        &mut self,
        from: Place<'_>,
        seen: &Stat,
        to: Place<'_>,
        metadata: Option<&Metadata>,
    ) -> Result<OwnedFd, CopyError> {
        let source = open_file(from.directory, from.name, seen).map_err(reading("open"))?;
        let own;
        let metadata = match metadata {
            Some(metadata) => metadata,
            None => {
                let xattrs = read_xattrs(&source, NodeType::File)
                    .map_err(reading("read the attributes of"))?;
                own = without_overlayfs(seen.metadata(xattrs));
                &own
            }
        };
        let target = create(to)?;
        self.content(&source, seen, &target)?;
        let after = Stat::at(&source, b"").map_err(reading("stat"))?;
        if !seen.unchanged(&after) {
            return Err(reading("read")(Changed));
        }
        self.attributes(&target, NodeType::File, metadata)?;
        Ok(target)
    }

    /// Writes a regular file of these bytes.
    pub(super) fn bytes(
        &self,
        bytes: &[u8],
        to: Place<'_>,
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        let target = create(to)?;
        write_all(&target, bytes).map_err(writing("write"))?;
        self.attributes(&target, NodeType::File, metadata)
    }

    /// Makes a symbolic link, device, pipe or socket; `None` where the options leave it out.
    pub(super) fn special<C>(
        &self,
        inode: &Inode<C>,
        to: Place<'_>,
    ) -> Result<Option<OwnedFd>, CopyError> {
        let node_type = inode.kind.node_type();
        let node = |file_type, device| {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(to.directory, to.name, file_type, mode, device)
        };
        let number =
            |device: &pleach_fs_tree::Device| rustix::fs::makedev(device.major, device.minor);
        let made = match &inode.kind {
            Kind::CharDevice(_) | Kind::BlockDevice(_) if !self.options.devices => return Ok(None),
            Kind::Directory(_) | Kind::File(_) => return Ok(None),
            Kind::Symlink(target) => rustix::fs::symlinkat(&**target, to.directory, to.name),
            Kind::CharDevice(device) => node(FileType::CharacterDevice, number(device)),
            Kind::BlockDevice(device) => node(FileType::BlockDevice, number(device)),
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::Socket => node(FileType::Socket, 0),
        };
        made.map_err(writing("create"))?;
        let made = open_path(to.directory, to.name).map_err(writing("open"))?;
        // Owner and mode are not given to what somebody put in its place.
        let there = Stat::at(&made, b"").map_err(writing("stat"))?;
        if there.node_type != node_type {
            return Err(writing("open")(Changed));
        }
        self.attributes(&made, node_type, &inode.metadata)?;
        Ok(Some(made))
    }

    /// Gives an open inode its attributes.
    pub(super) fn attributes(
        &self,
        fd: impl AsFd,
        node_type: NodeType,
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        write_metadata(fd, node_type, metadata, self.options).map_err(|error| CopyError {
            reading: false,
            operation: error.operation,
            source: error.source,
        })
    }

    fn content(
        &mut self,
        source: &OwnedFd,
        seen: &Stat,
        target: &OwnedFd,
    ) -> Result<(), CopyError> {
        if seen.size <= BUFFER as u64 {
            let length = read_up_to(source, &mut self.buffer, 0).map_err(reading("read"))?;
            if length as u64 != seen.size {
                return Err(reading("read")(Changed));
            }
            return write_all(target, &self.buffer[..length]).map_err(writing("write"));
        }
        if self.shares_blocks {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => return Ok(()),
                Err(_) => self.shares_blocks = false,
            }
        }
        let mut at = 0;
        while at < seen.size {
            let (from, to) = data(source, at, seen).map_err(reading("read"))?;
            self.range(source, from..to, target)?;
            at = to;
        }
        rustix::fs::ftruncate(target, seen.size).map_err(writing("write"))
    }

    fn range(
        &mut self,
        source: &OwnedFd,
        range: std::ops::Range<u64>,
        target: &OwnedFd,
    ) -> Result<(), CopyError> {
        let mut at = range.start;
        rustix::fs::seek(target, SeekFrom::Start(at)).map_err(writing("write"))?;
        while at < range.end {
            let length = usize::try_from(range.end - at)
                .unwrap_or(BUFFER)
                .min(BUFFER);
            let buffer = &mut self.buffer[..length];
            if read_up_to(source, buffer, at).map_err(reading("read"))? != length {
                return Err(reading("read")(Changed));
            }
            write_all(target, buffer).map_err(writing("write"))?;
            at += length as u64;
        }
        Ok(())
    }
}

/// The next part of a file that is no hole; at its end, an empty one.
fn data(source: &OwnedFd, at: u64, seen: &Stat) -> io::Result<(u64, u64)> {
    if seen.allocated >= seen.size {
        return Ok((at, seen.size));
    }
    let from = match rustix::fs::seek(source, SeekFrom::Data(at)) {
        Ok(from) => from,
        Err(Errno::NXIO) => return Ok((seen.size, seen.size)),
        // The file system knows nothing of holes.
        Err(Errno::INVAL) => return Ok((at, seen.size)),
        Err(error) => return Err(error.into()),
    };
    let to = rustix::fs::seek(source, SeekFrom::Hole(from))?;
    Ok((from.min(seen.size), to.min(seen.size)))
}

fn create(to: Place<'_>) -> Result<OwnedFd, CopyError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::openat(to.directory, to.name, flags, mode).map_err(writing("create"))
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads a symbolic link, device, pipe or socket as it is now.
pub(super) fn read_special(from: Place<'_>, stat: &Stat) -> Result<Inode<()>, CopyError> {
    let read = || -> io::Result<Inode<()>> {
        let fd = open_special(from.directory, from.name, stat)?;
        let kind = match stat.node_type {
            NodeType::Symlink => {
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
                Kind::Symlink(target.into_bytes().into())
            }
            NodeType::CharDevice => Kind::CharDevice(stat.node),
            NodeType::BlockDevice => Kind::BlockDevice(stat.node),
            NodeType::Fifo => Kind::Fifo,
            NodeType::Socket => Kind::Socket,
            NodeType::Directory | NodeType::File => return Err(Changed.into()),
        };
        let metadata = without_overlayfs(stat.metadata(read_xattrs(&fd, stat.node_type)?));
        Ok(Inode { metadata, kind })
    };
    read().map_err(reading("read"))
}
