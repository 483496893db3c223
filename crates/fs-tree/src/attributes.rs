//! The attributes of one open inode, read and written.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use thiserror::Error;

use crate::{MaterializeOptions, Metadata, NodeType, Xattrs, xattr};

/// Attributes that cannot be written.
#[derive(Debug, Error)]
#[error("{operation} an inode")]
pub struct MetadataError {
    /// What was tried, as the beginning of a sentence that goes on with a path.
    pub operation: &'static str,
    /// What the system said.
    pub source: io::Error,
}

pub(crate) fn node_type(file_type: FileType) -> NodeType {
    match file_type {
        FileType::Directory => NodeType::Directory,
        FileType::RegularFile => NodeType::File,
        FileType::Symlink => NodeType::Symlink,
        FileType::CharacterDevice => NodeType::CharDevice,
        FileType::BlockDevice => NodeType::BlockDevice,
        FileType::Fifo => NodeType::Fifo,
        _ => NodeType::Socket,
    }
}

/// Whether the kernel takes descriptors of this type for extended attributes and modes; of others
/// only the path is open.
fn direct(node_type: NodeType) -> bool {
    matches!(node_type, NodeType::File | NodeType::Directory)
}

/// Reads all extended attributes of an open inode, whatever their size. `fd` may be `O_PATH` where
/// it is neither a regular file nor a directory; then `/proc` must be mounted. A file system that
/// has no extended attributes gives none.
///
/// # Errors
/// What the system says.
pub fn read_xattrs(fd: impl AsFd, node_type: NodeType) -> io::Result<Xattrs> {
    Ok(xattr::read(fd, direct(node_type))?)
}

/// Gives an open inode exactly these attributes: owner before mode and capabilities, since changing
/// the owner clears both; time last. Extended attributes that it has and should not are removed,
/// except labels that the system gives by itself (`security.selinux` and its like). `fd` is as for
/// [`read_xattrs`].
///
/// # Errors
/// With the operation that failed.
pub fn write_metadata(
    fd: impl AsFd,
    node_type: NodeType,
    metadata: &Metadata,
    options: &MaterializeOptions,
) -> Result<(), MetadataError> {
    let direct = direct(node_type);
    if options.owner {
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&fd, "", Some(uid), Some(gid), flags)
            .map_err(failed("change the owner of"))?;
    }
    if options.xattrs {
        let set = || -> rustix::io::Result<()> {
            for name in xattr::read(&fd, direct)?.keys() {
                if !metadata.xattrs.contains_key(name) && !given_by_the_system(name) {
                    xattr::remove(&fd, direct, name)?;
                }
            }
            xattr::write(&fd, direct, &metadata.xattrs)
        };
        set().map_err(failed("set the extended attributes of"))?;
    }
    if node_type != NodeType::Symlink {
        let mode = Mode::from_raw_mode(metadata.mode.into());
        let set = if direct {
            rustix::fs::fchmod(&fd, mode)
        } else {
            rustix::fs::chmod(xattr::magic_link(&fd), mode)
        };
        set.map_err(failed("change the mode of"))?;
    }
    if options.mtime {
        let times = times(metadata);
        let set = if direct {
            rustix::fs::futimens(&fd, &times)
        } else {
            rustix::fs::utimensat(&fd, "", &times, AtFlags::EMPTY_PATH)
        };
        set.map_err(failed("set the time of"))?;
    }
    Ok(())
}

/// The modification time, as the system calls want it; that of the last access stays.
pub(crate) fn times(metadata: &Metadata) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: metadata.mtime.seconds,
            tv_nsec: metadata.mtime.nanoseconds.into(),
        },
    }
}

/// Labels of security modules: each new inode has them, and taking them away is not allowed.
fn given_by_the_system(name: &[u8]) -> bool {
    let known: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];
    name.starts_with(b"security.") && !known.contains(&name)
}

fn failed<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> MetadataError {
    move |error| MetadataError {
        operation,
        source: error.into(),
    }
}
