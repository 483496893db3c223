//! A directory copied whole: what the merge begins with, and what it saves.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use cap_std::fs::Dir;
use pleach_fs_tree::{Name, NodeType, Timestamp, TreePath, read_xattrs};
use rustix::fs::Mode;

use super::copy::{Copier, CopyError, Place, read_special};
use super::known::{self, Known, Young};
use super::origin::{Origin, SIDES};
use super::pool;
use super::stat::{Listing, Stat, name as to_name, open_directory};
use super::told::{Sum, Told};
use super::{ApplyOptions, failed};
use crate::Error;
use crate::inode::without_overlayfs;

/// A copy that was made.
pub(super) struct Copied {
    /// The digest of what was copied, as the walk makes it.
    pub(super) digest: [u8; 32],
    /// Each file and its copy.
    pub(super) known: Known,
}

/// Copies the tree below `from` into the empty directory `to`, with exact attributes.
pub(super) fn copy_tree(
    from: &Dir,
    origin: Origin,
    to: &OwnedFd,
    to_name: &Name,
    options: &ApplyOptions,
) -> Result<Copied, Error> {
    let root = TreePath::root();
    let source = open_directory(from, b".").map_err(failed(origin, "open", &root))?;
    let top = Stat::at(&source, b"").map_err(failed(origin, "stat", &root))?;
    let target = open_directory(to, b".").map_err(|source| Error::Write {
        name: to_name.clone(),
        operation: "open",
        path: root.clone(),
        source,
    })?;
    let tree = CopyTree {
        top,
        origin,
        to_name,
        options,
        now: known::now(),
    };
    let first = Job {
        source: Arc::new(source),
        target: Arc::new(target),
        name: None,
        path: root,
        depth: 1,
    };
    let worker = || Worker {
        copier: Copier::new(&options.materialize),
        pairs: Young::default(),
        sum: Sum::default(),
    };
    let threads = pool::threads(options.threads);
    let done = pool::run(threads, first, worker, |w, job, added| {
        tree.directory(w, job, added)
    })?;
    let (mut sum, mut pairs) = (Sum::default(), Vec::new());
    let now = known::now();
    for worker in done {
        sum.join(&worker.sum);
        pairs.push(worker.pairs.at(now));
    }
    Ok(Copied {
        digest: sum.finish(&top.identity()),
        known: Known::from_threads(pairs),
    })
}

/// A directory to be copied; both of those above it are open.
struct Job {
    source: Arc<OwnedFd>,
    target: Arc<OwnedFd>,
    /// `None` for the top, which is what is open itself.
    name: Option<Box<[u8]>>,
    path: TreePath,
    depth: usize,
}

struct Worker<'a> {
    copier: Copier<'a>,
    pairs: Young,
    sum: Sum,
}

struct CopyTree<'a> {
    top: Stat,
    origin: Origin,
    to_name: &'a Name,
    options: &'a ApplyOptions,
    now: Timestamp,
}

impl CopyTree<'_> {
    fn directory(&self, w: &mut Worker<'_>, job: Job, added: &mut Vec<Job>) -> Result<(), Error> {
        let Job { path, depth, .. } = job;
        let limit = self.options.materialize.max_depth;
        if depth > limit {
            return Err(Error::Limit {
                path,
                limit,
                what: "levels of directories",
            });
        }
        let (source, target) = match &job.name {
            None => (job.source, job.target),
            Some(name) => {
                let source = open_directory(&job.source, name);
                let target = open_directory(&job.target, name);
                (
                    Arc::new(source.map_err(self.reading("open", &path))?),
                    Arc::new(target.map_err(self.writing("open", &path))?),
                )
            }
        };
        let stat = Stat::at(&source, b"").map_err(self.reading("stat", &path))?;
        let mut told = Told::new(&path);
        let names = Listing::read(&source).map_err(self.reading("list", &path))?;
        for name in names.iter() {
            let here = || path.join(&to_name(name));
            let found = Stat::find(&source, name);
            let Some(found) = found.map_err(|e| self.reading("stat", &here())(e))? else {
                continue;
            };
            told.entry(name, &found);
            if !found.same_mount(&self.top) {
                // Only what is saved of the machine's is copied from there; its mounts are reported.
                if self.origin == Origin::Current {
                    continue;
                }
                return Err(Error::Mounted {
                    side: SIDES[self.origin as usize],
                    path: here(),
                });
            }
            if found.is_directory() {
                rustix::fs::mkdirat(&target, name, Mode::RWXU)
                    .map_err(|e| self.writing("create", &here())(e))?;
                added.push(Job {
                    source: source.clone(),
                    target: target.clone(),
                    name: Some(name.into()),
                    path: here(),
                    depth: depth + 1,
                });
                continue;
            }
            let from = Place {
                directory: source.as_fd(),
                name,
            };
            let to = Place {
                directory: target.as_fd(),
                name,
            };
            self.other(w, from, &found, to)
                .map_err(|e| self.copying(&here(), e))?;
        }
        w.sum.add(told);
        let xattrs = read_xattrs(&source, NodeType::Directory);
        let xattrs = xattrs.map_err(self.reading("read the attributes of", &path))?;
        let metadata = without_overlayfs(stat.metadata(xattrs));
        let set = w.copier.attributes(&target, NodeType::Directory, &metadata);
        set.map_err(|e| self.copying(&path, e))
    }

    fn other(
        &self,
        w: &mut Worker<'_>,
        from: Place<'_>,
        stat: &Stat,
        to: Place<'_>,
    ) -> Result<(), CopyError> {
        let copy = match stat.node_type {
            NodeType::File => Some(w.copier.file(from, stat, to, None)?),
            _ => {
                let inode = read_special(from, stat)?;
                let made = w.copier.special(&inode, to)?;
                made.filter(|_| stat.node_type == NodeType::Symlink)
            }
        };
        if !known::old_enough(stat.ctime, self.now, known::MARGIN_OF_OTHERS) {
            return Ok(());
        }
        // A copy that cannot be looked at is only not known.
        if let Some(copy) = copy.and_then(|copy| Stat::at(&copy, b"").ok()) {
            w.pairs.add(known::pair(stat, &copy), copy.ctime);
        }
        Ok(())
    }

    fn reading<E: Into<std::io::Error>>(
        &self,
        operation: &'static str,
        path: &TreePath,
    ) -> impl FnOnce(E) -> Error + use<E> {
        failed(self.origin, operation, path)
    }

    fn writing<E: Into<std::io::Error>>(
        &self,
        operation: &'static str,
        path: &TreePath,
    ) -> impl FnOnce(E) -> Error + use<E> {
        let (name, path) = (self.to_name.clone(), path.clone());
        move |error| Error::Write {
            name,
            operation,
            path,
            source: error.into(),
        }
    }

    fn copying(&self, path: &TreePath, error: CopyError) -> Error {
        copy_error(self.origin, self.to_name, path, error)
    }
}

pub(super) fn copy_error(origin: Origin, name: &Name, path: &TreePath, error: CopyError) -> Error {
    let CopyError {
        reading,
        operation,
        source,
    } = error;
    match reading {
        true => failed(origin, operation, path)(source),
        false => Error::Write {
            name: name.clone(),
            operation,
            path: path.clone(),
            source,
        },
    }
}
