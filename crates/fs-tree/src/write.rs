//! How a tree is written: a stack of directories, and workers that take them from it.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode};

use crate::attributes::MetadataError;
use crate::new_inode::{DIRECTORY, NewInodes, step};
use crate::{
    ContentSource, InodeId, MaterializeError, MaterializeOptions, Name, NodeType, Tree, TreePath,
};

/// A tree that is being written.
pub(crate) struct Writer<'a, C> {
    tree: &'a Tree<C>,
    max_depth: usize,
    top: OwnedFd,
    new: NewInodes<'a>,
    /// For an inode that has several names, the first of them, once it is there.
    links: HashMap<InodeId, Mutex<Option<First>>>,
    work: Mutex<Work<'a>>,
    changed: Condvar,
}

/// The directories that wait, the last one first: so only those on the way to the ones that are
/// being written are open.
#[derive(Default)]
struct Work<'a> {
    stack: Vec<Task<'a>>,
    /// Directories on the stack or with a worker.
    left: usize,
    /// Workers that wait for more.
    idle: usize,
    failed: Option<MaterializeError>,
}

/// A directory to be made and filled; the target itself where there is no parent.
struct Task<'a> {
    parent: Option<(Arc<Open<'a>>, &'a Name)>,
    id: InodeId,
}

/// A directory that was made, and is not finished before all in it is.
struct Open<'a> {
    place: Place<'a>,
    id: InodeId,
    fd: OwnedFd,
    depth: usize,
    mode: Option<u16>,
    /// Directories in it that are not finished, and one while it is filled itself.
    unfinished: AtomicUsize,
}

/// Where a directory is; its path is put together only when an error wants it.
enum Place<'a> {
    Top,
    Below(Arc<Open<'a>>, &'a Name),
}

impl Open<'_> {
    fn path(&self) -> TreePath {
        match &self.place {
            Place::Top => TreePath::root(),
            Place::Below(parent, name) => parent.path().join(name),
        }
    }
}

/// The first name of an inode that has several.
struct First {
    directory: InodeId,
    path: TreePath,
}

impl<'a, C> Writer<'a, C> {
    pub(crate) fn new(
        tree: &'a Tree<C>,
        target: &Dir,
        options: &'a MaterializeOptions,
    ) -> Result<Self, MaterializeError> {
        let top = rustix::fs::openat(target, ".", DIRECTORY, Mode::empty())
            .map_err(|error| at(step("open")(error), TreePath::root()))?;
        let new = NewInodes::below(&top, options).map_err(|error| at(error, TreePath::root()))?;
        let mut work = Work::default();
        work.add([Task {
            parent: None,
            id: tree.root(),
        }]);
        Ok(Self {
            tree,
            max_depth: options.max_depth,
            top,
            new,
            links: several_names(tree),
            work: Mutex::new(work),
            changed: Condvar::new(),
        })
    }

    /// Writes directories until none is left, or something failed.
    pub(crate) fn work(&self, source: &mut dyn ContentSource<C>) {
        while let Some(task) = self.next() {
            let done = Done(self);
            if let Err(error) = self.directory(task, source) {
                lock(&self.work).failed.get_or_insert(error);
            }
            drop(done);
        }
    }

    pub(crate) fn finish(self) -> Result<(), MaterializeError> {
        let work = self.work.into_inner();
        let work = work.unwrap_or_else(PoisonError::into_inner);
        work.failed.map_or(Ok(()), Err)
    }

