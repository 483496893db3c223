//! Three directories walked in step.
//!
//! A path that is the same in all three is forgotten at once, so what is kept in memory is what
//! differs, and the directories on the way to it. Contents are read only where the kernel's word
//! (one inode, or a pair that is [`Known`]) is not enough.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cap_std::fs::Dir;
use pleach_fs_tree::{
    Inode, InodeId, Kind, NodeType, Timestamp, Tree, TreePath, Xattrs, read_xattrs,
};

use super::known::{self, Known};
use super::open::read_up_to;
use super::pool;
use super::stat::{
    Changed, Listing, Stat, name, open_and_look, open_directory, open_file, open_special,
};
use super::told::{Sum, Told};
use super::{ApplyOptions, failed};
use crate::inode::same_attributes;
use crate::{Database, Error, Policies, Sides};

/// How messages name the three directories.
pub(super) const SIDES: [&str; 3] = ["pristine", "current", "new"];

/// Which of the three directories something is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Pristine,
    Current,
    New,
}

impl Origin {
    pub(super) const ALL: [Self; 3] = [Self::Pristine, Self::Current, Self::New];

    pub(super) fn of<T>(self, sides: &Sides<T>) -> &T {
        match self {
            Self::Pristine => &sides.pristine,
            Self::Current => &sides.current,
            Self::New => &sides.new,
        }
    }

    pub(super) fn of_mut<T>(self, sides: &mut Sides<T>) -> &mut T {
        match self {
            Self::Pristine => &mut sides.pristine,
            Self::Current => &mut sides.current,
            Self::New => &mut sides.new,
        }
    }
}

/// The content of a regular file: where it is, and which of the contents at its path it equals.
#[derive(Debug, Clone)]
pub(super) struct Located {
    /// Its own side, except below a mount point of the current tree: there it is the pristine one.
    pub(super) origin: Origin,
    pub(super) stat: Stat,
    /// Contents of one path with the same number are the same.
    pub(super) class: u8,
}

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

