//! The OCI image layout on disk, and beside it one folder of ours: the lock, and what is not whole.
//!
//! A blob appears under `blobs/sha256` in one step, after its bytes were verified and made durable.
//! Whoever holds the lock owns all of the folder, so whatever lies there when the lock is taken was
//! left behind by a process that is gone. All calls here block; the caller keeps them off its tasks.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::{Dir, File};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::manifest::Descriptor;
use crate::{Digest, Error, index};

const WORK: &str = ".image-fetch";
const PARTIAL: &str = "partial";
const TEMPORARY: &str = "tmp";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A store whose lock is held.
#[derive(Debug)]
pub(crate) struct Store {
    root: Dir,
    blobs: Dir,
    partial: Dir,
    temporary: Dir,
    next: AtomicU64,
    max_index: u64,
    /// Dropped with the rest: whoever listens learns that the lock is free.
    _released: oneshot::Sender<()>,
    // flock(2) belongs to the open file: it ends when this is closed, by SIGKILL too.
    _lock: OwnedFd,
}

fn failed(operation: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Store {
        operation,
        path,
        source,
    }
}

fn not_found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory `name`, made first if it is missing. A symbolic link there is an error.
fn ensure_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    open_dir(parent, name)
}

fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(Dir::from(fd))
}

/// Opens the regular file `name`. A symbolic link, a pipe or a device there is an error.
fn open_file(parent: &Dir, name: &str) -> io::Result<Option<File>> {
    // NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Some(fd) = not_found(rustix::fs::openat(parent, name, flags, Mode::empty()))? else {
        return Ok(None);
    };
    let mode = rustix::fs::fstat(&fd)?.st_mode;
    if !FileType::from_raw_mode(mode).is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(Some(File::from_std(fd.into())))
}