    fn next(&self) -> Option<Task<'a>> {
        let mut work = lock(&self.work);
        loop {
            if work.failed.is_some() || work.left == 0 {
                return None;
            }
            if let Some(task) = work.stack.pop() {
                return Some(task);
            }
            work.idle += 1;
            let waited = self.changed.wait(work);
            work = waited.unwrap_or_else(PoisonError::into_inner);
            work.idle -= 1;
        }
    }

    fn directory(
        &self,
        task: Task<'a>,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), MaterializeError> {
        let tree = self.tree;
        let open = Arc::new(self.open(task)?);
        let entries = || tree.inode(open.id).entries().into_iter().flatten();
        let is_directory = |id: InodeId| tree.inode(id).entries().is_some();
        let below = entries().filter(|&(_, &id)| is_directory(id));
        let below = below.map(|(name, &id)| Task {
            parent: Some((open.clone(), name)),
            id,
        });
        // First those, so that others have something to do meanwhile.
        let below: Vec<_> = below.rev().collect();
        if !below.is_empty() {
            open.unfinished.fetch_add(below.len(), Ordering::Relaxed);
            let mut work = lock(&self.work);
            work.add(below);
            if work.idle > 0 {
                self.changed.notify_all();
            }
        }
        for (name, &id) in entries().filter(|&(_, &id)| !is_directory(id)) {
            self.entry(&open, name, id, source)?;
        }
        // Whoever finishes the last directory in another one finishes that, too.
        let mut full = &open;
        while full.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            let metadata = &tree.inode(full.id).metadata;
            let set = self
                .new
                .attributes(&full.fd, NodeType::Directory, metadata, full.mode);
            set.map_err(|error| at(error, full.path()))?;
            match &full.place {
                Place::Top => break,
                Place::Below(parent, _) => full = parent,
            }
        }
        Ok(())
    }

    /// Makes the directory of a task, unless it is the target, and opens it.
    fn open(&self, task: Task<'a>) -> Result<Open<'a>, MaterializeError> {
        let Task { parent, id } = task;
        let unfinished = AtomicUsize::new(1);
        let Some((parent, name)) = parent else {
            let fd = self.top.try_clone();
            return Ok(Open {
                place: Place::Top,
                id,
                fd: fd.map_err(|error| at(step("open")(error), TreePath::root()))?,
                depth: 1,
                mode: None,
                unfinished,
            });
        };
        let path = || parent.path().join(name);
        let depth = parent.depth + 1;
        let limit = self.max_depth;
        if depth > limit {
            let path = path();
            return Err(MaterializeError::Depth { path, limit });
        }
        let metadata = &self.tree.inode(id).metadata;
        let made = self.new.directory(&parent.fd, name.as_bytes(), metadata);
        let (fd, mode) = made.map_err(|error| at(error, path()))?;
        Ok(Open {
            place: Place::Below(parent, name),
            id,
            fd,
            depth,
            mode,
            unfinished,
        })
    }

    /// Writes something that is no directory.
    fn entry(
        &self,
        parent: &Open<'a>,
        name: &Name,
        id: InodeId,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), MaterializeError> {
        let path = || parent.path().join(name);
        let mut make = || {
            let inode = self.tree.inode(id);
            self.new.inode(&parent.fd, name.as_bytes(), inode, source)
        };
        let Some(first) = self.links.get(&id) else {
            return make().map_err(|error| at(error, path()));
        };
        // Who comes second waits until it is there.
        let mut first = lock(first);
        let result = match &*first {
            Some(first) => self.hard_link(first, parent, name),
            None => make(),
        };
        result.map_err(|error| at(error, path()))?;
        first.get_or_insert_with(|| First {
            directory: parent.id,
            path: path(),
        });
        Ok(())
    }

    /// The first name was made by us, so its parents are directories; still, none is followed.
    fn hard_link(
        &self,
        first: &First,
        parent: &Open<'a>,
        name: &Name,
    ) -> Result<(), MetadataError> {
        let last = first.path.file_name().expect("the root is a directory");
        let link = |from: &OwnedFd| {
            let (old, new) = (last.as_bytes(), name.as_bytes());
            rustix::fs::linkat(from, old, &parent.fd, new, AtFlags::empty()).map_err(step("link"))
        };
        if first.directory == parent.id {
            return link(&parent.fd);
        }
        let open = |at: &OwnedFd, name: &[u8]| {
            rustix::fs::openat(at, name, DIRECTORY, Mode::empty()).map_err(step("open"))
        };
        let mut at = open(&self.top, b".")?;
        for component in first.path.parent().unwrap_or_default().components() {
            at = open(&at, component)?;
        }
        link(&at)
    }
}

/// Ends a task, also when it panics: the others must not wait for it.
struct Done<'w, 'a, C>(&'w Writer<'a, C>);

impl<C> Drop for Done<'_, '_, C> {
    fn drop(&mut self) {
        let mut work = lock(&self.0.work);
        work.left -= 1;
        if work.idle > 0 && (work.left == 0 || work.failed.is_some()) {
            self.0.changed.notify_all();
        }
    }
}

impl<'a> Work<'a> {
    fn add(&mut self, tasks: impl IntoIterator<Item = Task<'a>>) {
        let before = self.stack.len();
        self.stack.extend(tasks);
        self.left += self.stack.len() - before;
    }
}

/// The inodes that have several names, none of which is there so far.
fn several_names<C>(tree: &Tree<C>) -> HashMap<InodeId, Mutex<Option<First>>> {
    let mut seen = HashSet::new();
    let mut several = HashMap::new();
    let mut directories = vec![tree.root()];
    while let Some(directory) = directories.pop() {
        for &id in tree
            .inode(directory)
            .entries()
            .into_iter()
            .flat_map(|e| e.values())
        {
            if tree.inode(id).entries().is_some() {
                directories.push(id);
            } else if !seen.insert(id) {
                several.entry(id).or_default();
            }
        }
    }
    several
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at(error: MetadataError, path: TreePath) -> MaterializeError {
    let MetadataError { operation, source } = error;
    MaterializeError::Io {
        operation,
        path,
        source,
    }
}
