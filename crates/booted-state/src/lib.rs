#![doc = include_str!("../README.md")]

mod compare;
mod error;
pub mod model;
mod section;
mod snapshot;

pub use compare::{Difference, PLAIN, compare};
pub use error::Error;
pub use section::{Section, Status, Unavailable};
pub use snapshot::{FORMAT_VERSION, SectionName, Snapshot, Tool};
