#![doc = include_str!("../README.md")]

mod control;
mod facts;
mod judge;
mod moment;
mod report;
mod rule;
pub mod rules;
mod shape;

pub use control::Control;
pub use facts::{Facts, Route, RouteError};
pub use judge::{Capture, Defect, Expected, RuleCount, Verdict, judge};
pub use moment::{Decision, Decisions, Moment, MomentError, Parting};
pub use report::{FORMAT_VERSION, Report};
pub use rule::{Class, Context, Rule};
