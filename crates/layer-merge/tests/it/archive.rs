//! Archives, streams and layouts byte by byte, as the vectors describe them: also wrong ones, which
//! no writer of the crate would make.

use std::io::Write as _;
use std::path::Path;

use flate2::write::{DeflateEncoder, GzEncoder};
use pleach_fs_tree::Digest;
use serde_json::{Value, json};

const BLOCK: usize = 512;

/// Text with the prefixes `hex:`, `b64:` and `rep:N:`.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text_bytes(text),
        other => other.to_string().into_bytes(),
    }
}

pub(crate) fn text_bytes(text: &str) -> Vec<u8> {
    if let Some(hex) = text.strip_prefix("hex:") {
        return unhex(hex);
    }
    if let Some(base64) = text.strip_prefix("b64:") {
        return unbase64(base64);
    }
    if let Some(rest) = text.strip_prefix("rep:") {
        let (count, text) = rest.split_once(':').expect("rep:N:text");
        return text.as_bytes().repeat(count.parse().expect("rep:N:text"));
    }
    text.as_bytes().to_vec()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |d: u8| char::from(d).to_digit(16).expect("hexadecimal digits") as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn unbase64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut have, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|&b| b != b'=') {
        bits = bits << 6 | alphabet.iter().position(|&a| a == byte).expect("base 64") as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    out
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn octal(header: &mut [u8], at: usize, width: usize, value: u64) {
    let digits = width - 1;
    header[at..at + digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

struct Header<'a> {
    name: &'a [u8],
    prefix: &'a [u8],
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    typeflag: u8,
    link: &'a [u8],
    magic: &'a str,
    device: (u64, u64),
}

impl Header<'_> {
    fn block(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let put = |block: &mut Vec<u8>, at: usize, width: usize, text: &[u8]| {
            let n = text.len().min(width);
            block[at..at + n].copy_from_slice(&text[..n]);
        };
        put(&mut block, 0, 100, self.name);
        octal(&mut block, 100, 8, self.mode);
        for (at, id) in [(108, self.uid), (116, self.gid)] {
            octal(&mut block, at, 8, id.min(0o7_777_777));
        }
        octal(&mut block, 124, 12, self.size);
        octal(&mut block, 136, 12, self.mtime);
        block[156] = self.typeflag;
        put(&mut block, 157, 100, self.link);
        match self.magic {
            "v7" => {}
            "gnu" => put(&mut block, 257, 8, b"ustar  \0"),
            _ => put(&mut block, 257, 8, b"ustar\x0000"),
        }
        if self.magic != "v7" {
            for (at, number) in [(329, self.device.0), (337, self.device.1)] {
                octal(&mut block, at, 8, number);
            }
            put(&mut block, 345, 155, self.prefix);
        }
        sum(&mut block, 0);
        block
    }
}

fn sum(block: &mut [u8], wrong_by: u64) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
    block[148..156].copy_from_slice(format!("{:06o}\0 ", sum + wrong_by).as_bytes());
}

fn extension(typeflag: u8, name: &[u8], body: &[u8], magic: &str) -> Vec<u8> {
    let header = Header {
        name,
        prefix: b"",
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: body.len() as u64,
        mtime: 0,
        typeflag,
        link: b"",
        magic,
        device: (0, 0),
    };
    let mut out = header.block();
    out.extend_from_slice(body);
    pad(&mut out);
    out
}

