//! Against the real libostree, the `ostree` program and e2fsprogs.
//!
//! What needs root or a program prints a `SKIP` line and a count where that is missing; with `CI=true` it
//! fails in its place.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests open ambient paths, and read CI"
)]

mod boot_entry;
mod checkout;
mod commit;
mod deploy;
mod disk;
mod esp;
mod install;
mod kargs_d;
mod kernel_arguments;
mod owners;
mod support;
