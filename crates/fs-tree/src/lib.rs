#![doc = include_str!("../README.md")]

#[cfg(feature = "fs")]
mod attributes;
mod chunks;
mod diff;
mod dump;
mod escape;
mod inode;
#[cfg(feature = "fs")]
mod materialize;
mod metadata;
#[cfg(feature = "fs")]
mod new_inode;
mod path;
mod resolve;
#[cfg(feature = "fs")]
mod scan;
mod tree;
#[cfg(feature = "fs")]
mod write;
#[cfg(feature = "fs")]
mod xattr;

#[cfg(feature = "fs")]
pub use attributes::{MetadataError, read_xattrs, write_metadata};
pub use chunks::Chunks;
pub use diff::{Changed, Difference, Kinds, diff};
pub use dump::{DumpError, dump, parse_dump};
pub use escape::{UnescapeError, escape, unescape};
pub use inode::{Inode, InodeId, Kind, NodeType};
#[cfg(feature = "fs")]
pub use materialize::{
    ContentSource, MaterializeError, MaterializeOptions, materialize, materialize_parallel,
    write_all,
};
pub use metadata::{Device, Metadata, Timestamp, Xattrs};
pub use path::{Name, PathError, TreePath};
pub use resolve::{MAX_SYMLINKS, ResolveError};
#[cfg(feature = "fs")]
pub use scan::{Digest, FileContent, ScanError, ScanOptions, scan, scan_readable};
pub use tree::{Tree, TreeError, Walk};
