//! What layers have and higher ones hide.

use pleach_fs_tree::{Chunks, InodeId, Kind, Tree, TreePath};

use crate::entry::Action;
use crate::provenance::Provenance;
use crate::read::Entry;

/// A regular file of a layer that a higher one removes or replaces. It is not in the merged tree, and
/// whoever has the image has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Its path.
    pub path: TreePath,
    /// Index of the layer that has it, from 0.
    pub layer: usize,
    /// Index of the layer that hides it.
    pub by: usize,
    /// What it was: still an inode of the merged tree, that no path leads to by this name.
    pub inode: InodeId,
}

/// The regular files that are at a path and below it.
pub(crate) fn files<C>(
    tree: &Tree<C>,
    provenance: &Provenance,
    path: &TreePath,
    by: usize,
    out: &mut Vec<Hidden>,
) {
    let Some(id) = tree.lookup(path) else { return };
    for (below, inode) in tree.walk_from(id) {
        if !matches!(tree.inode(inode).kind, Kind::File(_)) {
            continue;
        }
        let path = path.concat(&below);
        if let Some(origin) = provenance.origin(tree, &path) {
            let layer = origin.layer;
            out.push(Hidden {
                path,
                layer,
                by,
                inode,
            });
        }
    }
}

/// What the entries of a layer replace in the tree below it.
pub(crate) fn replaced<C>(
    tree: &Tree<C>,
    provenance: &Provenance,
    entries: &Chunks<Entry<C>>,
    by: usize,
    out: &mut Vec<Hidden>,
) {
    for entry in entries.iter() {
        let directory = match &entry.action {
            Action::Whiteout | Action::Opaque => continue,
            Action::Link(_) => false,
            Action::Put(inode) => inode.entries().is_some(),
        };
        let Some(path) = lower(tree, &entry.path) else {
            continue;
        };
        let there = tree.get(&path).and_then(|inode| inode.entries()).is_some();
        // Two directories become one.
        if !(directory && there) {
            files(tree, provenance, &path, by, out);
        }
    }
}

/// What a path of a layer means in the tree below, if it is there.
fn lower<C>(tree: &Tree<C>, path: &TreePath) -> Option<TreePath> {
    if tree.lookup(path).is_some() {
        return Some(path.clone());
    }
    let parent = tree.lookup(&path.parent()?);
    if parent.is_some_and(|parent| tree.inode(parent).entries().is_some()) {
        return None;
    }
    tree.resolve(path, false).ok()
}
