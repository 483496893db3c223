#![doc = include_str!("../README.md")]

mod cache;
mod compression;
mod content;
mod decompress;
mod diff;
mod digest;
mod entry;
mod error;
mod graft;
mod gzip;
mod hidden;
mod kept;
mod layout;
mod limits;
mod merge;
mod notes;
mod options;
#[cfg(feature = "ostree")]
pub mod ostree;
mod overlay;
mod parallel;
mod pieces;
mod provenance;
mod read;
mod removals;
mod stored;
mod tar;
mod whiteout;
mod work;
mod write;
mod xattr;

pub use compression::Compression;
pub use content::{ContentSink, ContentStore, IndexOnly, StoreOptions, StoreSink};
pub use diff::{Changes, diff};
pub use digest::{Digest, parse_digest};
pub use error::{EntryPosition, Error, ErrorClass, Fault};
pub use hidden::Hidden;
pub use kept::{Keep, Kept};
pub use layout::{BlobReader, BlobWriter, History, Image, Layer, Layout, NewImage, append_layer};
pub use limits::Limits;
pub use merge::{
    Merged, Merger, index, index_cached, index_keeping, merge, merge_blobs, merge_with, read_tar,
};
pub use notes::Note;
pub use oci_spec::image as oci;
pub use options::{Budget, MergeOptions, XattrAction};
pub use provenance::{Origin, Provenance};
pub use read::{LayerEntries, read_layer};
pub use removals::Removal;
pub use stored::{ContentReader, ContentRef, Contents, contents, take_contents};
pub use write::{FileSize, LayerOptions, WrittenLayer, write_layer, write_tree};

/// Bytes moved at a time.
const BUFFER: usize = 256 * 1024;
