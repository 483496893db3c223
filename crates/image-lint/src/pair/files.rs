//! Paths that differ.

use std::collections::{BTreeMap, BTreeSet};

use pleach_fs_tree::{Changed, Inode, Kind, Kinds, Metadata, Tree, TreePath, diff, escape};

use super::packages::Databases;
use super::{Change, FileChange, PackageChange, VarContent};
use crate::systemd::{drop_in_lines, plain_path};
use crate::view::View;

/// All of them, in the order of a walk. What is below `/usr/etc` is called by its place in `/etc`; a
/// directory that only one side has is told with what is in it.
pub(super) fn changes<C>(
    old: &Tree<C>,
    new: &Tree<C>,
    same: &dyn Fn(&C, &C) -> bool,
    databases: [&Databases; 2],
    packages: &[PackageChange],
) -> Vec<FileChange> {
    let changed: BTreeSet<_> = packages
        .iter()
        .map(|package| (&*package.database, package_name(&package.name)))
        .collect();
    let package = |path: &str| {
        let owner = databases.iter().find_map(|database| database.owner(path));
        let (database, name) = owner?;
        changed
            .contains(&(&**database, &**name))
            .then(|| name.clone())
    };
    let (old, new) = (by_place(old), by_place(new));
    let mut out = Vec::new();
    for difference in diff(&old, &new, |&a, &b| same(a, b)) {
        let path = difference.path.to_string();
        let (change, what) = match difference.kinds {
            Kinds::OnlyLeft(_) => (Change::Removed, Vec::new()),
            Kinds::OnlyRight(_) => (Change::Added, Vec::new()),
            Kinds::Both(a, b, ref kinds) => {
                let what = what(old.inode(a), new.inode(b), kinds);
                if what.is_empty() {
                    continue;
                }
                (Change::Changed, what)
            }
        };
        out.push(FileChange {
            package: package(&path),
            path,
            change,
            what,
        });
    }
    out
}

/// Without an architecture.
fn package_name(name: &str) -> &str {
    name.split_once(':').map_or(name, |(name, _)| name)
}

/// The tree with its `/usr/etc` as `/etc`, where it has no other one.
fn by_place<C>(tree: &Tree<C>) -> Tree<&C> {
    let at = |path: &str| TreePath::new(path).expect("a plain path");
    let (etc, usr_etc) = (at("/etc"), at("/usr/etc"));
    let entries = |path: &TreePath| tree.get(path).and_then(Inode::entries);
    let move_it = entries(&etc).is_none_or(|entries| entries.is_empty())
        && entries(&usr_etc).is_some_and(|entries| !entries.is_empty());
    let mut out = Tree::new(tree.inode(tree.root()).metadata.clone());
    // An inode with several names stays one.
    let mut known = BTreeMap::new();
    let mut put = |path: TreePath, id| {
        let inode = tree.inode(id);
        let kind = match &inode.kind {
            Kind::File(content) => Kind::File(content),
            Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            Kind::CharDevice(device) => Kind::CharDevice(*device),
            Kind::BlockDevice(device) => Kind::BlockDevice(*device),
            Kind::Fifo => Kind::Fifo,
            Kind::Socket => Kind::Socket,
        };
        let directory = matches!(kind, Kind::Directory(_));
        let metadata = inode.metadata.clone();
        let place = path.parent().zip(path.file_name());
        if let (Some(&first), Some((parent, name)), false) = (known.get(&id), place, directory) {
            let parent = out.directory(&parent).expect("its parent came before");
            out.link(first, parent, name).expect("it is no directory");
            return;
        }
        let made = out.put(&path, Inode { metadata, kind });
        known.insert(id, made.expect("a directory comes before what is in it"));
    };
    if move_it && let Some(top) = tree.lookup(&usr_etc) {
        for (below, id) in tree.walk_from(top) {
            put(etc.concat(&below), id);
        }
    }
    for (path, id) in tree.walk() {
        let moved = move_it && (path.starts_with(&usr_etc) || path == etc);
        if !moved && !path.is_root() {
            put(path, id);
        }
    }
    out
}

/// What differs, each in a word or with both values; times do not.
fn what<C>(old: &Inode<C>, new: &Inode<C>, kinds: &Changed) -> Vec<String> {
    let mut out = Vec::new();
    let mut put = |yes: bool, what: String| out.extend(yes.then_some(what));
    let types = [old, new].map(|inode| inode.kind.node_type().as_str());
    put(
        kinds.node_type,
        format!("type {} -> {}", types[0], types[1]),
    );
    match (&old.kind, &new.kind) {
        (Kind::Symlink(a), Kind::Symlink(b)) => {
            put(
                kinds.content,
                format!("target {} -> {}", escape(a), escape(b)),
            );
        }
        _ => put(kinds.content, "content".to_owned()),
    }
    let (a, b): (&Metadata, &Metadata) = (&old.metadata, &new.metadata);
    put(kinds.mode, format!("mode {:04o} -> {:04o}", a.mode, b.mode));
    put(kinds.uid, format!("uid {} -> {}", a.uid, b.uid));
    put(kinds.gid, format!("gid {} -> {}", a.gid, b.gid));
    for name in &kinds.xattrs {
        put(true, format!("attribute {}", escape(name)));
    }
    put(kinds.hard_links, "hard links".to_owned());
    out
}

pub(super) fn is_etc(file: &FileChange) -> bool {
    file.path == "/etc" || file.path.starts_with("/etc/")
}

pub(super) fn is_var(file: &FileChange) -> bool {
    file.path.starts_with("/var/")
}

/// What of `/var` is new or changed, and which line of `tmpfiles.d` makes it at boot.
pub(super) fn var_content(files: Vec<FileChange>, new: &View<'_>) -> Vec<VarContent> {
    let mut declared = BTreeMap::new();
    for line in drop_in_lines(new, "tmpfiles.d") {
        if let Some(path) = plain_path(line.field(1)) {
            let place = format!("{}:{}", line.path, line.line);
            declared
                .entry(path.trim_end_matches('/').to_owned())
                .or_insert(place);
        }
    }
    let arriving = files
        .into_iter()
        .filter(|file| file.change != Change::Removed);
    arriving
        .map(|file| VarContent {
            declared: declared.get(&file.path).cloned(),
            change: file.change,
            path: file.path,
        })
        .collect()
}
