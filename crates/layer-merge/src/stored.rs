//! Contents that were stored, and how they are read again.

use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use pleach_fs_tree::{ContentSource, Digest, FileContent, write_all};
use rustix::io::Errno;

use crate::{BUFFER, FileSize};

/// The content of one file in a [`ContentStore`](crate::ContentStore).
#[derive(Debug, Clone)]
pub struct ContentRef {
    pub(crate) content: FileContent,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory(Bytes),
    Spool(Arc<OwnedFd>, u64),
    Own(Arc<OwnedFd>),
}

impl ContentRef {
    /// Size and digest.
    pub fn content(&self) -> FileContent {
        self.content
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.content.size
    }

    /// SHA-256 of the content, where it was asked for.
    pub fn digest(&self) -> Option<Digest> {
        self.content.digest
    }

    /// Reads the content from its beginning.
    pub fn open(&self) -> ContentReader {
        ContentReader {
            place: self.place.clone(),
            at: 0,
            size: self.content.size,
        }
    }
}

impl FileSize for ContentRef {
    fn file_size(&self) -> u64 {
        self.size()
    }
}

/// See [`ContentRef::open`].
#[derive(Debug)]
pub struct ContentReader {
    place: Place,
    at: u64,
    size: u64,
}

impl Read for ContentReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let length = out.len().min(left);
        let out = &mut out[..length];
        let n = match self.place.file() {
            Err(bytes) => {
                let at = usize::try_from(self.at).expect("within memory");
                out.copy_from_slice(&bytes[at..][..length]);
                length
            }
            Ok((file, start)) => match rustix::io::pread(file, &mut *out, start + self.at)? {
                // The end of the temporary file, in a hole.
                0 => {
                    out.fill(0);
                    length
                }
                n => n,
            },
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Place {
    /// The file that has it, and from where on; or the bytes.
    fn file(&self) -> Result<(&OwnedFd, u64), &[u8]> {
        match self {
            Self::Memory(bytes) => Err(bytes),
            Self::Spool(file, start) => Ok((file, *start)),
            Self::Own(file) => Ok((file, 0)),
        }
    }
}

/// The source that [`materialize`](pleach_fs_tree::materialize) and the layer writer want, for a
/// merged tree.
pub fn contents() -> Contents {
    Contents { take: false }
}

/// As [`contents`], but the large files that have a temporary file of their own
/// ([`StoreOptions::own_files`](crate::StoreOptions::own_files)) become those of the tree that is written, if it is on the same
/// file system: for a store that is used for one tree alone. A [`ContentRef`] to such a file reads
/// what the tree has from then on.
pub fn take_contents() -> Contents {
    Contents { take: true }
}

/// See [`contents`] and [`take_contents`].
#[derive(Debug, Clone)]
pub struct Contents {
    take: bool,
}

impl ContentSource<ContentRef> for Contents {
    fn open(&mut self, content: &ContentRef) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(content.open()))
    }

    fn write(&mut self, content: &ContentRef, file: BorrowedFd<'_>) -> io::Result<()> {
        let (from, start) = match content.place.file() {
            Ok(from) => from,
            Err(bytes) => return write_all(file, bytes),
        };
        // Inside the kernel, and where the file system can, without copying.
        let (mut at, end) = (start, start + content.size());
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(from, Some(&mut at), file, None, length) {
                // The end of the temporary file, in a hole.
                Ok(0) => return Ok(rustix::fs::ftruncate(file, content.size())?),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    return copy(content, at - start, file);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, content: &ContentRef) -> Option<OwnedFd> {
        match &content.place {
            Place::Own(file) if self.take => file.try_clone().ok(),
            _ => None,
        }
    }
}

/// Copies what is left from `at` on through memory.
fn copy(content: &ContentRef, at: u64, file: BorrowedFd<'_>) -> io::Result<()> {
    let mut reader = ContentReader {
        at,
        ..content.open()
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            n => write_all(file, &buffer[..n])?,
        }
    }
}
