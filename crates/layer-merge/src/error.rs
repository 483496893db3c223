//! What can go wrong, and where.

use std::fmt;
use std::io;

use pleach_fs_tree::{Digest, TreePath};
use thiserror::Error;

/// Why an image cannot be merged, a layer not be written, or a layout not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer of an image is refused, or cannot be read.
    #[error("layer {index} ({digest}){}: {fault}", entry.as_ref().map(|e| format!(", {e}")).unwrap_or_default())]
    Layer {
        /// Index of the layer in the manifest, from 0.
        index: usize,
        /// Digest of its blob, as the manifest has it.
        digest: Digest,
        /// Which entry, if it is about one.
        entry: Option<Box<EntryPosition>>,
        /// What is wrong.
        #[source]
        fault: Fault,
    },
    /// An entry of an archive that is no layer is refused.
    #[error("archive{}: {fault}", entry.as_ref().map(|e| format!(", {e}")).unwrap_or_default())]
    Archive {
        /// Which entry, if it is about one.
        entry: Option<Box<EntryPosition>>,
        /// What is wrong.
        #[source]
        fault: Fault,
    },
    /// A manifest, configuration, index or layout file is refused, or cannot be read.
    #[error("{what}: {fault}")]
    Document {
        /// Which one, for people.
        what: String,
        /// What is wrong.
        #[source]
        fault: Fault,
    },
    /// No image has the reference asked for, or several have.
    #[error("{reference}: {found} images in the layout, expected one; it has: {have}")]
    Reference {
        /// What was asked for.
        reference: String,
        /// How many fit.
        found: usize,
        /// The tags and digests that are there.
        have: String,
    },
    /// A tree has something that a layer cannot say.
    #[error("{path}: {what}")]
    Unrepresentable {
        /// Where in the tree.
        path: TreePath,
        /// What it is.
        what: &'static str,
    },
    /// The content source gave another number of bytes than the tree says.
    #[error("{path}: content of {found} bytes or more, expected {expected}")]
    ContentSize {
        /// The file.
        path: TreePath,
        /// Bytes that the tree says.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// A file of the tree cannot be read.
    #[error("read the content of {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// What the source said.
        source: io::Error,
    },
    /// A system call failed.
    #[error("{operation} {what}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The class of the error: what a report or a test asks for.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Layer { fault, .. }
            | Self::Archive { fault, .. }
            | Self::Document { fault, .. } => fault.class(),
            Self::Reference { .. } => ErrorClass::BadManifest,
            Self::Unrepresentable { .. } => ErrorClass::UnsupportedType,
            Self::ContentSize { .. } | Self::Content { .. } | Self::Io { .. } => ErrorClass::Io,
        }
    }

    /// The blob of a layer cannot be had.
    pub(crate) fn unopened(index: usize, layer: &crate::Layer, error: io::Error) -> Self {
        Self::Layer {
            index,
            digest: layer.digest,
            entry: None,
            fault: Fault::Io(error),
        }
    }

    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Io {
            operation,
            what,
            source: error.into(),
        }
    }
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPosition {
    /// Its number in the archive, from 0; headers that describe another one are not counted.
    pub number: u64,
    /// Its path as the archive has it, escaped; `None` where the header could not be read so far.
    pub path: Option<String>,
}

impl fmt::Display for EntryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "entry {} ({path})", self.number),
            None => write!(f, "entry {}", self.number),
        }
    }
}

/// What is wrong with an archive, a blob or a document.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Fault {
    #[error("the path leaves the image: it has a component ..")]
    PathEscape,
    #[error("bad path: {0}")]
    BadPath(&'static str),
    #[error("the root of the image is a directory, and nothing else")]
    RootType,
    #[error("parent {at}: {why}")]
    ParentNotDirectory { at: String, why: &'static str },
    #[error("bad whiteout: {0}")]
    BadWhiteout(&'static str),
    #[error("bad link to {target:?}: {why}")]
    BadLink { target: String, why: &'static str },
    #[error("extended attribute {name}: {why}")]
    BadXattr { name: String, why: &'static str },
    #[error("bad header: {0}")]
    BadHeader(&'static str),
    #[error("the archive ends inside {0}")]
    Truncated(&'static str),
    #[error("unsupported type of entry: {0}")]
    UnsupportedType(String),
    #[error("limit reached: {what}, at most {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("bad compressed data: {0}")]
    BadCompression(String),
    #[error("unsupported media type {0:?}")]
    UnsupportedMediaType(String),
    #[error("{what} is {found}, expected {expected}")]
    DigestMismatch {
        what: &'static str,
        expected: String,
        found: String,
    },
    #[error("bad document: {0}")]
    BadDocument(String),
    #[error("a second entry for this path")]
    DuplicateEntry,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Fault {
    /// The class; see [`Error::class`].
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::PathEscape => ErrorClass::PathEscape,
            Self::BadPath(_) => ErrorClass::BadPath,
            Self::RootType => ErrorClass::RootType,
            Self::ParentNotDirectory { .. } => ErrorClass::ParentNotDirectory,
            Self::BadWhiteout(_) => ErrorClass::BadWhiteout,
            Self::BadLink { .. } => ErrorClass::BadLink,
            Self::BadXattr { .. } => ErrorClass::BadXattr,
            Self::BadHeader(_) => ErrorClass::BadHeader,
            Self::Truncated(_) => ErrorClass::Truncated,
            Self::UnsupportedType(_) => ErrorClass::UnsupportedType,
            Self::Limit { .. } => ErrorClass::Limit,
            Self::BadCompression(_) => ErrorClass::BadCompression,
            Self::UnsupportedMediaType(_) => ErrorClass::UnsupportedMediaType,
            Self::DigestMismatch { .. } => ErrorClass::DigestMismatch,
            Self::BadDocument(_) => ErrorClass::BadManifest,
            Self::DuplicateEntry => ErrorClass::DuplicateEntry,
            Self::Io(_) => ErrorClass::Io,
        }
    }
}

/// The kinds of refusal, coarse enough to be stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "named like the faults")]
pub enum ErrorClass {
    PathEscape,
    BadPath,
    RootType,
    ParentNotDirectory,
    BadWhiteout,
    BadLink,
    BadXattr,
    BadHeader,
    Truncated,
    UnsupportedType,
    Limit,
    BadCompression,
    UnsupportedMediaType,
    DigestMismatch,
    BadManifest,
    DuplicateEntry,
    Io,
}

impl ErrorClass {
    /// The class as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PathEscape => "path-escape",
            Self::BadPath => "bad-path",
            Self::RootType => "root-type",
            Self::ParentNotDirectory => "parent-not-dir",
            Self::BadWhiteout => "bad-whiteout",
            Self::BadLink => "bad-link",
            Self::BadXattr => "bad-xattr",
            Self::BadHeader => "bad-header",
            Self::Truncated => "truncated",
            Self::UnsupportedType => "unsupported-type",
            Self::Limit => "limit",
            Self::BadCompression => "bad-compression",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::DigestMismatch => "digest-mismatch",
            Self::BadManifest => "bad-manifest",
            Self::DuplicateEntry => "duplicate-entry",
            Self::Io => "io",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
