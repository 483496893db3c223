//! Sparse files: which part of a file the archive has, and which parts are holes.

use std::collections::VecDeque;

use super::header::{self, Header, parse_number};
use super::pax::{Extended, decimal};
use crate::{Fault, Limits};

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    Data(u64),
    Hole(u64),
}

/// Offset and length of what the archive has, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Extents(Vec<(u64, u64)>);

impl Extents {
    pub(crate) fn push(&mut self, offset: u64, length: u64, limits: &Limits) -> Result<(), Fault> {
        if self.0.len() >= limits.sparse_extents {
            return Err(Fault::Limit {
                what: "extents of a sparse file",
                limit: limits.sparse_extents as u64,
            });
        }
        self.0.push((offset, length));
        Ok(())
    }

    fn from_numbers(numbers: &[u64], limits: &Limits) -> Result<Self, Fault> {
        let mut out = Self::default();
        for pair in numbers.chunks(2) {
            let [offset, length] = *pair else {
                return Err(Fault::BadHeader("a sparse extent without a length"));
            };
            out.push(offset, length, limits)?;
        }
        Ok(out)
    }

    /// What of the file comes after what. The extents must ascend, not overlap, end within `size`
    /// and together be as long as what the archive has.
    pub(crate) fn segments(
        &self,
        size: u64,
        stored: u64,
        limits: &Limits,
    ) -> Result<VecDeque<Segment>, Fault> {
        if size > limits.file {
            return Err(Fault::Limit {
                what: "bytes of a file",
                limit: limits.file,
            });
        }
        let mut out = VecDeque::new();
        let (mut at, mut data) = (0_u64, 0_u64);
        let mut push = |segment| match segment {
            Segment::Data(0) | Segment::Hole(0) => {}
            segment => out.push_back(segment),
        };
        for &(offset, length) in &self.0 {
            let end = offset.checked_add(length).filter(|&end| end <= size);
            let (Some(end), Some(hole)) = (end, offset.checked_sub(at)) else {
                return Err(Fault::BadHeader("sparse extents overlap or leave the file"));
            };
            push(Segment::Hole(hole));
            push(Segment::Data(length));
            at = end;
            data += length;
        }
        push(Segment::Hole(size - at));
        if data != stored {
            return Err(Fault::BadHeader(
                "sparse extents are not as long as the data",
            ));
        }
        Ok(out)
    }
}

/// Where the extents of an entry are.
pub(crate) enum Form {
    /// In the extended header: versions 0.0 and 0.1.
    Known(Extents, u64),
    /// In front of the data: version 1.0.
    InData(u64),
}

/// How an entry with `GNU.sparse.*` records is to be read.
pub(crate) fn form(extended: &Extended, limits: &Limits) -> Result<Form, Fault> {
    let record = |name: &[u8]| extended.sparse.get(name).map(|value| &**value);
    let number = |name: &[u8], what| match record(name) {
        Some(text) => decimal(text).map(Some).ok_or(Fault::BadHeader(what)),
        None => Ok(None),
    };
    let size = match number(b"realsize", "GNU.sparse.realsize")? {
        Some(size) => Some(size),
        None => number(b"size", "GNU.sparse.size")?,
    };
    let size = size.ok_or(Fault::BadHeader("a sparse file without a size"))?;
    match (record(b"major"), record(b"minor")) {
        (Some(b"1"), Some(b"0")) => return Ok(Form::InData(size)),
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {}
        _ => {
            return Err(Fault::UnsupportedType(
                "sparse file of an unknown version".to_owned(),
            ));
        }
    }
    let numbers = match record(b"map") {
        Some(map) if !map.is_empty() => map
            .split(|&b| b == b',')
            .map(|text| decimal(text).ok_or(Fault::BadHeader("GNU.sparse.map")))
            .collect::<Result<_, _>>()?,
        Some(_) => Vec::new(),
        None => extended.sparse_numbers.clone(),
    };
    let extents = Extents::from_numbers(&numbers, limits)?;
    if number(b"numblocks", "GNU.sparse.numblocks")?.is_some_and(|n| n != extents.0.len() as u64) {
        return Err(Fault::BadHeader("GNU.sparse.numblocks"));
    }
    Ok(Form::Known(extents, size))
}

