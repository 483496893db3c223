//! The directory that holds the target, and all that lies beside it.

use std::io;
use std::os::fd::OwnedFd;

use cap_std::fs::{Dir, File};
use pleach_fs_tree::{Name, NodeType, TreePath};
use rustix::fs::{FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::ApplyOptions;
use super::journal::{Journal, Merged};
use super::known::Known;
use super::remove::remove;
use super::stat::{Birth, Stat, open_directory, open_file};
use crate::Error;

/// After this fails the target is the result, but a power failure may undo it.
const EXCHANGED: &str = "sync what was exchanged in";

/// Bytes of a journal or of what is known: 16 for each path of the largest merge. A larger one is
/// none of ours.
const MAX_BOOK: u64 = 128 * 1024 * 1024;

/// The deployment's directory, held against other merges while this lives.
pub(super) struct Deployment<'a> {
    /// Open for reading: a `Dir` may be open as a path alone, which can be neither synced nor locked.
    fd: OwnedFd,
    options: &'a ApplyOptions,
}

/// The names beside the target `etc`.
#[derive(Clone, Copy)]
pub(super) enum Beside {
    /// The result in the making.
    New,
    /// What was the target before.
    Previous,
    /// What is being removed.
    Gone,
    /// The versions that were not taken.
    Saved,
    SavedNew,
    Journal,
    JournalNew,
    Known,
    KnownNew,
}

impl Beside {
    fn suffix(self) -> &'static str {
        match self {
            Self::New => ".new",
            Self::Previous => ".prev",
            Self::Gone => ".gone",
            Self::Saved => ".saved",
            Self::SavedNew => ".saved.new",
            Self::Journal => ".journal",
            Self::JournalNew => ".journal.new",
            Self::Known => ".known",
            Self::KnownNew => ".known.new",
        }
    }
}

/// A process that another thread starts holds a copy of the descriptor for a moment, and the lock
/// with it: closing ours is not enough.
impl Drop for Deployment<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }
}

impl<'a> Deployment<'a> {
    /// Opens it to look at what lies beside the target.
    pub(super) fn look(dir: &Dir, options: &'a ApplyOptions) -> Result<Self, Error> {
        let fd = open_directory(dir, b".").map_err(failed_here("open"))?;
        Ok(Self { fd, options })
    }

