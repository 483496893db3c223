//! The crate from outside.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Tests read their fixtures.

mod accounts;
mod cases;
mod documents;
mod errors;
mod errors_disks;
mod laws;
mod lower_homes;
mod lower_storage;
mod lower_units;
mod merging;
mod messages;
mod model;
mod modes;
mod placement;
mod shorthands;
mod split;
mod support;
mod versions;
