//! `storage`: what becomes files of the tree.

use super::{Contents, Origin};

/// Who owns a file: a number, or the name of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A numeric user or group ID.
    Id(u32),
    /// A user's or group's name.
    Name(String),
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directory {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first; none means no.
    pub overwrite: Option<bool>,
    /// Permission bits; none means 0755 for a new directory and no change for an existing one.
    pub mode: Option<u32>,
    /// Owner; none means root, or no change.
    pub user: Option<Owner>,
    /// Group; none means root, or no change.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first. Never true without contents.
    pub overwrite: Option<bool>,
    /// What the file holds. None: an existing file keeps what it has, a new one is empty.
    pub contents: Option<Contents>,
    /// Fragments that are added at the end, in order.
    pub append: Vec<Contents>,
    /// Permission bits; none means 0644 for a new file and no change for an existing one.
    pub mode: Option<u32>,
    /// Owner; none means root, or no change.
    pub user: Option<Owner>,
    /// Group; none means root, or no change.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A symbolic or hard link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first; none means no.
    pub overwrite: Option<bool>,
    /// What it points to, as written.
    pub target: String,
    /// Whether it is a hard link; none means no.
    pub hard: Option<bool>,
    /// Owner of a symbolic link; none means root.
    pub user: Option<Owner>,
    /// Group of a symbolic link; none means root.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}
