//! The guest's result stream: a header line, a tar archive, and a record that covers both.
//!
//! ```text
//! pleach-result 1\n
//! <tar>
//! pleach-end exit=0 bytes=10256 sha256=<64 lower-case hexadecimal digits>\n
//! ```
//! `bytes` counts all that stands before the record, and the digest covers every byte before the word
//! `sha256=`, the exit code included. Whatever is cut, added or changed, [`parse`] says so.

use std::collections::BTreeMap;
use std::io::Read;

use sha2::{Digest, Sha256};

const HEADER: &[u8] = b"pleach-result 1\n";
const RECORD: &[u8] = b"pleach-end ";
/// No well-formed record is longer: three digits, twenty digits, sixty-four digits and the words.
const RECORD_MAX: usize = 128;

/// How a result stream is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not a byte arrived.
    #[error("the guest sent no result")]
    Empty,
    /// The first line is another one.
    #[error("the result does not begin with its header")]
    Header,
    /// There is no final record at the end.
    #[error("the result ends after {bytes} bytes without its final record")]
    Truncated {
        /// Length of what arrived.
        bytes: usize,
    },
    /// The final record is malformed.
    #[error("the final record of the result is malformed: {text:?}")]
    Record {
        /// The record.
        text: String,
    },
    /// The record speaks of another length.
    #[error("the result has {actual} bytes, its record says {recorded}")]
    Length {
        /// What the record says.
        recorded: u64,
        /// What arrived.
        actual: u64,
    },
    /// The digest is another one.
    #[error("the result's digest is {actual}, its record says {recorded}")]
    Digest {
        /// What the record says.
        recorded: String,
        /// What was computed.
        actual: String,
    },
    /// The tar archive cannot be read, or holds what it should not.
    #[error("the result's archive: {detail}")]
    Archive {
        /// What is wrong, with the entry's name.
        detail: String,
    },
}

/// A result stream that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The command's exit code as the guest's shell reported it.
    pub exit_code: u8,
    /// The tar archive.
    pub archive: &'a [u8],
}

/// Takes a complete result stream apart.
pub fn parse(stream: &[u8]) -> Result<Frame<'_>, FrameError> {
    if stream.is_empty() {
        return Err(FrameError::Empty);
    }
    if !stream.starts_with(HEADER) {
        return Err(FrameError::Header);
    }
    let truncated = FrameError::Truncated {
        bytes: stream.len(),
    };
    let tail = stream.len().saturating_sub(RECORD_MAX).max(HEADER.len());
    let at = stream[tail..]
        .windows(RECORD.len())
        .rposition(|window| window == RECORD);
    let Some(start) = at.map(|at| tail + at) else {
        return Err(truncated);
    };
    if !stream.ends_with(b"\n") {
        return Err(truncated);
    }
    let text = String::from_utf8_lossy(&stream[start..]).into_owned();
    let Some(record) = Record::parse(&text) else {
        return Err(FrameError::Record { text });
    };
    if record.bytes != start as u64 {
        return Err(FrameError::Length {
            recorded: record.bytes,
            actual: start as u64,
        });
    }
    let covered = stream.len() - "sha256=\n".len() - record.digest.len();
    let actual = hex(&Sha256::digest(&stream[..covered]));
    if actual != record.digest {
        return Err(FrameError::Digest {
            recorded: record.digest.to_owned(),
            actual,
        });
    }
    Ok(Frame {
        exit_code: record.exit_code,
        archive: &stream[HEADER.len()..start],
    })
}

struct Record<'a> {
    exit_code: u8,
    bytes: u64,
    digest: &'a str,
}

impl<'a> Record<'a> {
    /// One spelling only, so that no changed byte can pass.
    fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix("pleach-end exit=")?.strip_suffix('\n')?;
        let (exit, fields) = fields.split_once(" bytes=")?;
        let (bytes, digest) = fields.split_once(" sha256=")?;
        let hexadecimal = digest
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let record = Self {
            exit_code: exit.parse().ok()?,
            bytes: bytes.parse().ok()?,
            digest,
        };
        let one_spelling =
            record.exit_code.to_string() == exit && record.bytes.to_string() == bytes;
        (digest.len() == 64 && hexadecimal && one_spelling).then_some(record)
    }
}

