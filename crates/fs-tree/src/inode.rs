//! What a name in a tree stands for.

use std::collections::BTreeMap;

use crate::{Device, Metadata, Name};

/// An inode of one [`Tree`]; means nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub(crate) u32);

/// What an inode is. `C` is the content of a regular file: its bytes, a digest, a place in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<C> {
    /// A directory, with its entries.
    Directory(BTreeMap<Name, InodeId>),
    /// A regular file.
    File(C),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// The type of an inode alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum NodeType {
    Directory,
    File,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl NodeType {
    /// One word, as `find -printf %y` users would spell it out.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Symlink => "symlink",
            Self::CharDevice => "char-device",
            Self::BlockDevice => "block-device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

impl<C> Kind<C> {
    /// The type alone.
    pub fn node_type(&self) -> NodeType {
        match self {
            Self::Directory(_) => NodeType::Directory,
            Self::File(_) => NodeType::File,
            Self::Symlink(_) => NodeType::Symlink,
            Self::CharDevice(_) => NodeType::CharDevice,
            Self::BlockDevice(_) => NodeType::BlockDevice,
            Self::Fifo => NodeType::Fifo,
            Self::Socket => NodeType::Socket,
        }
    }
}

/// An inode: what it is, and its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode<C> {
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
    /// Type and content.
    pub kind: Kind<C>,
}

impl<C> Inode<C> {
    /// An empty directory.
    pub fn directory(metadata: Metadata) -> Self {
        Self {
            metadata,
            kind: Kind::Directory(BTreeMap::new()),
        }
    }

    /// A regular file.
    pub fn file(metadata: Metadata, content: C) -> Self {
        Self {
            metadata,
            kind: Kind::File(content),
        }
    }

    /// A symbolic link.
    pub fn symlink(metadata: Metadata, target: impl AsRef<[u8]>) -> Self {
        Self {
            metadata,
            kind: Kind::Symlink(target.as_ref().into()),
        }
    }

    /// The entries, if this is a directory.
    pub fn entries(&self) -> Option<&BTreeMap<Name, InodeId>> {
        match &self.kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        }
    }
}
