//! What can go wrong with a repository.

use std::io;

use pleach_fs_tree::TreePath;
use thiserror::Error;

/// Why a tree cannot be imported into a repository or committed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The image is refused, or cannot be read; an object that cannot be written stands here, too,
    /// as the input/output error of the layer that has it.
    #[error(transparent)]
    Merge(#[from] crate::Error),
    /// The repository is of another kind than this crate writes.
    #[error("repository: {0}")]
    Unsupported(String),
    /// The tree has what ostree cannot hold.
    #[error("ostree cannot hold {}", list(found))]
    Unstorable {
        /// All of it.
        found: Vec<LeftOut>,
    },
    /// A name or a link's target that ostree does not take.
    #[error("{path}: {why}")]
    Name {
        /// Where in the tree.
        path: TreePath,
        /// What is wrong.
        why: &'static str,
    },
    /// `/etc` cannot become `/usr/etc`.
    #[error("/etc cannot become /usr/etc: {0}")]
    Etc(&'static str),
    /// The object of a file is not in the repository.
    #[error("{path}: its object {name} is not in the repository")]
    Missing {
        /// The file.
        path: TreePath,
        /// The object.
        name: pleach_fs_tree::Digest,
    },
    /// libostree would not read an object.
    #[error("{path}: a metadata object of {size} bytes, ostree reads at most {limit}")]
    TooLarge {
        /// The directory, or the root for a commit.
        path: TreePath,
        /// Bytes.
        size: usize,
        /// Bytes.
        limit: usize,
    },
    /// A ref's name, or text with a NUL character.
    #[error("{what} {value:?}: {why}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A system call failed.
    #[error("{operation} {what}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Something that ostree cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where in the tree.
    pub path: TreePath,
    /// What it is: a type of inode, or an extended attribute with an empty value.
    pub what: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

fn list(found: &[LeftOut]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<_> = found.iter().take(SHOWN).map(LeftOut::to_string).collect();
    if found.len() > SHOWN {
        text.push(format!("and {} more", found.len() - SHOWN));
    }
    text.join("; ")
}

pub(super) fn io<E: Into<io::Error>>(
    operation: &'static str,
    what: impl Into<String>,
) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |error| Error::Io {
        operation,
        what,
        source: error.into(),
    }
}
