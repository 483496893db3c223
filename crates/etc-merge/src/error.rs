//! What can go wrong.

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
    /// [`Policies::max_paths`](crate::Policies) was reached.
    #[error("{path}: more than {limit} paths to merge")]
    Limit {
        /// Where.
        path: TreePath,
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
}
