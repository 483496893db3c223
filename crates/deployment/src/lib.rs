#![doc = include_str!("../README.md")]

mod boot_entry;
mod commit;
mod deploy;
pub mod disk;
mod error;
pub mod kargs_d;
mod kernel_arguments;
mod sysroot;
mod var;
mod walk;
mod write_tree;
mod xattr;

pub use boot_entry::BootEntry;
pub use commit::{
    Checksum, Commit, CommitMetadata, CommitOptions, ImageMetadata, Unstorable, UnstorableKind,
};
pub use deploy::{DeployOptions, Deployment, Origin};
pub use error::{Error, Result};
pub use kernel_arguments::{KernelArgument, KernelArgumentError, KernelArguments};
pub use sysroot::Sysroot;
pub use walk::TreeLimits;
