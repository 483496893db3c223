//! gzip streams: one member or many (RFC 1952), every checksum verified, to the end of the input.

use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

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
    inflate: Decompress,
    crc: Crc,
    state: State,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            inflate: Decompress::new(false),
            crc: Crc::new(),
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
            crc: Crc::new(),
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
            let expected = header.crc.sum() as u16;
            if u16::from_le_bytes(header.bytes()?) != expected {
                return Err(bad("wrong checksum of a gzip header"));
            }
        }
        self.inflate.reset(false);
        self.crc.reset();
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
            let status = self.inflate.decompress(input, out, FlushDecompress::None);
            let status = status.map_err(|_| bad("bad deflate data"))?;
            let count = |after: u64, before| usize::try_from(after - before).expect("a buffer's");
            self.inner.consume(count(self.inflate.total_in(), read));
            let n = count(self.inflate.total_out(), written);
            self.crc.update(&out[..n]);
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
            crc: Crc::new(),
        };
        let sum = u32::from_le_bytes(trailer.bytes()?);
        let length = u32::from_le_bytes(trailer.bytes()?);
        if sum != self.crc.sum() || length != self.crc.amount() {
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
    crc: Crc,
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
        self.crc.update(&bytes);
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

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
        let mut crc = Crc::new();
        crc.update(&whole[..end]);
        let sum = (crc.sum() as u16).to_le_bytes();
        let good = [&whole[..end], &sum, &whole[end..]].concat();
        check(&good, Ok("three"));
        let bad = [&whole[..end], &[sum[0] ^ 1, sum[1]], &whole[end..]].concat();
        check(&bad, Err("wrong checksum of a gzip header"));
    }
}
