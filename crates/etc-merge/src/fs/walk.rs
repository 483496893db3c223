//! Three directories walked in step.
//!
//! A path that is the same in all three is forgotten at once, so what is kept in memory is what
//! differs, and the directories on the way to it. Contents are read only where the kernel's word
//! (one inode, or a pair that is [`Known`]) is not enough.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, InodeId, NodeType, Timestamp, Tree, TreePath, read_xattrs};

use super::compare::all_same;
use super::known::{self, Known};
use super::origin::{Located, Origin};
use super::pool;
use super::stat::{Changed, Listing, Stat, name, open_directory};
use super::told::{Sum, Told};
use super::trees::Trees;
use super::{ApplyOptions, failed};
use crate::{Error, Policies, Sides};

/// What a walk has found.
pub(super) struct Walked {
    /// All paths that are not the same in all three, with the directories that lead to them.
    pub(super) trees: Sides<Tree<Located>>,
    /// Mount points in the current tree.
    pub(super) mounts: Vec<TreePath>,
    /// How many paths there are together.
    pub(super) paths: usize,
    pub(super) digests: Sides<[u8; 32]>,
    /// Pairs that were found to be equal, those that were known before among them.
    pub(super) known: Known,
}

/// Walks the three directories. Where the walk `learns`, it keeps the pairs that it found to be equal.
pub(super) fn walk(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
    learns: bool,
) -> Result<Walked, Error> {
    let root = TreePath::root();
    let mut tops = Sides::default();
    let mut handles = Sides::default();
    for origin in Origin::ALL {
        let fail = failed(origin, "open", &root);
        let fd = open_directory(origin.of(&sides), b".").map_err(fail)?;
        let stat = Stat::at(&fd, b"").map_err(failed(origin, "stat", &root))?;
        *origin.of_mut(&mut tops) = Some(Found {
            stat,
            origin,
            hidden: false,
        });
        let fd = Arc::new(fd);
        *origin.of_mut(&mut handles) = Some(Handle { fd, origin, stat });
    }
    let walker = Walker {
        tops,
        known: &options.known,
        policies,
        now: known::now(),
        paths: AtomicUsize::new(1),
        max_depth: options.materialize.max_depth,
        trees: Mutex::default(),
        learns,
    };
    let first = Job {
        above: None,
        handles: Arc::new(handles),
        name: Box::default(),
        found: tops,
        depth: 1,
    };
    let threads = pool::threads(options.threads);
    let done = pool::run(threads, first, Worker::default, |worker, job, added| {
        walker.directory(worker, job, added)
    })?;
    Ok(walker.together(done))
}

#[derive(Clone)]
pub(super) struct Handle {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) origin: Origin,
    /// As it was when it was opened.
    pub(super) stat: Stat,
}

#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) stat: Stat,
    /// The directory that it is opened in.
    pub(super) origin: Origin,
    /// A mount point: its entries are not looked at.
    pub(super) hidden: bool,
}

pub(super) type Inodes = Sides<Option<Inode<Located>>>;

/// A directory on at least one side. It lives as long as something in it waits to be looked at.
pub(super) struct Directory {
    pub(super) above: Option<Arc<Directory>>,
    pub(super) name: Box<[u8]>,
    pub(super) inodes: Inodes,
    /// Where it is in the trees, once something in it is kept.
    pub(super) placed: OnceLock<Sides<Option<InodeId>>>,
}

struct Job {
    above: Option<Arc<Directory>>,
    handles: Arc<Sides<Option<Handle>>>,
    name: Box<[u8]>,
    found: Sides<Option<Found>>,
    depth: usize,
}

#[derive(Default)]
pub(super) struct Worker {
    pub(super) mounts: Vec<TreePath>,
    /// Pairs that were not known before, and the numbers of those that were.
    pub(super) pairs: Vec<u128>,
    pub(super) used: Vec<u32>,
    sums: Sides<Sum>,
    pub(super) buffers: [Vec<u8>; 2],
}

pub(super) struct Walker<'a> {
    pub(super) tops: Sides<Option<Found>>,
    pub(super) known: &'a Known,
    pub(super) policies: &'a Policies,
    pub(super) now: Timestamp,
    paths: AtomicUsize,
    max_depth: usize,
    /// What differs, from all threads: few of the paths, so they seldom wait for one another.
    trees: Mutex<Trees>,
    pub(super) learns: bool,
}

