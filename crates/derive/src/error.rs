//! What can go wrong, with the place.

use pleach_customization::accounts::AccountErrors;
use pleach_customization::lower::LowerErrors;
use pleach_customization::{Origin, Refused};
use pleach_fs_tree::TreeError;
use thiserror::Error;

/// A customization that cannot be derived into an image.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Items that an image layer cannot carry.
    #[error(transparent)]
    Refused(#[from] Refused),
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
