//! What can go wrong.

#[cfg(feature = "fs")]
use pleach_fs_tree::Name;
use pleach_fs_tree::TreePath;
use thiserror::Error;

/// A merge that cannot be planned or carried out. A conflict alone is never one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A pattern that cannot be read.
    #[error("pattern {pattern:?}: {what}")]
    Pattern {
        /// The pattern, escaped.
        pattern: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A limit was reached ([`Policies::max_paths`](crate::Policies), or the depth of directories).
    #[error("{path}: more than {limit} {what}")]
    Limit {
        /// Where.
        path: TreePath,
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Conflicts at paths whose policy is [`Action::Fail`](crate::Action::Fail).
    #[error("the policy refuses to merge {first} and {} more", count - 1)]
    Refused {
        /// The first of them.
        first: TreePath,
        /// How many there are.
        count: usize,
    },
    /// A plan is used with other trees than those that it was made from.
    #[error("{path}: the plan was made from other trees")]
    OtherTrees {
        /// Where that was seen.
        path: TreePath,
    },
    /// There is nothing, neither in the image nor on the machine.
    #[error("{path}: there is no such path, neither in the image nor on the machine")]
    NoSuchPath {
        /// Where.
        path: TreePath,
    },
    /// What is asked for would be done to all of `/etc`.
    #[error("name a path below /etc, not all of it")]
    WholeTree,
    /// No record of the ownership ledger is meant.
    #[error("the ownership ledger has no record of {what}")]
    NotInLedger {
        /// The path, or the document.
        what: String,
    },
    /// Something that is no directory is where a directory has to be.
    #[error("{path}: cannot be put there: {by} is in the way")]
    Blocked {
        /// What was to be put.
        path: TreePath,
        /// What is in the way.
        by: TreePath,
    },
    /// A directory, or something in it, cannot be read.
    #[cfg(feature = "fs")]
    #[error("{operation} {path} of the {side} tree")]
    Read {
        /// `pristine`, `current` or `new`.
        side: &'static str,
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where.
        path: TreePath,
        /// What the system said.
        source: std::io::Error,
    },
    /// The result cannot be written.
    #[cfg(feature = "fs")]
    #[error("{operation} {path} of {name}")]
    Write {
        /// The directory that was being made, beside the target.
        name: Name,
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where in it.
        path: TreePath,
        /// What the system said.
        source: std::io::Error,
    },
    /// A system call failed beside the target.
    #[cfg(feature = "fs")]
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where, below the deployment.
        path: TreePath,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something is mounted over a part of an image's tree, which then cannot be seen.
    #[cfg(feature = "fs")]
    #[error("{path} of the {side} tree: something is mounted there; unmount it")]
    Mounted {
        /// `pristine` or `new`.
        side: &'static str,
        /// Where.
        path: TreePath,
    },
    /// Another merge is working on the deployment.
    #[cfg(feature = "fs")]
    #[error("another merge is working on this deployment; wait until it has ended")]
    Busy,
    /// The target is the result of a merge of other trees; somebody may have changed it since.
    #[cfg(feature = "fs")]
    #[error(
        "{path} is the result of an earlier merge of other trees; merge again only if nobody has used it"
    )]
    AlreadyMerged {
        /// The target.
        path: TreePath,
    },
    /// No merge has left an old tree, or it was removed.
    #[cfg(feature = "fs")]
    #[error("there is no {path}: nothing to go back to")]
    NoWayBack {
        /// What the old tree is called.
        path: TreePath,
    },
    /// The trees kept changing while they were read.
    #[cfg(feature = "fs")]
    #[error("{path}: changed while it was read, {attempts} times")]
    Unsteady {
        /// Where it was seen last.
        path: TreePath,
        /// How often it was tried ([`ApplyOptions::attempts`](crate::ApplyOptions)).
        attempts: usize,
    },
}
