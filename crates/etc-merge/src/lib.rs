#![doc = include_str!("../README.md")]

mod align;
mod drift;
mod error;
mod finding;
#[cfg(feature = "fs")]
mod fs;
mod inode;
mod ledger;
mod ostree;
mod pattern;
mod plan;
mod policy;
mod sides;
mod state;
mod strict;

pub use drift::{Because, Drift, DriftEntry, DriftKind, NoiseClass, NoiseModel, drift};
pub use error::Error;
pub use finding::{Attribute, Conflict, Finding, Note};
#[cfg(feature = "fs")]
pub use fs::{Applied, ApplyOptions, apply, plan_dirs, release, undo};
pub use ledger::{
    Back, Before, Document, Kept, Ledger, Machine, Outcome, Owner, Place, Record, Returned,
    Selector, Since, Step, StepAction, Why, restore, what_was_put,
};
pub use ostree::{Refusal, RefusalKind, ostree};
pub use pattern::Pattern;
pub use plan::{Entry, MergePlan, NodeSummary, Resolution};
pub use policy::{Action, Labels, Policies, Rule};
pub use sides::{Side, Sides};
pub use state::{Divergence, State};
pub use strict::{plan, plan_with};