/// Removes all that is in `dir`; says how much that was.
fn sweep(dir: &Dir) -> io::Result<u64> {
    let mut removed = 0;
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let is_dir = entry.file_type()?.is_dir();
        let gone = if is_dir {
            dir.remove_dir_all(name)
        } else {
            dir.remove_file(name)
        };
        match gone {
            Ok(()) => removed += 1,
            // A skopeo that is just ending removes its files itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

fn read_file(parent: &Dir, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_file(parent, name)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(Some(bytes))
}

impl Store {
    /// Opens the layout in `root` and takes its lock; `None` while somebody else has it.
    ///
    /// `released` is used up only when the lock was free. It ends when the lock is given back,
    /// which is when the last task has let go of the store.
    pub(crate) fn try_open(
        root: &Dir,
        max_index: u64,
        released: &mut Option<oneshot::Sender<()>>,
    ) -> Result<Option<Self>, Error> {
        // Opened anew: the caller's descriptor may be O_PATH, which cannot be made durable.
        let root = open_dir(root, ".").map_err(failed("open", "."))?;
        let work = ensure_dir(&root, WORK).map_err(failed("open", WORK))?;
        let lock_path = format!("{WORK}/lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&work, "lock", flags, Mode::from_raw_mode(0o644))
            .map_err(|error| failed("open", &lock_path)(error.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed("lock", lock_path)(error.into())),
        }
        let open =
            |parent: &Dir, name: &str| ensure_dir(parent, name).map_err(failed("open", name));
        let blobs = open(&root, "blobs")?;
        let store = Self {
            blobs: open(&blobs, "sha256")?,
            partial: open(&work, PARTIAL)?,
            temporary: open(&work, TEMPORARY)?,
            root,
            next: AtomicU64::new(0),
            max_index,
            _released: released.take().unwrap_or_else(|| oneshot::channel().0),
            _lock: lock,
        };
        Ok(Some(store))
    }

    /// Removes what interrupted fetches left, and says how many files that were; then makes sure
    /// that this is a layout of a version that we know.
    pub(crate) fn begin(&self) -> Result<u64, Error> {
        let sweep = |dir, path| sweep(dir).map_err(failed("sweep", format!("{WORK}/{path}")));
        let removed = sweep(&self.partial, PARTIAL)? + sweep(&self.temporary, TEMPORARY)?;
        match read_file(&self.root, "oci-layout", self.max_index)
            .map_err(failed("read", "oci-layout"))?
        {
            None => self.replace("oci-layout", LAYOUT)?,
            Some(bytes) => {
                let layout: Option<Value> = serde_json::from_slice(&bytes).ok();
                if layout.is_none_or(|it| it["imageLayoutVersion"] != "1.0.0") {
                    let problem = "its imageLayoutVersion is not 1.0.0".into();
                    return Err(Error::Layout {
                        path: "oci-layout".into(),
                        problem,
                    });
                }
            }
        }
        Ok(removed)
    }

    /// A directory for skopeo's own temporary files, swept with the rest of ours.
    pub(crate) fn temporary(&self) -> Result<OwnedFd, Error> {
        let dir = self
            .temporary
            .try_clone()
            .map_err(failed("open", TEMPORARY))?;
        Ok(dir.into())
    }

    /// The bytes that are free for us on the store's file system.
    pub(crate) fn available(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.root)
            .map_err(|error| failed("statvfs", ".")(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub(crate) fn open_blob(&self, digest: Digest) -> Result<Option<File>, Error> {
        open_file(&self.blobs, &digest.hex()).map_err(failed("open", blob_path(digest)))
    }

    pub(crate) fn read_blob(&self, digest: Digest, max: u64) -> Result<Vec<u8>, Error> {
        let read = read_file(&self.blobs, &digest.hex(), max);
        let bytes = read.and_then(|it| it.ok_or_else(|| io::ErrorKind::NotFound.into()));
        bytes.map_err(failed("read", blob_path(digest)))
    }

    pub(crate) fn remove_blob(&self, digest: Digest) -> Result<(), Error> {
        self.blobs
            .remove_file(digest.hex())
            .map_err(failed("remove", blob_path(digest)))
    }

    /// A new file that nobody takes for a blob.
    pub(crate) fn partial(&self, name: &str) -> Result<Partial, Error> {
        let name = format!("{name}.{}", self.next.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let path = format!("{WORK}/{PARTIAL}/{name}");
        let fd = rustix::fs::openat(&self.partial, &name, flags, Mode::from_raw_mode(0o644))
            .map_err(|error| failed("create", &path)(error.into()))?;
        let dir = self.partial.try_clone().map_err(failed("open", &path))?;
        Ok(Partial {
            file: File::from_std(fd.into()),
            dir,
            name,
            path,
            committed: false,
        })
    }

    /// Makes a partial file the blob `digest`. The caller has verified its bytes.
    pub(crate) fn commit_blob(&self, partial: Partial, digest: Digest) -> Result<(), Error> {
        partial.commit(&self.blobs, &digest.hex(), &blob_path(digest))
    }

    /// Stores `bytes` under their own digest.
    pub(crate) fn write_blob(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let mut partial = self.partial(&digest.hex())?;
        partial.write_all(bytes)?;
        self.commit_blob(partial, digest)?;
        Ok(digest)
    }

    /// Names the image in `index.json`, after all blobs that it needs have become durable.
    pub(crate) fn add_image(&self, manifest: &Descriptor, name: Option<&str>) -> Result<(), Error> {
        let sync = |dir: &Dir, path: &str| {
            rustix::fs::fsync(dir).map_err(|error| failed("fsync", path)(error.into()))
        };
        sync(&self.blobs, "blobs/sha256")?;
        let path = "index.json";
        let old = read_file(&self.root, path, self.max_index).map_err(failed("read", path))?;
        let new = index::add(old.as_deref(), manifest, name).map_err(|problem| Error::Layout {
            path: path.into(),
            problem,
        })?;
        if old.as_deref() != Some(&new) {
            self.replace(path, &new)?;
        }
        sync(&self.root, ".")
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut partial = self.partial(name)?;
        partial.write_all(bytes)?;
        partial.commit(&self.root, name, name)
    }
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A file that is being written; gone again when it is dropped before it was committed.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    dir: Dir,
    name: String,
    path: String,
    committed: bool,
}

impl Partial {
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(failed("write", &self.path))
    }

    fn commit(mut self, to: &Dir, name: &str, path: &str) -> Result<(), Error> {
        self.file.sync_all().map_err(failed("fsync", &self.path))?;
        self.dir
            .rename(&self.name, to, name)
            .map_err(failed("rename to", path))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is removed by the next fetch.
            let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}
