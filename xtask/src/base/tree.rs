//! What a build does to trees beyond what [`pleach_fs_tree`] does: moving, overlaying, filtering.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use pleach_fs_tree::{Inode, InodeId, Kinds, Tree, TreePath, diff};
use pleach_layer_merge::FileSize;

/// A regular file's bytes; many trees share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content(Arc<[u8]>);

impl Content {
    pub(super) fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FileSize for Content {
    fn file_size(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Puts an inode at a path whose parent exists, in place of whatever is there.
pub(super) fn replace(tree: &mut Tree<Content>, path: &str, inode: Inode<Content>) -> Result<()> {
    tree.put(&TreePath::new(path)?, inode)?;
    Ok(())
}

/// Moves what is at a path to another one, whose parent exists. Hard links stay linked.
pub(super) fn rename(tree: &mut Tree<Content>, from: &TreePath, to: &TreePath) -> Result<()> {
    let id = tree.lookup(from).with_context(|| format!("no {from}"))?;
    let parent = tree.directory(&to.parent().context("onto the root")?)?;
    let name = to.file_name().context("onto the root")?;
    if let Some(entries) = tree.inode(id).entries() {
        let names: Vec<_> = entries.keys().cloned().collect();
        let metadata = tree.inode(id).metadata.clone();
        tree.insert(parent, name, Inode::directory(metadata))?;
        for name in names {
            rename(tree, &from.join(&name), &to.join(&name))?;
        }
    } else {
        tree.link(id, parent, name)?;
    }
    tree.remove(from);
    Ok(())
}

/// Puts all of `upper` into `lower`; directories that both have keep `lower`'s metadata, all else
/// is replaced.
pub(super) fn overlay(lower: &mut Tree<Content>, upper: &Tree<Content>) -> Result<()> {
    for (path, id) in upper.walk() {
        let inode = upper.inode(id);
        let merges = inode.entries().is_some()
            && lower.get(&path).is_some_and(|old| old.entries().is_some());
        if !merges {
            lower.put(&path, empty(inode))?;
        }
    }
    Ok(())
}

/// The part of a tree that `keep` wants, with the directories that lead there.
pub(super) fn filter(
    tree: &Tree<Content>,
    keep: impl Fn(&TreePath) -> bool,
) -> Result<Tree<Content>> {
    let mut part = Tree::new(tree.inode(tree.root()).metadata.clone());
    let mut linked = HashMap::<InodeId, InodeId>::new();
    for (path, id) in tree.walk() {
        if path.is_root() || !keep(&path) {
            continue;
        }
        let parent = path.parent().unwrap_or_default();
        copy_directories(tree, &mut part, &parent)?;
        match linked.get(&id) {
            Some(&first) => {
                let parent = part.directory(&parent)?;
                part.link(first, parent, path.file_name().context("a name")?)?;
            }
            None => {
                linked.insert(id, part.put(&path, empty(tree.inode(id)))?);
            }
        }
    }
    Ok(part)
}

fn copy_directories(from: &Tree<Content>, to: &mut Tree<Content>, path: &TreePath) -> Result<()> {
    if to.lookup(path).is_some() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        copy_directories(from, to, &parent)?;
    }
    let inode = from.get(path).with_context(|| format!("no {path}"))?;
    to.put(path, empty(inode))?;
    Ok(())
}

/// The inode without children: ids of one tree mean nothing in another.
fn empty(inode: &Inode<Content>) -> Inode<Content> {
    match inode.entries() {
        Some(_) => Inode::directory(inode.metadata.clone()),
        None => inode.clone(),
    }
}

/// What differs between two trees, a line a path.
pub(super) fn differences(first: &Tree<Content>, second: &Tree<Content>) -> String {
    diff(first, second, |a, b| a == b)
        .iter()
        .map(|difference| match &difference.kinds {
            Kinds::OnlyLeft(_) => format!("{}: only in the first\n", difference.path),
            Kinds::OnlyRight(_) => format!("{}: only in the second\n", difference.path),
            Kinds::Both(_, _, changed) => format!("{}: {changed:?}\n", difference.path),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use pleach_fs_tree::{dump, parse_dump};

    use super::*;

    fn parse(text: &str) -> Tree<Content> {
        parse_dump(text, |bytes| Some(Content::new(bytes))).expect("a dump")
    }

    fn print(tree: &Tree<Content>) -> String {
        dump(tree, |content| content.to_vec())
    }

    const TREE: &str = "\
/ directory 0755 0:0 1.0
/a directory 0700 1:2 3.0
/a/one file 4755 0:0 4.0 1
/a/two hardlink /a/one
/b directory 0755 0:0 1.0
/b/deep directory 1777 0:0 5.0
/b/deep/link symlink 0777 0:0 0.0 ../../a
/b/three hardlink /a/one
";

    #[test]
    fn a_directory_moves_with_all_that_is_in_it() -> Result<()> {
        let mut tree = parse(TREE);
        rename(&mut tree, &TreePath::new("a")?, &TreePath::new("b/moved")?)?;
        let expect = "\
/ directory 0755 0:0 1.0
/b directory 0755 0:0 1.0
/b/deep directory 1777 0:0 5.0
/b/deep/link symlink 0777 0:0 0.0 ../../a
/b/moved directory 0700 1:2 3.0
/b/moved/one file 4755 0:0 4.0 1
/b/moved/two hardlink /b/moved/one
/b/three hardlink /b/moved/one
";
        assert_eq!(print(&tree), expect);
        Ok(())
    }

    #[test]
    fn a_part_keeps_the_way_to_it_and_its_hard_links() -> Result<()> {
        let tree = parse(TREE);
        let wanted = ["b/deep/link", "a/two", "b/three"].map(TreePath::new);
        let part = filter(&tree, |path| wanted.iter().any(|w| w.as_ref() == Ok(path)))?;
        let expect = "\
/ directory 0755 0:0 1.0
/a directory 0700 1:2 3.0
/a/two file 4755 0:0 4.0 1
/b directory 0755 0:0 1.0
/b/deep directory 1777 0:0 5.0
/b/deep/link symlink 0777 0:0 0.0 ../../a
/b/three hardlink /a/two
";
        assert_eq!(print(&part), expect);
        assert_eq!(print(&filter(&tree, |_| true)?), TREE);
        Ok(())
    }

    #[test]
    fn an_overlay_replaces_files_and_leaves_directories_as_they_are() -> Result<()> {
        let mut tree = parse(
            "/ directory 0755 0:0 1.0\n/d directory 0700 5:5 1.0\n/d/f file 0600 0:0 1.0 old\n/l symlink 0777 0:0 1.0 d\n",
        );
        let upper = parse(
            "/ directory 0711 9:9 9.0\n/d directory 0755 0:0 9.0\n/d/f file 0644 0:0 9.0 new\n/l directory 0755 0:0 9.0\n/l/x file 0644 0:0 9.0 x\n",
        );
        overlay(&mut tree, &upper)?;
        assert_eq!(
            print(&tree),
            "/ directory 0755 0:0 1.0\n/d directory 0700 5:5 1.0\n/d/f file 0644 0:0 9.0 new\n/l directory 0755 0:0 9.0\n/l/x file 0644 0:0 9.0 x\n"
        );
        Ok(())
    }
}
