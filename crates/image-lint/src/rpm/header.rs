//! A header of rpm as its database has it, without the magic that it has in a package.
//!
//! Two numbers come first, how many entries the index has and how many bytes the data. An entry is four
//! numbers: tag, type, offset in the data, and how many. All are big-endian and of 32 bits. The format is
//! that of rpm's manual, <https://rpm.org/docs/latest/manual/format_header.html>, the tags are those of
//! <https://rpm.org/docs/latest/manual/tags.html>.

use thiserror::Error;

/// One package may have so many files.
pub(super) const MAX_FILES: usize = 1 << 20;

pub(super) const NAME: u32 = 1000;
pub(super) const VERSION: u32 = 1001;
pub(super) const RELEASE: u32 = 1002;
pub(super) const EPOCH: u32 = 1003;
pub(super) const ARCH: u32 = 1022;
pub(super) const DIRINDEXES: u32 = 1116;
pub(super) const BASENAMES: u32 = 1117;
pub(super) const DIRNAMES: u32 = 1118;

const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const ENTRY: usize = 16;

/// Why bytes are no header.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum HeaderError {
    #[error("it is {real} bytes long, and says {said}")]
    Length { real: u64, said: u64 },
    #[error("tag {0} is not there")]
    Missing(u32),
    #[error("tag {tag} has the type {kind}")]
    Type { tag: u32, kind: u32 },
    #[error("tag {0} does not end within the data")]
    Outside(u32),
    #[error("tag {tag} has {count} values, more than {MAX_FILES}")]
    TooMany { tag: u32, count: u32 },
    #[error("a file of it is in a directory that it has not")]
    Directory,
    #[error("a path of it has more than {} bytes", super::database::MAX_PATH)]
    Path,
}

pub(super) struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

/// What the index says of a tag.
struct Entry<'a> {
    kind: u32,
    count: u32,
    /// From its offset on.
    data: &'a [u8],
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

impl<'a> Header<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let real = bytes.len() as u64;
        let head = number(bytes).zip(bytes.get(4..).and_then(number));
        let (entries, length) = head.ok_or(HeaderError::Length { real, said: 8 })?;
        let index = u64::from(entries) * ENTRY as u64;
        let said = 8 + index + u64::from(length);
        // Of what has this length, the index cannot be longer than memory.
        let index = usize::try_from(index).ok().filter(|_| said == real);
        let split = index.and_then(|index| bytes[8..].split_at_checked(index));
        let (index, data) = split.ok_or(HeaderError::Length { real, said })?;
        Ok(Self { index, data })
    }

    fn find(&self, tag: u32) -> Result<Option<Entry<'a>>, HeaderError> {
        let entries = self.index.chunks_exact(ENTRY);
        let Some(entry) = entries.into_iter().find(|e| number(e) == Some(tag)) else {
            return Ok(None);
        };
        let field = |at| entry.get(at..).and_then(number).unwrap_or_default();
        let (kind, offset, count) = (field(4), field(8), field(12));
        let from = usize::try_from(offset).ok();
        let data = from.and_then(|from| self.data.get(from..));
        let data = data.ok_or(HeaderError::Outside(tag))?;
        if count as usize > MAX_FILES {
            return Err(HeaderError::TooMany { tag, count });
        }
        Ok(Some(Entry { kind, count, data }))
    }

    /// The text of a tag that must be there.
    pub(super) fn string(&self, tag: u32) -> Result<&'a [u8], HeaderError> {
        let entry = self.find(tag)?.ok_or(HeaderError::Missing(tag))?;
        if entry.kind != STRING {
            let kind = entry.kind;
            return Err(HeaderError::Type { tag, kind });
        }
        let end = entry.data.iter().position(|&byte| byte == 0);
        end.map(|end| &entry.data[..end])
            .ok_or(HeaderError::Outside(tag))
    }

    /// The texts of a tag; none if it is not there.
    pub(super) fn strings(&self, tag: u32) -> Result<Vec<&'a [u8]>, HeaderError> {
        let Some(entry) = self.find(tag)? else {
            return Ok(Vec::new());
        };
        if entry.kind != STRING_ARRAY {
            let kind = entry.kind;
            return Err(HeaderError::Type { tag, kind });
        }
        let (mut out, mut rest) = (Vec::new(), entry.data);
        for _ in 0..entry.count {
            let end = rest.iter().position(|&byte| byte == 0);
            let end = end.ok_or(HeaderError::Outside(tag))?;
            out.push(&rest[..end]);
            rest = &rest[end + 1..];
        }
        Ok(out)
    }

    /// The numbers of a tag; none if it is not there.
    pub(super) fn numbers(&self, tag: u32) -> Result<Vec<u32>, HeaderError> {
        let Some(entry) = self.find(tag)? else {
            return Ok(Vec::new());
        };
        if entry.kind != INT32 {
            let kind = entry.kind;
            return Err(HeaderError::Type { tag, kind });
        }
        let bytes = entry.data.get(..entry.count as usize * 4);
        let bytes = bytes.ok_or(HeaderError::Outside(tag))?;
        Ok(bytes.chunks_exact(4).filter_map(number).collect())
    }
}
