//! Extended attributes through file descriptors, whatever their size.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FileType, XattrFlags};
use rustix::io::{Errno, Result};

use crate::Xattrs;

/// Calls `read` with a buffer that grows until the answer fits (the kernel says `ERANGE`).
fn growing(mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {
                let larger = buffer.len() * 4;
                buffer.resize(larger, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The magic link of an `O_PATH` descriptor: it leads to that very inode, a symbolic link too.
pub(crate) fn magic_link(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Reads all extended attributes of an open inode. `fd` may be `O_PATH` (symbolic links, devices);
/// then `/proc` must be mounted. A file system that has none gives none.
pub(crate) fn read(fd: impl AsFd, file_type: FileType) -> Result<Xattrs> {
    let direct = matches!(file_type, FileType::RegularFile | FileType::Directory);
    let link = magic_link(&fd);
    let names = growing(|buffer| {
        if direct {
            rustix::fs::flistxattr(&fd, buffer)
        } else {
            rustix::fs::listxattr(&link, buffer)
        }
    });
    let names = match names {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        Err(error) => return Err(error),
    };
    let mut out = Xattrs::new();
    for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let value = growing(|buffer| {
            if direct {
                rustix::fs::fgetxattr(&fd, name, buffer)
            } else {
                rustix::fs::getxattr(&link, name, buffer)
            }
        });
        match value {
            Ok(value) => {
                out.insert(name.into(), value.into());
            }
            Err(Errno::NODATA) => {} // removed since it was listed
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

/// Sets extended attributes of an open inode; see [`read`] about `O_PATH`.
pub(crate) fn write(fd: impl AsFd, direct: bool, xattrs: &Xattrs) -> Result<()> {
    let link = magic_link(&fd);
    for (name, value) in xattrs {
        if direct {
            rustix::fs::fsetxattr(&fd, &**name, value, XattrFlags::empty())?;
        } else {
            rustix::fs::setxattr(&link, &**name, value, XattrFlags::empty())?;
        }
    }
    Ok(())
}
