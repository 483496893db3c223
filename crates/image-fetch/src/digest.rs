use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::Error;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
///
/// The [OCI descriptor] grammar allows other algorithms and leaves it to the reader which to
/// support. This crate supports one, so that a digest is always a safe file name.
///
/// [OCI descriptor]: https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits: the name of the blob in `blobs/sha256`.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        let mut out = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
        out
    }

    pub(crate) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// # Errors
    /// [`Error::Digest`] if the text is anything but `sha256:` and 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Digest {
            digest: text.to_owned(),
        };
        let hex = text.strip_prefix("sha256:").ok_or_else(bad)?.as_bytes();
        if hex.len() != 64 {
            return Err(bad());
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (
                nibble(pair[0]).ok_or_else(bad)?,
                nibble(pair[1]).ok_or_else(bad)?,
            );
            *byte = high << 4 | low;
        }
        Ok(Self(out))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_parses() {
        let good = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), good);
        assert_eq!(good.parse::<Digest>().unwrap(), Digest::of(b""));
        for bad in [
            "",
            "sha256:",
            "sha256:../../x",
            &good[..70],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("e3b0", "E3B0"),
            &good.replace("sha256", "sha512"),
            &good.replace("sha256:", ""),
            &format!(" {good}"),
            &good.replace("e3", "+3"),
            &good.replace("e3", "é"),
        ] {
            let parsed = bad.parse::<Digest>();
            assert!(
                matches!(parsed, Err(Error::Digest { .. })),
                "{bad:?} gave {parsed:?}"
            );
        }
    }
}
