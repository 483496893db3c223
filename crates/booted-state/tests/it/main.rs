//! Snapshots as values: JSON, comparison and its laws.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make their own directories"
)]

mod full;
mod law;
