//! The log of a disk's writes, in the format of the kernel's device mapper target `log-writes`
//! (`drivers/md/dm-log-writes.c`), as QEMU's `blklogwrites` writes it.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// What a torn write is a multiple of, in bytes; the log is told to use it too.
pub const SECTOR: usize = 512;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// What a disk was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Sectors were written.
    Write {
        /// The first sector.
        sector: u64,
        /// Where the bytes are in the log.
        data: Range<usize>,
        /// Whether they were on the disk when the write was done.
        durable: bool,
    },
    /// What was written before is on the disk.
    Flush,
}

/// A whole log.
#[derive(Debug)]
pub struct Log {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Log {
    /// Reads a log, also one that is still being written: an entry that is all zero is none.
    ///
    /// # Errors
    /// When it is no such log, or when it has an entry that this does not know how to replay.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("reading the log {}", path.display()))?;
        Self::parse(bytes).with_context(|| format!("the log {}", path.display()))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self> {
        let number = |at: usize| -> Result<u64> {
            let field = bytes.get(at..at + 8).context("it ends in a header")?;
            Ok(u64::from_le_bytes(field.try_into()?))
        };
        ensure!(number(0)? == MAGIC, "it has another magic number");
        ensure!(number(8)? == VERSION, "version {}", number(8)?);
        let size = u64::from(u32::from_le_bytes(
            bytes
                .get(24..28)
                .context("it ends in a header")?
                .try_into()?,
        ));
        ensure!(size == SECTOR as u64, "sectors of {size} bytes");
        let (mut entries, mut ends) = (Vec::new(), Vec::new());
        let mut at = SECTOR;
        while at + 32 <= bytes.len() {
            let [sector, sectors, flags, extra] = [
                number(at)?,
                number(at + 8)?,
                number(at + 16)?,
                number(at + 24)?,
            ];
            if [sector, sectors, flags, extra] == [0; 4] {
                break;
            }
            let place = format!("entry {}", entries.len());
            ensure!(
                flags & !(FLUSH | FUA) == 0,
                "{place} has flags {flags:#x}{}",
                if flags & DISCARD == 0 {
                    ""
                } else {
                    ": a discard"
                }
            );
            ensure!(extra == 0, "{place} carries data of its own");
            at += SECTOR;
            // Of a write with a flush, the flush comes first.
            if flags & FLUSH != 0 {
                entries.push(Entry::Flush);
                ends.push(at);
            }
            if sectors == 0 {
                continue;
            }
            let length = usize::try_from(sectors)?
                .checked_mul(SECTOR)
                .context("its length")?;
            let data = at..at + length;
            ensure!(data.end <= bytes.len(), "{place} is not whole");
            at = data.end;
            let durable = flags & FUA != 0;
            entries.push(Entry::Write {
                sector,
                data,
                durable,
            });
            ends.push(at);
        }
        Ok(Self {
            bytes,
            entries,
            ends,
        })
    }

    /// One with these writes, of whole sectors; a write of nothing is a flush.
    pub fn of(writes: &[(u64, Vec<u8>)]) -> Self {
        let (mut bytes, mut entries) = (vec![0; SECTOR], Vec::new());
        let mut ends = Vec::new();
        for (sector, contents) in writes {
            let data = bytes.len()..bytes.len() + contents.len();
            bytes.extend(contents);
            ends.push(bytes.len());
            entries.push(match contents.is_empty() {
                true => Entry::Flush,
                false => Entry::Write {
                    sector: *sector,
                    data,
                    durable: false,
                },
            });
        }
        Self {
            bytes,
            entries,
            ends,
        }
    }

    /// How many of its entries were whole when it had so many bytes.
    pub fn position(&self, bytes: u64) -> usize {
        self.ends.partition_point(|end| *end as u64 <= bytes)
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes of a write.
    pub fn data(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [MAGIC, VERSION, entries.len() as u64, SECTOR as u64] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.resize(SECTOR, 0);
        for (sector, sectors, flags, data) in entries {
            let start = bytes.len();
            for field in [*sector, *sectors, *flags, 0] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.resize(start + SECTOR, 0);
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn entries_are_read_in_order() {
        let one = [1; SECTOR];
        let two = [2; 2 * SECTOR];
        let rows: &[(u64, u64, u64, &[u8])] = &[
            (8, 1, 0, &one),
            (0, 0, FLUSH, &[]),
            (16, 2, FUA, &two),
            (9, 1, FLUSH | FUA, &one),
        ];
        let log = Log::parse(log(rows)).expect("a log");
        for (sectors, position) in [(1, 0), (2, 0), (3, 1), (4, 2), (6, 2), (7, 3), (9, 5)] {
            assert_eq!(log.position(sectors * SECTOR as u64), position, "{sectors}");
        }
        let shown: Vec<String> = log
            .entries()
            .iter()
            .map(|entry| match entry {
                Entry::Flush => "flush".to_owned(),
                Entry::Write {
                    sector,
                    data,
                    durable,
                } => {
                    format!("{sector} {} of {} {durable}", data.len(), log.data(data)[0])
                }
            })
            .collect();
        assert_eq!(
            shown,
            [
                "8 512 of 1 false",
                "flush",
                "16 1024 of 2 true",
                "flush",
                "9 512 of 1 true"
            ]
        );
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        let half = [1; SECTOR / 2];
        let check = |bytes: Vec<u8>, expected: &str| {
            let error = Log::parse(bytes).expect_err(expected);
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        check(vec![0; SECTOR], "another magic number");
        check(vec![0; 4], "ends in a header");
        check(log(&[(0, 8, DISCARD, &[])]), "a discard");
        check(log(&[(0, 0, 8, &[])]), "flags 0x8");
        check(log(&[(0, 1, 0, &half)]), "entry 0 is not whole");
        let mut other = log(&[]);
        other[8] = 2;
        check(other, "version 2");
    }
}
