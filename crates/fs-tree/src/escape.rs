//! Bytes as printable text, and back.

use thiserror::Error;

/// Text that [`unescape`] cannot read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("bad escape sequence at byte {at} of {text:?}: expected \\\\, \\n or \\xNN")]
#[non_exhaustive]
pub struct UnescapeError {
    /// The whole text.
    pub text: String,
    /// Offset of the backslash.
    pub at: usize,
}

/// Prints bytes so that a person can read them and [`unescape`] gives the same bytes back.
///
/// Printable UTF-8 stays as it is; a backslash becomes `\\`, a newline `\n`, and every other
/// control character or byte that is not UTF-8 `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                c if c.is_control() => {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        push_hex(&mut out, byte);
                    }
                }
                c => out.push(c),
            }
        }
        for &byte in chunk.invalid() {
            push_hex(&mut out, byte);
        }
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// Reads what [`escape`] printed.
///
/// # Errors
/// When a backslash begins none of `\\`, `\n`, `\xNN`.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let bad = || UnescapeError {
            text: text.to_owned(),
            at,
        };
        match bytes.get(at + 1) {
            Some(b'\\') => {
                out.push(b'\\');
                at += 2;
            }
            Some(b'n') => {
                out.push(b'\n');
                at += 2;
            }
            Some(b'x') => {
                let digit = |i: usize| {
                    bytes
                        .get(i)
                        .and_then(|&b| char::from(b).to_digit(16))
                        .ok_or_else(bad)
                };
                let value = digit(at + 2)? * 16 + digit(at + 3)?;
                out.push(u8::try_from(value).map_err(|_| bad())?);
                at += 4;
            }
            _ => return Err(bad()),
        }
    }
    Ok(out)
}
