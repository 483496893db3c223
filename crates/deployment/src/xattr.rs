//! Extended attributes, all of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::XattrFlags;

use crate::error::{Result, io};

/// The kernel's `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const MAX: usize = 64 << 10;

pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Those of an entry of `parent`, a link itself included; `path` is for errors, its last name counts.
pub(crate) fn read(parent: BorrowedFd<'_>, path: &Path) -> Result<Xattrs> {
    let target = target(parent, path);
    let mut buffer = vec![0; MAX];
    let length = names(&target, path, &mut buffer)?;
    let names: Vec<_> = buffer[..length]
        .split(|b| *b == 0)
        .map(<[u8]>::to_vec)
        .collect();
    let mut all = Xattrs::new();
    for name in names.into_iter().filter(|n| !n.is_empty()) {
        let length = rustix::fs::lgetxattr(target.as_slice(), name.as_slice(), &mut buffer)
            .map_err(io("read extended attribute of", path))?;
        all.insert(name, buffer[..length].to_vec());
    }
    Ok(all)
}

/// Whether an entry of `parent` has any.
pub(crate) fn any(parent: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    names(&target(parent, path), path, &mut vec![0; MAX]).map(|length| length > 0)
}

/// Gives one entry those of another one; each is a path below a directory, and the entry may be a link.
pub(crate) fn copy(
    from: (BorrowedFd<'_>, &str),
    to: (BorrowedFd<'_>, &str),
) -> rustix::io::Result<()> {
    let (from, to) = (below(from.0, from.1), below(to.0, to.1));
    let mut buffer = vec![0; MAX];
    let length = match rustix::fs::llistxattr(&*from, &mut buffer[..]) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        length => length?,
    };
    let names = buffer[..length].to_vec();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::lgetxattr(&*from, name, &mut buffer[..])?;
        rustix::fs::lsetxattr(&*to, name, &buffer[..length], XattrFlags::empty())?;
    }
    Ok(())
}

fn names(target: &[u8], path: &Path, buffer: &mut [u8]) -> Result<usize> {
    match rustix::fs::llistxattr(target, buffer) {
        Err(rustix::io::Errno::NOTSUP) => Ok(0),
        other => other.map_err(io("list extended attributes of", path)),
    }
}

/// There is no call for an entry of a directory; this way no directory on the way can be swapped for a link.
fn target(parent: BorrowedFd<'_>, path: &Path) -> Vec<u8> {
    below(parent, path.file_name().unwrap_or(OsStr::new(".")))
}

fn below(parent: BorrowedFd<'_>, path: impl AsRef<OsStr>) -> Vec<u8> {
    let mut target = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    target.extend(path.as_ref().as_bytes());
    target
}
