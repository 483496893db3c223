//! SHA-256 digests: strict parsing, and hashing of what passes through.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

pub use pleach_fs_tree::Digest;

use crate::Fault;

/// Reads `sha256:` and 64 lower-case hexadecimal digits, and nothing else. A digest becomes a file
/// name, so this is asked before one is used as such.
///
/// # Errors
/// [`Fault::BadDocument`] for anything else, other algorithms too.
pub fn parse_digest(text: &str) -> Result<Digest, Fault> {
    let bad = || Fault::BadDocument(format!("{text:?} is no sha256 digest"));
    let hex = text.strip_prefix("sha256:").ok_or_else(bad)?.as_bytes();
    let mut out = [0; 32];
    if hex.len() != 64 {
        return Err(bad());
    }
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |d: u8| match d {
            b'0'..=b'9' => Ok(d - b'0'),
            b'a'..=b'f' => Ok(d - b'a' + 10),
            _ => Err(bad()),
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(Digest(out))
}

/// The digest without its algorithm: 64 hexadecimal digits, the file name of a blob.
pub(crate) fn hex(digest: &Digest) -> String {
    digest.to_string()["sha256:".len()..].to_owned()
}

/// Counts and hashes what is written through it.
#[derive(Debug)]
pub(crate) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    count: u64,
}

impl<W> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            count: 0,
        }
    }

    /// The digest and the number of bytes, and what was written to.
    pub(crate) fn finish(self) -> (Digest, u64, W) {
        (
            Digest(self.hasher.finalize().into()),
            self.count,
            self.inner,
        )
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A descriptor with nothing but what it must have.
pub(crate) fn descriptor(
    media_type: oci_spec::image::MediaType,
    size: u64,
    digest: &Digest,
) -> oci_spec::image::Descriptor {
    let hex = hex(digest);
    let digest: oci_spec::image::Sha256Digest = hex.parse().expect("64 hexadecimal digits");
    oci_spec::image::Descriptor::new(media_type, size, digest)
}