/// Walks the three directories.
pub(super) fn walk(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
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
        *origin.of_mut(&mut handles) = Some(Handle { fd, origin });
    }
    let walker = Walker {
        tops,
        known: &options.known,
        policies,
        now: known::now(),
        paths: AtomicUsize::new(1),
        max_depth: options.materialize.max_depth,
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
struct Handle {
    fd: Arc<OwnedFd>,
    origin: Origin,
}

#[derive(Clone, Copy)]
struct Found {
    stat: Stat,
    /// The directory that it is opened in.
    origin: Origin,
    /// A mount point: its entries are not looked at.
    hidden: bool,
}

type Inodes = Sides<Option<Inode<Located>>>;

/// A directory on at least one side.
struct Directory {
    above: Option<Arc<Directory>>,
    name: Box<[u8]>,
    inodes: Inodes,
}

struct Job {
    above: Option<Arc<Directory>>,
    handles: Arc<Sides<Option<Handle>>>,
    name: Box<[u8]>,
    found: Sides<Option<Found>>,
    depth: usize,
}

enum Kept {
    Directory(Arc<Directory>),
    Other(Box<(Arc<Directory>, Box<[u8]>, Inodes)>),
}

#[derive(Default)]
struct Worker {
    kept: Vec<Kept>,
    mounts: Vec<TreePath>,
    pairs: Vec<u128>,
    sums: Sides<Sum>,
    buffers: [Vec<u8>; 2],
}

struct Walker<'a> {
    tops: Sides<Option<Found>>,
    known: &'a Known,
    policies: &'a Policies,
    now: Timestamp,
    paths: AtomicUsize,
    max_depth: usize,
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
                });
            }
        }
        let same = all_same(&inodes);
        let directory = Arc::new(Directory {
            above: job.above,
            name: job.name,
            inodes,
        });
        if !same {
            w.kept.push(Kept::Directory(directory.clone()));
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
            let listed = names.each_mut().map(|n| {
                n.next_if(|(name, _)| *name == next)
                    .map(|(_, regular)| regular)
            });
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
            if !needed && self.same_by_stat(w, &found) {
                continue;
            }
            let here = || path.join(&name(next));
            let inodes = self.inodes(w, &handles, next, found, open, &here())?;
            if needed || !all_same(&inodes) {
                let kept = Kept::Other(Box::new((directory.clone(), next.into(), inodes)));
                w.kept.push(kept);
            }
        }
        for origin in Origin::ALL {
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

    /// What the sides have under a name. On a mount point of the current tree, and below, it is what
    /// the pristine one has: what is mounted hides the machine's own files, which cannot be seen. A
    /// mounted directory that is in no image is kept, empty: it is there to be mounted on.
    fn look(
        &self,
        w: &mut Worker,
        handles: &Sides<Option<Handle>>,
        listed: [Option<bool>; 3],
        entry: &[u8],
        above: &TreePath,
        open: &mut Sides<Option<OwnedFd>>,
    ) -> Result<Sides<Option<Found>>, Error> {
        let mut out = Sides::<Option<Found>>::default();
        // Where nothing is known a file will be read anyway: looking at what is open spares a call. Of
        // the new tree most files are the pristine one's inodes, and are not opened at all.
        let unknown = self.known.is_empty() && listed == [Some(true); 3];
        for origin in Origin::ALL {
            let (Some(_), Some(handle)) = (listed[origin as usize], origin.of(handles)) else {
                continue;
            };
            if handle.origin != origin {
                *origin.of_mut(&mut out) = out.pristine;
                continue;
            }
            let path = || above.join(&name(entry));
            let opened = match unknown && origin != Origin::New {
                true => open_and_look(&handle.fd, entry),
                false => None,
            };
            let stat = match opened {
                Some((fd, stat)) => {
                    *origin.of_mut(open) = Some(fd);
                    stat
                }
                None => {
                    let stat = Stat::find(&handle.fd, entry);
                    let Some(stat) = stat.map_err(|e| failed(origin, "stat", &path())(e))? else {
                        continue;
                    };
                    stat
                }
            };
            let found = Found {
                stat,
                origin,
                hidden: false,
            };
            let top = origin.of(&self.tops).map(|top| top.stat);
            let found = match top.is_none_or(|top| top.same_mount(&stat)) {
                true => Some(found),
                false if origin != Origin::Current => {
                    let (side, path) = (SIDES[origin as usize], path());
                    return Err(Error::Mounted { side, path });
                }
                false => {
                    *origin.of_mut(open) = None;
                    w.mounts.push(path());
                    let empty = stat.is_directory().then_some(Found {
                        hidden: true,
                        ..found
                    });
                    out.pristine.or(empty)
                }
            };
            *origin.of_mut(&mut out) = found;
        }
        Ok(out)
    }

    /// The kernel must see it also where it is the same on all sides: a stamp is never in a result,
    /// and account files are merged with one another.
    fn is_needed(&self, above: &TreePath, entry: &[u8]) -> bool {
        let path = || above.join(&name(entry));
        let mut stamps = self.policies.stamps.iter();
        let mut accounts = Database::ALL.into_iter();
        stamps.any(|stamp| stamp.as_bytes().ends_with(entry) && *stamp == path())
            || accounts.any(|database| database.file_name().as_bytes() == entry)
                && self
                    .policies
                    .covering(&path())
                    .is_some_and(|rule| self.policies.rules[rule].action == crate::Action::Accounts)
    }

    /// All three are there and the same, without anything being read.
    fn same_by_stat(&self, w: &mut Worker, found: &Sides<Option<Found>>) -> bool {
        let Sides {
            pristine: Some(pristine),
            current: Some(current),
            new: Some(new),
        } = found
        else {
            return false;
        };
        let (pristine, current, new) = (&pristine.stat, &current.stat, &new.stat);
        if !pristine.same_owner_and_mode(current) || !pristine.same_owner_and_mode(new) {
            return false;
        }
        let before = w.pairs.len();
        let mut same = |a: &Stat, b: &Stat| {
            a.same_inode(b) || {
                let pair = self.known.pair(a, b);
                w.pairs.extend(pair);
                pair.is_some()
            }
        };
        let all = same(pristine, current) && (same(pristine, new) || same(current, new));
        if !all {
            w.pairs.truncate(before);
        }
        all
    }

    /// Reads what is no directory, and compares the contents.
    fn inodes(
        &self,
        w: &mut Worker,
        handles: &Sides<Option<Handle>>,
        entry: &[u8],
        found: Sides<Option<Found>>,
        mut open: Sides<Option<OwnedFd>>,
        path: &TreePath,
    ) -> Result<Inodes, Error> {
        let mut out = Inodes::default();
        let mut files = Sides::<Option<OwnedFd>>::default();
        for origin in Origin::ALL {
            let Some(found_here) = origin.of(&found) else {
                continue;
            };
            let stat = found_here.stat;
            if stat.is_directory() {
                continue;
            }
            // One inode under two names, as in two deployments of one repository, is read once.
            let twin = out.pristine.as_ref().filter(|_| {
                let pristine = found.pristine.filter(|_| origin != Origin::Pristine);
                pristine.is_some_and(|pristine| pristine.stat.same_inode(&stat))
            });
            let located = |class| Located {
                origin: found_here.origin,
                stat,
                class,
            };
            if let Some(twin) = twin {
                let metadata = twin.metadata.clone();
                let kind = match &twin.kind {
                    Kind::File(_) => Kind::File(located(0)),
                    kind => kind.clone(),
                };
                *origin.of_mut(&mut out) = Some(Inode { metadata, kind });
                continue;
            }
            let handle = found_here.origin.of(handles).as_ref();
            let open = origin.of_mut(&mut open).take();
            let read = || -> io::Result<(Option<OwnedFd>, Xattrs, Kind<Located>)> {
                let directory = &handle.ok_or(Changed)?.fd;
                let (fd, kind) = match (stat.node_type, open) {
                    (NodeType::File, Some(fd)) => (fd, Kind::File(located(origin as u8))),
                    (NodeType::File, None) => {
                        let fd = open_file(directory, entry, &stat)?;
                        (fd, Kind::File(located(origin as u8)))
                    }
                    _ => {
                        let fd = open_special(directory, entry, &stat)?;
                        let kind = other(&fd, &stat)?;
                        (fd, kind)
                    }
                };
                let xattrs = read_xattrs(&fd, stat.node_type)?;
                Ok((Some(fd), xattrs, kind))
            };
            let (fd, xattrs, kind) = read().map_err(failed(origin, "read", path))?;
            if stat.node_type == NodeType::File {
                *origin.of_mut(&mut files) = fd;
            }
            let metadata = stat.metadata(xattrs);
            *origin.of_mut(&mut out) = Some(Inode { metadata, kind });
        }
        self.classify(w, &mut out, &files, path)?;
        self.learn(w, &out, &found);
        Ok(out)
    }

    /// Gives each content the number of the first that it equals.
    fn classify(
        &self,
        w: &mut Worker,
        inodes: &mut Inodes,
        files: &Sides<Option<OwnedFd>>,
        path: &TreePath,
    ) -> Result<(), Error> {
        let pairs = [
            (Origin::Pristine, Origin::Current),
            (Origin::Pristine, Origin::New),
            (Origin::Current, Origin::New),
        ];
        for (first, second) in pairs {
            let (Some(a), Some(b)) = (located(inodes, first), located(inodes, second)) else {
                continue;
            };
            // One of the two equals an earlier one, which was compared with the other.
            if b.class != second as u8 || a.class != first as u8 {
                continue;
            }
            let same = a.stat.same_inode(&b.stat)
                || a.stat.size == b.stat.size
                    && match (first.of(files), second.of(files)) {
                        _ if self.known.pair(&a.stat, &b.stat).is_some() => true,
                        (Some(x), Some(y)) => same_bytes(x, y, a.stat.size, &mut w.buffers)
                            .map_err(failed(second, "read", path))?,
                        _ => false,
                    };
            let class = a.class;
            if same
                && let Some(Inode {
                    kind: Kind::File(b),
                    ..
                }) = second.of_mut(inodes)
            {
                b.class = class;
            }
        }
        Ok(())
    }

    fn learn(&self, w: &mut Worker, inodes: &Inodes, found: &Sides<Option<Found>>) {
        let all = Origin::ALL
            .map(|origin| Some((origin.of(inodes).as_ref()?, origin.of(found).as_ref()?)));
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let (Some((a, at_a)), Some((b, at_b))) = (all[i], all[j]) else {
                continue;
            };
            let same = match (&a.kind, &b.kind) {
                (Kind::File(a), Kind::File(b)) => a.class == b.class,
                (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
                _ => false,
            };
            let (a_stat, b_stat) = (&at_a.stat, &at_b.stat);
            let old = |stat| known::old_enough(stat, self.now, known::MARGIN_OF_OTHERS);
            if same
                && a.metadata.xattrs == b.metadata.xattrs
                && !a_stat.same_inode(b_stat)
                && old(a_stat)
                && old(b_stat)
            {
                w.pairs.push(known::pair(a_stat, b_stat));
            }
        }
    }

    fn together(&self, workers: Vec<Worker>) -> Walked {
        let mut sums = Sides::<Sum>::default();
        let (mut mounts, mut pairs) = (Vec::new(), Vec::new());
        let mut trees = Trees::default();
        for worker in workers {
            for origin in Origin::ALL {
                origin.of_mut(&mut sums).join(origin.of(&worker.sums));
            }
            mounts.extend(worker.mounts);
            pairs.extend(worker.pairs);
            for kept in worker.kept {
                match kept {
                    Kept::Directory(directory) => drop(trees.directory(&directory)),
                    Kept::Other(kept) => {
                        let (above, name, inodes) = *kept;
                        let above = trees.directory(&above);
                        trees.insert(above, &name, inodes);
                    }
                }
            }
        }
        mounts.sort();
        Walked {
            trees: trees.finish(),
            mounts,
            paths: self.paths.load(Ordering::Relaxed),
            digests: sums.zip(self.tops).map(|(sum, top)| {
                let top = top.map(|top| top.stat.identity());
                sum.finish(top.as_ref().map_or(&[], |top| top.as_slice()))
            }),
            known: Known::from_pairs(pairs),
        }
    }
}

