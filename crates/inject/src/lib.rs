#![doc = include_str!("../README.md")]

mod apply;
mod error;
mod ignition;
mod plan;

pub use apply::apply;
pub use error::{ApplyError, PlanError};
pub use ignition::{Ignition, to_ignition};
pub use plan::{AccountFile, EtcPlan, plan};
