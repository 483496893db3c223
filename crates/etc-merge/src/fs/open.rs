//! Paths opened component by component, and contents read for policies.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cap_std::fs::Dir;
use pleach_fs_tree::TreePath;

use super::origin::{Located, SIDES};
use super::stat::{Changed, open_directory, open_file};
use crate::bytes::Contents;
use crate::{Error, Sides};

/// Opens directories below one, component by component, and keeps the last ones open.
pub(super) struct Opener<'a> {
    root: &'a Dir,
    open: Vec<(Box<[u8]>, OwnedFd)>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(root: &'a Dir) -> Self {
        let open = Vec::new();
        Self { root, open }
    }

    /// The directory at a path.
    pub(super) fn directory(&mut self, path: &TreePath) -> io::Result<BorrowedFd<'_>> {
        let names = || path.components();
        let common = self
            .open
            .iter()
            .zip(names())
            .take_while(|(a, b)| *a.0 == **b)
            .count();
        self.open.truncate(common);
        for name in names().skip(common) {
            let fd = open_directory(self.top(), name)?;
            self.open.push((name.into(), fd));
        }
        Ok(self.top())
    }

    /// The directory that holds a path.
    pub(super) fn parent(&mut self, path: &TreePath) -> io::Result<BorrowedFd<'_>> {
        self.directory(&path.parent().unwrap_or_default())
    }

    fn top(&self) -> BorrowedFd<'_> {
        match self.open.last() {
            Some((_, fd)) => fd.as_fd(),
            None => self.root.as_fd(),
        }
    }
}

/// The contents of the three directories.
pub(super) struct OnDisk<'a> {
    openers: RefCell<Sides<Opener<'a>>>,
    max_bytes: u64,
}

impl<'a> OnDisk<'a> {
    pub(super) fn new(sides: Sides<&'a Dir>, max_bytes: u64) -> Self {
        Self {
            openers: RefCell::new(sides.map(Opener::new)),
            max_bytes,
        }
    }
}

impl Contents<Located> for OnDisk<'_> {
    fn same(&self, a: &Located, b: &Located) -> bool {
        a.class == b.class
    }

    fn identify(&self, content: &Located, tell: &mut dyn FnMut(&[u8])) {
        tell(&content.stat.identity());
    }

    fn bytes<'b>(
        &self,
        path: &TreePath,
        content: &'b Located,
    ) -> Result<Option<Cow<'b, [u8]>>, Error> {
        if content.stat.size > self.max_bytes {
            return Ok(None);
        }
        let mut openers = self.openers.borrow_mut();
        let read = |opener: &mut Opener<'_>| -> io::Result<Vec<u8>> {
            let name = path.file_name().ok_or(Changed)?;
            let fd = open_file(opener.parent(path)?, name.as_bytes(), &content.stat)?;
            let size = usize::try_from(content.stat.size).map_err(io::Error::other)?;
            let mut bytes = vec![0; size + 1];
            let length = read_up_to(&fd, &mut bytes, 0)?;
            if length != size {
                return Err(Changed.into());
            }
            bytes.truncate(size);
            Ok(bytes)
        };
        let bytes = read(content.origin.of_mut(&mut openers));
        let bytes = bytes.map_err(|source| Error::Read {
            side: SIDES[content.origin as usize],
            operation: "read",
            path: path.clone(),
            source,
        })?;
        Ok(Some(Cow::Owned(bytes)))
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_up_to(
    fd: impl AsFd,
    buffer: &mut [u8],
    offset: u64,
) -> rustix::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(&fd, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