fn located(inodes: &Inodes, origin: Origin) -> Option<&Located> {
    match &origin.of(inodes).as_ref()?.kind {
        Kind::File(located) => Some(located),
        _ => None,
    }
}

fn other(fd: &OwnedFd, stat: &Stat) -> io::Result<Kind<Located>> {
    Ok(match stat.node_type {
        NodeType::Symlink => {
            let target = rustix::fs::readlinkat(fd, "", Vec::new())?;
            Kind::Symlink(target.into_bytes().into())
        }
        NodeType::CharDevice => Kind::CharDevice(stat.node),
        NodeType::BlockDevice => Kind::BlockDevice(stat.node),
        NodeType::Fifo => Kind::Fifo,
        NodeType::Socket => Kind::Socket,
        NodeType::Directory | NodeType::File => return Err(Changed.into()),
    })
}

fn all_same(inodes: &Inodes) -> bool {
    let Sides {
        pristine: Some(pristine),
        current: Some(current),
        new: Some(new),
    } = inodes
    else {
        return false;
    };
    let same = |a: &Inode<Located>, b: &Inode<Located>| {
        crate::inode::same_content(&a.kind, &b.kind, &|a, b| a.class == b.class)
            && same_attributes(&a.metadata, &b.metadata)
    };
    same(pristine, current) && same(pristine, new)
}

