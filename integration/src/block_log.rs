//! What a machine wrote to a disk, in order: the log of QEMU's `blklogwrites`, in the format of the
//! kernel's dm-log-writes; and the states that a power cut could have left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Bytes of a sector, of the log and of the disk.
pub const SECTOR: usize = 512;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Most writes between two flushes of which every subset is looked at; of more, each is left out alone.
const SUBSETS: usize = 8;

/// Sectors by number, as a state has them that differs from the disk before.
pub type Overlay = BTreeMap<u64, Vec<u8>>;

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// First sector.
    pub sector: u64,
    /// Whole sectors.
    pub bytes: Vec<u8>,
}

/// Writes between two flushes, which may reach the disk in any order or not at all.
pub type Epoch = Vec<Write>;

/// Reads a log, of which only writes that lie in some sectors count.
///
/// # Errors
/// When it is not of the format, or a write lies only partly there.
pub fn read(log: &Path, sectors: std::ops::Range<u64>) -> Result<Vec<Epoch>> {
    let bytes = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    let word = |at: usize| -> Result<u64> {
        let eight = bytes.get(at..at + 8).context("the log ends early")?;
        Ok(u64::from_le_bytes(eight.try_into()?))
    };
    ensure!(word(0)? == MAGIC && word(8)? == 1, "not a log of writes");
    ensure!(
        word(24)? & 0xffff_ffff == SECTOR as u64,
        "sectors of {}",
        word(24)?
    );
    let (mut at, mut epochs) = (SECTOR, vec![Epoch::new()]);
    for _ in 0..word(16)? {
        let (sector, count, flags) = (word(at)?, word(at + 8)?, word(at + 16)?);
        at += SECTOR;
        if flags & FLUSH != 0 {
            epochs.push(Epoch::new());
        }
        if flags & DISCARD != 0 {
            continue;
        }
        let length = usize::try_from(count)? * SECTOR;
        let data = bytes.get(at..at + length).context("the log ends early")?;
        at += length;
        let end = sector + count;
        if count == 0 || end <= sectors.start || sector >= sectors.end {
            continue;
        }
        ensure!(
            sectors.start <= sector && end <= sectors.end,
            "a write over the border"
        );
        if let Some(epoch) = epochs.last_mut() {
            epoch.push(Write {
                sector,
                bytes: data.to_vec(),
            });
        }
        if flags & FUA != 0 {
            epochs.push(Epoch::new());
        }
    }
    epochs.retain(|epoch| !epoch.is_empty());
    Ok(epochs)
}

fn put(overlay: &mut Overlay, write: &Write, sectors: usize) {
    let all = write.bytes.chunks(SECTOR).take(sectors);
    for (number, bytes) in (write.sector..).zip(all) {
        overlay.insert(number, bytes.to_vec());
    }
}

/// All that was written.
pub fn last(epochs: &[Epoch]) -> Overlay {
    let mut overlay = Overlay::new();
    for write in epochs.iter().flatten() {
        put(&mut overlay, write, usize::MAX);
    }
    overlay
}

/// Distinct states: every prefix of the writes, the last of them torn after each of its sectors, and for
/// each epoch its writes dropped in every combination, or one by one.
pub fn states(epochs: &[Epoch]) -> BTreeSet<Overlay> {
    let mut states = BTreeSet::from([Overlay::new()]);
    let mut before = Overlay::new();
    for epoch in epochs {
        let mut prefix = before.clone();
        for write in epoch {
            for sectors in 1..=write.bytes.len() / SECTOR {
                let mut torn = prefix.clone();
                put(&mut torn, write, sectors);
                states.insert(torn);
            }
            put(&mut prefix, write, usize::MAX);
        }
        let kept: Vec<Vec<bool>> = match epoch.len() {
            count @ 0..=SUBSETS => (0..1_u32 << count)
                .map(|bits| (0..count).map(|at| bits >> at & 1 == 1).collect())
                .collect(),
            count => (0..count)
                .map(|out| (0..count).map(|at| at != out).collect())
                .collect(),
        };
        for kept in kept {
            let mut state = before.clone();
            for (write, _) in epoch.iter().zip(kept).filter(|(_, kept)| *kept) {
                put(&mut state, write, usize::MAX);
            }
            states.insert(state);
        }
        before = prefix;
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sector: u64, count: u64, flags: u64, fill: u8) -> Vec<u8> {
        let mut bytes: Vec<u8> = [sector, count, flags, 0].map(u64::to_le_bytes).concat();
        bytes.resize(SECTOR, 0);
        if flags & DISCARD == 0 {
            bytes.resize(SECTOR * (1 + count as usize), fill);
        }
        bytes
    }

    #[test]
    fn a_log_is_read_and_its_states_are_told_apart() {
        let mut log: Vec<u8> = [MAGIC, 1, 7, SECTOR as u64].map(u64::to_le_bytes).concat();
        log.resize(SECTOR, 0);
        for (sector, count, flags, fill) in [
            (10, 2, 0, b'a'),
            (99, 1, 0, b'x'),
            (11, 1, 0, b'b'),
            (0, 0, FLUSH, 0),
            (10, 1, 0, b'c'),
            (10, 4, DISCARD, 0),
            (0, 0, FLUSH, 0),
        ] {
            log.extend(record(sector, count, flags, fill));
        }
        let folder = std::env::temp_dir().join(format!("block-log-{}", std::process::id()));
        std::fs::write(&folder, &log).unwrap();
        let epochs = read(&folder, 8..20).unwrap();
        let cut = read(&folder, 11..20).unwrap_err().to_string();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(cut, "a write over the border");
        let shape: Vec<Vec<_>> = epochs
            .iter()
            .map(|epoch| {
                epoch
                    .iter()
                    .map(|w| (w.sector, w.bytes.len() / SECTOR))
                    .collect()
            })
            .collect();
        assert_eq!(shape, [vec![(10, 2), (11, 1)], vec![(10, 1)]]);
        let show = |overlay: &Overlay| -> String {
            overlay
                .iter()
                .map(|(at, bytes)| format!("{at}{} ", char::from(bytes[0])))
                .collect()
        };
        let mut found: Vec<_> = states(&epochs).iter().map(show).collect();
        found.sort();
        // Nothing; the first torn, whole, and with the second; the second alone; and the last.
        assert_eq!(
            found,
            ["", "10a ", "10a 11a ", "10a 11b ", "10c 11b ", "11b "]
        );
        assert_eq!(show(&last(&epochs)), "10c 11b ");
    }
}
