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
    /// Whether the caller vouches that it holds no secret, whatever it looks like
    /// ([`Customization::publish`](super::Customization::publish)). No document says it.
    pub published: bool,
    /// Where it was asked for.
    pub origin: Origin,
}

impl File {
    /// Whether its contents are for its owner alone: by its mode, or since they are a private key.
    pub fn is_private(&self) -> bool {
        let mut contents = self.contents.iter().chain(&self.append).peekable();
        let owners = self.mode.is_some_and(|mode| mode & 0o077 == 0) && contents.peek().is_some();
        owners || contents.filter_map(Contents::bytes).any(is_private_key)
    }
}

/// A private key in its armour: PEM (RFC 7468), OpenSSH's or OpenPGP's (RFC 9580, section 6.2).
fn is_private_key(bytes: &[u8]) -> bool {
    let armoured = |line: &[u8]| {
        let line = line.trim_ascii();
        let end = |end: &[u8]| line.ends_with(end);
        line.starts_with(b"-----BEGIN ")
            && (end(b"PRIVATE KEY-----") || end(b"PRIVATE KEY BLOCK-----"))
    };
    bytes.split(|byte| *byte == b'\n').any(armoured)
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
