//! What a stream of bytes is: its size, its digest, how it is compressed, and the digest of what it
//! decompresses to. One pass, bounded memory; nothing is taken from a descriptor.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// The window of a zstd frame, as a power of two, that a reader must be able to hold. 128 MiB is
/// what the zstd tool itself accepts unasked; more would let an image choose our memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How the bytes of a layer are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several, with or without skippable ones.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// By magic number. A tar archive begins with a file name, so `None` is what is left.
    pub(crate) fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// What was found in a stream that was read to its end.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    pub(crate) compression: Compression,
    pub(crate) content: Content,
}

/// What a stream decompresses to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nobody asked.
    NotChecked,
    Digest(Digest),
    /// More than the limit.
    TooLong,
    /// The decoder refused it, or it ends early.
    Corrupt(String),
}

pub(crate) struct Verifier {
    hasher: Sha256,
    size: u64,
    state: State,
    max_content: u64,
}

enum State {
    /// Fewer than four bytes have come: too few to tell.
    Head {
        bytes: Vec<u8>,
        decompress: bool,
    },
    /// The content is the stream itself, or nobody asks for it.
    Plain(Compression, bool),
    Gzip(Box<flate2::write::MultiGzDecoder<ContentHasher>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, ContentHasher>>),
    /// Decompression has failed; the stream itself is still hashed, since a wrong digest says more.
    Failed(Compression, Content),
}

impl Verifier {
    /// `max_content`: the most bytes that the stream may decompress to; `None` not to decompress.
    pub(crate) fn new(max_content: Option<u64>) -> Self {
        Self {
            hasher: Sha256::new(),
            size: 0,
            state: State::Head {
                bytes: Vec::new(),
                decompress: max_content.is_some(),
            },
            max_content: max_content.unwrap_or(0),
        }
    }

    pub(crate) fn update(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.size += chunk.len() as u64;
        let State::Head { bytes, .. } = &mut self.state else {
            return self.decode(chunk);
        };
        bytes.extend_from_slice(chunk);
        if bytes.len() >= 4 {
            self.begin();
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn finish(mut self) -> Found {
        if matches!(self.state, State::Head { .. }) {
            self.begin();
        }
        let digest = Digest::finish(self.hasher);
        let (compression, content) = match self.state {
            State::Head { .. } => (Compression::None, Content::NotChecked),
            State::Plain(compression, false) => (compression, Content::NotChecked),
            State::Plain(compression, true) if self.size > self.max_content => {
                (compression, Content::TooLong)
            }
            State::Plain(compression, true) => (compression, Content::Digest(digest)),
            State::Gzip(decoder) => (Compression::Gzip, finished(decoder.finish())),
            State::Zstd(decoder) => (Compression::Zstd, finished(decoder.finish())),
            State::Failed(compression, content) => (compression, content),
        };
        Found {
            size: self.size,
            digest,
            compression,
            content,
        }
    }

    fn begin(&mut self) {
        let State::Head { bytes, decompress } = &mut self.state else {
            return;
        };
        let (head, decompress) = (std::mem::take(bytes), *decompress);
        let sink = ContentHasher {
            hasher: Sha256::new(),
            left: self.max_content,
        };
        self.state = match Compression::sniff(&head) {
            Compression::Gzip if decompress => {
                State::Gzip(Box::new(flate2::write::MultiGzDecoder::new(sink)))
            }
            Compression::Zstd if decompress => match zstd_decoder(sink) {
                Ok(decoder) => State::Zstd(Box::new(decoder)),
                Err(error) => failed(Compression::Zstd, &error),
            },
            other => State::Plain(other, decompress),
        };
        self.decode(&head);
    }

    fn decode(&mut self, chunk: &[u8]) {
        let (compression, written) = match &mut self.state {
            State::Gzip(decoder) => (Compression::Gzip, decoder.write_all(chunk)),
            State::Zstd(decoder) => (Compression::Zstd, decoder.write_all(chunk)),
            _ => return,
        };
        if let Err(error) = written {
            self.state = failed(compression, &error);
        }
    }
}

fn zstd_decoder(
    sink: ContentHasher,
) -> io::Result<zstd::stream::write::Decoder<'static, ContentHasher>> {
    let mut decoder = zstd::stream::write::Decoder::new(sink)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn failed(compression: Compression, error: &io::Error) -> State {
    State::Failed(compression, content_error(error))
}

fn finished(result: io::Result<ContentHasher>) -> Content {
    match result {
        Ok(sink) => Content::Digest(Digest::finish(sink.hasher)),
        Err(error) => content_error(&error),
    }
}

fn content_error(error: &io::Error) -> Content {
    if error.get_ref().is_some_and(|inner| inner.is::<TooLong>()) {
        Content::TooLong
    } else {
        Content::Corrupt(error.to_string())
    }
}

#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too long")
    }
}

impl std::error::Error for TooLong {}

struct ContentHasher {
    hasher: Sha256,
    left: u64,
}

