#![doc = include_str!("../README.md")]

pub mod accounts;
mod decode;
mod diagnostic;
mod fields;
mod local;
pub mod lower;
mod model;
mod parse;
mod placement;
mod secret;
mod source;
mod unit_name;
mod unit_text;
mod validate;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use local::{LocalFiles, NoLocalFiles};
pub use model::{
    Contents, Customization, Directory, Dropin, File, Format, Group, KernelArgument,
    KernelArguments, Link, Origin, Owner, Unit, User,
};
pub use parse::{Input, ParseOptions, Parsed, parse};
pub use placement::{
    Placement, PlacementOptions, Refusal, Refused, Route, Verdict, carried, placement,
    placement_with,
};
pub use secret::Secret;
