#![doc = include_str!("../README.md")]

mod control;
mod facts;
mod judge;
mod matrix;
mod moment;
mod report;
mod rule;
pub mod rules;
mod shape;

pub use control::Control;
pub use facts::{Facts, Route, RouteError};
pub use judge::{Capture, Defect, Expected, RuleCount, Verdict, judge};
pub use matrix::{
    Cell, Judged, MATRIX_FORMAT_VERSION, Matrix, MatrixImage, MatrixReport, MergeError, Outcome,
    Run, Shard, ShardError, merge,
};
pub use moment::{Decision, Decisions, Moment, MomentError, Parting};
pub use report::{FORMAT_VERSION, Report};
pub use rule::{Class, Context, Rule};
