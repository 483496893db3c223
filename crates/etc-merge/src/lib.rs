#![doc = include_str!("../README.md")]

mod align;
mod error;
mod finding;
mod inode;
mod ostree;
mod pattern;
mod plan;
mod policy;
mod sides;
mod state;
mod strict;

pub use error::Error;
pub use finding::{Attribute, Conflict, Finding, Note};
pub use ostree::{Refusal, RefusalKind, ostree};
pub use pattern::Pattern;
pub use plan::{Entry, MergePlan, NodeSummary, Resolution};
pub use policy::{Action, Labels, Policies, Rule};
pub use sides::{Side, Sides};
pub use state::{Divergence, State};
pub use strict::{plan, plan_with};
