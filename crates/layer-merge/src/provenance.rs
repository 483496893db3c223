//! Where each path of a merged tree comes from.

use std::collections::HashMap;

use pleach_fs_tree::{InodeId, Name, Tree, TreePath};

/// The entry that put something at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Number of the entry in the layer, from 0; `None` for a directory that no entry names, but
    /// that is on the way to something.
    pub entry: Option<u64>,
    /// What had the path before, and was replaced by it: what would be seen without that entry.
    pub replaced: Option<Box<Origin>>,
}

impl Origin {
    /// This origin and what it replaced, the latest first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |origin| origin.replaced.as_deref())
    }
}

/// The origins of all paths of a tree.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    // By the directory that has the name: an inode may have several names, of several layers.
    names: HashMap<InodeId, HashMap<Name, Origin>>,
    root: Option<Origin>,
}

impl Provenance {
    /// The origin of a path; `None` where the tree has no such path, and for a root that no layer
    /// names. No symbolic link is followed.
    pub fn origin<C>(&self, tree: &Tree<C>, path: &TreePath) -> Option<&Origin> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.root.as_ref();
        };
        let parent = tree.lookup(&parent)?;
        tree.child(parent, name.as_bytes())?;
        self.names.get(&parent)?.get(&name)
    }

    pub(crate) fn put(&mut self, parent: InodeId, name: Name, layer: usize, entry: Option<u64>) {
        let names = self.names.entry(parent).or_default();
        let replaced = names.remove(&name).map(Box::new);
        names.insert(
            name,
            Origin {
                layer,
                entry,
                replaced,
            },
        );
    }

    pub(crate) fn put_root(&mut self, layer: usize, entry: u64) {
        self.root = Some(Origin {
            layer,
            entry: Some(entry),
            replaced: self.root.take().map(Box::new),
        });
    }

    pub(crate) fn remove(&mut self, parent: InodeId, name: &[u8]) {
        if let Some(names) = self.names.get_mut(&parent) {
            names.remove(name);
        }
    }

    pub(crate) fn clear(&mut self, directory: InodeId) {
        self.names.remove(&directory);
    }
}
