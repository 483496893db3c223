//! What becomes of the contents of regular files while layers are read.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::Dir;
use pleach_fs_tree::{Digest, FileContent};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::{Error, FileSize};

/// Takes the content of one regular file after the other.
///
/// A file that is begun and never finished belongs to an archive that is refused.
pub trait ContentSink {
    /// What the merged tree holds for a file.
    type Content;

    /// A file begins, of at most that many bytes: an archive may promise more than it has.
    ///
    /// # Errors
    /// When no content can be taken.
    fn begin(&mut self, size: u64) -> io::Result<()>;

    /// Its next bytes.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// So many zeros, which the archive has not.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn hole(&mut self, length: u64) -> io::Result<()>;

    /// It ends.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn finish(&mut self, content: FileContent) -> io::Result<Self::Content>;
}

/// Keeps no content, only size and digest.
#[derive(Debug, Default)]
pub struct IndexOnly;

impl ContentSink for IndexOnly {
    type Content = FileContent;

    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> io::Result<FileContent> {
        Ok(content)
    }
}

/// How much content is held in memory.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Files up to so many bytes are.
    pub small_file: u64,
    /// All of them together; what comes later is spooled whatever its size.
    pub memory: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            small_file: 16 << 10,
            memory: 32 << 20,
        }
    }
}

/// Holds the contents of a merge: small files in memory, the others in one temporary file that has
/// no name. The contents live as long as any [`ContentRef`] to them.
#[derive(Debug)]
pub struct ContentStore {
    spool: Arc<OwnedFd>,
    next: AtomicU64,
    memory_left: AtomicU64,
    small_file: u64,
}

/// Contents begin at a multiple of this, so that a file system can share blocks.
const ALIGN: u64 = 4096;

impl ContentStore {
    /// Makes the temporary file in `dir`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(dir: &Dir, options: &StoreOptions) -> Result<Self, Error> {
        let spool = unnamed_file(dir).map_err(Error::io("create", "a temporary file"))?;
        Ok(Self {
            spool: Arc::new(spool),
            next: AtomicU64::new(0),
            memory_left: AtomicU64::new(options.memory),
            small_file: options.small_file,
        })
    }

    /// A sink that puts contents here. Several may be used at a time.
    pub fn sink(&self) -> StoreSink<'_> {
        StoreSink {
            store: self,
            current: Current::Nothing,
        }
    }

    fn reserve_memory(&self, size: u64) -> bool {
        size <= self.small_file
            && self
                .memory_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(size)
                })
                .is_ok()
    }
}

fn unnamed_file(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::openat(dir, ".", flags | OFlags::TMPFILE, mode) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {}
        result => return Ok(result?),
    }
    for number in 0_u32..1000 {
        let name = format!(
            ".spool-{}-{number}",
            rustix::process::getpid().as_raw_nonzero()
        );
        match rustix::fs::openat(dir, &*name, flags | OFlags::CREATE | OFlags::EXCL, mode) {
            Err(rustix::io::Errno::EXIST) => {}
            result => {
                let fd = result?;
                rustix::fs::unlinkat(dir, &*name, AtFlags::empty())?;
                return Ok(fd);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// See [`ContentStore::sink`].
#[derive(Debug)]
pub struct StoreSink<'a> {
    store: &'a ContentStore,
    current: Current,
}

#[derive(Debug)]
enum Current {
    Nothing,
    Memory(Vec<u8>),
    Spool { start: u64, at: u64 },
}

impl ContentSink for StoreSink<'_> {
    type Content = ContentRef;

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.current = if self.store.reserve_memory(size) {
            Current::Memory(Vec::with_capacity(
                usize::try_from(size).expect("a small file"),
            ))
        } else {
            let length = size.next_multiple_of(ALIGN);
            let start = self.store.next.fetch_add(length, Ordering::Relaxed);
            Current::Spool { start, at: start }
        };
        Ok(())
    }

    fn data(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Current::Nothing => unreachable!("begun before data"),
            Current::Memory(memory) => memory.extend_from_slice(bytes),
            Current::Spool { at, .. } => {
                while !bytes.is_empty() {
                    match rustix::io::pwrite(&self.store.spool, bytes, *at) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => {
                            bytes = &bytes[n..];
                            *at += n as u64;
                        }
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        match &mut self.current {
            Current::Nothing => unreachable!("begun before a hole"),
            Current::Memory(memory) => {
                let length = usize::try_from(length).expect("a small file");
                memory.resize(memory.len() + length, 0);
            }
            // Never written, it reads as zeros.
            Current::Spool { at, .. } => *at += length,
        }
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> io::Result<ContentRef> {
        let place = match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => unreachable!("begun before its end"),
            Current::Memory(memory) => Place::Memory(memory.into()),
            Current::Spool { start, .. } => Place::Spool(self.store.spool.clone(), start),
        };
        Ok(ContentRef { content, place })
    }
}

/// The content of one file in a [`ContentStore`].
#[derive(Debug, Clone)]
pub struct ContentRef {
    content: FileContent,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(Arc<[u8]>),
    Spool(Arc<OwnedFd>, u64),
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
        let n = match &self.place {
            Place::Memory(bytes) => {
                let at = usize::try_from(self.at).expect("within memory");
                out.copy_from_slice(&bytes[at..][..length]);
                length
            }
            Place::Spool(file, start) => match rustix::io::pread(file, &mut *out, start + self.at)?
            {
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

/// The source that [`materialize`](pleach_fs_tree::materialize) and the layer writer want, for a
/// merged tree.
pub fn contents() -> impl FnMut(&ContentRef) -> io::Result<ContentReader> {
    |content| Ok(content.open())
}
