//! The OCI image layout on disk, and beside it one folder of ours: the lock, and what is not whole.
//!
//! A blob appears under `blobs/sha256` in one step, after its bytes were verified and made durable.
//! To wait for the disk once and not for each blob, what is verified waits in `whole` until the image
//! is there: then one syncfs(2), the names, and the index. What an interrupted fetch leaves in `whole`
//! is taken for nothing but bytes: the next one verifies it.
//! Whoever holds the lock owns all of the folder, so whatever lies there when the lock is taken was
//! left behind by a process that is gone. All calls here block; the caller keeps them off its tasks.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, File};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::files::{ensure_dir, failed, not_found, open_dir, open_file, read_file, read_to, sweep};
use crate::manifest::Descriptor;
use crate::{Digest, Error, index};

const WORK: &str = ".image-fetch";
const PARTIAL: &str = "partial";
const WHOLE: &str = "whole";
const TEMPORARY: &str = "tmp";
const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A store whose lock is held.
#[derive(Debug)]
pub(crate) struct Store {
    root: Dir,
    blobs: Dir,
    whole: Dir,
    partial: Dir,
    /// What lies in `whole` and was verified by us.
    verified: Mutex<BTreeSet<Digest>>,
    temporary: Dir,
    next: AtomicU64,
    max_index: u64,
    held: Arc<Held>,
}

/// The lock, for as long as anything may still be written or removed: a partial file outlives the
/// store that it was made in, where nobody waited for its task.
#[derive(Debug)]
struct Held {
    /// Dropped with the rest: whoever listens learns that the lock is free.
    _released: oneshot::Sender<()>,
    // flock(2) belongs to the open file: it ends when this is closed, by SIGKILL too.
    _lock: OwnedFd,
}

