//! What a file, a key or a document holds: bytes, or where Ignition fetches them from.

use std::fmt;

use super::Origin;
use crate::secret::Secret;

/// What something holds, with what the document says about it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// The bytes, or where they are fetched from.
    pub source: Source,
    /// What the decompressed bytes must hash to. Where the bytes are here, they do.
    pub hash: Option<Hash>,
    /// What the document says of compression; none means that it says nothing. Bytes that are here are
    /// decompressed.
    pub compression: Option<Compression>,
    /// Where they were asked for.
    pub origin: Origin,
}

impl Contents {
    /// The bytes, decoded, decompressed and held to their hash; none where Ignition fetches them.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::Remote(_) => None,
        }
    }

    /// Where Ignition fetches them from, if it does.
    pub fn remote(&self) -> Option<&Remote> {
        match &self.source {
            Source::Bytes(_) => None,
            Source::Remote(remote) => Some(remote),
        }
    }
}

impl fmt::Debug for Contents {
    // A file may hold a key; a debug print shows its size alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Bytes(bytes) => write!(f, "Contents({} bytes)", bytes.len()),
            Source::Remote(remote) => write!(f, "Contents({remote})"),
        }
    }
}

/// Where bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// They are here: from `inline`, `local`, a tree, a `data:` or a `file:` URL.
    Bytes(Vec<u8>),
    /// The machine's Ignition fetches them. This crate opens no socket.
    Remote(Remote),
}

/// A resource that Ignition fetches. Prints as its URL without what may be a secret in it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// `http:`, `https:`, `tftp:`, `s3:`, `gs:`, or the `arn:` of an S3 object.
    pub url: String,
    /// Headers of the request.
    pub headers: Vec<HttpHeader>,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, asked) = match self.url.split_once('?') {
            Some((url, _)) => (url, "?…"),
            None => (&*self.url, ""),
        };
        match url.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = host.rsplit('@').next().unwrap_or(host);
                write!(f, "{scheme}://{host}{path}{asked}")
            }
            None => write!(f, "{url}{asked}"),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value, which may be a token; none takes away a header that a merged document inherits.
    pub value: Option<Secret>,
}

/// How contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Said to be not compressed.
    None,
    /// gzip, RFC 1952.
    Gzip,
}

/// A hash: `sha256-…` or `sha512-…` with lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase())
    }

    /// As a document writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
