//! The tree itself: names for inodes, and a walk.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Chunks, Inode, InodeId, Kind, Metadata, Name, TreePath};

/// A change to a tree that cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeError {
    /// A parent does not exist.
    #[error("{path}: no such directory in the tree")]
    NotFound {
        /// The missing directory.
        path: TreePath,
    },
    /// A parent is something else than a directory.
    #[error("{path}: not a directory")]
    NotADirectory {
        /// What is in the way.
        path: TreePath,
    },
    /// A directory cannot have a second name, and the root cannot be replaced by something else.
    #[error("{path}: {what}")]
    NotAllowed {
        /// The path in question.
        path: TreePath,
        /// What cannot be done there.
        what: &'static str,
    },
}

/// A file tree: a root directory and all that is below it.
///
/// An inode that has several names is a hard link. Symbolic links are never followed here, except by
/// [`Tree::resolve`], which follows them inside the tree.
#[derive(Debug, Clone)]
pub struct Tree<C> {
    inodes: Chunks<Inode<C>>,
}

const ROOT: InodeId = InodeId(0);

impl<C> Tree<C> {
    /// A tree with nothing but its root directory.
    pub fn new(root: Metadata) -> Self {
        Self {
            inodes: Chunks::from_iter([Inode::directory(root)]),
        }
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        ROOT
    }

    /// The inode of an id.
    pub fn inode(&self, id: InodeId) -> &Inode<C> {
        &self.inodes[id.0 as usize]
    }

    /// The metadata of an inode, to be changed.
    pub fn metadata_mut(&mut self, id: InodeId) -> &mut Metadata {
        &mut self.inodes[id.0 as usize].metadata
    }

    /// The entry `name` of the directory `parent`; `None` also where `parent` is no directory.
    pub fn child(&self, parent: InodeId, name: &[u8]) -> Option<InodeId> {
        self.inode(parent).entries()?.get(name).copied()
    }

    /// The inode at a path; no symbolic link is followed.
    pub fn lookup(&self, path: &TreePath) -> Option<InodeId> {
        path.components()
            .try_fold(ROOT, |at, name| self.child(at, name))
    }

    /// [`lookup`](Self::lookup) and [`inode`](Self::inode) in one.
    pub fn get(&self, path: &TreePath) -> Option<&Inode<C>> {
        self.lookup(path).map(|id| self.inode(id))
    }

