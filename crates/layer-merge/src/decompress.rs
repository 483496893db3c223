//! The reading side of compression: blob bytes in, archive bytes out, both hashed to their ends.

use std::io::{self, BufReader, Read};

use pleach_fs_tree::Digest;
use sha2::{Digest as _, Sha256};

use crate::{BUFFER, Compression, Fault, Limits, gzip};

/// Counts and hashes a blob that is read, and remembers whether reading itself failed.
struct Blob<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
    size: u64,
    failed: bool,
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = loop {
            match self.inner.read(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
                Ok(n) => break n,
            }
        };
        self.hasher.update(&out[..n]);
        self.read += n as u64;
        if self.read > self.size {
            self.failed = true;
            return Err(io::Error::other("more bytes than the manifest says"));
        }
        Ok(n)
    }
}

enum Stream<R: Read> {
    Plain(BufReader<Blob<R>>),
    Gzip(gzip::Reader<BufReader<Blob<R>>>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Blob<R>>>),
}

/// Decompresses a blob.
pub(crate) struct Decompressor<R: Read> {
    stream: Stream<R>,
}

impl<R: Read> Decompressor<R> {
    pub(crate) fn new(
        inner: R,
        size: u64,
        compression: Compression,
        limits: &Limits,
    ) -> Result<Self, Fault> {
        let blob = BufReader::with_capacity(
            BUFFER,
            Blob {
                inner,
                hasher: Sha256::new(),
                read: 0,
                size,
                failed: false,
            },
        );
        let stream = match compression {
            Compression::None => Stream::Plain(blob),
            Compression::Gzip => Stream::Gzip(gzip::Reader::new(blob)),
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                if size == 0 {
                    let what = "an empty file is no zstd stream".to_owned();
                    return Err(Fault::BadCompression(what));
                }
                let mut decoder = zstd::stream::read::Decoder::with_buffer(blob)?;
                decoder.window_log_max(limits.zstd_window_log)?;
                Stream::Zstd(decoder)
            }
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => {
                let _ = limits;
                let what = "zstd (built without the feature zstd)".to_owned();
                return Err(Fault::UnsupportedMediaType(what));
            }
        };
        Ok(Self { stream })
    }

    /// Some bytes of the archive; 0 at its end.
    pub(crate) fn read(&mut self, out: &mut [u8], limits: &Limits) -> Result<usize, Fault> {
        let result = match &mut self.stream {
            Stream::Plain(stream) => stream.read(out),
            Stream::Gzip(stream) => stream.read(out),
            #[cfg(feature = "zstd")]
            Stream::Zstd(stream) => stream.read(out),
        };
        result.map_err(|error| {
            if self.blob().failed {
                return Fault::Io(error);
            }
            let what = error.to_string();
            // The library has no type for it.
            if what.contains("requires too much memory") {
                return Fault::Limit {
                    what: "window of a zstd frame (base-2 logarithm)",
                    limit: limits.zstd_window_log.into(),
                };
            }
            Fault::BadCompression(what)
        })
    }

    fn blob(&mut self) -> &mut Blob<R> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.get_mut(),
            Stream::Gzip(stream) => stream.get_mut().get_mut(),
            #[cfg(feature = "zstd")]
            Stream::Zstd(stream) => stream.get_mut().get_mut(),
        }
    }

    /// Bytes of the blob that were read.
    pub(crate) fn blob_bytes(&mut self) -> u64 {
        self.blob().read
    }

    /// Reads the rest of the blob, whatever it is, and says what the blob was.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64), Fault> {
        let blob = self.blob();
        let mut buffer = vec![0; BUFFER];
        while blob.read <= blob.size && blob.read(&mut buffer)? > 0 {}
        let hasher = std::mem::take(&mut blob.hasher);
        Ok((Digest(hasher.finalize().into()), blob.read))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compression::Encoder;

    /// Compresses, and decompresses again; the class of the error where the crate cannot.
    fn round(compression: Compression) -> Result<Vec<u8>, &'static str> {
        let limits = Limits::default();
        let text = b"text ".repeat(100_000);
        let blob = match Encoder::new(Vec::new(), compression, None) {
            Ok(mut encoder) => {
                encoder.write_all(&text).unwrap();
                encoder.finish().unwrap()
            }
            Err(_) => b"not compressed".to_vec(),
        };
        let stream = Decompressor::new(&*blob, blob.len() as u64, compression, &limits);
        let mut stream = stream.map_err(|fault| fault.class().as_str())?;
        let (mut out, mut buffer) = (Vec::new(), vec![0; 1000]);
        loop {
            match stream.read(&mut buffer, &limits) {
                Ok(0) => break,
                Ok(n) => out.extend_from_slice(&buffer[..n]),
                Err(fault) => return Err(fault.class().as_str()),
            }
        }
        assert_eq!(out, text);
        let found = stream.finish().unwrap();
        assert_eq!(found, (Digest::of(&blob), blob.len() as u64));
        Ok(out)
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        assert!(round(Compression::None).is_ok());
        assert!(round(Compression::Gzip).is_ok());
        let zstd = round(Compression::Zstd).map(|_| ());
        if cfg!(feature = "zstd") {
            assert_eq!(zstd, Ok(()));
        } else {
            assert_eq!(zstd, Err("unsupported-media-type"));
        }
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn a_large_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        encoder.write_all(&[7; 20 << 20]).unwrap();
        let blob = encoder.finish().unwrap();
        let read = |log| {
            let limits = Limits {
                zstd_window_log: log,
                ..Limits::default()
            };
            let size = blob.len() as u64;
            let mut stream = Decompressor::new(&*blob, size, Compression::Zstd, &limits).unwrap();
            let result = stream.read(&mut [0; 100], &limits);
            result.map_err(|fault| fault.class().as_str())
        };
        assert_eq!(read(24), Ok(100));
        assert_eq!(read(23), Err("limit"));
    }
}
