//! The bytes of an archive, piece by piece: from a decompressor, or from one on another thread that
//! is some pieces ahead.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::decompress::Decompressor;
use crate::{BUFFER, Fault, Limits};

/// Bytes of a piece that goes from one thread to the other, and how many of them there are: each
/// costs system calls.
const PIECE: usize = 2 * BUFFER;
const AHEAD: usize = 3;
/// Blobs of fewer bytes are over before another thread would have begun.
const WORTH_IT: u64 = 512 << 10;

/// See the module.
pub(crate) trait Pieces {
    /// The next piece, empty at the end of the archive; and bytes of the blob so far.
    fn next(&mut self) -> Result<(&[u8], u64), Fault>;
}

/// Gives the archive of a blob of `size` bytes to `read`, and the decompressor back. With `ahead`,
/// another thread decompresses meanwhile: that is about half of the work.
pub(crate) fn read_pieces<R: Read + Send, T>(
    mut stream: Decompressor<R>,
    size: u64,
    limits: &Limits,
    ahead: bool,
    read: impl FnOnce(&mut dyn Pieces) -> T,
) -> (T, Decompressor<R>) {
    if !ahead || size < WORTH_IT {
        let result = read(&mut Here::new(&mut stream, limits));
        return (result, stream);
    }
    let (full, pieces) = channel();
    let (empty, buffers) = channel();
    for _ in 0..AHEAD {
        let sent = empty.send(vec![0; PIECE]);
        sent.expect("its receiver is here");
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            decompress(&mut stream, limits, &buffers, &full);
            stream
        });
        // It ends, whatever happens, once nobody takes pieces any more.
        let mut there = There {
            pieces,
            empty,
            piece: None,
        };
        let result = read(&mut there);
        drop(there);
        let stream = other.join();
        let stream = stream.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (result, stream)
    })
}

/// A decompressor on this thread.
pub(crate) struct Here<'a, R: Read> {
    stream: &'a mut Decompressor<R>,
    buffer: Vec<u8>,
    limits: &'a Limits,
}

impl<'a, R: Read> Here<'a, R> {
    pub(crate) fn new(stream: &'a mut Decompressor<R>, limits: &'a Limits) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER],
            limits,
        }
    }
}

impl<R: Read> Pieces for Here<'_, R> {
    fn next(&mut self) -> Result<(&[u8], u64), Fault> {
        let n = self.stream.read(&mut self.buffer, self.limits)?;
        Ok((&self.buffer[..n], self.stream.blob_bytes()))
    }
}

/// A buffer, the bytes in it, and those of the blob so far.
struct Piece(Vec<u8>, usize, u64);

struct There {
    pieces: Receiver<Result<Piece, Fault>>,
    empty: Sender<Vec<u8>>,
    piece: Option<Piece>,
}

impl Pieces for There {
    fn next(&mut self) -> Result<(&[u8], u64), Fault> {
        if let Some(Piece(buffer, ..)) = self.piece.take() {
            // Nobody takes it any more once the archive is at its end.
            let _ = self.empty.send(buffer);
        }
        let end = |_| Ok(Piece(Vec::new(), 0, 0));
        let piece = self.pieces.recv().unwrap_or_else(end)?;
        let Piece(buffer, n, blob_bytes) = self.piece.insert(piece);
        Ok((&buffer[..*n], *blob_bytes))
    }
}

/// Until the end, an error, or nobody wants more.
fn decompress<R: Read>(
    stream: &mut Decompressor<R>,
    limits: &Limits,
    buffers: &Receiver<Vec<u8>>,
    full: &Sender<Result<Piece, Fault>>,
) {
    for mut buffer in buffers {
        let (n, more) = fill(stream, &mut buffer, limits);
        // What came before an error is read first, as on one thread.
        if n > 0
            && full
                .send(Ok(Piece(buffer, n, stream.blob_bytes())))
                .is_err()
        {
            break;
        }
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(fault) => {
                // Nobody may want to know.
                let _ = full.send(Err(fault));
                break;
            }
        }
    }
}

/// As many bytes as there are, up to a whole buffer, and whether there may be more.
fn fill<R: Read>(
    stream: &mut Decompressor<R>,
    buffer: &mut [u8],
    limits: &Limits,
) -> (usize, Result<bool, Fault>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..], limits) {
            Ok(0) => return (filled, Ok(false)),
            Ok(n) => filled += n,
            Err(fault) => return (filled, Err(fault)),
        }
    }
    (filled, Ok(true))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use pleach_fs_tree::Digest;

    use super::*;
    use crate::Compression;
    use crate::compression::Encoder;

    /// Several pieces that differ.
    fn text() -> Vec<u8> {
        let bytes = (0..PIECE as u64).flat_map(u64::to_le_bytes);
        bytes.take(5 * PIECE + 77).collect()
    }

    /// Reads at most so many bytes; what came, or the class of the error, and the blob's digest.
    fn read(
        blob: &[u8],
        ahead: bool,
        most: usize,
    ) -> (Result<Vec<u8>, &'static str>, Digest, Vec<u64>) {
        let limits = Limits::default();
        let size = blob.len() as u64;
        let stream = Decompressor::new(blob, size, Compression::Gzip, &limits).unwrap();
        let mut blob_bytes = Vec::new();
        let (out, stream) = read_pieces(stream, u64::MAX, &limits, ahead, |pieces| {
            let mut out = Vec::new();
            while out.len() < most {
                let (piece, of_blob) = pieces.next().map_err(|fault| fault.class().as_str())?;
                if piece.is_empty() {
                    break;
                }
                out.extend_from_slice(piece);
                blob_bytes.push(of_blob);
            }
            Ok(out)
        });
        (out, stream.finish().unwrap().0, blob_bytes)
    }

    #[test]
    fn another_thread_changes_nothing() {
        let text = text();
        let mut encoder = Encoder::new(Vec::new(), Compression::Gzip, None).unwrap();
        encoder.write_all(&text).unwrap();
        let blob = encoder.finish().unwrap();
        let cut = &blob[..blob.len() - 9];
        let mut damaged = blob.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 1;
        for ahead in [false, true] {
            let (out, digest, blob_bytes) = read(&blob, ahead, usize::MAX);
            assert!(out.as_deref() == Ok(&text), "ahead: {ahead}");
            assert_eq!(digest, Digest::of(&blob), "ahead: {ahead}");
            assert!(
                blob_bytes.is_sorted() && blob_bytes[0] > 0,
                "{blob_bytes:?}"
            );
            assert_eq!(blob_bytes.last(), Some(&(blob.len() as u64)));
            for blob in [cut, &damaged] {
                let (out, digest, _) = read(blob, ahead, usize::MAX);
                assert_eq!(out.map(|out| out.len()), Err("bad-compression"));
                assert_eq!(digest, Digest::of(blob), "ahead: {ahead}");
            }
        }
    }

    #[test]
    fn who_stops_early_gets_the_rest_of_the_blob_verified() {
        let mut encoder = Encoder::new(Vec::new(), Compression::Gzip, None).unwrap();
        encoder.write_all(&text()).unwrap();
        let blob = encoder.finish().unwrap();
        for ahead in [false, true] {
            let (out, digest, _) = read(&blob, ahead, 1);
            assert!(out.unwrap().len() <= PIECE, "ahead: {ahead}");
            assert_eq!(digest, Digest::of(&blob), "ahead: {ahead}");
        }
    }
}
