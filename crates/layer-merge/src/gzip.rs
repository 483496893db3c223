//! gzip streams: one member or many (RFC 1952), every checksum verified, to the end of the input; and
//! one member, written.
//!
//! They are made with zlib-rs itself. Behind flate2 there is whatever zlib any crate of a program
//! asked for, even the system's, which is slower and has compressed in other ways before.

use std::io::{self, BufRead, Read, Write};

use zlib_rs::crc32::crc32;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// Room for what is compressed. Where blocks end depends on it at some levels, so it never changes.
const ROOM: usize = 32 << 10;

/// The window of deflate, as the base-2 logarithm of its bytes.
const WINDOW: u8 = 15;

/// What a trailer says of a member.
#[derive(Default)]
struct Sum {
    crc: u32,
    /// Bytes, modulo 2^32.
    length: u32,
}

impl Sum {
    fn update(&mut self, bytes: &[u8]) {
        self.crc = crc32(self.crc, bytes);
        self.length = self.length.wrapping_add(bytes.len() as u32);
    }
}

/// Optional fields of a header may not be longer than this; nothing needs even a tenth.
const MAX_FIELD: usize = 1 << 20;

enum State {
    /// Before a member; `true` for the first.
    Member(bool),
    Body,
    /// Behind the deflate data of a member.
    Trailer,
    Done,
}

/// Decompresses all members. Zeros after the last one are skipped, as tape blocks leave them there;
/// anything else is an error.
pub(crate) struct Reader<R> {
    inner: R,
    inflate: Inflate,
    sum: Sum,
    state: State,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            inflate: Inflate::new(false, WINDOW),
            sum: Sum::default(),
            state: State::Member(true),
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads the header of the next member; false when there is none.
    fn member(&mut self, first: bool) -> io::Result<bool> {
        match self.inner.fill_buf()?.first() {
            None if first => return Err(bad("an empty file is no gzip stream")),
            None => return Ok(false),
            Some(0) if !first => return self.skip_zeros(),
            Some(_) => {}
        }
        let mut header = Header {
            inner: &mut self.inner,
            sum: Sum::default(),
        };
        let [id1, id2, method, flags, ..] = header.bytes::<10>()?;
        if (id1, id2) != (0x1f, 0x8b) {
            return Err(bad(match first {
                true => "no gzip stream",
                false => "garbage after a gzip member",
            }));
        }
        if method != 8 || flags & 0xe0 != 0 {
            return Err(bad("unknown gzip method or flags"));
        }
        if flags & 4 != 0 {
            let length = u16::from_le_bytes(header.bytes()?);
            for _ in 0..length {
                header.bytes::<1>()?;
            }
        }
        // A name, a comment.
        for flag in [8, 16] {
            if flags & flag != 0 {
                header.text()?;
            }
        }
        if flags & 2 != 0 {
            let expected = header.sum.crc as u16;
            if u16::from_le_bytes(header.bytes()?) != expected {
                return Err(bad("wrong checksum of a gzip header"));
            }
        }
        self.inflate.reset(false);
        self.sum = Sum::default();
        Ok(true)
    }

    fn skip_zeros(&mut self) -> io::Result<bool> {
        loop {
            let input = self.inner.fill_buf()?;
            if input.iter().any(|&b| b != 0) {
                return Err(bad("garbage after the last gzip member"));
            }
            match input.len() {
                0 => return Ok(false),
                n => self.inner.consume(n),
            }
        }
    }

    /// Some of a member's bytes; 0 at its end.
    fn body(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.inner.fill_buf()?;
            let at_end = input.is_empty();
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, out, InflateFlush::NoFlush);
            let status = status.map_err(|_| bad("bad deflate data"))?;
            let count = |after: u64, before| usize::try_from(after - before).expect("a buffer's");
            self.inner.consume(count(self.inflate.total_in(), read));
            let n = count(self.inflate.total_out(), written);
            self.sum.update(&out[..n]);
            match status {
                Status::StreamEnd => self.state = State::Trailer,
                _ if n == 0 && at_end => return Err(bad("the gzip stream is cut off")),
                _ if n == 0 => continue,
                _ => {}
            }
            return Ok(n);
        }
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = Header {
            inner: &mut self.inner,
            sum: Sum::default(),
        };
        let sum = u32::from_le_bytes(trailer.bytes()?);
        let length = u32::from_le_bytes(trailer.bytes()?);
        if sum != self.sum.crc || length != self.sum.length {
            return Err(bad("wrong checksum of a gzip member"));
        }
        self.state = State::Member(false);
        Ok(())
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Done => return Ok(0),
                State::Member(first) => {
                    self.state = if self.member(first)? {
                        State::Body
                    } else {
                        State::Done
                    };
                }
                State::Body => match self.body(out)? {
                    0 => {}
                    n => return Ok(n),
                },
                State::Trailer => self.trailer()?,
            }
        }
    }
}

struct Header<'a, R> {
    inner: &'a mut R,
    sum: Sum,
}

impl<R: BufRead> Header<'_, R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = *self
                .inner
                .fill_buf()?
                .first()
                .ok_or_else(|| bad("the gzip stream is cut off"))?;
            self.inner.consume(1);
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn text(&mut self) -> io::Result<()> {
        for _ in 0..MAX_FIELD {
            if self.bytes::<1>()? == [0] {
                return Ok(());
            }
        }
        Err(bad("a gzip header with an endless name"))
    }
}

