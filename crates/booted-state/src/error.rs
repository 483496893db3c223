//! What can go wrong.

use thiserror::Error;

use crate::FORMAT_VERSION;

/// A snapshot that cannot be made or read.
///
/// A missing tool is not among these: the section says so and the rest is captured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no snapshot.
    #[error("not a snapshot")]
    Json(#[source] serde_json::Error),
    /// The snapshot was written by another version.
    #[error("snapshot of format version {found}, only {FORMAT_VERSION} is known")]
    FormatVersion {
        /// The version found.
        found: u32,
    },
    /// A system call failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where, escaped, with the root that was given as `/`.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A limit of the options was reached.
    #[error("{path}: more than {limit} {what}")]
    Limit {
        /// Where, escaped.
        path: String,
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}