    /// Puts an inode under a name into a directory. What had that name loses it; where both are
    /// directories the new one is empty, so whoever wants to keep the children changes the
    /// metadata instead.
    ///
    /// # Errors
    /// When `parent` is no directory (the path in the error is only the name, the tree does not know
    /// the parent's).
    pub fn insert(
        &mut self,
        parent: InodeId,
        name: Name,
        inode: Inode<C>,
    ) -> Result<InodeId, TreeError> {
        let id = InodeId(u32::try_from(self.inodes.len()).expect("fewer than 2^32 inodes"));
        self.set_entry(parent, name, id)?;
        self.inodes.push(inode);
        Ok(id)
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// When `target` is a directory, or `parent` is none.
    pub fn link(&mut self, target: InodeId, parent: InodeId, name: Name) -> Result<(), TreeError> {
        if self.inode(target).entries().is_some() {
            let path = name.into();
            return Err(TreeError::NotAllowed {
                path,
                what: "a directory has only one name",
            });
        }
        self.set_entry(parent, name, target)
    }

    fn set_entry(&mut self, parent: InodeId, name: Name, id: InodeId) -> Result<(), TreeError> {
        match &mut self.inodes[parent.0 as usize].kind {
            Kind::Directory(entries) => {
                entries.insert(name, id);
                Ok(())
            }
            _ => Err(TreeError::NotADirectory { path: name.into() }),
        }
    }

    /// Puts an inode at a path whose parent exists; at the root, a directory's metadata replace the
    /// root's.
    ///
    /// # Errors
    /// When the parent is missing or is no directory, or something else than a directory is put at
    /// the root.
    pub fn put(&mut self, path: &TreePath, inode: Inode<C>) -> Result<InodeId, TreeError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            if inode.entries().is_none() {
                let path = path.clone();
                return Err(TreeError::NotAllowed {
                    path,
                    what: "the root is a directory",
                });
            }
            self.inodes[0].metadata = inode.metadata;
            return Ok(ROOT);
        };
        let parent = self.directory(&parent)?;
        self.insert(parent, name, inode)
    }

    /// Like [`put`](Self::put), but makes missing parents, with the metadata given.
    ///
    /// # Errors
    /// When something on the way is no directory.
    pub fn put_with_parents(
        &mut self,
        path: &TreePath,
        inode: Inode<C>,
        parents: &Metadata,
    ) -> Result<InodeId, TreeError> {
        if let Some(parent) = path.parent() {
            self.make_directories(&parent, parents)?;
        }
        self.put(path, inode)
    }

    /// Makes a directory and its missing parents; those that exist stay as they are.
    ///
    /// # Errors
    /// When something on the way is no directory.
    pub fn make_directories(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
    ) -> Result<InodeId, TreeError> {
        let mut at = ROOT;
        let mut here = TreePath::root();
        for component in path.components() {
            let name = Name::new(component).expect("a component of a path is a name");
            here = here.join(&name);
            at = match self.child(at, component) {
                Some(next) if self.inode(next).entries().is_some() => next,
                Some(_) => return Err(TreeError::NotADirectory { path: here }),
                None => self.insert(at, name, Inode::directory(metadata.clone()))?,
            };
        }
        Ok(at)
    }

    /// The directory at a path.
    ///
    /// # Errors
    /// When nothing is there, or something else.
    pub fn directory(&self, path: &TreePath) -> Result<InodeId, TreeError> {
        let mut at = ROOT;
        let mut here = TreePath::root();
        for component in path.components() {
            here = here.join(&Name::new(component).expect("a component of a path is a name"));
            at = self
                .child(at, component)
                .ok_or_else(|| TreeError::NotFound { path: here.clone() })?;
            if self.inode(at).entries().is_none() {
                return Err(TreeError::NotADirectory { path: here });
            }
        }
        Ok(at)
    }

    /// Takes a name, and with a directory all that is below it, out of the tree; says whether it
    /// was there. The root stays.
    pub fn remove(&mut self, path: &TreePath) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        self.lookup(&parent)
            .is_some_and(|parent| self.remove_entry(parent, name.as_bytes()))
    }

    /// Takes one entry out of a directory; says whether it was there.
    pub fn remove_entry(&mut self, parent: InodeId, name: &[u8]) -> bool {
        match &mut self.inodes[parent.0 as usize].kind {
            Kind::Directory(entries) => entries.remove(name).is_some(),
            _ => false,
        }
    }

    /// Takes all entries out of a directory.
    pub fn clear(&mut self, directory: InodeId) {
        if let Kind::Directory(entries) = &mut self.inodes[directory.0 as usize].kind {
            entries.clear();
        }
    }

    /// Every path with its inode, the root first, each directory before what is in it, siblings by
    /// their bytes.
    pub fn walk(&self) -> Walk<'_, C> {
        self.walk_from(ROOT)
    }

    /// The walk from one inode on; paths are relative to it.
    pub fn walk_from(&self, id: InodeId) -> Walk<'_, C> {
        Walk {
            tree: self,
            stack: vec![(TreePath::root(), id)],
        }
    }

    /// The names of each inode that has several.
    pub fn hard_links(&self) -> BTreeMap<InodeId, Vec<TreePath>> {
        let mut names = BTreeMap::<_, Vec<_>>::new();
        for (path, id) in self.walk() {
            if self.inode(id).entries().is_none() {
                names.entry(id).or_default().push(path);
            }
        }
        names.retain(|_, paths| paths.len() > 1);
        names
    }

    /// The same tree with other contents; `f` is called once for each regular file's inode.
    pub fn map<D>(self, mut f: impl FnMut(C) -> D) -> Tree<D> {
        let inodes = self
            .inodes
            .into_iter()
            .map(|inode| Inode {
                metadata: inode.metadata,
                kind: match inode.kind {
                    Kind::File(content) => Kind::File(f(content)),
                    Kind::Directory(entries) => Kind::Directory(entries),
                    Kind::Symlink(target) => Kind::Symlink(target),
                    Kind::CharDevice(device) => Kind::CharDevice(device),
                    Kind::BlockDevice(device) => Kind::BlockDevice(device),
                    Kind::Fifo => Kind::Fifo,
                    Kind::Socket => Kind::Socket,
                },
            })
            .collect();
        Tree { inodes }
    }
}

/// See [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a, C> {
    tree: &'a Tree<C>,
    stack: Vec<(TreePath, InodeId)>,
}

impl<C> Iterator for Walk<'_, C> {
    type Item = (TreePath, InodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, id) = self.stack.pop()?;
        if let Some(entries) = self.tree.inode(id).entries() {
            self.stack.extend(
                entries
                    .iter()
                    .rev()
                    .map(|(name, &id)| (path.join(name), id)),
            );
        }
        Some((path, id))
    }
}
