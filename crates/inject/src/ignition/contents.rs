//! Contents: in a `data:` URL, or where Ignition fetches them from.

use std::fmt::Write as _;

use pleach_customization::{Compression, Contents, HttpHeader, Source};
use serde_json::{Value, json};

use super::object;

pub(super) fn resource(contents: &Contents) -> Value {
    let header = |header: &HttpHeader| {
        let value = header.value.as_ref().map(|value| value.expose());
        object([("name", json!(header.name)), ("value", json!(value))])
    };
    let hash = contents.hash.as_ref().map(|hash| hash.as_str());
    let (source, compression, headers) = match &contents.source {
        Source::Remote(remote) => (
            remote.url.clone(),
            contents.compression.map(|method| match method {
                Compression::Gzip => "gzip",
                Compression::None => "",
            }),
            remote.headers.iter().map(header).collect(),
        ),
        // They are decompressed; what a merged document says of that it goes on saying.
        Source::Bytes(bytes) => (
            data_url(bytes),
            contents.compression.map(|_| ""),
            Value::Null,
        ),
    };
    object([
        ("source", json!(source)),
        ("compression", json!(compression)),
        ("httpHeaders", headers),
        ("verification", object([("hash", json!(hash))])),
    ])
}

/// RFC 2397: text percent-encoded, so that a person can read it, anything else in base64.
fn data_url(data: &[u8]) -> String {
    if std::str::from_utf8(data).is_err() {
        return format!("data:;base64,{}", base64(data));
    }
    let mut out = String::from("data:,");
    for &byte in data {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string"),
        }
    }
    out
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            out.push(match place <= group.len() {
                true => char::from(DIGITS[digit as usize]),
                false => '=',
            });
        }
    }
    out
}