/// Whether there is a layout: an error if it is of another version than we know.
fn is_layout(root: &Dir, max: u64) -> Result<bool, Error> {
    let Some(bytes) = read_file(root, MARKER, max).map_err(failed("read", MARKER))? else {
        return Ok(false);
    };
    let layout: Option<Value> = serde_json::from_slice(&bytes).ok();
    if layout.is_none_or(|it| it["imageLayoutVersion"] != "1.0.0") {
        return Err(Error::Layout {
            path: MARKER.into(),
            problem: "its imageLayoutVersion is not 1.0.0".into(),
        });
    }
    Ok(true)
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
            whole: open(&work, WHOLE)?,
            partial: open(&work, PARTIAL)?,
            verified: Mutex::default(),
            temporary: open(&work, TEMPORARY)?,
            root,
            next: AtomicU64::new(0),
            max_index,
            held: Arc::new(Held {
                _released: released.take().unwrap_or_else(|| oneshot::channel().0),
                _lock: lock,
            }),
        };
        Ok(Some(store))
    }

    /// An error if there is no layout in `root`. Changes nothing.
    pub(crate) fn require_layout(root: &Dir, max_index: u64) -> Result<(), Error> {
        if is_layout(root, max_index)? {
            return Ok(());
        }
        Err(Error::Layout {
            path: MARKER.into(),
            problem: "there is none, so this is no OCI image layout".into(),
        })
    }

    /// Removes what interrupted fetches left, and says how many files that were; then makes sure
    /// that this is a layout of a version that we know.
    pub(crate) fn begin(&self) -> Result<u64, Error> {
        let sweep = |dir, path| sweep(dir).map_err(failed("sweep", format!("{WORK}/{path}")));
        let removed = sweep(&self.partial, PARTIAL)? + sweep(&self.temporary, TEMPORARY)?;
        if !is_layout(&self.root, self.max_index)? {
            self.replace(MARKER, LAYOUT)?;
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

    /// A number that was not given before.
    pub(crate) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The bytes that are free for us on the store's file system.
    pub(crate) fn available(&self) -> Result<u64, Error> {
        let stat = rustix::fs::fstatvfs(&self.root)
            .map_err(|error| failed("statvfs", ".")(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The bytes that the store has under a digest.
    pub(crate) fn open_blob(&self, digest: Digest) -> Result<Option<Found>, Error> {
        let open = |dir| open_file(dir, &digest.hex()).map_err(failed("open", blob_path(digest)));
        if let Some(file) = open(&self.blobs)? {
            let trusted = true;
            return Ok(Some(Found { file, trusted }));
        }
        let trusted = self.verified().contains(&digest);
        Ok(open(&self.whole)?.map(|file| Found { file, trusted }))
    }

    /// A blob that was there a moment ago.
    pub(crate) fn need_blob(&self, digest: Digest) -> Result<File, Error> {
        let gone = || failed("open", blob_path(digest))(io::ErrorKind::NotFound.into());
        Ok(self.open_blob(digest)?.ok_or_else(gone)?.file)
    }

    pub(crate) fn read_blob(&self, digest: Digest, max: u64) -> Result<Vec<u8>, Error> {
        read_to(self.need_blob(digest)?, max).map_err(failed("read", blob_path(digest)))
    }

    pub(crate) fn remove_blob(&self, digest: Digest) -> Result<(), Error> {
        self.verified().remove(&digest);
        let name = digest.hex();
        let gone = match self.blobs.remove_file(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.whole.remove_file(name),
            other => other,
        };
        gone.map_err(failed("remove", blob_path(digest)))
    }

    /// What the store has under this digest was verified.
    pub(crate) fn trust(&self, digest: Digest) {
        self.verified().insert(digest);
    }

    fn verified(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new file that nobody takes for a blob.
    pub(crate) fn partial(&self, name: &str) -> Result<Partial, Error> {
        let name = format!("{name}.{}", self.fresh());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let path = format!("{WORK}/{PARTIAL}/{name}");
        let fd = rustix::fs::openat(&self.partial, &name, flags, Mode::from_raw_mode(0o644))
            .map_err(|error| failed("create", &path)(error.into()))?;
        let dir = self.partial.try_clone().map_err(failed("open", &path))?;
        Ok(Partial {
            file: Arc::new(fd),
            dir,
            name,
            path,
            committed: false,
            _held: self.held.clone(),
        })
    }

    /// Makes a partial file the blob `digest`. The caller has verified its bytes.
    pub(crate) fn commit_blob(&self, partial: Partial, digest: Digest) -> Result<(), Error> {
        let path = format!("{WORK}/{WHOLE}/{}", digest.hex());
        partial.rename(&self.whole, &digest.hex(), &path)?;
        self.trust(digest);
        Ok(())
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
        self.name_blobs()?;
        sync(&self.blobs, "blobs/sha256")?;
        // Others that change it hold this lock and not ours.
        let _index = self.lock_index()?;
        let old = self.index()?;
        let new = index::add(old.as_deref(), manifest, name).map_err(|problem| Error::Layout {
            path: INDEX.into(),
            problem,
        })?;
        if old.as_deref() != Some(&new) {
            self.replace(INDEX, &new)?;
        }
        sync(&self.root, ".")
    }

    /// The bytes of `index.json`, if there is one.
    pub(crate) fn index(&self) -> Result<Option<Vec<u8>>, Error> {
        read_file(&self.root, INDEX, self.max_index).map_err(failed("read", INDEX))
    }

    /// The lock that is held for the moment in which `index.json` changes: flock(2) of the layout's
    /// directory itself.
    pub(crate) fn lock_index(&self) -> Result<OwnedFd, Error> {
        let dir = open_dir(&self.root, ".").map_err(failed("open", "."))?;
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)
            .map_err(|error| failed("lock", ".")(error.into()))?;
        Ok(dir.into())
    }

    /// Every file that has the name of a blob.
    pub(crate) fn blobs(&self) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        let dirs = [(&self.blobs, "blobs/sha256"), (&self.whole, WHOLE)];
        for (dir, path) in dirs {
            let mut list = || -> io::Result<()> {
                for entry in dir.entries()? {
                    let name = entry?.file_name();
                    let digest = name
                        .to_str()
                        .and_then(|it| format!("sha256:{it}").parse().ok());
                    let (Some(digest), stat) = (
                        digest,
                        rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?,
                    ) else {
                        continue;
                    };
                    if FileType::from_raw_mode(stat.st_mode).is_file() {
                        found.push(Stored {
                            digest,
                            size: u64::try_from(stat.st_size).unwrap_or_default(),
                            written: written(&stat),
                        });
                    }
                }
                Ok(())
            };
            list().map_err(failed("list", path))?;
        }
        Ok(found)
    }

    /// Makes durable what was verified, and then gives it its names.
    fn name_blobs(&self) -> Result<(), Error> {
        let mut verified = self.verified();
        let mut durable = false;
        while let Some(digest) = verified.pop_first() {
            let name = digest.hex();
            let waits = rustix::fs::statat(&self.whole, &name, AtFlags::SYMLINK_NOFOLLOW);
            if not_found(waits)
                .map_err(failed("stat", blob_path(digest)))?
                .is_none()
            {
                continue; // it had its name
            }
            if !std::mem::replace(&mut durable, true) {
                rustix::fs::syncfs(&self.root)
                    .map_err(|error| failed("syncfs", ".")(error.into()))?;
            }
            self.whole
                .rename(&name, &self.blobs, &name)
                .map_err(failed("rename to", blob_path(digest)))?;
        }
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut partial = self.partial(name)?;
        partial.write_all(bytes)?;
        rustix::fs::fsync(&partial.file)
            .map_err(|error| failed("fsync", &partial.path)(error.into()))?;
        partial.rename(&self.root, name, name)
    }
}

/// A blob in the store.
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) written: SystemTime,
}

fn written(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let fraction = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::new(seconds, fraction)
}

/// Bytes under a digest.
pub(crate) struct Found {
    pub(crate) file: File,
    /// Whether they were verified by us, and durable since or not needed to be.
    pub(crate) trusted: bool,
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A file that is being written; gone again when it is dropped before it was committed.
#[derive(Debug)]
pub(crate) struct Partial {
    file: Arc<OwnedFd>,
    dir: Dir,
    name: String,
    path: String,
    committed: bool,
    // Dropped after the file was removed.
    _held: Arc<Held>,
}

impl Partial {
    /// The file, to read what was written.
    pub(crate) fn file(&self) -> Arc<OwnedFd> {
        self.file.clone()
    }

    pub(crate) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.file, bytes) {
                Ok(0) => return Err(failed("write", &self.path)(io::ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed("write", &self.path)(error.into())),
            }
        }
        Ok(())
    }

    fn rename(mut self, to: &Dir, name: &str, path: &str) -> Result<(), Error> {
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
