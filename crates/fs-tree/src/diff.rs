//! What differs between two trees, path by path.

use std::collections::{BTreeMap, BTreeSet};

use crate::{InodeId, Kind, Metadata, Tree, TreePath};

/// Which attributes of a path differ. Nothing is grouped: a file may differ in several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each names an attribute")]
pub struct Changed {
    pub node_type: bool,
    /// Content of a file, target of a symbolic link, number of a device.
    pub content: bool,
    pub mode: bool,
    pub uid: bool,
    pub gid: bool,
    pub mtime: bool,
    /// Names of the extended attributes that differ, are new, or are gone.
    pub xattrs: BTreeSet<Box<[u8]>>,
    /// Which other names the inode has.
    pub hard_links: bool,
}

impl Changed {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn metadata(a: &Metadata, b: &Metadata) -> Self {
        let names = a.xattrs.keys().chain(b.xattrs.keys());
        Self {
            mode: a.mode != b.mode,
            uid: a.uid != b.uid,
            gid: a.gid != b.gid,
            mtime: a.mtime != b.mtime,
            xattrs: names
                .filter(|n| a.xattrs.get(*n) != b.xattrs.get(*n))
                .cloned()
                .collect(),
            ..Self::default()
        }
    }
}

/// One difference at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kinds: Kinds,
}

/// On which side a path is, and what differs if it is on both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kinds {
    /// Only in the first tree.
    OnlyLeft(InodeId),
    /// Only in the second tree.
    OnlyRight(InodeId),
    /// In both, and different.
    Both(InodeId, InodeId, Changed),
}

/// All differences between two trees, in the order of a walk. Each path below an added or removed
/// directory is listed too. `same` compares the contents of two regular files.
pub fn diff<C, D>(
    left: &Tree<C>,
    right: &Tree<D>,
    same: impl Fn(&C, &D) -> bool,
) -> Vec<Difference> {
    let links = (link_groups(left), link_groups(right));
    let mut out = Vec::new();
    let mut stack = vec![(TreePath::root(), Some(left.root()), Some(right.root()))];
    while let Some((path, l, r)) = stack.pop() {
        let kinds = match (l, r) {
            (Some(l), Some(r)) => {
                let changed = compare(left, right, l, r, &same, &path, &links);
                (!changed.is_empty()).then_some(Kinds::Both(l, r, changed))
            }
            (Some(l), None) => Some(Kinds::OnlyLeft(l)),
            (None, Some(r)) => Some(Kinds::OnlyRight(r)),
            (None, None) => None,
        };
        let l_entries = l.and_then(|id| left.inode(id).entries());
        let r_entries = r.and_then(|id| right.inode(id).entries());
        let names: BTreeSet<_> = l_entries
            .iter()
            .flat_map(|e| e.keys())
            .chain(r_entries.iter().flat_map(|e| e.keys()))
            .collect();
        for name in names.into_iter().rev() {
            let find = |entries: Option<&BTreeMap<_, InodeId>>| entries?.get(name).copied();
            stack.push((path.join(name), find(l_entries), find(r_entries)));
        }
        out.extend(kinds.map(|kinds| Difference { path, kinds }));
    }
    out
}

type Links = BTreeMap<TreePath, Vec<TreePath>>;

fn link_groups<C>(tree: &Tree<C>) -> Links {
    let groups = tree.hard_links().into_values();
    groups
        .flat_map(|names| names.clone().into_iter().map(move |n| (n, names.clone())))
        .collect()
}

fn compare<C, D>(
    left: &Tree<C>,
    right: &Tree<D>,
    l: InodeId,
    r: InodeId,
    same: &impl Fn(&C, &D) -> bool,
    path: &TreePath,
    links: &(Links, Links),
) -> Changed {
    let (l, r) = (left.inode(l), right.inode(r));
    let mut changed = Changed::metadata(&l.metadata, &r.metadata);
    changed.hard_links = links.0.get(path) != links.1.get(path);
    changed.node_type = l.kind.node_type() != r.kind.node_type();
    changed.content = match (&l.kind, &r.kind) {
        (Kind::File(a), Kind::File(b)) => !same(a, b),
        (Kind::Symlink(a), Kind::Symlink(b)) => a != b,
        (Kind::CharDevice(a), Kind::CharDevice(b))
        | (Kind::BlockDevice(a), Kind::BlockDevice(b)) => a != b,
        _ => false,
    };
    changed
}
