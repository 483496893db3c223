//! Which objects there are: those of the repository, and those that are staged.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pleach_fs_tree::{Digest, Metadata};
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::error::{Error, io as failed};
use super::object::ObjectType;
use super::repo::{Repo, make_directory, open_directory, sync_directory};
use super::staging::Staging;
use crate::digest::hex;

/// See the module. Several threads may use it.
#[derive(Debug)]
pub(super) struct Store {
    objects: cap_std::fs::Dir,
    pub(super) staging: Staging,
    /// By the first byte of their names, as they are in directories.
    shards: Vec<Mutex<Shard>>,
    /// An object could not be written: half of it may be staged.
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    /// What the repository has; read when first asked for.
    held: Option<HashSet<Digest>>,
    staged: HashMap<Digest, ObjectType>,
    /// Whether it has a directory in the staging one.
    made: bool,
}

/// `ab/cdef….file`.
pub(super) fn object_path(name: &Digest, of: ObjectType) -> String {
    let hex = hex(name);
    format!("{}/{}.{}", &hex[..2], &hex[2..], of.suffix())
}

impl Store {
    pub(super) fn new(repo: &Repo) -> Result<Self, Error> {
        let tmp = open_directory(&repo.dir, "tmp")?;
        let staging = Staging::new(&tmp, repo.mode).map_err(failed("create", "tmp/pleach-…"))?;
        Ok(Self {
            objects: open_directory(&repo.dir, "objects")?,
            staging,
            shards: (0..256).map(|_| Mutex::default()).collect(),
            broken: AtomicBool::new(false),
        })
    }

    fn shard(&self, name: &Digest) -> io::Result<MutexGuard<'_, Shard>> {
        let shard = &self.shards[usize::from(name.0[0])];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.held.is_none() {
            shard.held = Some(self.read_shard(name.0[0])?);
        }
        Ok(shard)
    }

    /// One reading of a directory in place of a call for each object.
    fn read_shard(&self, first: u8) -> io::Result<HashSet<Digest>> {
        let entries = match self.objects.read_dir(format!("{first:02x}")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            entries => entries?,
        };
        let mut held = HashSet::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some((rest, suffix)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            if ObjectType::ALL.iter().any(|of| of.suffix() == suffix)
                && let Ok(digest) = crate::parse_digest(&format!("sha256:{first:02x}{rest}"))
            {
                held.insert(digest);
            }
        }
        Ok(held)
    }

    /// Whether it is there, staged or not.
    pub(super) fn has(&self, name: &Digest) -> io::Result<bool> {
        let shard = self.shard(name)?;
        let held = shard.held.as_ref().is_some_and(|held| held.contains(name));
        Ok(held || shard.staged.contains_key(name))
    }

    /// Whether the caller has to write it: nobody else has, or will.
    fn claim(&self, name: &Digest, of: ObjectType) -> io::Result<bool> {
        let mut shard = self.shard(name)?;
        if shard.held.as_ref().is_some_and(|held| held.contains(name))
            || shard.staged.contains_key(name)
        {
            return Ok(false);
        }
        if !shard.made && of != ObjectType::Commit {
            self.staging.make_directory(&format!("{:02x}", name.0[0]))?;
            shard.made = true;
        }
        shard.staged.insert(*name, of);
        Ok(true)
    }

    fn written(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    pub(super) fn file(&self, name: &Digest, metadata: &Metadata, bytes: &[u8]) -> io::Result<()> {
        match self.claim(name, ObjectType::File)? {
            true => self.written(self.staging.file(&path(name), metadata, bytes)),
            false => Ok(()),
        }
    }

    /// A file that was begun with [`Staging::begin`].
    pub(super) fn begun_file(
        &self,
        name: &Digest,
        metadata: &Metadata,
        (temporary, fd): (&str, &std::os::fd::OwnedFd),
    ) -> io::Result<()> {
        match self.claim(name, ObjectType::File)? {
            true => {
                let finished = self.staging.finish((temporary, fd), &path(name), metadata);
                self.written(finished)
            }
            false => self.staging.remove(temporary),
        }
    }

    pub(super) fn symlink(
        &self,
        name: &Digest,
        metadata: &Metadata,
        target: &[u8],
    ) -> io::Result<()> {
        match self.claim(name, ObjectType::File)? {
            true => self.written(self.staging.symlink(&path(name), metadata, target)),
            false => Ok(()),
        }
    }

    pub(super) fn metadata(&self, of: ObjectType, bytes: &[u8]) -> io::Result<Digest> {
        let name = Digest::of(bytes);
        if self.claim(&name, of)? {
            let path = match of {
                ObjectType::Commit => commit_path(&name),
                _ => object_path(&name, of),
            };
            self.written(self.staging.metadata_object(&path, bytes))?;
        }
        Ok(name)
    }

    /// Puts the staged objects that are to be kept into the repository, the commits last, when all
    /// that they name is there durably: `ostree fsck` looks at all commits, those of no ref too.
    pub(super) fn publish(&self, keep: &HashSet<Digest>, sync: bool) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("an object could not be written before"));
        }
        let mut commits = Vec::new();
        let mut shards = Vec::new();
        for (first, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let mut objects = Vec::new();
            for (name, of) in &shard.staged {
                match (of, keep.contains(name)) {
                    (ObjectType::Commit, true) => commits.push(*name),
                    (ObjectType::Commit, false) => {}
                    (_, true) => objects.push(object_path(name, *of)),
                    // Of a file that a higher layer hides.
                    (_, false) => self.staging.remove(&object_path(name, *of))?,
                }
            }
            if !objects.is_empty() {
                shards.push((format!("{first:02x}"), objects));
            }
        }
        let settle = || match sync {
            true => rustix::fs::syncfs(&self.objects),
            false => Ok(()),
        };
        settle()?;
        for (directory, objects) in &shards {
            self.publish_shard(directory, objects)?;
        }
        let commits = commits.iter().map(|name| {
            let path = object_path(name, ObjectType::Commit);
            make_directory(&self.objects, &path[..2]).map(|()| (commit_path(name), path))
        });
        let commits: Vec<_> = commits.collect::<io::Result<_>>()?;
        // One call for the names in all directories, in place of one for each.
        settle()?;
        for (from, to) in &commits {
            self.rename(from, to)?;
            if sync {
                sync_directory(&self.objects, &to[..2])?;
            }
        }
        Ok(())
    }

    /// All at once where the repository has no such directory; else one by one.
    fn publish_shard(&self, directory: &str, objects: &[String]) -> io::Result<()> {
        let (from, to) = (self.staging.dir(), &self.objects);
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from, directory, to, directory, flags) {
            Ok(()) => return Ok(()),
            // It is there, or the file system knows no such flag.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        make_directory(to, directory)?;
        objects.iter().try_for_each(|path| self.rename(path, path))
    }

    /// What somebody else has put there meanwhile is the same.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            self.staging.dir(),
            from,
            &self.objects,
            to,
        )?)
    }
}

fn path(name: &Digest) -> String {
    object_path(name, ObjectType::File)
}

/// A commit is staged apart, so that it is not published with its directory.
fn commit_path(name: &Digest) -> String {
    format!("{}.commit", hex(name))
}
