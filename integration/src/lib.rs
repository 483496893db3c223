//! What the VM suite stands on: where its inputs are, the one run that all tests share, and faults
//! to plant.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test suite opens what its environment names"
)]

pub mod block_log;
pub mod cases;
pub mod crash;
pub mod disk;
pub mod esp;
pub mod faults;
mod record;
pub mod screen;
pub mod setting;
pub mod shared;
