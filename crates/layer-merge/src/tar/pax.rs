//! PAX extended headers: records of `LENGTH KEYWORD=VALUE\n` (POSIX.1-2017, pax, "pax Extended
//! Header"), strictly.

use std::collections::BTreeMap;

use pleach_fs_tree::{Timestamp, Xattrs, escape};

use crate::Fault;

const SPARSE: &[u8] = b"GNU.sparse.";

/// What extended headers said about the entry that follows. Of two records with one keyword the
/// last counts.
#[derive(Debug, Default)]
pub(crate) struct Extended {
    pub(crate) path: Option<Box<[u8]>>,
    pub(crate) link: Option<Box<[u8]>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) xattrs: Xattrs,
    /// All of `GNU.sparse.*` apart from the extents of version 0.0.
    pub(crate) sparse: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// `GNU.sparse.offset` and `.numbytes` by turns (version 0.0 repeats the keywords).
    pub(crate) sparse_numbers: Vec<u64>,
    /// Keywords that say something which is not understood.
    pub(crate) ignored: Vec<String>,
}

/// A keyword and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits a header's body into its records.
pub(crate) fn records(mut body: &[u8]) -> Result<Vec<Record<'_>>, Fault> {
    let bad = |what| Err(Fault::BadHeader(what));
    let mut out = Vec::new();
    while !body.is_empty() {
        let Some(digits) = body.iter().position(|&b| b == b' ') else {
            return bad("a PAX record has no length");
        };
        let Some(length) = decimal(&body[..digits]).and_then(|n| usize::try_from(n).ok()) else {
            return bad("the length of a PAX record is no number");
        };
        if length <= digits + 1 || length > body.len() {
            return bad("a PAX record is longer than its header, or empty");
        }
        let (record, rest) = body.split_at(length);
        let Some((b'\n', record)) = record[digits + 1..].split_last() else {
            return bad("a PAX record does not end with a newline");
        };
        match record.iter().position(|&b| b == b'=') {
            None | Some(0) => return bad("a PAX record has no keyword"),
            Some(at) => out.push((&record[..at], &record[at + 1..])),
        }
        body = rest;
    }
    Ok(out)
}

impl Extended {
    /// Takes the records of an `x` header.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Fault> {
        let mut out = Self::default();
        let mut other_xattrs = Xattrs::new();
        for (keyword, value) in records(body)? {
            out.take(keyword, value, &mut other_xattrs)?;
        }
        // libarchive writes both forms; the one without an encoding counts.
        for (name, value) in other_xattrs {
            out.xattrs.entry(name).or_insert(value);
        }
        Ok(out)
    }

    fn take(&mut self, keyword: &[u8], value: &[u8], others: &mut Xattrs) -> Result<(), Fault> {
        if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.insert(name.into(), value.into());
            return Ok(());
        }
        if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
            let decoded = percent(name).zip(base64(value));
            let (name, value) = decoded.ok_or(Fault::BadHeader("LIBARCHIVE.xattr"))?;
            others.insert(name.into(), value.into());
            return Ok(());
        }
        if let Some(keyword) = keyword.strip_prefix(SPARSE) {
            return self.take_sparse(keyword, value);
        }
        // An empty value takes the record back: the header's own field counts.
        let text = || (!value.is_empty()).then(|| value.into());
        let number = |what| match value {
            b"" => Ok(None),
            _ => decimal(value).map(Some).ok_or(Fault::BadHeader(what)),
        };
        match keyword {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number("PAX size")?,
            b"uid" => self.uid = number("PAX uid")?,
            b"gid" => self.gid = number("PAX gid")?,
            b"SCHILY.devmajor" => self.major = number("SCHILY.devmajor")?,
            b"SCHILY.devminor" => self.minor = number("SCHILY.devminor")?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => {
                self.mtime = Some(timestamp(value).ok_or(Fault::BadHeader("PAX mtime"))?);
            }
            b"SCHILY.realsize" => {
                return Err(Fault::UnsupportedType("sparse file of star".to_owned()));
            }
            b"atime"
            | b"ctime"
            | b"comment"
            | b"uname"
            | b"gname"
            | b"charset"
            | b"hdrcharset"
            | b"LIBARCHIVE.creationtime"
            | b"SCHILY.dev"
            | b"SCHILY.ino"
            | b"SCHILY.nlink" => {}
            // It is only shown; nobody reads a longer one.
            _ => self
                .ignored
                .push(escape(&keyword[..keyword.len().min(255)])),
        }
        Ok(())
    }

    fn take_sparse(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Fault> {
        let offset = keyword == b"offset";
        if !offset && keyword != b"numbytes" {
            self.sparse.insert(keyword.into(), value.into());
            return Ok(());
        }
        let number = decimal(value).ok_or(Fault::BadHeader("GNU.sparse extent"))?;
        if self.sparse_numbers.len().is_multiple_of(2) != offset {
            return Err(Fault::BadHeader(
                "GNU.sparse.offset and .numbytes alternate",
            ));
        }
        self.sparse_numbers.push(number);
        Ok(())
    }

    pub(crate) fn is_sparse(&self) -> bool {
        !self.sparse.is_empty() || !self.sparse_numbers.is_empty()
    }
}

