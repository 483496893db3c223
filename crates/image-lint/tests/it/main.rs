//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests run rpm to make its databases, and say what they skip"
)]

mod accounts;
mod cases;
mod document;
mod images;
mod layers;
mod pair;
mod policy;
mod rpm;
mod support;
