#![doc = include_str!("../README.md")]

mod align;
mod contents;
mod error;
mod finding;
#[cfg(feature = "fs")]
mod fs;
mod inode;
mod inputs;
mod ostree;
mod pattern;
mod plan;
mod policy;
mod sides;
mod state;
mod strict;

pub use contents::{Bytes, Contents};
pub use error::Error;
pub use finding::{Attribute, Conflict, Finding, Note};
#[cfg(feature = "fs")]
pub use fs::{
    Applied, ApplyOptions, Known, Planned, apply, known, plan_dirs, prepare, release, undo,
};
pub use inputs::InputsDigest;
pub use ostree::{Refusal, RefusalKind, ostree};
pub use pattern::Pattern;
pub use plan::{Composed, ContentFrom, Entry, MergePlan, NodeSummary, Resolution};
pub use policy::{Action, Format, Labels, Policies, Rule};
pub use sides::{Side, Sides};
pub use state::{Divergence, State};
pub use strict::{plan, plan_with};