const CHUNK: usize = 64 * 1024;

/// Compares two files of one size.
fn same_bytes(a: &OwnedFd, b: &OwnedFd, size: u64, buffers: &mut [Vec<u8>; 2]) -> io::Result<bool> {
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        for (buffer, fd) in buffers.iter_mut().zip([a, b]) {
            buffer.resize(CHUNK.max(buffer.len()), 0);
            if read_up_to(fd.as_fd(), &mut buffer[..length], at)? != length {
                return Err(Changed.into());
            }
        }
        let [x, y] = &*buffers;
        if x[..length] != y[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
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

/// The three trees while they are put together.
#[derive(Default)]
struct Trees {
    trees: Sides<Option<Tree<Located>>>,
    /// By address, so each is held.
    placed: HashMap<*const Directory, (Arc<Directory>, Sides<Option<InodeId>>)>,
}

impl Trees {
    fn directory(&mut self, directory: &Arc<Directory>) -> Sides<Option<InodeId>> {
        let key = Arc::as_ptr(directory);
        if let Some((_, ids)) = self.placed.get(&key) {
            return *ids;
        }
        let ids = match &directory.above {
            Some(above) => {
                let above = self.directory(above);
                self.insert(above, &directory.name, directory.inodes.clone())
            }
            None => {
                let mut ids = Sides::default();
                for origin in Origin::ALL {
                    let root = origin.of(&directory.inodes).as_ref();
                    let tree = root.map(|root| Tree::new(root.metadata.clone()));
                    *origin.of_mut(&mut ids) = tree.as_ref().map(Tree::root);
                    *origin.of_mut(&mut self.trees) = tree;
                }
                ids
            }
        };
        self.placed.insert(key, (directory.clone(), ids));
        ids
    }

    fn insert(
        &mut self,
        above: Sides<Option<InodeId>>,
        entry: &[u8],
        inodes: Inodes,
    ) -> Sides<Option<InodeId>> {
        let mut ids = Sides::default();
        let mut inodes = inodes;
        for origin in Origin::ALL {
            let tree = origin.of_mut(&mut self.trees).as_mut();
            let inode = origin.of_mut(&mut inodes).take();
            if let (Some(tree), Some(above), Some(inode)) = (tree, *origin.of(&above), inode) {
                let inserted = tree.insert(above, name(entry), inode);
                *origin.of_mut(&mut ids) = Some(inserted.expect("its parent is a directory"));
            }
        }
        ids
    }

    /// A tree of which nothing was kept is not empty: its root is.
    fn finish(self) -> Sides<Tree<Located>> {
        let empty = || Tree::new(pleach_fs_tree::Metadata::default());
        self.trees.map(|tree| tree.unwrap_or_else(empty))
    }
}
