//! One new inode after the other, with as few system calls as its attributes allow.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::attributes::{MetadataError, times, write_metadata};
use crate::{ContentSource, Inode, Kind, MaterializeOptions, Metadata, NodeType, xattr};

pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
const SETGID: u16 = 0o2000;

/// Makes inodes below one directory.
pub(crate) struct NewInodes<'a> {
    options: &'a MaterializeOptions,
    born: Option<Born>,
}

/// What new inodes have before anybody sets anything.
struct Born {
    uid: u32,
    gid: u32,
    /// The permission bits that are given if they are asked for.
    permissions: u16,
    /// What a directory has besides.
    directory: u16,
}

impl<'a> NewInodes<'a> {
    /// Takes the directory's default ACL away. So nothing inherits one: directories get theirs when
    /// they are full.
    pub(crate) fn below(
        top: &OwnedFd,
        options: &'a MaterializeOptions,
    ) -> Result<Self, MetadataError> {
        if options.xattrs {
            match rustix::fs::fremovexattr(top, DEFAULT_ACL) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(step("set the extended attributes of")(error)),
            }
        }
        let born = Born::find(top).map_err(step("stat"))?;
        Ok(Self { options, born })
    }

    /// An empty directory and the mode that it has, where that is known. Nobody else may put
    /// anything into it before it has its attributes.
    pub(crate) fn directory(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<(OwnedFd, Option<u16>), MetadataError> {
        let wanted = metadata.mode;
        let open = wanted & 0o7022 == 0 && wanted & 0o700 == 0o700 && !self.has_xattrs(metadata);
        let asked = if open { wanted } else { 0o700 };
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(asked.into()))
            .map_err(step("create"))?;
        let fd =
            rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(step("open"))?;
        let has = |born: &Born| asked & born.permissions | born.directory;
        Ok((fd, self.born.as_ref().map(has)))
    }

    /// Everything but a directory, with its attributes.
    pub(crate) fn inode<C>(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        inode: &Inode<C>,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), MetadataError> {
        let Inode { metadata, kind } = inode;
        match kind {
            Kind::File(content) => return self.file(directory, name, content, metadata, source),
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(&**target, directory, name).map_err(step("create"))?;
                if let Some(born) = self.born.as_ref().filter(|_| !self.has_xattrs(metadata)) {
                    return self.symlink(directory, name, metadata, born);
                }
            }
            Kind::CharDevice(_) | Kind::BlockDevice(_) if !self.options.devices => return Ok(()),
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                let file_type = match kind {
                    Kind::CharDevice(_) => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                let number = rustix::fs::makedev(device.major, device.minor);
                node(directory, name, file_type, number)?;
            }
            Kind::Fifo => node(directory, name, FileType::Fifo, 0)?,
            Kind::Socket => node(directory, name, FileType::Socket, 0)?,
            Kind::Directory(_) => unreachable!("made by `directory`"),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(step("open"))?;
        write_metadata(&fd, kind.node_type(), metadata, self.options)
    }

    fn file<C>(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        content: &C,
        metadata: &Metadata,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), MetadataError> {
        if let Some(fd) = source.take(content) {
            let link = xattr::magic_link(&fd);
            let follow = AtFlags::SYMLINK_FOLLOW;
            match rustix::fs::linkat(rustix::fs::CWD, &*link, directory, name, follow) {
                Ok(()) => {
                    return write_metadata(&fd, NodeType::File, metadata, self.options);
                }
                // Not here: another file system, no /proc, or one that knows no such links.
                Err(Errno::XDEV | Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(step("create")(error)),
            }
        }
        // Special bits would go when the owner changes, and an ACL may take bits away.
        let asked = match self.has_xattrs(metadata) {
            true => 0o600,
            false => metadata.mode & 0o777,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(asked.into()))
            .map_err(step("create"))?;
        source.write(content, fd.as_fd()).map_err(step("write"))?;
        let has = |born: &Born| asked & born.permissions;
        let mode = self.born.as_ref().map(has);
        self.attributes(&fd, NodeType::File, metadata, mode)
    }

    /// What a new symbolic link needs. Its directory is ours alone, so the name still means it.
    fn symlink(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        metadata: &Metadata,
        born: &Born,
    ) -> Result<(), MetadataError> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if self.options.owner && !born.owner(metadata) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)
                .map_err(step("change the owner of"))?;
        }
        if self.options.mtime {
            rustix::fs::utimensat(directory, name, &times(metadata), flags)
                .map_err(step("set the time of"))?;
        }
        Ok(())
    }

    /// Gives a new file or a full directory its attributes; `mode` is what it has,
    /// if that is known. What is known to
    /// be right already is not set again.
    pub(crate) fn attributes(
        &self,
        fd: &OwnedFd,
        node_type: NodeType,
        metadata: &Metadata,
        mode: Option<u16>,
    ) -> Result<(), MetadataError> {
        let (born, mode) = match (&self.born, mode) {
            (Some(born), Some(mode)) if !self.has_xattrs(metadata) => (born, mode),
            _ => return write_metadata(fd, node_type, metadata, self.options),
        };
        if self.options.owner && !born.owner(metadata) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(step("change the owner of"))?;
        }
        if mode != metadata.mode {
            let mode = Mode::from_raw_mode(metadata.mode.into());
            rustix::fs::fchmod(fd, mode).map_err(step("change the mode of"))?;
        }
        if self.options.mtime {
            rustix::fs::futimens(fd, &times(metadata)).map_err(step("set the time of"))?;
        }
        Ok(())
    }

    fn has_xattrs(&self, metadata: &Metadata) -> bool {
        self.options.xattrs && !metadata.xattrs.is_empty()
    }
}

impl Born {
    /// Asks a file without a name; `None` where the file system has none.
    fn find(directory: &OwnedFd) -> io::Result<Option<Self>> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let probe = rustix::fs::openat(directory, ".", flags, Mode::from_raw_mode(0o777));
        let Ok(probe) = probe else {
            return Ok(None);
        };
        let (file, directory) = (rustix::fs::fstat(&probe)?, rustix::fs::fstat(directory)?);
        let bits = |mode: u32, mask: u16| u16::try_from(mode & u32::from(mask)).expect("masked");
        Ok(Some(Self {
            uid: file.st_uid,
            gid: file.st_gid,
            permissions: bits(file.st_mode, 0o777),
            directory: bits(directory.st_mode, SETGID),
        }))
    }

    fn owner(&self, metadata: &Metadata) -> bool {
        (self.uid, self.gid) == (metadata.uid, metadata.gid)
    }
}

fn node(
    parent: &OwnedFd,
    name: &[u8],
    file_type: FileType,
    device: u64,
) -> Result<(), MetadataError> {
    rustix::fs::mknodat(parent, name, file_type, Mode::RUSR | Mode::WUSR, device)
        .map_err(step("create"))
}

/// What failed, without its path.
pub(crate) fn step<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> MetadataError {
    move |error| MetadataError {
        operation,
        source: error.into(),
    }
}