/// Digits and nothing else.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |n, &b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// Decimal seconds, perhaps negative, perhaps with a fraction; beyond nanoseconds it is cut off.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|&b| b == b'.').unwrap_or(text.len());
    let (seconds, fraction) = text.split_at(point);
    let seconds = i64::try_from(decimal(seconds)?).ok()?;
    let fraction = fraction.get(1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = digits.fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Timestamp {
            seconds,
            nanoseconds,
        },
        (true, 0) => Timestamp::from_seconds(-seconds),
        (true, nanoseconds) => Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            plain => plain,
        };
        out.push(byte);
    }
    Some(out)
}

/// Base 64 (RFC 4648), with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut have) = (0_u32, 0);
    for &byte in &text[..end] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 0xff) as u8);
        }
    }
    (have < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_strict() {
        let check = |body: &str, expect: Result<usize, &str>| {
            let found = records(body.as_bytes())
                .map(|r| r.len())
                .map_err(|e| e.to_string());
            let expect = expect.map_err(|e| format!("bad header: {e}"));
            assert_eq!(found, expect, "{body:?}");
        };
        check("", Ok(0));
        check("7 a=bc\n7 d=ef\n", Ok(2));
        check("11 k=l1\nl2\n", Ok(1));
        check(
            "99 a=b\n",
            Err("a PAX record is longer than its header, or empty"),
        );
        check(
            "1 a=b\n",
            Err("a PAX record is longer than its header, or empty"),
        );
        check(
            "0 a=b\n",
            Err("a PAX record is longer than its header, or empty"),
        );
        check("6 a=bc", Err("a PAX record does not end with a newline"));
        check("-6 a=b\n", Err("the length of a PAX record is no number"));
        check("+6 a=b\n", Err("the length of a PAX record is no number"));
        check("a=b\n", Err("a PAX record has no length"));
        check("5 =b\n", Err("a PAX record has no keyword"));
        check("5 ab\n", Err("a PAX record has no keyword"));
        check("6 a=b\n\0\0", Err("a PAX record has no length"));
    }

    #[test]
    fn times() {
        let check = |text: &str, expect: Option<(i64, u32)>| {
            let found = timestamp(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
            assert_eq!(found, expect, "{text}");
        };
        check("0", Some((0, 0)));
        check("1000000000.123456789", Some((1_000_000_000, 123_456_789)));
        check("1.9999999999999", Some((1, 999_999_999)));
        check("1.", Some((1, 0)));
        check("-100.5", Some((-101, 500_000_000)));
        check("-0.000000001", Some((-1, 999_999_999)));
        check("-100", Some((-100, 0)));
        for bad in [
            "",
            "-",
            ".5",
            "NaN",
            "1e30",
            "1.-5",
            "--1",
            "9223372036854775808",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn encodings_of_libarchive() {
        let check = |text: &str, expect: Option<&[u8]>| {
            assert_eq!(base64(text.as_bytes()).as_deref(), expect, "{text}");
        };
        check("dg", Some(b"v"));
        check("dg==", Some(b"v"));
        check("dmFsdWU", Some(b"value"));
        check("", Some(b""));
        check("d", None);
        check("d-", None);
        assert_eq!(
            percent(b"user.a%3Db").as_deref(),
            Some(b"user.a=b".as_slice())
        );
        assert_eq!(percent(b"user.%zz"), None);
        assert_eq!(percent(b"user.%3"), None);
    }
}
