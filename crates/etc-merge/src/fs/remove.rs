//! What is no longer needed is removed.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::stat::{Listing, Stat, open_directory};

/// Removes a name and all that is below it, if it is there. Nothing is followed, and nothing is
/// removed from what is mounted below: that is `EBUSY`.
pub(super) fn remove(directory: impl AsFd, name: &[u8]) -> io::Result<()> {
    // What is read-only says so also of what is not there.
    if Stat::find(&directory, name)?.is_none() {
        return Ok(());
    }
    let top = Stat::at(&directory, b"")?;
    remove_below(&directory, name, &top)
}

fn remove_below(directory: impl AsFd, name: &[u8], top: &Stat) -> io::Result<()> {
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let fd = open_directory(&directory, name)?;
    if !Stat::at(&fd, b"")?.same_mount(top) {
        return Err(Errno::BUSY.into());
    }
    for name in Listing::read(&fd)?.iter() {
        remove_below(&fd, name, top)?;
    }
    match rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