pub(crate) fn pax_body(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        out.extend_from_slice(format!("{length} ").as_bytes());
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

fn number(value: &Value, default: u64) -> u64 {
    match value {
        Value::Null => default,
        Value::String(octal) => u64::from_str_radix(octal, 8).expect("octal digits"),
        other => other.as_u64().expect("a number"),
    }
}

/// The bytes of one entry of a vector.
pub(crate) fn entry(entry: &Value) -> Vec<u8> {
    if let Some(hex) = entry["raw_hex"].as_str() {
        return unhex(hex);
    }
    if let Some(blocks) = entry["zero_blocks"].as_u64() {
        return vec![0; usize::try_from(blocks).unwrap() * BLOCK];
    }
    let tar = &entry["tar"];
    let kind = entry["type"].as_str().expect("a type");
    let (typeflag, mode) = match kind {
        "file" => (b'0', 0o644),
        "oldfile" => (0, 0o644),
        "contig" => (b'7', 0o644),
        "hardlink" => (b'1', 0o644),
        "symlink" => (b'2', 0o777),
        "char" => (b'3', 0o644),
        "block" => (b'4', 0o644),
        "dir" => (b'5', 0o755),
        "fifo" => (b'6', 0o644),
        other => panic!("unknown type {other}"),
    };
    let mut out = Vec::new();
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut record = |key: &str, value: Vec<u8>| records.push((key.into(), value));
    let magic = tar["magic"].as_str().unwrap_or("ustar");

    let mut path = bytes(&entry["path"]);
    if kind == "dir" && !path.ends_with(b"/") && tar["no_slash"] != true {
        path.push(b'/');
    }
    let mut prefix = Vec::new();
    let mut name = path.clone();
    let mut gnu = Vec::new();
    let long = tar["long"].as_str();
    if path.len() > 100 || long.is_some() {
        match long.unwrap_or("pax") {
            "gnu" => gnu.extend(extension(b'L', b"././@LongLink", &zero_ended(&path), "gnu")),
            "prefix" => {
                let cut = path.iter().rposition(|&b| b == b'/').expect("a slash");
                prefix = path[..cut].to_vec();
                name = path[cut + 1..].to_vec();
            }
            _ => record("path", path.clone()),
        }
    }
    let link = bytes(&entry["target"]);
    if link.len() > 100 || tar["longlink"].is_string() {
        match tar["longlink"].as_str().unwrap_or("pax") {
            "gnu" => gnu.extend(extension(b'K', b"././@LongLink", &zero_ended(&link), "gnu")),
            _ => record("linkpath", link.clone()),
        }
    }
    let (uid, gid) = (number(&entry["uid"], 0), number(&entry["gid"], 0));
    for (key, id) in [("uid", uid), ("gid", gid)] {
        if id > 0o7_777_777 || tar["pax_ids"] == true {
            record(key, id.to_string().into_bytes());
        }
    }
    let mtime = entry["mtime"].as_i64().unwrap_or(1_000_000_000);
    if let Some(time) = tar["pax_mtime"].as_str() {
        record("mtime", time.into());
    } else if mtime < 0 {
        record("mtime", mtime.to_string().into_bytes());
    }
    let namespace = tar["xattr_ns"].as_str().unwrap_or("SCHILY.xattr");
    for (key, value) in entry["xattrs"].as_object().into_iter().flatten() {
        let namespace = namespace.trim_end_matches('.');
        record(&format!("{namespace}.{key}"), bytes(value));
    }
    for pair in tar["pax"].as_array().into_iter().flatten() {
        records.push((bytes(&pair[0]), bytes(&pair[1])));
    }
    let content = match kind {
        "file" | "oldfile" | "contig" => bytes(&entry["content"]),
        _ if tar["size"].is_u64() && tar["nodata"] != true => bytes(&entry["content"]),
        _ => Vec::new(),
    };
    let flag = tar["typeflag"].as_str().map(text_bytes);
    let header = Header {
        name: &name,
        prefix: &prefix,
        mode: number(&entry["mode"], mode),
        uid,
        gid,
        size: tar["size"].as_u64().unwrap_or(content.len() as u64),
        mtime: u64::try_from(mtime).unwrap_or(0),
        typeflag: flag.map_or(typeflag, |flag| flag[0]),
        link: &link,
        magic,
        device: (number(&entry["major"], 0), number(&entry["minor"], 0)),
    };
    let mut block = header.block();
    if tar["rawsize"].is_string() {
        block[124..136].copy_from_slice(&bytes(&tar["rawsize"]));
        sum(&mut block, 0);
    }
    if tar["badsum"] == true {
        sum(&mut block, 1);
    }
    if let Some(global) = tar["global_pax"].as_array() {
        let pairs: Vec<_> = global
            .iter()
            .map(|p| (bytes(&p[0]), bytes(&p[1])))
            .collect();
        out.extend(extension(b'g', b"GlobalHead", &pax_body(&pairs), "ustar"));
    }
    if tar["pax_raw"].is_string() {
        out.extend(extension(
            b'x',
            b"PaxHeaders/x",
            &bytes(&tar["pax_raw"]),
            "ustar",
        ));
    } else if !records.is_empty() {
        out.extend(extension(
            b'x',
            b"PaxHeaders/x",
            &pax_body(&records),
            "ustar",
        ));
    }
    out.extend(gnu);
    out.extend(block);
    if tar["nodata"] != true {
        out.extend(content);
        pad(&mut out);
    }
    out
}

fn zero_ended(text: &[u8]) -> Vec<u8> {
    [text, b"\0"].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One member with every optional field of the header.
fn gzip_extra(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 3];
    out.extend_from_slice(b"\x05\0AB\x01\0x");
    out.extend_from_slice(b"name.tar\0a comment\0");
    let mut crc = flate2::Crc::new();
    crc.update(&out);
    out.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
    let mut encoder = DeflateEncoder::new(out, flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    let mut out = encoder.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// A layer as it will lie in a layout, and what manifest and configuration say of it.
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptor: Value,
    pub(crate) diff_id: Option<String>,
}

/// The blob of a layer of a vector.
pub(crate) fn layer(entries: &[Value], options: &Value) -> Blob {
    let mut pieces: Vec<Vec<u8>> = entries.iter().map(entry).collect();
    let trailer = options["trailer_blocks"].as_u64().unwrap_or(2);
    pieces.push(vec![0; usize::try_from(trailer).unwrap() * BLOCK]);
    if !options["after_trailer"].is_null() {
        pieces.push(bytes(&options["after_trailer"]));
    }
    let mut archive = pieces.concat();
    if let Some(length) = options["truncate"].as_i64() {
        archive.truncate(cut(archive.len(), length));
        pieces = vec![archive.clone()];
    }
    let compression = options["compression"].as_str().unwrap_or("gzip");
    let mut blob = match compression {
        "none" => archive.clone(),
        "zstd" => {
            let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
            if options["zstd_frames"] == true {
                let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
                let frames = pieces.iter().flat_map(|p| [frame(p), skippable.clone()]);
                frames.collect::<Vec<_>>().concat()
            } else {
                frame(&archive)
            }
        }
        _ if options["gzip_extra"] == true => gzip_extra(&archive),
        _ => match &options["gzip_members"] {
            Value::Null => gzip(&archive),
            Value::Number(size) => {
                let size = usize::try_from(size.as_u64().unwrap()).unwrap();
                archive.chunks(size).flat_map(gzip).collect()
            }
            _ => pieces.iter().flat_map(|p| gzip(p)).collect(),
        },
    };
    if options["gzip_badcrc"] == true {
        let at = blob.len() - 8;
        blob[at] ^= 0xff;
    }
    if !options["gzip_trailing"].is_null() {
        blob.extend(bytes(&options["gzip_trailing"]));
    }
    if let Some(length) = options["gzip_truncate"].as_i64() {
        blob.truncate(cut(blob.len(), length));
    }
    let default_type = match compression {
        "none" => "application/vnd.oci.image.layer.v1.tar",
        "zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar+gzip",
    };
    let delta = options["desc_size_delta"].as_i64().unwrap_or(0);
    let descriptor = json!({
        "mediaType": options["media_type"].as_str().unwrap_or(default_type),
        "digest": Digest::of(&blob).to_string(),
        "size": blob.len() as i64 + delta,
    });
    // After the digest: this is what happens on the disk.
    if !options["corrupt_blob"].is_null() && options["corrupt_blob"] != false {
        let at = blob.len() / 2;
        blob[at] ^= 1;
    }
    let diff_id = match options["diff_id"].as_str() {
        Some(given) => given.to_owned(),
        None => Digest::of(&archive).to_string(),
    };
    Blob {
        bytes: blob,
        descriptor,
        diff_id: (options["drop_diff_id"] != true).then_some(diff_id),
    }
}

fn cut(length: usize, to: i64) -> usize {
    match usize::try_from(to) {
        Ok(to) => to.min(length),
        Err(_) => length.saturating_sub(usize::try_from(-to).unwrap()),
    }
}

/// Writes a layout of one image with these layers into an empty directory, tagged `image`.
pub(crate) fn write_layout(root: &Path, layers: &[Blob]) {
    let blobs = root.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |named: &str, bytes: &[u8]| {
        std::fs::write(blobs.join(named.trim_start_matches("sha256:")), bytes).unwrap();
    };
    for layer in layers {
        put(layer.descriptor["digest"].as_str().unwrap(), &layer.bytes);
    }
    let document = |media_type: &str, json: &Value| {
        let text = json.to_string();
        let digest = Digest::of(text.as_bytes()).to_string();
        put(&digest, text.as_bytes());
        json!({"mediaType": media_type, "digest": digest, "size": text.len()})
    };
    let diff_ids: Vec<_> = layers.iter().filter_map(|l| l.diff_id.clone()).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptors: Vec<_> = layers.iter().map(|l| l.descriptor.clone()).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": document("application/vnd.oci.image.config.v1+json", &config),
        "layers": descriptors,
    });
    let mut manifest = document(manifest_type, &manifest);
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "image"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(root.join("index.json"), index.to_string()).unwrap();
    std::fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