    /// Opens it, keeps others out, and finishes what somebody left who was killed.
    pub(super) fn lock(dir: &Dir, options: &'a ApplyOptions) -> Result<Self, Error> {
        let this = Self::look(dir, options)?;
        match rustix::fs::flock(&this.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy),
            Err(error) => return Err(failed_here("lock")(error)),
        }
        this.finish()?;
        Ok(this)
    }

    pub(super) fn name(&self, beside: Beside) -> Name {
        let name = [self.options.target.as_bytes(), beside.suffix().as_bytes()].concat();
        Name::new(&name).expect("longer, and as plain")
    }

    pub(super) fn find(&self, name: &Name) -> Result<Option<Stat>, Error> {
        Stat::find(&self.fd, name.as_bytes()).map_err(failed("find", name))
    }

    pub(super) fn birth(&self, name: &Name) -> Result<Option<Birth>, Error> {
        Birth::find(&self.fd, name.as_bytes()).map_err(failed("find", name))
    }

    /// Makes an empty directory, removing what had its name, and opens it.
    pub(super) fn make(&self, beside: Beside) -> Result<OwnedFd, Error> {
        let name = self.name(beside);
        self.remove(beside)?;
        rustix::fs::mkdirat(&self.fd, name.as_bytes(), Mode::RWXU)
            .map_err(failed("make", &name))?;
        open_directory(&self.fd, name.as_bytes()).map_err(failed("open", &name))
    }

    pub(super) fn open(&self, beside: Beside) -> Result<OwnedFd, Error> {
        let name = self.name(beside);
        open_directory(&self.fd, name.as_bytes()).map_err(failed("open", &name))
    }

    /// Removes a file or a directory with all that is in it; nothing is done where there is none.
    pub(super) fn remove(&self, beside: Beside) -> Result<(), Error> {
        let name = self.name(beside);
        remove(&self.fd, name.as_bytes()).map_err(failed("remove", &name))
    }

    /// Removes the way back. It loses its name first: what has that name is always whole.
    pub(super) fn discard_previous(&self) -> Result<(), Error> {
        self.remove(Beside::Gone)?;
        if self.find(&self.name(Beside::Previous))?.is_none() {
            return Ok(());
        }
        self.rename(Beside::Previous, Beside::Gone)?;
        self.remove(Beside::Gone)
    }

    pub(super) fn rename(&self, from: Beside, to: Beside) -> Result<(), Error> {
        rename(
            &self.fd,
            &self.name(from),
            &self.name(to),
            RenameFlags::empty(),
        )
    }

    /// The result becomes the target, in one step. What was there is `etc.new` then, until
    /// [`finish`](Self::finish) gives it its name.
    pub(super) fn exchange(&self) -> Result<(), Error> {
        let (new, target) = (self.name(Beside::New), &self.options.target);
        let flags = match self.find(target)? {
            None => RenameFlags::NOREPLACE,
            Some(_) => RenameFlags::EXCHANGE,
        };
        rename(&self.fd, &new, target, flags)
    }

    /// Gives everything its place after a merge was exchanged in; also where whoever did that was
    /// killed before. Nothing is done where nothing waits.
    pub(super) fn finish(&self) -> Result<(), Error> {
        let Some(Journal::Merged(merged)) = self.journal()? else {
            return Ok(());
        };
        if merged.finished || self.birth(&self.options.target)? != Some(merged.made) {
            return Ok(());
        }
        let there = |beside| Ok::<_, Error>(self.find(&self.name(beside))?.is_some());
        if !merged.saved {
            self.remove(Beside::SavedNew)?;
            self.remove(Beside::Saved)?;
        } else if there(Beside::SavedNew)? {
            self.remove(Beside::Saved)?;
            self.rename(Beside::SavedNew, Beside::Saved)?;
        }
        if there(Beside::KnownNew)? {
            self.replace(Beside::KnownNew, Beside::Known)?;
        }
        let new = self.birth(&self.name(Beside::New))?;
        if new.is_some() && new == merged.replaced {
            self.discard_previous()?;
            self.rename(Beside::New, Beside::Previous)?;
        }
        self.sync(EXCHANGED)?;
        self.write_journal(&Journal::Merged(Merged {
            finished: true,
            ..merged
        }))?;
        self.turn_journal()
    }

    /// Exchanges the target and what was there before.
    pub(super) fn exchange_back(&self) -> Result<(), Error> {
        let previous = self.name(Beside::Previous);
        if self.find(&previous)?.is_none() {
            let path = TreePath::from(previous);
            return Err(Error::NoWayBack { path });
        }
        rename(
            &self.fd,
            &previous,
            &self.options.target,
            RenameFlags::EXCHANGE,
        )?;
        self.sync(EXCHANGED)
    }

    /// The whole file system: the result is many files, and one call is less than each alone.
    pub(super) fn sync(&self, operation: &'static str) -> Result<(), Error> {
        if !self.options.sync {
            return Ok(());
        }
        rustix::fs::syncfs(&self.fd).map_err(failed_here(operation))
    }

    pub(super) fn journal(&self) -> Result<Option<Journal>, Error> {
        self.read(Beside::Journal, |file| {
            let mut bytes = Vec::new();
            io::Read::read_to_end(file, &mut bytes)?;
            let text = String::from_utf8(bytes).ok();
            Ok(text.as_deref().and_then(Journal::from_text))
        })
    }

    /// Replaces the journal, on disk before this returns.
    pub(super) fn note(&self, journal: &Journal) -> Result<(), Error> {
        self.write_journal(journal)?;
        self.turn_journal()?;
        if self.options.sync {
            let name = self.name(Beside::Journal);
            rustix::fs::fsync(&self.fd).map_err(failed("sync", &name))?;
        }
        Ok(())
    }

    /// Writes what [`turn_journal`](Self::turn_journal) makes the journal. With a [`sync`](Self::sync)
    /// between the two, all that the journal speaks of is on disk before it says so.
    pub(super) fn write_journal(&self, journal: &Journal) -> Result<(), Error> {
        let text = journal.to_text();
        self.write(Beside::JournalNew, |file| {
            io::Write::write_all(file, text.as_bytes())
        })
    }

    /// A name is changed after the other: a file system that keeps their order never has the target
    /// of a merge without the journal of it.
    pub(super) fn turn_journal(&self) -> Result<(), Error> {
        self.replace(Beside::JournalNew, Beside::Journal)
    }

    /// What is known from the merge that made the target.
    pub(super) fn known(&self) -> Result<Known, Error> {
        let read = self.read(Beside::Known, Known::read)?;
        Ok(read.unwrap_or_default())
    }

    pub(super) fn keep_known(&self, known: &Known) -> Result<(), Error> {
        self.write(Beside::KnownNew, |file| known.write(file))
    }

    /// Writes a new file, whatever had its name before.
    fn write(
        &self,
        beside: Beside,
        content: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        let name = self.name(beside);
        self.remove(beside)?;
        let write = || -> io::Result<()> {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let fd = rustix::fs::openat(&self.fd, name.as_bytes(), flags, mode)?;
            content(&mut File::from_std(fd.into()))
        };
        write().map_err(failed("write", &name))
    }

    /// Reads what we wrote; `None` for anything that is no file of ours: as good as none.
    fn read<T>(
        &self,
        beside: Beside,
        content: impl FnOnce(&mut File) -> io::Result<Option<T>>,
    ) -> Result<Option<T>, Error> {
        let name = self.name(beside);
        let read = || -> io::Result<Option<T>> {
            let Some(stat) = Stat::find(&self.fd, name.as_bytes())? else {
                return Ok(None);
            };
            if stat.node_type != NodeType::File || stat.size > MAX_BOOK {
                return Ok(None);
            }
            let fd = open_file(&self.fd, name.as_bytes(), &stat)?;
            content(&mut File::from_std(fd.into()))
        };
        read().map_err(failed("read", &name))
    }

    /// Puts a file in the place of the last one of its kind; that may be anything.
    fn replace(&self, from: Beside, to: Beside) -> Result<(), Error> {
        let there = self.find(&self.name(to))?;
        if there.is_some_and(|stat| stat.is_directory()) {
            self.remove(to)?;
        }
        self.rename(from, to)
    }
}

fn rename(fd: &OwnedFd, from: &Name, to: &Name, flags: RenameFlags) -> Result<(), Error> {
    let operation = match flags {
        RenameFlags::EXCHANGE => "exchange",
        _ => "rename",
    };
    rustix::fs::renameat_with(fd, from.as_bytes(), fd, to.as_bytes(), flags)
        .map_err(failed(operation, to))
}

fn failed<E: Into<io::Error>>(operation: &'static str, name: &Name) -> impl FnOnce(E) -> Error {
    let path = TreePath::from(name.clone());
    move |error| Error::Io {
        operation,
        path,
        source: error.into(),
    }
}

fn failed_here<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Io {
        operation,
        path: TreePath::root(),
        source: error.into(),
    }
}
