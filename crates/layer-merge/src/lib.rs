#![doc = include_str!("../README.md")]

mod compression;
mod diff;
mod digest;
mod error;
mod layout;
mod limits;
mod tar;
mod whiteout;
mod write;

pub use compression::Compression;
pub use diff::{Changes, diff};
pub use digest::{Digest, parse_digest};
pub use error::{EntryPosition, Error, ErrorClass, Fault};
pub use layout::{BlobReader, BlobWriter, History, Image, Layer, Layout, NewImage, append_layer};
pub use limits::Limits;
pub use oci_spec::image as oci;
pub use write::{FileSize, LayerOptions, WrittenLayer, write_layer, write_tree};

/// Bytes moved at a time.
const BUFFER: usize = 256 * 1024;
