//! The bytes of objects, and so their names: the SHA-256 of them.
//!
//! The formats are those of `ostree-core.h`. Numbers are big-endian.

use std::collections::BTreeMap;

use pleach_fs_tree::{Digest, FileContent, Metadata, Xattrs};

use super::gvariant::{Container, Value, dictionary, string};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// libostree reads no metadata object that is larger (`OSTREE_MAX_METADATA_SIZE`).
pub(super) const MAX_METADATA: usize = 128 << 20;

/// The types of objects in a repository that is not an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectType {
    File,
    DirTree,
    DirMeta,
    Commit,
}

impl ObjectType {
    pub(super) const ALL: [Self; 4] = [Self::File, Self::DirTree, Self::DirMeta, Self::Commit];

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::DirTree => "dirtree",
            Self::DirMeta => "dirmeta",
            Self::Commit => "commit",
        }
    }
}

/// A regular file of an import: its object, in place of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// Size of the content, and its SHA-256 where that was asked for
    /// ([`MergeOptions::file_digests`](crate::MergeOptions::file_digests)).
    pub content: FileContent,
    /// The name of the object: the SHA-256 of owner, mode, extended attributes and content.
    pub name: Digest,
}

/// `a(ayay)`. One with an empty value is left out: libostree takes it for absent when it reads a
/// `bare` repository.
pub(super) fn xattrs(xattrs: &Xattrs) -> Vec<u8> {
    let held = xattrs.iter().filter(|(_, value)| !value.is_empty());
    held.fold(Container::default(), |all, (name, value)| {
        let pair = Container::default()
            .variable(&string(name), 1)
            .variable(value, 1);
        all.variable(&pair.tuple(), 1)
    })
    .array()
}

/// What is hashed in front of the content of a file: the length of `(uuuusa(ayay))`, padded to 8,
/// and that.
fn header(metadata: &Metadata, kind: u32, target: &[u8]) -> Vec<u8> {
    let Metadata { mode, uid, gid, .. } = metadata;
    let device = 0_u32;
    let header = [*uid, *gid, kind | u32::from(*mode), device]
        .iter()
        .fold(Container::default(), |all, n| all.fixed(&n.to_be_bytes()))
        .variable(&string(target), 1)
        .variable(&xattrs(&metadata.xattrs), 1)
        .tuple();
    let length = u32::try_from(header.len()).expect("attributes of less than 4 GiB");
    [&length.to_be_bytes()[..], &[0; 4], &header].concat()
}

pub(super) fn file_header(metadata: &Metadata) -> Vec<u8> {
    header(metadata, REGULAR, b"")
}

/// All of a symbolic link's object.
pub(super) fn symlink(metadata: &Metadata, target: &[u8]) -> Vec<u8> {
    header(metadata, SYMLINK, target)
}

/// `(uuua(ayay))`.
fn owner_mode_xattrs(metadata: &Metadata, kind: u32) -> Vec<u8> {
    let Metadata { mode, uid, gid, .. } = metadata;
    [*uid, *gid, kind | u32::from(*mode)]
        .iter()
        .fold(Container::default(), |all, n| all.fixed(&n.to_be_bytes()))
        .variable(&xattrs(&metadata.xattrs), 1)
        .tuple()
}

pub(super) fn dirmeta(metadata: &Metadata) -> Vec<u8> {
    owner_mode_xattrs(metadata, DIRECTORY)
}

/// The attribute `user.ostreemeta` of a file in a `bare-user` repository.
pub(super) fn user_meta(metadata: &Metadata, is_symlink: bool) -> Vec<u8> {
    owner_mode_xattrs(metadata, if is_symlink { SYMLINK } else { REGULAR })
}

/// What a name in a directory leads to.
pub(super) enum Child {
    File(Digest),
    Directory { tree: Digest, meta: Digest },
}

/// `(a(say)a(sayay))`.
pub(super) fn dirtree(children: &BTreeMap<&[u8], Child>) -> Vec<u8> {
    let (mut files, mut directories) = (Container::default(), Container::default());
    for (name, child) in children {
        let named = Container::default().variable(&string(name), 1);
        match child {
            Child::File(digest) => {
                files = files.variable(&named.variable(&digest.0, 1).tuple(), 1);
            }
            Child::Directory { tree, meta } => {
                let entry = named.variable(&tree.0, 1).variable(&meta.0, 1);
                directories = directories.variable(&entry.tuple(), 1);
            }
        }
    }
    Container::default()
        .variable(&files.array(), 1)
        .variable(&directories.array(), 1)
        .tuple()
}

/// What a commit holds.
pub(super) struct CommitParts<'a> {
    pub(super) metadata: &'a BTreeMap<String, Value>,
    pub(super) parent: Option<Digest>,
    pub(super) subject: &'a str,
    pub(super) body: &'a str,
    pub(super) timestamp: u64,
    pub(super) tree: Digest,
    pub(super) meta: Digest,
}

/// `(a{sv}aya(say)sstayay)`; related objects, the third, are not used by anybody.
pub(super) fn commit(parts: &CommitParts<'_>) -> Vec<u8> {
    let parent = parts.parent.map(|parent| parent.0);
    Container::default()
        .variable(&dictionary(parts.metadata), 8)
        .variable(parent.as_ref().map_or(&[], |parent| &parent[..]), 1)
        .variable(&[], 1)
        .variable(&string(parts.subject.as_bytes()), 1)
        .variable(&string(parts.body.as_bytes()), 1)
        .fixed(&parts.timestamp.to_be_bytes())
        .variable(&parts.tree.0, 1)
        .variable(&parts.meta.0, 1)
        .tuple()
}
