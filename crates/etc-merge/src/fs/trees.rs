//! The three trees, put together from what a walk keeps.

use pleach_fs_tree::{InodeId, Tree};

use super::origin::{Located, Origin};
use super::stat::name;
use super::walk::{Directory, Inodes};
use crate::Sides;

/// The three trees while they are put together.
#[derive(Default)]
pub(super) struct Trees {
    trees: Sides<Option<Tree<Located>>>,
}

impl Trees {
    /// Where a directory is; it and those above it are put there if they are not yet.
    pub(super) fn directory(&mut self, directory: &Directory) -> Sides<Option<InodeId>> {
        if let Some(ids) = directory.placed.get() {
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
        *directory.placed.get_or_init(|| ids)
    }

    pub(super) fn insert(
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
    pub(super) fn finish(self) -> Sides<Tree<Located>> {
        let empty = || Tree::new(pleach_fs_tree::Metadata::default());
        self.trees.map(|tree| tree.unwrap_or_else(empty))
    }
}
