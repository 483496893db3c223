//! The tree, with what the checks ask of it.

use pleach_fs_tree::{Inode, Kind, Metadata, Tree, TreePath};

/// A tree whose files can be read.
pub(crate) struct View<'a, C> {
    /// Where the default configuration is: `/etc`, or `/usr/etc` as ostree has it.
    pub(crate) etc: &'static str,
    /// The tree as it is at boot, where `/etc` is made of `/usr/etc`: what links are followed in.
    booted: Option<Tree<()>>,
    pub(crate) tree: &'a Tree<C>,
    read: &'a dyn Fn(&C) -> Option<Vec<u8>>,
}

impl<'a, C> View<'a, C> {
    pub(crate) fn new(tree: &'a Tree<C>, read: &'a dyn Fn(&C) -> Option<Vec<u8>>) -> Self {
        let filled = tree
            .get(&TreePath::new("/etc").expect("a plain path"))
            .and_then(|inode| inode.entries())
            .is_some_and(|entries| !entries.is_empty());
        let (etc, booted) = match filled {
            true => ("/etc", None),
            false => (USR_ETC, Some(booted(tree))),
        };
        Self {
            etc,
            booted,
            tree,
            read,
        }
    }

    /// A path below the default configuration.
    pub(crate) fn etc(&self, below: &str) -> String {
        format!("{}/{below}", self.etc)
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

    /// Whether a path, links followed inside the tree as it is at boot, is there.
    pub(crate) fn leads_somewhere(&self, path: &TreePath) -> bool {
        match &self.booted {
            None => leads_somewhere(self.tree, path),
            Some(tree) => leads_somewhere(tree, &at_boot(path).unwrap_or_else(|| path.clone())),
        }
    }
}

const USR_ETC: &str = "/usr/etc";

fn leads_somewhere<C>(tree: &Tree<C>, path: &TreePath) -> bool {
    tree.resolve(path, true)
        .is_ok_and(|resolved| tree.get(&resolved).is_some())
}

/// Where something of `/usr/etc` is at boot.
fn at_boot(path: &TreePath) -> Option<TreePath> {
    let below = path.strip_prefix(&TreePath::new(USR_ETC).expect("a plain path"))?;
    Some(TreePath::new("/etc").expect("a plain path").concat(&below))
}

/// The shape of a tree, with its `/usr/etc` as `/etc` too.
fn booted<C>(tree: &Tree<C>) -> Tree<()> {
    let mut out = Tree::new(Metadata::default());
    let mut put = |path: &TreePath, kind: &Kind<C>| {
        let kind = match kind {
            Kind::Directory(_) => Kind::Directory(Default::default()),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            // That it is there is all that counts.
            _ => Kind::File(()),
        };
        let metadata = Metadata::default();
        out.put(path, Inode { metadata, kind })
            .expect("a directory comes before what is in it");
    };
    // The image's own /etc is empty, or a link; /usr comes after it.
    for (path, id) in tree.walk().filter(|(path, _)| path.as_bytes() != b"/etc") {
        let kind = &tree.inode(id).kind;
        put(&path, kind);
        if let Some(path) = at_boot(&path) {
            put(&path, kind);
        }
    }
    out
}