/// Writes one member without a name or a time.
pub(crate) struct Writer<W> {
    out: W,
    deflate: Deflate,
    sum: Sum,
    /// What is compressed, and the bytes of it that are not yet written.
    buffer: Vec<u8>,
    filled: usize,
}

impl<W: Write> Writer<W> {
    /// A level from 0 to 9.
    pub(crate) fn new(out: W, level: u8) -> Self {
        let how = match level {
            9 => 2,
            0 | 1 => 4,
            _ => 0,
        };
        let mut buffer = vec![0; ROOM];
        // The last byte: on an unknown system.
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, how, 255];
        buffer[..header.len()].copy_from_slice(&header);
        Self {
            out,
            deflate: Deflate::new(level.into(), false, WINDOW),
            sum: Sum::default(),
            buffer,
            filled: header.len(),
        }
    }

    /// Compresses some of the bytes: how many, and whether that was the end.
    fn compress(&mut self, bytes: &[u8], flush: DeflateFlush) -> io::Result<(usize, bool)> {
        self.out.write_all(&self.buffer[..self.filled])?;
        self.filled = 0;
        let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
        let status = self.deflate.compress(bytes, &mut self.buffer, flush);
        let status = status.map_err(|error| io::Error::other(error.as_str()))?;
        let count = |after: u64, before| usize::try_from(after - before).expect("a buffer's");
        self.filled = count(self.deflate.total_out(), written);
        let n = count(self.deflate.total_in(), read);
        Ok((n, status == Status::StreamEnd))
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        while !self.compress(&[], DeflateFlush::Finish)?.1 {}
        self.out.write_all(&self.buffer[..self.filled])?;
        self.out.write_all(&self.sum.crc.to_le_bytes())?;
        self.out.write_all(&self.sum.length.to_le_bytes())?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            // It may have taken nothing while the buffer was full.
            let (n, _) = self.compress(bytes, DeflateFlush::NoFlush)?;
            if n > 0 {
                self.sum.update(&bytes[..n]);
                return Ok(n);
            }
        }
    }

    /// What is not yet compressed stays: where it was flushed would be seen in the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn check(stream: &[u8], expect: Result<&str, &str>) {
        // Whatever the pieces are.
        for capacity in [1, 3, 64, 4096] {
            let input = io::BufReader::with_capacity(capacity, stream);
            let mut out = String::new();
            let result = Reader::new(input).read_to_string(&mut out);
            let found = result.map(|_| out).map_err(|e| e.to_string());
            let expect = expect.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expect, "buffer of {capacity}");
        }
    }

    #[test]
    fn streams() {
        let (one, two, empty) = (gzip(b"one"), gzip(b"two"), gzip(b""));
        let whole = flate2::GzBuilder::new()
            .extra(b"extra".as_slice())
            .filename("name")
            .comment("comment");
        let mut whole = whole.write(Vec::new(), Compression::default());
        whole.write_all(b"three").unwrap();
        let mut whole = whole.finish().unwrap();
        check(&one, Ok("one"));
        check(&[&*one, &empty, &two].concat(), Ok("onetwo"));
        check(&whole, Ok("three"));
        check(&[&*one, &[0; 700]].concat(), Ok("one"));
        check(
            &[&*one, &[0; 7], b"x"].concat(),
            Err("garbage after the last gzip member"),
        );
        check(
            &[&*one, b"GARBAGE and more"].concat(),
            Err("garbage after a gzip member"),
        );
        check(
            &[&*one, b"GARB"].concat(),
            Err("the gzip stream is cut off"),
        );
        check(b"", Err("an empty file is no gzip stream"));
        check(b"plain text, long enough", Err("no gzip stream"));
        for cut in 1..one.len() {
            check(&one[..cut], Err("the gzip stream is cut off"));
        }
        let mut wrong = one.clone();
        let at = wrong.len() - 5;
        wrong[at] ^= 1;
        check(&wrong, Err("wrong checksum of a gzip member"));

        // FHCRC: the low half of the header's CRC.
        whole[3] |= 2;
        let end = 10 + 2 + 5 + 5 + 8;
        let sum = (crc32(0, &whole[..end]) as u16).to_le_bytes();
        let good = [&whole[..end], &sum, &whole[end..]].concat();
        check(&good, Ok("three"));
        let bad = [&whole[..end], &[sum[0] ^ 1, sum[1]], &whole[end..]].concat();
        check(&bad, Err("wrong checksum of a gzip header"));
    }

    #[test]
    fn what_is_written_is_what_flate2_writes_with_zlib_rs() {
        let mut state = 1_u32;
        let text: Vec<u8> = (0..3_000_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Some letters, so that it compresses, and not to nothing.
                b'a' + (state >> 24) as u8 % 11
            })
            .collect();
        for level in 0..=9 {
            for text in [&text[..], b"", b"short"] {
                let header = flate2::GzBuilder::new().mtime(0).operating_system(255);
                let compression = Compression::new(level.into());
                let mut theirs = header.write(Vec::new(), compression);
                let mut ours = Writer::new(Vec::new(), level);
                for part in text.chunks(70_000) {
                    theirs.write_all(part).unwrap();
                    ours.write_all(part).unwrap();
                }
                let (ours, theirs) = (ours.finish().unwrap(), theirs.finish().unwrap());
                assert!(ours == theirs, "level {level}, {} bytes", text.len());
            }
        }
    }
}
