//! The block of 512 bytes that every entry begins with: where each field is, and its numbers.

use std::ops::Range;

use super::BLOCK;
use crate::Fault;

pub(crate) const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
pub(crate) const CHECKSUM: Range<usize> = 148..156;
pub(crate) const TYPE: usize = 156;
pub(crate) const LINK: Range<usize> = 157..257;
pub(crate) const MAGIC: Range<usize> = 257..265;
pub(crate) const MAJOR: Range<usize> = 329..337;
pub(crate) const MINOR: Range<usize> = 337..345;
pub(crate) const PREFIX: Range<usize> = 345..500;
/// star keeps times behind a shorter prefix and signs with `tar\0` at the end.
pub(crate) const STAR_PREFIX: Range<usize> = 345..476;
pub(crate) const STAR_MAGIC: Range<usize> = 508..512;
/// Old GNU sparse files: extents in the header, and more in blocks of their own.
pub(crate) const GNU_SPARSE: Range<usize> = 386..482;
pub(crate) const GNU_EXTENDED: usize = 482;
pub(crate) const GNU_REAL_SIZE: Range<usize> = 483..495;

pub(crate) const USTAR_MAGIC: &[u8; 8] = b"ustar\x0000";

/// One header block.
#[derive(Clone)]
pub(crate) struct Header(pub(crate) [u8; BLOCK]);

impl Header {
    pub(crate) fn zeroed() -> Self {
        Self([0; BLOCK])
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|&b| b == 0)
    }

    /// The bytes of a text field, up to the first NUL.
    pub(crate) fn text(&self, field: Range<usize>) -> &[u8] {
        until_nul(&self.0[field])
    }

    pub(crate) fn set_text(&mut self, field: Range<usize>, text: &[u8]) {
        self.0[field][..text.len()].copy_from_slice(text);
    }

    /// A number that is never negative.
    pub(crate) fn unsigned(&self, field: Range<usize>, what: &'static str) -> Result<u64, Fault> {
        let number = self.number(field).ok_or(Fault::BadHeader(what))?;
        u64::try_from(number).map_err(|_| Fault::BadHeader(what))
    }

    /// A number in octal digits or in base 256 (GNU, star), as far as 64 bits go.
    pub(crate) fn number(&self, field: Range<usize>) -> Option<i64> {
        parse_number(&self.0[field])
    }

    /// Octal digits and a NUL; the caller knows that they suffice.
    pub(crate) fn set_octal(&mut self, field: Range<usize>, number: u64) {
        let digits = field.len() - 1;
        let text = format!("{number:0digits$o}\0");
        self.0[field].copy_from_slice(text.as_bytes());
    }

    /// The sum of all bytes with the field itself as blanks; historic writers added signed bytes.
    fn sums(&self) -> (i64, i64) {
        let bytes = self.0.iter().enumerate();
        bytes.fold((0, 0), |(unsigned, signed), (i, &byte)| {
            let byte = if CHECKSUM.contains(&i) { b' ' } else { byte };
            (
                unsigned + i64::from(byte),
                signed + i64::from(byte.cast_signed()),
            )
        })
    }

    pub(crate) fn set_checksum(&mut self) {
        let text = format!("{:06o}\0 ", self.sums().0);
        self.0[CHECKSUM].copy_from_slice(text.as_bytes());
    }

    pub(crate) fn checksum_is_right(&self) -> bool {
        let (unsigned, signed) = self.sums();
        let blank = self.0[CHECKSUM].iter().all(|&b| b == 0 || b == b' ');
        self.number(CHECKSUM)
            .is_some_and(|sum| !blank && (sum == unsigned || sum == signed))
    }
}

pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Octal digits between blanks, ended by a NUL, a blank or the field; nothing at all is 0. Or base
/// 256: the highest bit set, then a big-endian two's complement number.
pub(crate) fn parse_number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let top = if negative { first } else { first & 0x7f };
        let start = if negative { -1_i128 } else { 0 };
        let number = field[1..]
            .iter()
            .fold((start << 8) | i128::from(top), |n, &b| {
                (n << 8) | i128::from(b)
            });
        return i64::try_from(number).ok();
    }
    let blank = |b: &u8| *b == b' ';
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let text = until_nul(&field[start..]);
    let end = text.iter().position(blank).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !rest.iter().all(blank) {
        return None;
    }
    digits.iter().try_fold(0_i64, |n, &digit| match digit {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::parse_number;

    #[test]
    fn numbers() {
        let check = |field: &[u8], expect: Option<i64>| {
            assert_eq!(parse_number(field), expect, "{field:x?}");
        };
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"644 \0\0\0\0", Some(0o644));
        check(b"12345670", Some(0o12345670));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"        ", Some(0));
        check(b"0000648\0", None);
        check(b"-000644\0", None);
        check(b"06 44\0\0\0", None);
        check(b"\x80\0\0\0\0\x20\0\0", Some(0x20_0000));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2));
        check(
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            Some(i64::MAX),
        );
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None);
    }
}
