//! Contents of regular files become objects while layers are read.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use pleach_fs_tree::{Digest, FileContent, Metadata};
use sha2::{Digest as _, Sha256};

use super::object::{Object, file_header};
use super::store::Store;
use crate::ContentSink;
use crate::cache::{CacheContent, Input, Output};

/// Writes the content of each regular file as the object that it is, once: see
/// [`Transaction::sink`](super::Transaction::sink).
#[derive(Debug)]
pub struct RepoSink<'a> {
    store: &'a Store,
    small_file: u64,
    /// The content of a small file; it is kept from one to the next.
    buffer: Vec<u8>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    metadata: Metadata,
    hasher: Sha256,
    /// Where a file goes that is too large for the buffer: its temporary name, and how far it is.
    large: Option<(String, OwnedFd, u64)>,
}

impl<'a> RepoSink<'a> {
    pub(super) fn new(store: &'a Store, small_file: u64) -> Self {
        Self {
            store,
            small_file,
            buffer: Vec::new(),
            current: None,
        }
    }
}

const BEGUN: &str = "begun before";
const ZEROS: [u8; 4096] = [0; 4096];

impl ContentSink for RepoSink<'_> {
    type Content = Object;

    fn begin(&mut self, metadata: &Metadata, size: u64) -> io::Result<()> {
        self.buffer.clear();
        let large = match size > self.small_file {
            true => {
                let (name, fd) = self.store.staging.begin()?;
                Some((name, fd, 0))
            }
            false => None,
        };
        self.current = Some(Current {
            metadata: metadata.clone(),
            hasher: Sha256::new_with_prefix(file_header(metadata)),
            large,
        });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let current = self.current.as_mut().expect(BEGUN);
        current.hasher.update(bytes);
        match &mut current.large {
            None => self.buffer.extend_from_slice(bytes),
            Some((_, fd, at)) => {
                pleach_fs_tree::write_all(fd.as_fd(), bytes)?;
                *at += bytes.len() as u64;
            }
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let current = self.current.as_mut().expect(BEGUN);
        let mut left = length;
        while left > 0 {
            let zeros = left.min(ZEROS.len() as u64);
            current
                .hasher
                .update(&ZEROS[..usize::try_from(zeros).expect("few")]);
            left -= zeros;
        }
        match &mut current.large {
            None => {
                let length = usize::try_from(length).expect("a small file");
                self.buffer.resize(self.buffer.len() + length, 0);
            }
            // Never written, it reads as zeros.
            Some((_, fd, at)) => {
                *at += length;
                rustix::fs::seek(&*fd, rustix::fs::SeekFrom::Start(*at))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> io::Result<Object> {
        let Current {
            metadata,
            hasher,
            large,
        } = self.current.take().expect(BEGUN);
        let name = Digest(hasher.finalize().into());
        match &large {
            None => self.store.file(&name, &metadata, &self.buffer)?,
            Some((temporary, fd, at)) => {
                // There may be a hole at its end.
                rustix::fs::ftruncate(fd, *at)?;
                self.store.begun_file(&name, &metadata, (temporary, fd))?;
            }
        }
        Ok(Object { content, name })
    }
}

impl CacheContent for Object {
    const SUFFIX: &str = "objects";

    fn content(&self) -> FileContent {
        self.content
    }

    fn write(&self, output: &mut Output) {
        self.content.write(output);
        output.bytes(&self.name.0);
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        Some(Self {
            content: FileContent::read(input)?,
            name: Digest(input.bytes()?.try_into().ok()?),
        })
    }
}
