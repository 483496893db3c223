#![doc = include_str!("../README.md")]

mod boot_entry;
mod checkout;
mod checkpoint;
mod cleanup;
mod commit;
mod deploy;
pub mod disk;
mod error;
pub mod esp;
pub mod kargs_d;
mod kernel;
mod kernel_arguments;
mod loader;
mod owners;
mod record;
mod stage;
mod sysroot;
mod var;
mod walk;
mod write_tree;
mod xattr;

pub use boot_entry::{BootEntry, Tries};
pub use commit::{
    Checksum, Commit, CommitMetadata, CommitOptions, ImageMetadata, Unstorable, UnstorableKind,
};
pub use deploy::{DeployOptions, Deployment, Origin};
pub use error::{Error, Result};
pub use kernel_arguments::{KernelArgument, KernelArgumentError, KernelArguments};
pub use owners::OwnedArguments;
pub use record::{ImageRecord, Record};
pub use stage::{Staged, Writer};
pub use sysroot::Sysroot;
pub use walk::TreeLimits;
