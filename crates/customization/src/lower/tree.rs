//! A [`BaseView`] over a file tree.

use pleach_fs_tree::{Tree, TreePath};

use super::view::{BaseView, Kind, Node};

/// A merged image, or any other tree, to lower a customization onto. `read` gives the bytes of a
/// regular file; where it gives none the file counts as unreadable, which is reported where its
/// bytes are needed.
pub struct TreeView<'a, C> {
    tree: &'a Tree<C>,
    read: &'a dyn Fn(&C) -> Option<Vec<u8>>,
}

impl<'a, C> TreeView<'a, C> {
    /// A view of a tree.
    pub fn new(tree: &'a Tree<C>, read: &'a dyn Fn(&C) -> Option<Vec<u8>>) -> Self {
        Self { tree, read }
    }

    fn inode(&self, path: &[u8]) -> Option<&'a pleach_fs_tree::Inode<C>> {
        self.tree.get(&TreePath::new(path).ok()?)
    }
}

impl<C> std::fmt::Debug for TreeView<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeView").finish_non_exhaustive()
    }
}

impl<C> BaseView for TreeView<'_, C> {
    fn node(&self, path: &[u8]) -> Option<Node> {
        let inode = self.inode(path)?;
        let kind = match &inode.kind {
            pleach_fs_tree::Kind::File(_) => Kind::File,
            pleach_fs_tree::Kind::Directory(_) => Kind::Directory,
            pleach_fs_tree::Kind::Symlink(target) => Kind::Symlink(target.to_vec()),
            _ => Kind::Other,
        };
        let metadata = &inode.metadata;
        Some(Node {
            kind,
            mode: metadata.mode.into(),
            uid: metadata.uid,
            gid: metadata.gid,
        })
    }

    fn read_file(&self, path: &[u8]) -> Option<Vec<u8>> {
        match &self.inode(path)?.kind {
            pleach_fs_tree::Kind::File(content) => (self.read)(content),
            _ => None,
        }
    }

    fn names(&self, dir: &[u8]) -> Vec<Vec<u8>> {
        let entries = self.inode(dir).and_then(|inode| inode.entries());
        entries
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_bytes().to_vec())
            .collect()
    }
}
