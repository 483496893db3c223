#![doc = include_str!("../README.md")]

mod align;
mod bytes;
mod compose;
mod content;
mod drift;
mod entry;
mod error;
mod finding;
#[cfg(feature = "fs")]
mod fs;
mod inode;
mod inputs;
mod ledger;
mod ostree;
mod pattern;
mod plan;
mod policy;
mod sides;
mod state;
mod strict;

pub use bytes::{Bytes, Contents};
pub use content::accounts::{AccountReport, Accounts, Database, MergedAccounts, merge_accounts};
pub use content::ini::merge_ini;
#[cfg(feature = "json")]
pub use content::json::merge_json;
pub use content::lines::merge_lines;
pub use content::text::merge_text;
#[cfg(feature = "toml")]
pub use content::toml::merge_toml;
pub use content::{ContentOptions, KeyConflict, MergedContent, NotMerged};
pub use drift::{Because, Drift, DriftEntry, DriftKind, NoiseClass, NoiseModel, drift};
pub use error::Error;
pub use finding::{Attribute, Conflict, Finding, Note};
#[cfg(feature = "fs")]
pub use fs::{
    Applied, ApplyOptions, Known, Planned, apply, known, plan_dirs, prepare, release, undo,
};
pub use inputs::InputsDigest;
pub use ledger::{
    Back, Before, Document, Kept, Ledger, Machine, Outcome, Owner, Place, Record, Returned,
    Selector, Since, Step, StepAction, Why, restore, what_was_put,
};
pub use ostree::{Refusal, RefusalKind, ostree};
pub use pattern::Pattern;
pub use plan::{Composed, ContentFrom, Entry, MergePlan, NodeSummary, Resolution};
pub use policy::{Action, Format, Labels, Policies, Rule};
pub use sides::{Side, Sides};
pub use state::{Divergence, State};
pub use strict::{plan, plan_with};
