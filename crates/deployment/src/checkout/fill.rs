//! Directories get their files and their metadata.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::{Dir, File};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::objects::Metadata;
use crate::error::{Result, io};
use crate::xattr;

/// A directory whose subdirectories are there.
pub(super) struct Job {
    pub(super) fd: Arc<OwnedFd>,
    /// For errors.
    pub(super) path: PathBuf,
    /// Names with the checksums of their objects.
    pub(super) files: Vec<(String, String)>,
    pub(super) metadata: Arc<Metadata>,
    /// It has the user and the group that it is to have.
    pub(super) is_owned: bool,
    /// Files are to be changed, so they are no links to objects.
    pub(super) copy: bool,
}

/// As many as are worth it: they wait for each other in the file system.
const MOST_WORKERS: usize = 4;
/// Directories that are handed over at once: whoever waits for one is woken as often.
const BATCH: usize = 8;
/// Batches that wait to be filled; each directory is an open file.
const WAITING: usize = 8;

/// Where jobs are handed to workers.
pub(super) struct Jobs {
    sender: SyncSender<Vec<Job>>,
    batch: Vec<Job>,
}

impl Jobs {
    /// # Errors
    /// When all workers have ended, for a reason that [`with_workers`] tells.
    pub(super) fn add(&mut self, job: Job) -> std::result::Result<(), SendError<Vec<Job>>> {
        self.batch.push(job);
        match self.batch.len() < BATCH {
            true => Ok(()),
            false => self.hand_over(),
        }
    }

    fn hand_over(&mut self) -> std::result::Result<(), SendError<Vec<Job>>> {
        self.sender.send(std::mem::take(&mut self.batch))
    }
}

/// Gives `make` what takes jobs, and ends when all are done: `false` where one of them is for libostree.
///
/// # Errors
/// That of `make`, or the first of a worker.
pub(super) fn with_workers(
    objects: &Dir,
    make: impl FnOnce(&mut Jobs) -> Result<()>,
) -> Result<bool> {
    let workers = std::thread::available_parallelism().map_or(1, Into::into);
    let (sender, receiver) = sync_channel(WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.min(MOST_WORKERS))
            .map(|_| {
                let receiver = receiver.clone();
                scope.spawn(move || work(objects, &receiver))
            })
            .collect();
        // Where no worker is left, nobody takes what is sent.
        drop(receiver);
        let mut jobs = Jobs {
            sender,
            batch: Vec::with_capacity(BATCH),
        };
        let made = make(&mut jobs);
        // Workers that have ended say why.
        let _ = jobs.hand_over();
        drop(jobs);
        let ends = workers.into_iter().map(|worker| {
            let end = worker.join();
            end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let ends: Vec<Result<bool>> = ends.collect();
        made?;
        let ends = ends.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(ends.into_iter().all(|end| end))
    })
}

/// Ends without an error, and with `false`, at what is for libostree.
fn work(objects: &Dir, jobs: &Mutex<Receiver<Vec<Job>>>) -> Result<bool> {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return Ok(true) };
        for job in batch {
            if !job.carry_out(objects)? {
                return Ok(false);
            }
        }
    }
}

/// A file of which libostree makes a whiteout for overlayfs.
const WHITEOUT: &str = ".ostree-wh.";

/// What ostree says of every file, in the repository and in a deployment.
const TIMES: Timestamps = {
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: zero,
        last_modification: zero,
    }
};

impl Job {
    fn carry_out(&self, objects: &Dir) -> Result<bool> {
        let to = self.fd.as_fd();
        for (name, checksum) in &self.files {
            let object = format!("{}/{}.file", &checksum[..2], &checksum[2..]);
            let shown = || self.path.join(name);
            if name.starts_with(WHITEOUT) {
                return Ok(false);
            }
            if !self.copy {
                match rustix::fs::linkat(objects, &*object, to, &**name, AtFlags::empty()) {
                    Ok(()) => continue,
                    // It has as many names as the file system allows.
                    Err(Errno::MLINK) => {}
                    // It is on another file system, somebody else's, or in a parent repository.
                    Err(Errno::XDEV | Errno::PERM | Errno::NOENT) => return Ok(false),
                    Err(e) => return Err(io("link", shown())(e)),
                }
            }
            copy(objects, &object, to, name).map_err(io("copy", shown()))?;
        }
        self.set_metadata()
            .map_err(io("set metadata of", &self.path))?;
        Ok(true)
    }

    fn set_metadata(&self) -> rustix::io::Result<()> {
        let (fd, metadata) = (&*self.fd, &self.metadata);
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        if !self.is_owned {
            rustix::fs::fchown(fd, Some(uid), Some(gid))?;
        }
        rustix::fs::fchmod(fd, metadata.mode)?;
        for (name, value) in &metadata.xattrs {
            rustix::fs::fsetxattr(fd, &**name, value, XattrFlags::empty())?;
        }
        rustix::fs::futimens(fd, &TIMES)
    }
}

/// A file or a link of its own with all that an object has.
fn copy(objects: &Dir, object: &str, to: BorrowedFd<'_>, name: &str) -> std::io::Result<()> {
    let stat = rustix::fs::statat(objects, object, AtFlags::SYMLINK_NOFOLLOW)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let xattrs = || xattr::copy((objects.as_fd(), object), (to, name));
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let target = rustix::fs::readlinkat(objects, object, Vec::new())?;
        rustix::fs::symlinkat(&target, to, name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), flags)?;
        xattrs()?;
        return Ok(rustix::fs::utimensat(to, name, &TIMES, flags)?);
    }
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(objects, object, flags | OFlags::RDONLY, Mode::empty())?;
    let new = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    // Not for others to read before it is whole: it may be a secret.
    let file = rustix::fs::openat(to, name, new, Mode::RUSR | Mode::WUSR)?;
    let mut from = File::from_std(from.into());
    let mut out = File::from_std(file.into());
    std::io::copy(&mut from, &mut out)?;
    rustix::fs::fchown(&out, Some(owner.0), Some(owner.1))?;
    rustix::fs::fchmod(&out, Mode::from_raw_mode(stat.st_mode))?;
    xattrs()?;
    Ok(rustix::fs::futimens(&out, &TIMES)?)
}
