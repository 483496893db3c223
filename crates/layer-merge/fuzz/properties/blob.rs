use std::io::{BufRead, Read, Write};

use flate2::bufread::GzDecoder;
use flate2::write::DeflateEncoder;
use pleach_fs_tree::Digest;
use pleach_layer_merge::{
    Budget, Compression, Error, ErrorClass, Fault, IndexOnly, Layer, read_layer,
};

use super::{Drops, options};

/// The first byte says what the others are: a compressed blob as it is, or what many members or
/// frames are made of.
///
/// What we take, another decoder takes, too, and of the same length and digest; what is made by the
/// rules is never called damaged.
pub(crate) fn blob(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    match which % 4 {
        0 => as_it_is(Compression::Gzip, data, gunzip(data)),
        1 => as_it_is(Compression::Zstd, data, unzstd(data)),
        2 => made(Compression::Gzip, data, member),
        _ => made(Compression::Zstd, data, frame),
    }
}

/// More than the limits allow.
const MOST: u64 = 1 << 23;

fn as_it_is(compression: Compression, data: &[u8], theirs: Option<Vec<u8>>) {
    let archive = theirs.as_deref().unwrap_or_default();
    match read(compression, data, archive) {
        Ok(()) => assert!(theirs.is_some(), "only we take it"),
        // It was decoded to its end, and the archive in it read.
        Err(Error::Layer {
            fault: fault @ Fault::DigestMismatch { .. },
            ..
        }) => panic!("another decoder reads something else: {fault}"),
        Err(_) => {}
    }
}

fn made(compression: Compression, mut data: &[u8], piece: fn(u8, &[u8]) -> Vec<u8>) {
    let (mut blob, mut archive) = (Vec::new(), Vec::new());
    while let Some((&how, rest)) = data.split_first() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(how >> 4) * 40));
        blob.extend(piece(how, bytes));
        archive.extend_from_slice(bytes);
        data = rest;
    }
    if let Err(error) = read(compression, &blob, &archive) {
        use ErrorClass::{BadCompression, DigestMismatch};
        let empty = blob.is_empty();
        assert!(
            empty || !matches!(error.class(), BadCompression | DigestMismatch),
            "{error}"
        );
    }
}

/// Reads a blob twice, at once and in drops.
fn read(compression: Compression, blob: &[u8], archive: &[u8]) -> Result<(), Error> {
    let layer = Layer {
        media_type: compression.media_type(),
        digest: Digest::of(blob),
        size: blob.len() as u64,
        diff_id: Digest::of(archive),
    };
    let options = options();
    let read = |blob: &mut (dyn Read + Send)| {
        let budget = Budget::default();
        read_layer(blob, 0, &layer, &options, &budget, &mut IndexOnly).map(drop)
    };
    let (whole, drops) = (read(&mut &*blob), read(&mut Drops(blob)));
    // Of two things that are wrong with it the one that is come upon first is told.
    assert_eq!(
        whole.is_ok(),
        drops.is_ok(),
        "in drops: {whole:?}\n{drops:?}"
    );
    whole
}

/// Members one after the other, and zeros behind the last.
fn gunzip(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let mut decoder = GzDecoder::new(data);
        decoder.by_ref().take(MOST).read_to_end(&mut out).ok()?;
        data = decoder.into_inner();
        if out.len() as u64 >= MOST {
            return None;
        }
        if data.iter().all(|&b| b == 0) {
            return Some(out);
        }
    }
}

fn unzstd(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if data.is_empty() {
        return None;
    }
    while !data.fill_buf().ok()?.is_empty() {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(data)
            .ok()?
            .single_frame();
        decoder.by_ref().take(MOST).read_to_end(&mut out).ok()?;
        if out.len() as u64 >= MOST {
            return None;
        }
        data = decoder.finish();
    }
    Some(out)
}

/// A gzip member with the optional fields and of the level that the bits say.
fn member(how: u8, bytes: &[u8]) -> Vec<u8> {
    let flags = match how & 3 {
        0 => 0,
        1 => 4 | 8,
        2 => 2 | 16,
        _ => 2 | 4 | 8 | 16,
    };
    let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
    if flags & 4 != 0 {
        out.extend_from_slice(b"\x05\0AB\x01\0x");
    }
    if flags & 8 != 0 {
        out.extend_from_slice(b"name\0");
    }
    if flags & 16 != 0 {
        out.extend_from_slice(b"comment\0");
    }
    if flags & 2 != 0 {
        let mut crc = flate2::Crc::new();
        crc.update(&out);
        out.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
    }
    let level = flate2::Compression::new(u32::from(how >> 2 & 3) * 3);
    let mut encoder = DeflateEncoder::new(out, level);
    encoder.write_all(bytes).unwrap();
    let mut out = encoder.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// A zstd frame, perhaps with a frame behind it that is to be skipped.
fn frame(how: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = zstd::encode_all(bytes, i32::from(how >> 2 & 3)).unwrap();
    if how & 1 != 0 {
        out.extend_from_slice(&[0x50 | (how & 15), 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    }
    out
}
