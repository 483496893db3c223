//! What can go wrong, with the place.

use pleach_customization::Origin;
use pleach_customization::accounts::AccountErrors;
use pleach_customization::lower::LowerErrors;
use pleach_fs_tree::TreeError;
use thiserror::Error;

/// A customization that cannot be derived into an image.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Items that an image layer cannot carry.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// Users or groups that `useradd` and its like would refuse.
    #[error(transparent)]
    Accounts(#[from] AccountErrors),
    /// Files, links or units that Ignition would stop at.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// A change that the tree does not allow.
    #[error("{origin}")]
    Tree {
        /// The item that asked for it.
        origin: Origin,
        /// Why not.
        source: TreeError,
    },
}

/// One item that a layer cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}: {item}: {why}; {instead}")]
#[non_exhaustive]
pub struct Refusal {
    /// Where it was asked for.
    pub origin: Origin,
    /// What it is: `file /run/x`.
    pub item: String,
    /// Why not.
    pub why: String,
    /// What to do instead.
    pub instead: String,
}
