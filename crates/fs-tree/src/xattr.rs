//! Extended attributes through file descriptors, whatever their size.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;
use rustix::io::{Errno, Result};

use crate::Xattrs;

/// Calls `read` with a buffer that grows until the answer fits (the kernel says `ERANGE`).
fn growing(mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    // Nearly all answers are small, or empty.
    let mut small = [0; 256];
    match read(&mut small) {
        Err(Errno::RANGE) => {}
        answer => return answer.map(|length| small[..length].to_vec()),
    }
    let mut buffer = vec![0; 1024];
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

/// Reads all extended attributes of an open inode. Where it is not `direct`, `fd` may be `O_PATH`
/// (symbolic links, devices); then `/proc` must be mounted. A file system that has none gives none.
pub(crate) fn read(fd: impl AsFd, direct: bool) -> Result<Xattrs> {
    let link = if direct {
        String::new()
    } else {
        magic_link(&fd)
    };
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
    let link = if direct {
        String::new()
    } else {
        magic_link(&fd)
    };
    for (name, value) in xattrs {
        if direct {
            rustix::fs::fsetxattr(&fd, &**name, value, XattrFlags::empty())?;
        } else {
            rustix::fs::setxattr(&link, &**name, value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// Removes an extended attribute; see [`read`] about `O_PATH`.
pub(crate) fn remove(fd: impl AsFd, direct: bool, name: &[u8]) -> Result<()> {
    if direct {
        rustix::fs::fremovexattr(&fd, name)
    } else {
        rustix::fs::removexattr(magic_link(&fd), name)
    }
}
