//! `data:` URLs, RFC 2397.

/// The bytes of a `data:` URL.
///
/// # Errors
/// Words for a diagnostic.
pub(super) fn decode(url: &str) -> Result<Vec<u8>, String> {
    let (_, rest) = url.split_once(':').unwrap_or_default();
    let (head, body) = rest
        .split_once(',')
        .ok_or("a data: URL has a comma before its data")?;
    let raw = percent(body)?;
    let base64 = head.rsplit(';').next().is_some_and(|last| last == "base64")
        && (head.starts_with(';') || head.contains(";base64"));
    if base64 { decode_base64(&raw) } else { Ok(raw) }
}

pub(super) fn percent(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'%' {
            let digits = bytes
                .get(index + 1..index + 3)
                .and_then(|two| std::str::from_utf8(two).ok());
            let value = digits
                .filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|two| u8::from_str_radix(two, 16).ok());
            out.push(value.ok_or("'%' in a URL has two hexadecimal digits after it")?);
            index += 3;
        } else {
            out.push(bytes[index]);
            index += 1;
        }
    }
    Ok(out)
}

/// Standard base64 with padding; line breaks are skipped.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    const WRONG: &str = "this is not base64 with its padding";
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    if !digits.len().is_multiple_of(4) {
        return Err(WRONG.into());
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3);
    let last = digits.len() / 4;
    for (index, group) in digits.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && index + 1 != last) {
            return Err(WRONG.into());
        }
        let mut bits = 0u32;
        for byte in &group[..4 - padding] {
            bits = bits << 6 | sextet(*byte).ok_or(WRONG)?;
        }
        bits <<= 6 * padding;
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Ok(out)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}
