//! The profile `ostree`: what libostree's `/etc` merge gives, outcome for outcome.
//!
//! It is not a three-way merge. The changes from the pristine tree to the machine's (extended
//! attributes are not looked at, and an inode is changed as a whole) are carried out in the next
//! image's tree: first all removals, then all modifications, then all additions. The next image's
//! tree is not asked what it had meant; so there are no conflicts, only operations that succeed or
//! fail. Rules as in libostree 2022.7 (`merge_configuration_from` and `ostree_diff_dirs`).
//!
//! One thing differs on purpose: where libostree would follow a symbolic link out of the tree, to
//! read or write there, this refuses ([`RefusalKind::Escape`]).

mod acl;
mod changes;
mod target;

use pleach_fs_tree::{Tree, TreePath};
use thiserror::Error;

use changes::changes;
use target::Target;

/// The merge fails, and with it the whole upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{operation} {path}: {kind}")]
#[non_exhaustive]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// Where, as the machine's tree names it.
    pub path: TreePath,
}

/// Why the merge of [`ostree`](crate::ostree) fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The machine has something else where the image has a directory.
    FileOverDirectory,
    /// Something on the way is no directory in the image.
    NotADirectory,
    /// A symbolic link of the image on the way leads nowhere.
    NoParent,
    /// A special file in a directory that the machine added.
    SpecialInDirectory,
    /// Too many symbolic links on the way.
    Loop,
    /// A path longer than the system takes.
    PathTooLong,
    /// A symbolic link of the image on the way leads out of the tree.
    Escape,
    /// The stamp `.updated` is a directory.
    StampIsDirectory,
}

impl std::fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::FileOverDirectory => "the image has a directory there",
            Self::NotADirectory => "not a directory",
            Self::NoParent => "no such file or directory",
            Self::SpecialInDirectory => "neither regular file nor symbolic link",
            Self::Loop => "too many levels of symbolic links",
            Self::PathTooLong => "path too long",
            Self::Escape => "a symbolic link leads out of the tree",
            Self::StampIsDirectory => "is a directory",
        })
    }
}

/// Gives what libostree gives: the merged tree, or the refusal.
///
/// # Errors
/// Where libostree fails, and where it would leave the tree.
pub fn ostree<C: Clone + PartialEq>(
    pristine: &Tree<C>,
    current: &Tree<C>,
    new: &Tree<C>,
) -> Result<Tree<C>, Refusal> {
    let changes = changes(pristine, current)?;
    let mut target = Target::new(current, new);
    for path in &changes.removed {
        target.remove(path)?;
    }
    for path in changes.modified.iter().chain(&changes.added) {
        target.copy(path)?;
    }
    target.remove_stamp()
}
