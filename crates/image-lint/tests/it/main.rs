//! One binary for all integration tests of the crate.

mod accounts;
mod cases;
mod document;
mod images;
mod layers;
mod pair;
mod policy;
mod rpm;
mod support;