/// The map that stands in front of the data in version 1.0: decimal numbers, one a line, the first
/// the number of extents; filled up to a whole block.
#[derive(Debug, Default)]
pub(crate) struct Map {
    text: Vec<u8>,
    lines: u64,
    expected: Option<u64>,
}

impl Map {
    /// Takes one block of the map; says whether it was the last.
    pub(crate) fn take(&mut self, block: &[u8], limits: &Limits) -> Result<bool, Fault> {
        let bad = Fault::BadHeader("the map of a sparse file");
        self.text.extend_from_slice(block);
        self.lines += block.iter().filter(|&&b| b == b'\n').count() as u64;
        if self.expected.is_none() && self.lines > 0 {
            let first = self.text.split(|&b| b == b'\n').next().unwrap_or_default();
            let count = decimal(first).ok_or(bad)?;
            if count > limits.sparse_extents as u64 {
                return Err(Fault::Limit {
                    what: "extents of a sparse file",
                    limit: limits.sparse_extents as u64,
                });
            }
            self.expected = Some(1 + 2 * count);
        } else if self.expected.is_none() {
            // A number has no more than 20 digits.
            return Err(bad);
        }
        if self.text.len() as u64 > limits.metadata_record {
            return Err(Fault::Limit {
                what: "bytes of a record about an entry",
                limit: limits.metadata_record,
            });
        }
        Ok(self.expected.is_some_and(|expected| self.lines >= expected))
    }

    pub(crate) fn extents(&self, limits: &Limits) -> Result<Extents, Fault> {
        let lines = usize::try_from(self.expected.unwrap_or_default()).unwrap_or(usize::MAX);
        let numbers = self.text.split(|&b| b == b'\n').take(lines).skip(1);
        let numbers =
            numbers.map(|line| decimal(line).ok_or(Fault::BadHeader("the map of a sparse file")));
        Extents::from_numbers(&numbers.collect::<Result<Vec<_>, _>>()?, limits)
    }
}

/// The extents of an old GNU sparse header or of a block that continues one: pairs of numbers, an
/// empty pair ends them.
pub(crate) fn old_gnu(field: &[u8], extents: &mut Extents, limits: &Limits) -> Result<(), Fault> {
    for pair in field.chunks_exact(24) {
        if pair[12] == 0 {
            break;
        }
        let number = |field| parse_number(field).and_then(|n| u64::try_from(n).ok());
        let (Some(offset), Some(length)) = (number(&pair[..12]), number(&pair[12..])) else {
            return Err(Fault::BadHeader("the extents of a sparse file"));
        };
        extents.push(offset, length, limits)?;
    }
    Ok(())
}

/// The fields of an old GNU sparse header: extents, whether more follow, the file's size.
pub(crate) fn old_gnu_header(
    block: &Header,
    limits: &Limits,
) -> Result<(Extents, bool, u64), Fault> {
    let mut extents = Extents::default();
    old_gnu(&block.0[header::GNU_SPARSE], &mut extents, limits)?;
    let size = block.unsigned(header::GNU_REAL_SIZE, "the size of a sparse file")?;
    Ok((extents, block.0[header::GNU_EXTENDED] != 0, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_become_segments() {
        use Segment::{Data, Hole};
        let limits = Limits::default();
        let check = |extents: &[(u64, u64)], size, stored, expect: Option<&[Segment]>| {
            let found = Extents(extents.to_vec()).segments(size, stored, &limits);
            let found = found.ok().map(Vec::from);
            assert_eq!(
                found.as_deref(),
                expect,
                "{extents:?} of {size}, {stored} stored"
            );
        };
        check(&[], 0, 0, Some(&[]));
        check(&[], 9, 0, Some(&[Hole(9)]));
        check(&[(2, 3)], 9, 3, Some(&[Hole(2), Data(3), Hole(4)]));
        check(
            &[(0, 3), (3, 2), (9, 0)],
            9,
            5,
            Some(&[Data(3), Data(2), Hole(4)]),
        );
        check(&[(2, 3)], 9, 4, None);
        check(&[(2, 3), (4, 1)], 9, 4, None);
        check(&[(4, 1), (2, 1)], 9, 2, None);
        check(&[(8, 2)], 9, 2, None);
        check(&[(u64::MAX, 2)], 9, 2, None);
        check(&[], u64::MAX, 0, None);
    }
}
