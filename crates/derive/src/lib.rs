#![doc = include_str!("../README.md")]

mod apply;
mod containerfile;
mod declare;
mod divide;
mod error;
mod layer;
mod plan;

pub use containerfile::{ARCHIVE, Containerfile, Unspeakable};
pub use declare::{KARGS_D, SYSUSERS_D, TMPFILES_D};
pub use divide::divide;
pub use error::PlanError;
pub use layer::write_layer;
pub use plan::{Content, Derivation, Options, plan};
