#![doc = include_str!("../README.md")]

mod apply;
mod declare;
mod error;
mod layer;
mod plan;

pub use declare::{KARGS_D, SYSUSERS_D, TMPFILES_D};
pub use error::PlanError;
pub use layer::write_layer;
pub use plan::{Content, Derivation, Options, plan};
