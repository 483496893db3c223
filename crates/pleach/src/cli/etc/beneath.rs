//! Files below an open directory, without following a link.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use pleach_fs_tree::TreePath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Opens a directory below another, component by component; no link is followed.
pub(super) fn open_dir(top: &Dir, path: &TreePath) -> io::Result<Dir> {
    let mut at = Dir::from_std_file(rustix::fs::openat(top, ".", DIRECTORY, Mode::empty())?.into());
    for name in path.components() {
        let fd = rustix::fs::openat(&at, name, DIRECTORY, Mode::empty())?;
        at = Dir::from_std_file(fd.into());
    }
    Ok(at)
}

/// The same, or `None` where it does not exist.
pub(crate) fn find_dir(top: &Dir, path: &TreePath) -> io::Result<Option<Dir>> {
    match open_dir(top, path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a regular file in a directory.
pub(super) fn open_file(dir: &Dir, name: &[u8]) -> io::Result<std::fs::File> {
    let fd = rustix::fs::openat(dir, name, REGULAR, Mode::empty())?;
    let file = std::fs::File::from(fd);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// The type of an entry; `None` if there is none.
pub(super) fn file_type(dir: &Dir, name: &[u8]) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A whole file of at most `limit` bytes; `shown` is its name in errors.
pub(super) fn read(dir: &Dir, name: &[u8], limit: u64, shown: &Path) -> Result<Vec<u8>> {
    let reading = || format!("reading {}", shown.display());
    let file = open_file(dir, name).with_context(reading)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(reading)?;
    if bytes.len() as u64 > limit {
        bail!("{} has more than {limit} bytes", shown.display());
    }
    Ok(bytes)
}
