//! A tree becomes a directory.

use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use cap_std::fs::Dir;
use thiserror::Error;

use crate::write::Writer;
use crate::{Tree, TreePath};

/// Where the bytes of regular files come from.
pub trait ContentSource<C> {
    /// Opens the content of one regular file.
    ///
    /// # Errors
    /// When it cannot be had; the error is reported with the file's path.
    fn open(&mut self, content: &C) -> io::Result<Box<dyn Read + '_>>;

    /// Writes the content into a new file. By default it is copied out of what [`open`](Self::open)
    /// gives; a source that has a shorter way takes it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when the file cannot be written.
    fn write(&mut self, content: &C, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut bytes = self.open(content)?;
        let mut buffer = [0; COPIED];
        loop {
            let n = match bytes.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            write_all(file, &buffer[..n])?;
        }
    }

    /// A file without a name that holds the content and may become the file of the tree itself, by
    /// a link; its owner, mode and extended attributes are set then. It is the source's last word
    /// on the content: nobody else may have the file. Where it cannot be linked, for example
    /// because it is on another file system, the content is asked for with [`write`](Self::write).
    /// By default there is none.
    fn take(&mut self, content: &C) -> Option<OwnedFd> {
        let _ = content;
        None
    }
}

/// Bytes copied at a time.
const COPIED: usize = 32 << 10;

/// Writes all bytes, whatever a single call takes.
///
/// # Errors
/// What the system says.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl<C, F, R> ContentSource<C> for F
where
    F: FnMut(&C) -> io::Result<R>,
    R: Read + 'static,
{
    fn open(&mut self, content: &C) -> io::Result<Box<dyn Read + '_>> {
        self(content).map(|r| Box::new(r) as Box<dyn Read>)
    }
}

/// What of the metadata is written.
#[derive(Debug, Clone)]
pub struct MaterializeOptions {
    /// Set owner and group (needs root, or a user namespace).
    pub owner: bool,
    /// Set extended attributes.
    pub xattrs: bool,
    /// Set modification times.
    pub mtime: bool,
    /// Make device nodes (needs root).
    pub devices: bool,
    /// Components of a path; each level holds a file descriptor while it is written.
    pub max_depth: usize,
    /// Directories that [`materialize_parallel`] writes at a time; 0 is one for each processor, but
    /// at most four. Each holds descriptors of its own.
    pub threads: usize,
}

impl Default for MaterializeOptions {
    fn default() -> Self {
        Self {
            owner: true,
            xattrs: true,
            mtime: true,
            devices: true,
            max_depth: 256,
            threads: 0,
        }
    }
}

/// A tree that cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MaterializeError {
    /// A system call, or the content source, failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where, below the target.
        path: TreePath,
        /// What the system said.
        source: io::Error,
    },
    /// [`MaterializeOptions::max_depth`] was reached.
    #[error("{path}: more than {limit} levels of directories")]
    Depth {
        /// Where.
        path: TreePath,
        /// The limit.
        limit: usize,
    },
}

/// Writes the tree into `target`, which must be empty where the tree has entries: nothing that
/// exists is overwritten or followed. Inherited default ACLs are removed, so the result has exactly
/// the tree's extended attributes. The process's umask and identity must stay as they are meanwhile.
/// Nothing is synced: that is the caller's, once, at the end.
///
/// # Errors
/// When something cannot be written; what was written until then stays.
pub fn materialize<C>(
    tree: &Tree<C>,
    target: &Dir,
    source: &mut dyn ContentSource<C>,
    options: &MaterializeOptions,
) -> Result<(), MaterializeError> {
    let writer = Writer::new(tree, target, options)?;
    writer.work(source);
    writer.finish()
}

/// As [`materialize`], in several threads, each with a source of its own. Of several errors one is
/// returned.
///
/// # Errors
/// As [`materialize`].
pub fn materialize_parallel<C: Sync, S: ContentSource<C>>(
    tree: &Tree<C>,
    target: &Dir,
    source: impl Fn() -> S + Sync,
    options: &MaterializeOptions,
) -> Result<(), MaterializeError> {
    let writer = Writer::new(tree, target, options)?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
        threads => threads,
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| writer.work(&mut source()));
        }
        writer.work(&mut source());
    });
    writer.finish()
}

/// More threads only wait for each other in the file system.
const MAX_THREADS: usize = 4;
