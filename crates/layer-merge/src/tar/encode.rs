//! Headers of one entry as bytes: ustar where it can say everything, else a PAX header before it.

use pleach_fs_tree::{Device, Metadata, Timestamp};

use super::header::{self, Header};
use super::{BLOCK, padding};

/// One entry to be written.
pub(crate) struct Entry<'a> {
    /// Without a leading slash; a directory has one at its end.
    pub(crate) path: &'a [u8],
    pub(crate) typeflag: u8,
    pub(crate) metadata: &'a Metadata,
    pub(crate) mtime: Timestamp,
    /// Bytes of content that follow.
    pub(crate) size: u64,
    pub(crate) link: &'a [u8],
    pub(crate) device: Option<Device>,
}

const MAX_7: u64 = 0o7_777_777;
const MAX_11: u64 = 0o77_777_777_777;

/// Appends the header blocks of an entry. Every xattr name must be free of `=`.
pub(crate) fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let mut header = Header::zeroed();
    let mut records = Vec::new();
    let mut binary = false;

    let (prefix, name) = match split(entry.path) {
        Some(parts) => parts,
        None => {
            record(&mut records, b"path", entry.path);
            binary |= std::str::from_utf8(entry.path).is_err();
            (Vec::new(), truncated(entry.path))
        }
    };
    header.set_text(header::NAME, &name);
    header.set_text(header::PREFIX, &prefix);

    let mut link = entry.link.to_vec();
    if !entry.link.is_ascii() || entry.link.len() > header::LINK.len() {
        record(&mut records, b"linkpath", entry.link);
        binary |= std::str::from_utf8(entry.link).is_err();
        link = truncated(entry.link);
    }
    header.set_text(header::LINK, &link);

    let mut number = |keyword: &[u8], field, value: u64, max| {
        if value > max {
            record(&mut records, keyword, value.to_string().as_bytes());
        }
        header.set_octal(field, if value > max { 0 } else { value });
    };
    number(b"uid", header::UID, entry.metadata.uid.into(), MAX_7);
    number(b"gid", header::GID, entry.metadata.gid.into(), MAX_7);
    number(b"size", header::SIZE, entry.size, MAX_11);

    let seconds = u64::try_from(entry.mtime.seconds)
        .ok()
        .filter(|&s| s <= MAX_11);
    if seconds.is_none() || entry.mtime.nanoseconds != 0 {
        record(&mut records, b"mtime", decimal(entry.mtime).as_bytes());
    }
    header.set_octal(header::MTIME, seconds.unwrap_or(0));

    for (name, value) in &entry.metadata.xattrs {
        record(
            &mut records,
            &[b"SCHILY.xattr.".as_slice(), name].concat(),
            value,
        );
    }
    if binary {
        let mut first = Vec::new();
        record(&mut first, b"hdrcharset", b"BINARY");
        records.splice(0..0, first);
    }

    header.set_octal(header::MODE, (entry.metadata.mode & 0o7777).into());
    header.0[header::TYPE] = entry.typeflag;
    header.set_text(header::MAGIC, header::USTAR_MAGIC);
    let device = entry.device.unwrap_or_default();
    header.set_octal(header::MAJOR, u64::from(device.major).min(MAX_7));
    header.set_octal(header::MINOR, u64::from(device.minor).min(MAX_7));
    header.set_checksum();

    if !records.is_empty() {
        pax(&records, out);
    }
    out.extend_from_slice(&header.0);
}

/// A PAX header with its records.
fn pax(records: &[u8], out: &mut Vec<u8>) {
    let mut header = Header::zeroed();
    header.set_text(header::NAME, b"././@PaxHeader");
    header.set_octal(header::MODE, 0o644);
    header.set_octal(header::UID, 0);
    header.set_octal(header::GID, 0);
    header.set_octal(header::SIZE, records.len() as u64);
    header.set_octal(header::MTIME, 0);
    header.0[header::TYPE] = b'x';
    header.set_text(header::MAGIC, header::USTAR_MAGIC);
    header.set_octal(header::MAJOR, 0);
    header.set_octal(header::MINOR, 0);
    header.set_checksum();
    out.extend_from_slice(&header.0);
    out.extend_from_slice(records);
    let padding = usize::try_from(padding(records.len() as u64)).expect("less than a block");
    out.resize(out.len() + padding, 0);
    debug_assert!(out.len().is_multiple_of(BLOCK));
}

/// `LENGTH KEYWORD=VALUE\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(keyword);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Prefix and name, where the path fits into them and is ASCII.
fn split(path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= header::NAME.len() {
        return Some((Vec::new(), path.to_vec()));
    }
    let slashes = path.iter().enumerate().filter(|&(_, &b)| b == b'/');
    let fits = |&at: &usize| {
        let name = path.len() - at - 1;
        at > 0 && at <= header::PREFIX.len() && name > 0 && name <= header::NAME.len()
    };
    let at = slashes.map(|(i, _)| i).find(fits)?;
    Some((path[..at].to_vec(), path[at + 1..].to_vec()))
}

/// What a reader that knows no PAX sees: ASCII, cut off.
fn truncated(text: &[u8]) -> Vec<u8> {
    let text = text.iter().take(header::NAME.len());
    text.map(|&b| if b.is_ascii() { b } else { b'_' }).collect()
}

/// Decimal seconds as POSIX wants them: -1.5 is a second and a half before the epoch.
fn decimal(time: Timestamp) -> String {
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (seconds, fraction) = (
        nanoseconds.unsigned_abs() / 1_000_000_000,
        nanoseconds.unsigned_abs() % 1_000_000_000,
    );
    let text = format!("{sign}{seconds}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |seconds, nanoseconds, expect: &str| {
            let time = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(decimal(time), expect);
        };
        check(0, 0, "0");
        check(10, 0, "10");
        check(1_000_000_000, 123_456_789, "1000000000.123456789");
        check(1, 500_000_000, "1.5");
        check(-101, 500_000_000, "-100.5");
        check(-1, 999_999_999, "-0.000000001");
        check(-100, 0, "-100");
    }

    #[test]
    fn record_lengths_count_their_own_digits() {
        let check = |value: usize, expect: &str| {
            let mut out = Vec::new();
            record(&mut out, b"k", &vec![b'v'; value]);
            assert_eq!(out.len().to_string(), expect, "value of {value} bytes");
            assert!(out.starts_with(format!("{expect} k=v").as_bytes()));
        };
        check(1, "6");
        check(4, "9");
        check(5, "11");
        check(6, "12");
        check(93, "99");
        check(94, "101");
        check(95, "102");
        check(995, "1003");
    }

    #[test]
    fn long_paths_are_split_where_they_can() {
        let check = |path: &str, expect: Option<(usize, usize)>| {
            let found = split(path.as_bytes()).map(|(p, n)| (p.len(), n.len()));
            assert_eq!(found, expect, "{path}");
        };
        let a = |n| "a".repeat(n);
        check("usr/bin/", Some((0, 8)));
        check(&a(100), Some((0, 100)));
        check(&a(101), None);
        check(&format!("{}/{}", a(50), a(100)), Some((50, 100)));
        check(&format!("{}/{}/", a(1), a(100)), None);
        check(&format!("{}/{}", a(155), a(100)), Some((155, 100)));
        check(&format!("{}/{}", a(156), a(10)), None);
        check("caf\u{e9}", None);
    }
}