impl Walker<'_> {
    fn directory(&self, w: &mut Worker, job: Job, added: &mut Vec<Job>) -> Result<(), Error> {
        let path = path_of(job.above.as_deref(), &job.name);
        if job.depth > self.max_depth {
            return Err(Error::Limit {
                path,
                limit: self.max_depth,
                what: "levels of directories",
            });
        }
        let mut handles = Sides::default();
        let mut inodes = self.inodes(
            w,
            &job.handles,
            &job.name,
            job.found,
            Sides::default(),
            &path,
        )?;
        for origin in Origin::ALL {
            let Some(found) = origin
                .of(&job.found)
                .filter(|found| found.stat.is_directory())
            else {
                continue;
            };
            let fd = self
                .open(&job, &found)
                .map_err(failed(origin, "open", &path))?;
            let stat = Stat::at(&fd, b"").map_err(failed(origin, "stat", &path))?;
            if !stat.same_inode(&found.stat) {
                return Err(failed(origin, "stat", &path)(Changed));
            }
            let xattrs = read_xattrs(&fd, NodeType::Directory);
            let xattrs = xattrs.map_err(failed(origin, "read the attributes of", &path))?;
            *origin.of_mut(&mut inodes) = Some(Inode::directory(stat.metadata(xattrs)));
            if !found.hidden {
                let origin_of_fd = found.origin;
                *origin.of_mut(&mut handles) = Some(Handle {
                    fd: Arc::new(fd),
                    origin: origin_of_fd,
                    stat,
                });
            }
        }
        let same = all_same(&inodes);
        let directory = Arc::new(Directory {
            above: job.above,
            name: job.name,
            inodes,
            placed: OnceLock::new(),
        });
        if !same {
            self.trees().directory(&directory);
        }
        self.entries(w, &path, &directory, handles, job.depth, added)
    }

    /// The root is opened already.
    fn open(&self, job: &Job, found: &Found) -> io::Result<OwnedFd> {
        let handle = found.origin.of(&job.handles).as_ref().ok_or(Changed)?;
        match job.above {
            None => open_directory(&handle.fd, b"."),
            Some(_) => open_directory(&handle.fd, &job.name),
        }
    }

    fn entries(
        &self,
        w: &mut Worker,
        path: &TreePath,
        directory: &Arc<Directory>,
        handles: Sides<Option<Handle>>,
        depth: usize,
        added: &mut Vec<Job>,
    ) -> Result<(), Error> {
        let mut listings = Sides::<Listing>::default();
        for origin in Origin::ALL {
            if let Some(handle) = origin.of(&handles) {
                let listed = Listing::read(&handle.fd);
                let listed = listed.map_err(failed(origin, "list", path))?;
                *origin.of_mut(&mut listings) = listed;
            }
        }
        let handles = Arc::new(handles);
        let mut told = handles.as_ref().as_ref().map(|handle| {
            let told = Told::new(path);
            handle.as_ref().map(|_| told)
        });
        let mut names = [
            listings.pristine.entries().peekable(),
            listings.current.entries().peekable(),
            listings.new.entries().peekable(),
        ];
        let mut count = 0;
        let first = |n: &mut std::iter::Peekable<_>| n.peek().map(|&(name, _): &(&[u8], _)| name);
        while let Some(next) = names.iter_mut().filter_map(first).min() {
            let listed = names
                .each_mut()
                .map(|n| n.next_if(|(name, _)| *name == next).map(|(_, said)| said));
            let mut open = Sides::default();
            let found = self.look(w, &handles, listed, next, path, &mut open)?;
            for origin in Origin::ALL {
                if let (Some(found), Some(told)) = (origin.of(&found), origin.of_mut(&mut told)) {
                    told.entry(next, &found.stat);
                }
            }
            count += 1;
            let all = [&found.pristine, &found.current, &found.new];
            if all
                .into_iter()
                .flatten()
                .any(|found| found.stat.is_directory())
            {
                added.push(Job {
                    above: Some(directory.clone()),
                    handles: handles.clone(),
                    name: next.into(),
                    found,
                    depth: depth + 1,
                });
                continue;
            }
            let needed = self.is_needed(path, next);
            let same =
                !needed && (self.same_by_stat(w, &found) || self.same_by_reading(w, &found, &open));
            if same {
                continue;
            }
            let here = || path.join(&name(next));
            let inodes = self.inodes(w, &handles, next, found, open, &here())?;
            if needed || !all_same(&inodes) {
                let mut trees = self.trees();
                let above = trees.directory(directory);
                trees.insert(above, next, inodes);
            }
        }
        for origin in Origin::ALL {
            // A name that came or went meanwhile may have been missed under both of its names.
            if let Some(handle) = origin.of(&handles) {
                let now = Stat::at(&handle.fd, b"").map_err(failed(origin, "stat", path))?;
                if !now.unchanged(&handle.stat) {
                    return Err(failed(origin, "list", path)(Changed));
                }
            }
            if let Some(told) = origin.of_mut(&mut told).take() {
                origin.of_mut(&mut w.sums).add(told);
            }
        }
        let limit = self.policies.max_paths;
        if self.paths.fetch_add(count, Ordering::Relaxed) + count > limit {
            return Err(Error::Limit {
                path: path.clone(),
                limit,
                what: "paths to merge",
            });
        }
        Ok(())
    }

    fn trees(&self) -> MutexGuard<'_, Trees> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn together(self, workers: Vec<Worker>) -> Walked {
        let mut sums = Sides::<Sum>::default();
        let (mut mounts, mut pairs, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for worker in workers {
            for origin in Origin::ALL {
                origin.of_mut(&mut sums).join(origin.of(&worker.sums));
            }
            mounts.extend(worker.mounts);
            pairs.push(worker.pairs);
            used.push(worker.used);
        }
        mounts.sort();
        let trees = self.trees.into_inner();
        Walked {
            trees: trees.unwrap_or_else(PoisonError::into_inner).finish(),
            mounts,
            paths: self.paths.into_inner(),
            digests: sums.zip(self.tops).map(|(sum, top)| {
                let top = top.map(|top| top.stat.identity());
                sum.finish(top.as_ref().map_or(&[], |top| top.as_slice()))
            }),
            known: {
                let used = used.iter().map(|used| self.known.chosen(used));
                Known::from_threads(pairs.into_iter().chain(used))
            },
        }
    }
}

fn path_of(above: Option<&Directory>, last: &[u8]) -> TreePath {
    let mut names = vec![last];
    let mut at = above;
    while let Some(directory) = at {
        names.push(&directory.name);
        at = directory.above.as_deref();
    }
    names.retain(|name| !name.is_empty());
    names.reverse();
    TreePath::new(names.join(&b'/')).expect("joined names are a path")
}
