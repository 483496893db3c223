//! What becomes of the contents of regular files while layers are read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Metadata, TreePath};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::Error;
use crate::stored::{ContentRef, Place};

/// Takes the content of one regular file after the other.
///
/// A file that is begun and never finished belongs to an archive that is refused.
pub trait ContentSink {
    /// What the merged tree holds for a file.
    type Content;

    /// The path of the file that begins next, as the layer calls it.
    fn path(&mut self, path: &TreePath) {
        let _ = path;
    }

    /// A file with those metadata begins, of at most that many bytes: an archive may promise more
    /// than it has.
    ///
    /// # Errors
    /// When no content can be taken.
    fn begin(&mut self, metadata: &Metadata, size: u64) -> io::Result<()>;

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

    fn begin(&mut self, _: &Metadata, _: u64) -> io::Result<()> {
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
    /// Files of at least so many bytes get a temporary file of their own, which can become the file
    /// of a tree without being copied: see [`take_contents`](crate::take_contents).
    pub own_file: u64,
    /// So many of them, since each is an open file; none by default.
    pub own_files: usize,
}

impl StoreOptions {
    /// No content in memory. With [`MergeOptions::threads`](crate::MergeOptions::threads) at 1, a
    /// merge holds the tree and a layer's buffers, and nothing else.
    pub fn low_memory() -> Self {
        Self {
            memory: 0,
            ..Self::default()
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            small_file: 16 << 10,
            memory: 24 << 20,
            own_file: 1 << 20,
            own_files: 0,
        }
    }
}

/// Holds the contents of a merge: small files in memory, the others in temporary files that have no
/// name. The contents live as long as any [`ContentRef`] to them.
#[derive(Debug)]
pub struct ContentStore {
    dir: Dir,
    spool: Arc<OwnedFd>,
    next: AtomicU64,
    memory_left: AtomicU64,
    own_files_left: AtomicU64,
    small_file: u64,
    own_file: u64,
}

/// Contents begin at a multiple of this, so that a file system can share blocks.
const ALIGN: u64 = 4096;

impl ContentStore {
    /// Makes the temporary files in `dir`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(dir: &Dir, options: &StoreOptions) -> Result<Self, Error> {
        let spool = unnamed_file(dir).map_err(Error::io("create", "a temporary file"))?;
        let dir = dir.try_clone().map_err(Error::io("open", "a directory"))?;
        Ok(Self {
            dir,
            spool: Arc::new(spool),
            next: AtomicU64::new(0),
            memory_left: AtomicU64::new(options.memory),
            own_files_left: AtomicU64::new(options.own_files as u64),
            small_file: options.small_file,
            own_file: options.own_file,
        })
    }

    /// A sink that puts contents here. Several may be used at a time.
    pub fn sink(&self) -> StoreSink<'_> {
        StoreSink {
            store: self,
            current: Current::Nothing,
            memory: BytesMut::new(),
        }
    }

    /// Where a file of at most so many bytes is to go.
    fn place(&self, size: u64) -> io::Result<Current> {
        if size <= self.small_file && charge(&self.memory_left, size) {
            return Ok(Current::Memory);
        }
        if size >= self.own_file && charge(&self.own_files_left, 1) {
            let file = unnamed_file(&self.dir)?;
            return Ok(Current::File {
                file: Arc::new(file),
                start: 0,
                at: 0,
                own: true,
            });
        }
        let length = size.next_multiple_of(ALIGN);
        let start = self.next.fetch_add(length, Ordering::Relaxed);
        Ok(Current::File {
            file: self.spool.clone(),
            start,
            at: start,
            own: false,
        })
    }
}

fn charge(left: &AtomicU64, amount: u64) -> bool {
    let relaxed = Ordering::Relaxed;
    let charged = left.fetch_update(relaxed, relaxed, |left| left.checked_sub(amount));
    charged.is_ok()
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
    /// The small file that is being read, and room for those that follow: an allocation for each
    /// would make the heap grow in small steps.
    memory: BytesMut,
}

/// Bytes allocated at a time for small files.
const SLAB: usize = 1 << 20;

#[derive(Debug)]
enum Current {
    Nothing,
    Memory,
    File {
        file: Arc<OwnedFd>,
        start: u64,
        at: u64,
        own: bool,
    },
}

impl ContentSink for StoreSink<'_> {
    type Content = ContentRef;

    fn begin(&mut self, _: &Metadata, size: u64) -> io::Result<()> {
        self.current = self.store.place(size)?;
        if let Current::Memory = self.current {
            let size = usize::try_from(size).expect("a small file");
            self.memory.clear();
            if self.memory.capacity() < size {
                self.memory = BytesMut::with_capacity(SLAB.max(size));
            }
        }
        Ok(())
    }

    fn data(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match &mut self.current {
            Current::Nothing => unreachable!("begun before data"),
            Current::Memory => self.memory.extend_from_slice(bytes),
            Current::File { file, at, .. } => {
                while !bytes.is_empty() {
                    match rustix::io::pwrite(&**file, bytes, *at) {
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
            Current::Memory => {
                let length = usize::try_from(length).expect("a small file");
                self.memory.resize(self.memory.len() + length, 0);
            }
            // Never written, it reads as zeros.
            Current::File { at, .. } => *at += length,
        }
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> io::Result<ContentRef> {
        let place = match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => unreachable!("begun before its end"),
            Current::Memory => Place::Memory(self.memory.split().freeze()),
            Current::File {
                file, own: true, ..
            } => {
                // There may be a hole at its end.
                rustix::fs::ftruncate(&*file, content.size)?;
                Place::Own(file)
            }
            Current::File { file, start, .. } => Place::Spool(file, start),
        };
        Ok(ContentRef { content, place })
    }
}
