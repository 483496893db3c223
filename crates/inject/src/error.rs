//! What can go wrong, with the place.

use std::io;

use pleach_customization::Refused;
use pleach_customization::accounts::AccountErrors;
use pleach_customization::lower::LowerErrors;
use thiserror::Error;

/// A customization that cannot be injected into this deployment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Items that this route cannot carry.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Users or groups that `useradd` and its like would refuse.
    #[error(transparent)]
    Accounts(#[from] AccountErrors),
    /// Files, links or units that Ignition would stop at.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// The deployment has no readable account file.
    #[error("the deployment has no readable {path}, so no user or group can be added")]
    NoAccounts {
        /// `/etc/passwd` or `/etc/group`.
        path: &'static str,
    },
}

/// A plan that could not be carried out whole. Running it again is safe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The path in the deployment, escaped.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A path that is neither below `/etc` nor below `/var`.
    #[error("{path} is neither below /etc nor below /var")]
    Outside {
        /// The path, escaped.
        path: String,
    },
}
