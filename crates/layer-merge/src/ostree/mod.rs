//! Merged images in ostree repositories, without libostree.
//!
//! Objects are written while layers are read, and nothing is read twice: the name of a file's object
//! is the SHA-256 of its owner, mode, extended attributes and content, which a layer has all
//! together; where in the tree it lies changes nothing of it. Names of objects are those that
//! libostree gives the same tree, and a repository made here is one for it.
//!
//! A [`Transaction`] holds the repository's lock, as libostree's do, and a directory below `tmp` for
//! objects. These come into the repository together, once they are durable: so nothing of a killed
//! process is in it, no object is there of a file that a higher layer hides, and a power cut cannot
//! leave a damaged object under a good name.
//!
//! Not done here: archive and `bare-user-only` repositories, signatures, fs-verity, static deltas,
//! SELinux labels by a policy, and libostree's `min-free-space`.

mod error;
mod gvariant;
mod import;
mod object;
mod repo;
mod sink;
mod staging;
mod store;
mod transaction;
mod write_tree;

pub use error::{Error, LeftOut};
pub use gvariant::Value;
pub use import::{ImportOptions, Imported, index_imported};
pub use object::Object;
pub use repo::{Mode, Repo};
pub use sink::RepoSink;
pub use transaction::{Commit, CommitOptions, Transaction, TransactionOptions, Unstorable};
