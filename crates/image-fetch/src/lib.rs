#![doc = include_str!("../README.md")]

mod blob;
mod check;
mod copy;
mod digest;
mod error;
mod event;
mod fetch;
mod files;
mod follow;
mod gc;
mod index;
mod job;
mod manifest;
mod options;
mod policy;
mod reference;
mod session;
mod skopeo;
mod stall;
mod store;
mod verify;

pub use digest::Digest;
pub use error::Error;
pub use event::Event;
pub use fetch::{Blob, Fetched, Layer, Origin, fetch, fetch_with};
pub use follow::{LayerReader, LayerStream};
pub use gc::{Collected, GcOptions, gc};
pub use options::{FetchOptions, Limits, Platform, PresentBlobs, Retry};
pub use policy::Policy;
pub use reference::{ImageReference, ReferenceProblem, Transport};
pub use verify::Compression;
