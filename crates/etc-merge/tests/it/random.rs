//! Random triples: few names and values, so that the two sides meet often.

use pleach_etc_merge::Sides;
use pleach_fs_tree::{Inode, Kind, Metadata, TreePath};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::Etc;

/// One change to a tree. One that cannot be made there changes nothing.
#[derive(Debug, Clone)]
enum Edit {
    File(u8),
    Symlink(u8),
    Directory,
    Fifo,
    Delete,
    Mode(u16),
    Uid(u32),
    Gid(u32),
    Xattr(Option<u8>),
}

fn edit(specials: bool) -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (0..3u8).prop_map(Edit::File),
        2 => (0..3u8).prop_map(Edit::Symlink),
        3 => Just(Edit::Directory),
        4 => Just(Edit::Delete),
        2 => prop::sample::select(vec![0o600, 0o644, 0o4755]).prop_map(Edit::Mode),
        1 => (0..3u32).prop_map(Edit::Uid),
        1 => (0..3u32).prop_map(Edit::Gid),
        1 => prop::option::of(0..2u8).prop_map(Edit::Xattr),
        u32::from(specials) => Just(Edit::Fifo),
    ]
}

/// Where an edit is made. Mostly where something is already, so that the sides meet.
#[derive(Debug, Clone)]
enum Place {
    Path(TreePath),
    Existing(prop::sample::Index),
}

fn place() -> impl Strategy<Value = Place> {
    let names = vec(prop::sample::select(vec!["a", "b", "c"]), 0..=3);
    let path = names.prop_map(|names| TreePath::new(names.join("/")).expect("a path"));
    let existing = any::<prop::sample::Index>();
    prop_oneof![
        1 => path.prop_map(Place::Path),
        2 => existing.prop_map(Place::Existing),
    ]
}

type Edits = Vec<(Place, Edit)>;

fn edits(most: usize, specials: bool) -> impl Strategy<Value = Edits> {
    vec((place(), edit(specials)), 0..=most)
}

fn apply(tree: &mut Etc, edits: Edits) {
    for (place, edit) in edits {
        let path = match place {
            Place::Path(path) => path,
            Place::Existing(index) => {
                let all: Vec<_> = tree.walk().map(|(path, _)| path).collect();
                index.get(&all).clone()
            }
        };
        let new = |kind| Inode {
            metadata: Metadata::with_mode(0o644),
            kind,
        };
        let inode = match edit {
            Edit::File(content) => new(Kind::File(vec![content])),
            Edit::Symlink(target) => Inode::symlink(Metadata::with_mode(0o777), [b'a' + target]),
            Edit::Directory => Inode::directory(Metadata::with_mode(0o755)),
            Edit::Fifo => new(Kind::Fifo),
            Edit::Delete => {
                tree.remove(&path);
                continue;
            }
            Edit::Mode(_) | Edit::Uid(_) | Edit::Gid(_) | Edit::Xattr(_) => {
                if let Some(id) = tree.lookup(&path) {
                    attribute(tree.metadata_mut(id), &edit);
                }
                continue;
            }
        };
        let there = tree
            .get(&path)
            .is_some_and(|inode| inode.entries().is_some());
        if path.is_root() || (there && inode.entries().is_some()) {
            continue;
        }
        let parents = Metadata::with_mode(0o755);
        // Below a file there is no place; then there is no such edit.
        let _ = tree.put_with_parents(&path, inode, &parents);
    }
}

fn attribute(metadata: &mut Metadata, edit: &Edit) {
    match *edit {
        Edit::Mode(mode) => metadata.mode = mode,
        Edit::Uid(uid) => metadata.uid = uid,
        Edit::Gid(gid) => metadata.gid = gid,
        Edit::Xattr(Some(value)) => {
            let value = [value];
            metadata
                .xattrs
                .insert(b"user.n"[..].into(), value[..].into());
        }
        Edit::Xattr(None) => drop(metadata.xattrs.remove(&b"user.n"[..])),
        _ => {}
    }
}

fn triple_of(specials: bool) -> impl Strategy<Value = Sides<Etc>> {
    let sides = (edits(12, false), edits(4, specials), edits(4, false));
    sides.prop_map(|(base, local, image)| {
        let mut pristine = Etc::new(Metadata::with_mode(0o755));
        apply(&mut pristine, base);
        let [mut current, mut new] = [pristine.clone(), pristine.clone()];
        apply(&mut current, local);
        apply(&mut new, image);
        Sides {
            pristine,
            current,
            new,
        }
    })
}

/// Trees of directories, files and links.
pub(crate) fn triple() -> impl Strategy<Value = Sides<Etc>> {
    triple_of(false)
}

/// The same, and the machine may have made special files.
pub(crate) fn triple_with_specials() -> impl Strategy<Value = Sides<Etc>> {
    triple_of(true)
}
