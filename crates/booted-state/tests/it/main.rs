//! Snapshots as values: JSON, comparison and its laws.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests make their own directories"
)]

#[cfg(feature = "capture-bin")]
mod binary;
#[cfg(feature = "capture")]
mod capture;
#[cfg(feature = "capture")]
mod fake;
mod full;
#[cfg(feature = "capture")]
mod keys;
mod law;
#[cfg(feature = "capture")]
mod walk;
