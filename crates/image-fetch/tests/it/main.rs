//! Fetching against real skopeo and a real registry on loopback, with a proxy between that fails as
//! it is told.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    missing_docs,
    reason = "tests lay out files and run programs where the library may not"
)]

mod faults;
mod follow;
mod gc;
mod hostile;
mod image;
mod kill;
mod lying;
mod proxy;
mod registry;
mod signatures;
mod standard;
mod store;
mod support;
mod transports;
