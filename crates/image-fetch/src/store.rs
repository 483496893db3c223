//! The OCI image layout on disk, and beside it one folder of ours: the lock, and what is not whole.
//!
//! A blob appears under `blobs/sha256` in one step, after its bytes were verified and made durable.
//! To wait for the disk once and not for each blob, what is verified waits in `whole` until the image
//! is there: then one syncfs(2), the names, and the index. What an interrupted fetch leaves in `whole`
//! is taken for nothing but bytes: the next one verifies it.
//! Whoever holds the lock owns all of the folder, so whatever lies there when the lock is taken was
//! left behind by a process that is gone. All calls here block; the caller keeps them off its tasks.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, File};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use serde_json::Value;
use tokio::sync::oneshot;

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
    open_file(parent, name)?
        .map(|file| read_to(file, max))
        .transpose()
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

fn read_to(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is longer than {max} bytes")));
    }
    Ok(bytes)
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
            _released: released.take().unwrap_or_else(|| oneshot::channel().0),
            _lock: lock,
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

    /// An OCI layout in the temporary directory, for skopeo to copy an image into: beside it, in the
    /// folder `blobs`, files that have the names and sizes of these blobs, and no content. Gone when
    /// it is dropped.
    pub(crate) fn hollow(&self, blobs: &HashMap<Digest, u64>) -> Result<Hollow, Error> {
        let name = format!("hollow.{}", self.next.fetch_add(1, Ordering::Relaxed));
        let path = format!("{WORK}/{TEMPORARY}/{name}");
        let make = || -> io::Result<Hollow> {
            let parent = self.temporary.try_clone()?;
            let dir = ensure_dir(&parent, &name)?;
            let hollow = Hollow { parent, dir, name };
            let blobs_dir = ensure_dir(&ensure_dir(&hollow.dir, "blobs")?, "sha256")?;
            ensure_dir(&hollow.dir, "layout")?;
            for (digest, size) in blobs {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o644);
                let file = rustix::fs::openat(&blobs_dir, digest.hex(), flags, mode)?;
                rustix::fs::ftruncate(&file, *size)?;
            }
            Ok(hollow)
        };
        make().map_err(failed("make", path))
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
        let name = format!("{name}.{}", self.next.fetch_add(1, Ordering::Relaxed));
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

/// See [`Store::hollow`].
pub(crate) struct Hollow {
    parent: Dir,
    dir: Dir,
    pub(crate) name: String,
}

impl Hollow {
    /// The one manifest that was copied into it.
    pub(crate) fn copied(&self, max: u64) -> Option<Digest> {
        let layout = open_dir(&self.dir, "layout").ok()?;
        let index = read_file(&layout, "index.json", max).ok()??;
        let index: Value = serde_json::from_slice(&index).ok()?;
        match index["manifests"].as_array()?.as_slice() {
            [one] => one["digest"].as_str()?.parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next fetch.
        let _ = self.parent.remove_dir_all(&self.name);
    }
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
