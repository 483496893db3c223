//! The tree, with what the checks ask of it.

use pleach_fs_tree::{Inode, Kind, Tree, TreePath};

/// A tree whose files can be read.
pub(crate) struct View<'a, C> {
    pub(crate) tree: &'a Tree<C>,
    read: &'a dyn Fn(&C) -> Option<Vec<u8>>,
}

impl<'a, C> View<'a, C> {
    pub(crate) fn new(tree: &'a Tree<C>, read: &'a dyn Fn(&C) -> Option<Vec<u8>>) -> Self {
        Self { tree, read }
    }

    pub(crate) fn get(&self, path: &str) -> Option<&'a Inode<C>> {
        self.tree.get(&TreePath::new(path).ok()?)
    }

    /// The lines of a text file with their numbers; none if it is not there.
    pub(crate) fn lines(&self, path: &str) -> Vec<(usize, String)> {
        let bytes = match self.get(path).map(|inode| &inode.kind) {
            Some(Kind::File(content)) => (self.read)(content).unwrap_or_default(),
            _ => Vec::new(),
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line.to_owned()))
            .collect()
    }

    /// Names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.get(path).and_then(|inode| inode.entries());
        entries
            .into_iter()
            .flatten()
            .map(|(name, _)| name.to_string())
            .collect()
    }

    /// Whether a path, links followed inside the tree, is there.
    pub(crate) fn leads_somewhere(&self, path: &TreePath) -> bool {
        self.tree
            .resolve(path, true)
            .is_ok_and(|resolved| self.tree.get(&resolved).is_some())
    }
}