/// Regular files of an archive by name, without the leading `./`.
///
/// A file of another type, a name that leaves the archive's root and a second file of one name are
/// errors: what the guest sends must be representable, or be known not to be.
pub fn unpack(archive: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, FrameError> {
    let bad = |detail: String| FrameError::Archive { detail };
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries().map_err(|e| bad(e.to_string()))? {
        let mut entry = entry.map_err(|e| bad(e.to_string()))?;
        let name = clean_name(&entry.path_bytes());
        let shown = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(name) = name else {
            return Err(bad(format!("{}: name leaves the root", shown())));
        };
        match entry.header().entry_type() {
            tar::EntryType::Directory => continue,
            tar::EntryType::Regular => {}
            other => return Err(bad(format!("{}: a {other:?}, not a regular file", shown()))),
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|e| bad(e.to_string()))?;
        if let Some(_earlier) = files.insert(name.clone(), bytes) {
            return Err(bad(format!("{}: twice", String::from_utf8_lossy(&name))));
        }
    }
    Ok(files)
}

/// The name without `./` before and `/` behind it; the root itself is the empty name.
fn clean_name(path: &[u8]) -> Option<Vec<u8>> {
    if matches!(path, b"." | b"./") {
        return Some(Vec::new());
    }
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let good = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    path.split(|&byte| byte == b'/')
        .all(good)
        .then(|| path.to_vec())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the agent does in shell.
#[cfg(test)]
pub(crate) fn encode(exit_code: u8, archive: &[u8]) -> Vec<u8> {
    let mut stream = [HEADER, archive].concat();
    let record = format!("pleach-end exit={exit_code} bytes={} ", stream.len());
    stream.extend_from_slice(record.as_bytes());
    let digest = hex(&Sha256::digest(&stream));
    stream.extend_from_slice(format!("sha256={digest}\n").as_bytes());
    stream
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn damage_has_a_name() {
        let good = encode(3, b"body");
        let text = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(String::from_utf8_lossy(&good), @r"
        pleach-result 1
        bodypleach-end exit=3 bytes=20 sha256=e0a6aea3a11cd68ab2ce687f371795e97a44260322c7c9f3fb82464fd88e4b53
        ");
        assert_eq!(
            parse(&good),
            Ok(Frame {
                exit_code: 3,
                archive: b"body"
            })
        );
        assert_eq!(text(b""), "the guest sent no result");
        assert_eq!(text(b"Hello"), "the result does not begin with its header");
        assert_eq!(
            text(&good[..20]),
            "the result ends after 20 bytes without its final record"
        );
        let longer = String::from_utf8_lossy(&good).replace("body", "bodyy");
        assert_eq!(
            text(longer.as_bytes()),
            "the result has 21 bytes, its record says 20"
        );
        let two_spellings = String::from_utf8_lossy(&good).replace("exit=3", "exit=+3");
        assert!(
            text(two_spellings.as_bytes()).contains("malformed"),
            "{two_spellings}"
        );
    }

    proptest! {
        #[test]
        fn whole_stream_parses(exit: u8, body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let stream = encode(exit, &body);
            prop_assert_eq!(parse(&stream), Ok(Frame { exit_code: exit, archive: &body[..] }));
        }

        #[test]
        fn truncation_is_detected(exit: u8, body in proptest::collection::vec(any::<u8>(), 0..600), cut in 1..800usize) {
            let stream = encode(exit, &body);
            let kept = stream.len().saturating_sub(cut);
            prop_assert!(parse(&stream[..kept]).is_err(), "{} of {} bytes", kept, stream.len());
        }

        #[test]
        fn flipped_bit_is_detected(exit: u8, body in proptest::collection::vec(any::<u8>(), 0..300), at: proptest::sample::Index, bit in 0..8u8) {
            let mut stream = encode(exit, &body);
            let at = at.index(stream.len());
            stream[at] ^= 1 << bit;
            prop_assert!(parse(&stream).is_err(), "bit {} of byte {}", bit, at);
        }

        #[test]
        fn addition_is_detected(exit: u8, body in proptest::collection::vec(any::<u8>(), 0..300), more in proptest::collection::vec(any::<u8>(), 1..40), at: proptest::sample::Index) {
            let mut stream = encode(exit, &body);
            let at = at.index(stream.len() + 1);
            stream.splice(at..at, more);
            prop_assert!(parse(&stream).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _result = (parse(&bytes), unpack(&bytes));
        }
    }

    fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            // Written raw: the builder refuses the names that are tested here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn archive_gives_files_by_name() {
        use tar::EntryType::{Directory, Fifo, Regular, Symlink};
        let check = |entries: &[(&str, tar::EntryType, &str)], expect: &str| {
            let found = match unpack(&archive(entries)) {
                Ok(files) => files
                    .iter()
                    .map(|(k, v)| {
                        format!(
                            "{}={}",
                            String::from_utf8_lossy(k),
                            String::from_utf8_lossy(v)
                        )
                    })
                    .collect::<Vec<_>>()
                    .join(" "),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expect);
        };
        check(
            &[
                ("./", Directory, ""),
                ("./a", Regular, "1"),
                ("./d/", Directory, ""),
                ("./d/b", Regular, ""),
            ],
            "a=1 d/b=",
        );
        check(
            &[("../a", Regular, "1")],
            "the result's archive: ../a: name leaves the root",
        );
        check(
            &[("/a", Regular, "1")],
            "the result's archive: /a: name leaves the root",
        );
        check(
            &[("d/../a", Regular, "1")],
            "the result's archive: d/../a: name leaves the root",
        );
        check(
            &[("a", Regular, "1"), ("./a", Regular, "2")],
            "the result's archive: a: twice",
        );
        check(
            &[("l", Symlink, "")],
            "the result's archive: l: a Symlink, not a regular file",
        );
        check(
            &[("p", Fifo, "")],
            "the result's archive: p: a Fifo, not a regular file",
        );
    }
}
