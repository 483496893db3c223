//! What must be added to and removed from one tree to get another.

use std::collections::{BTreeMap, BTreeSet};

use pleach_fs_tree::{Inode, InodeId, Kind, Kinds, Metadata, Name, Tree, TreePath};

/// What a layer does to the tree below it.
#[derive(Debug, Clone)]
pub struct Changes<C> {
    /// What is put there. Every directory in it gets an entry, also those that are only on the way
    /// to something: some readers give a parent that has none a default mode.
    pub additions: Tree<C>,
    /// What is taken away, with all that is below it; whatever `additions` has is never taken away.
    pub removals: BTreeSet<TreePath>,
    /// Whether the metadata of the root directory are set too.
    pub root: bool,
}

impl<C> Changes<C> {
    /// A whole tree: nothing removed, the root included.
    pub fn whole(tree: Tree<C>) -> Self {
        Self {
            additions: tree,
            removals: BTreeSet::new(),
            root: true,
        }
    }

    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        let entries = self.additions.inode(self.additions.root()).entries();
        !self.root && self.removals.is_empty() && entries.is_none_or(BTreeMap::is_empty)
    }
}

/// The changes that make `upper` out of `lower`. `same` compares the contents of two regular files.
///
/// Merging a layer of them over `lower` gives `upper`. If one name of an inode must be written, all
/// its names are, so no layer has a hard link to a file of another one.
pub fn diff<D, C: Clone>(
    lower: &Tree<D>,
    upper: &Tree<C>,
    same: impl Fn(&D, &C) -> bool,
) -> Changes<C> {
    let mut changes = Builder {
        upper,
        out: Changes {
            additions: Tree::new(upper.inode(upper.root()).metadata.clone()),
            removals: BTreeSet::new(),
            root: false,
        },
        inodes: BTreeMap::new(),
    };
    for difference in pleach_fs_tree::diff(lower, upper, same) {
        let path = difference.path;
        match difference.kinds {
            Kinds::OnlyRight(id) | Kinds::Both(_, id, _) => changes.put(&path, id),
            Kinds::OnlyLeft(_) => changes.remove(path),
        }
    }
    changes.out
}

struct Builder<'a, C> {
    upper: &'a Tree<C>,
    out: Changes<C>,
    inodes: BTreeMap<InodeId, InodeId>,
}

impl<C: Clone> Builder<'_, C> {
    fn put(&mut self, path: &TreePath, id: InodeId) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            self.out.root = true;
            return;
        };
        let parent = self.directory(&parent);
        let additions = &mut self.out.additions;
        let inode = self.upper.inode(id);
        if inode.entries().is_some() {
            if additions.child(parent, name.as_bytes()).is_none() {
                insert(
                    additions,
                    parent,
                    name,
                    Inode::directory(inode.metadata.clone()),
                );
            }
            return;
        }
        match self.inodes.get(&id) {
            Some(&first) => additions
                .link(first, parent, name)
                .expect("neither is a directory in the way"),
            None => {
                let id_there = insert(additions, parent, name, inode.clone());
                self.inodes.insert(id, id_there);
            }
        }
    }

    /// Only the topmost: what is below goes with it, and what stands below something that is no
    /// directory any more goes by being replaced.
    fn remove(&mut self, path: TreePath) {
        let parent = path.parent().unwrap_or_default();
        let stays = self.upper.get(&parent).map(|inode| &inode.kind);
        if matches!(stays, Some(Kind::Directory(_))) {
            self.directory(&parent);
            self.out.removals.insert(path);
        }
    }

    /// The directory with its parents, all with the upper tree's metadata.
    fn directory(&mut self, path: &TreePath) -> InodeId {
        let additions = &mut self.out.additions;
        let (mut at, mut there) = (self.upper.root(), additions.root());
        for component in path.components() {
            at = self.upper.child(at, component).expect("a path of the tree");
            there = additions.child(there, component).unwrap_or_else(|| {
                let name = Name::new(component).expect("a component of a path is a name");
                let metadata: &Metadata = &self.upper.inode(at).metadata;
                insert(additions, there, name, Inode::directory(metadata.clone()))
            });
        }
        there
    }
}

fn insert<C>(tree: &mut Tree<C>, parent: InodeId, name: Name, inode: Inode<C>) -> InodeId {
    tree.insert(parent, name, inode)
        .expect("the parent is a directory")
}