impl Write for ContentHasher {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.left = match self.left.checked_sub(buf.len() as u64) {
            Some(left) => left,
            None => return Err(io::Error::other(TooLong)),
        };
        self.hasher.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    /// A zstd frame that decoders pass over, as zstd:chunked writes them.
    fn skippable(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[0x50, 0x2a, 0x4d, 0x18], &length[..], bytes].concat()
    }

    /// In pieces of these lengths, over and over.
    fn found(bytes: &[u8], pieces: &[usize], max_content: Option<u64>) -> Found {
        let mut verifier = Verifier::new(max_content);
        let mut rest = bytes;
        for length in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*length).clamp(1, rest.len()));
            verifier.update(piece);
            rest = tail;
        }
        verifier.finish()
    }

    proptest! {
        /// Members and frames, however they are cut into pieces, are one stream.
        #[test]
        fn pieces_do_not_matter(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..5),
            pieces in prop::collection::vec(1usize..700, 1..20),
        ) {
            let content = Digest::of(&parts.concat());
            let encode = |one: fn(&[u8]) -> Vec<u8>| parts.iter().flat_map(|it| one(it)).collect();
            let skipped = |one: &[u8]| [skippable(b"before"), zstd(one), skippable(b"")].concat();
            let rows: [(Vec<u8>, Compression); 3] = [
                (encode(gzip), Compression::Gzip),
                (encode(zstd), Compression::Zstd),
                (encode(skipped), Compression::Zstd),
            ];
            for (bytes, compression) in rows {
                let it = found(&bytes, &pieces, Some(10_000));
                prop_assert_eq!(it.size, bytes.len() as u64);
                prop_assert_eq!(it.digest, Digest::of(&bytes));
                prop_assert_eq!(it.compression, compression);
                prop_assert_eq!(it.content, Content::Digest(content));
            }
        }

        /// No end but the right one is taken for it: every cut that is not between two members.
        #[test]
        fn cut_streams_are_corrupt(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            cut in 1usize..1000,
        ) {
            for whole in [gzip(&bytes), zstd(&bytes)] {
                let end = whole.len() - 1 - cut % (whole.len() - 4);
                let it = found(&whole[..end], &[100], Some(10_000));
                prop_assert!(matches!(it.content, Content::Corrupt(_)), "{:?}", it);
            }
        }

        /// A changed byte never gives the same content under the same stream digest.
        #[test]
        fn the_stream_is_hashed_though_it_cannot_be_decoded(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            at in any::<prop::sample::Index>(),
        ) {
            let mut bad = gzip(&bytes);
            let at = at.index(bad.len());
            bad[at] ^= 0x55;
            prop_assert_eq!(found(&bad, &[7], Some(10_000)).digest, Digest::of(&bad));
        }
    }

    #[test]
    fn kinds_and_limits() {
        let text = b"some content that is no archive";
        let ok = Content::Digest(Digest::of(text));
        let length = text.len() as u64;
        use Compression::{Gzip, None as Plain, Zstd};
        let rows: [(Vec<u8>, Option<u64>, Compression, Content); 12] = [
            (text.to_vec(), Some(length), Plain, ok),
            (text.to_vec(), Some(length - 1), Plain, Content::TooLong),
            (text.to_vec(), None, Plain, Content::NotChecked),
            (Vec::new(), Some(0), Plain, Content::Digest(Digest::of(b""))),
            (
                vec![0x1f],
                Some(9),
                Plain,
                Content::Digest(Digest::of(&[0x1f])),
            ),
            (
                gzip(text),
                Some(length),
                Gzip,
                Content::Digest(Digest::of(text)),
            ),
            (gzip(text), Some(length - 1), Gzip, Content::TooLong),
            (gzip(text), None, Gzip, Content::NotChecked),
            (
                zstd(text),
                Some(length),
                Zstd,
                Content::Digest(Digest::of(text)),
            ),
            (zstd(text), Some(length - 1), Zstd, Content::TooLong),
            (zstd(text), None, Zstd, Content::NotChecked),
            (
                skippable(b"nothing"),
                Some(0),
                Zstd,
                Content::Digest(Digest::of(b"")),
            ),
        ];
        for (at, (bytes, max, compression, content)) in rows.into_iter().enumerate() {
            let it = found(&bytes, &[1], max);
            assert_eq!(
                (it.compression, it.content),
                (compression, content),
                "row {at}"
            );
        }
    }

    #[test]
    fn what_follows_a_stream_is_no_part_of_it() {
        for bytes in [gzip(b"x"), zstd(b"x")] {
            for tail in [&b"garbage"[..], &[0; 600], b"\x1f\x8b"] {
                let it = found(&[&bytes[..], tail].concat(), &[50], Some(100));
                assert!(
                    matches!(it.content, Content::Corrupt(_)),
                    "{tail:?}: {it:?}"
                );
            }
        }
    }

    #[test]
    fn a_window_that_is_too_large_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bytes = encoder.finish().unwrap();
        let it = found(&bytes, &[1000], Some(1 << 30));
        assert!(matches!(it.content, Content::Corrupt(_)), "{it:?}");
    }
}
