#![doc = include_str!("../README.md")]

#[cfg(feature = "capture")]
mod capture;
mod compare;
mod error;
pub mod model;
#[cfg(feature = "capture")]
mod parse;
mod section;
mod snapshot;

#[cfg(feature = "capture")]
pub use capture::{
    CaptureOptions, CommandOutput, CommandRunner, Look, PathRule, SystemRunner, capture,
    static_view,
};
pub use compare::{Difference, PLAIN, compare};
pub use error::Error;
pub use section::{Section, Status, Unavailable};
pub use snapshot::{FORMAT_VERSION, SectionName, Snapshot, Tool};
