//! The states that a power cut can leave a disk in, from the log of its writes.
//!
//! What was written before the last flush is there. Of what was written since, any part may be, and
//! of the writes in flight any sectors.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::log::{Entry, Log, SECTOR};

/// One cut of the power, of a given log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many entries of the log there were.
    pub at: usize,
    /// Which of the writes since the last flush came through, and how much of them; none: all did,
    /// whole.
    pub seed: Option<u64>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        self.seed.map_or(Ok(()), |seed| write!(f, ":{seed}"))
    }
}

impl FromStr for Cut {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (at, seed) = match text.split_once(':') {
            Some((at, seed)) => (at, Some(seed.parse().context("the seed of a cut")?)),
            None => (text, None),
        };
        let at = at.parse().context("the place of a cut")?;
        Ok(Self { at, seed })
    }
}

/// A run of sectors that a cut leaves: from a sector of the disk, bytes in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    sector: u64,
    data: Range<usize>,
}

/// A repeatable source of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// One for a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }

    fn chance(&mut self, of_eight: u64) -> bool {
        self.next_u64() % 8 < of_eight
    }
}

/// A disk as it was, and what was written to it.
#[derive(Debug)]
pub struct Recording {
    base: Vec<u8>,
    log: Log,
    /// Of each sector of the log, where it is the contents of one of the disk.
    hashes: Vec<u128>,
    /// Of each sector that is written, as it was.
    base_hashes: HashMap<u64, u128>,
    whole: Range<u64>,
}

impl Recording {
    /// Brings both together. The sectors `whole` are written whole or not at all.
    ///
    /// # Errors
    /// When a write is outside of the disk.
    pub fn new(base: Vec<u8>, log: Log, whole: Range<u64>) -> Result<Self> {
        let (mut hashes, mut base_hashes) = (Vec::new(), HashMap::new());
        for entry in log.entries() {
            let Entry::Write { sector, data, .. } = entry else {
                continue;
            };
            let start = usize::try_from(*sector)? * SECTOR;
            let old = base.get(start..start + data.len());
            let old = old.with_context(|| format!("a write to sector {sector}, past the disk"))?;
            hashes.resize(data.start / SECTOR, 0);
            for ((sector, old), new) in (*sector..)
                .zip(old.chunks(SECTOR))
                .zip(log.data(data).chunks(SECTOR))
            {
                base_hashes
                    .entry(sector)
                    .or_insert_with(|| hash(sector, old));
                hashes.push(hash(sector, new));
            }
        }
        Ok(Self {
            base,
            log,
            hashes,
            base_hashes,
            whole,
        })
    }

    /// How many entries the log has.
    pub fn len(&self) -> usize {
        self.log.entries().len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of its entries are flushes.
    pub fn flushes(&self) -> usize {
        let all = self.log.entries().iter();
        all.filter(|entry| **entry == Entry::Flush).count()
    }

    /// How many of the first entries are on the disk for sure after `at` of them.
    fn durable(&self, at: usize) -> usize {
        let before = &self.log.entries()[..at];
        let last = before.iter().rposition(|entry| *entry == Entry::Flush);
        last.map_or(0, |flush| flush + 1)
    }

    /// What of the writes since the last flush a cut leaves, in order.
    fn loose(&self, cut: Cut) -> Vec<Piece> {
        let from = self.durable(cut.at);
        let mut random = cut.seed.map(Random::new);
        let share = random
            .as_mut()
            .map_or(8, |random| [1, 4, 7][random.below(3)]);
        let mut pieces = Vec::new();
        for entry in &self.log.entries()[from..cut.at] {
            let Entry::Write {
                sector,
                data,
                durable,
            } = entry
            else {
                continue;
            };
            let Some(random) = random.as_mut().filter(|_| !durable) else {
                pieces.push(Piece {
                    sector: *sector,
                    data: data.clone(),
                });
                continue;
            };
            if !random.chance(share) {
                continue;
            }
            let torn = random.chance(2);
            let mut whole = None;
            for (index, start) in data.clone().step_by(SECTOR).enumerate() {
                let sector = sector + index as u64;
                let kept = match self.whole.contains(&sector) {
                    true => *whole.get_or_insert_with(|| random.chance(4)),
                    false => random.chance(4),
                };
                if !torn || kept {
                    pieces.push(Piece {
                        sector,
                        data: start..start + SECTOR,
                    });
                }
            }
        }
        pieces
    }

    /// The disk that a cut leaves.
    pub fn disk(&self, cut: Cut) -> Disk<'_> {
        let mut writes = Vec::new();
        for entry in &self.log.entries()[..self.durable(cut.at)] {
            if let Entry::Write { sector, data, .. } = entry {
                writes.push((*sector, self.log.data(data)));
            }
        }
        for piece in self.loose(cut) {
            writes.push((piece.sector, self.log.data(&piece.data)));
        }
        Disk {
            base: &self.base,
            writes,
        }
    }

    /// Cuts that leave disks which are all different, in the order of the log: after every entry, and
    /// then random ones until there are `wanted`, if there are so many.
    pub fn cuts(&self, wanted: usize, seed: u64) -> Vec<Cut> {
        let mut random = Random::new(seed);
        let mut by_place = BTreeMap::<usize, Vec<Option<u64>>>::new();
        for at in 0..=self.len() {
            by_place.entry(at).or_default().push(None);
        }
        // Rounds, since how many of the random ones are alike is not known before.
        let mut found: Vec<Cut> = Vec::new();
        for _ in 0..8 {
            found = self.distinct(&by_place);
            if found.len() >= wanted {
                break;
            }
            for _ in 0..wanted * 2 {
                let at = random.below(self.len() + 1);
                by_place
                    .entry(at)
                    .or_default()
                    .push(Some(random.next_u64()));
            }
        }
        // All of the plain ones are kept, and of the others as many as are wanted.
        let mut surplus = found.len().saturating_sub(wanted.max(self.len() + 1));
        let mut random = Random::new(seed);
        while surplus > 0 {
            let index = random.below(found.len());
            if found[index].seed.is_some() {
                found.remove(index);
                surplus -= 1;
            }
        }
        found
    }

    /// Of those that leave the same disk only the last: of it the most is asked, since more was done when
    /// the power was cut.
    fn distinct(&self, by_place: &BTreeMap<usize, Vec<Option<u64>>>) -> Vec<Cut> {
        let mut sum = Sum::new(self);
        let (mut applied, mut found) = (0, HashMap::<u128, Cut>::new());
        for (at, seeds) in by_place {
            for entry in &self.log.entries()[applied..self.durable(*at)] {
                if let Entry::Write { sector, data, .. } = entry {
                    sum.write(&Piece {
                        sector: *sector,
                        data: data.clone(),
                    });
                }
            }
            applied = self.durable(*at);
            for seed in seeds {
                let cut = Cut {
                    at: *at,
                    seed: *seed,
                };
                let same = found.entry(sum.with(&self.loose(cut))).or_insert(cut);
                if same.at < cut.at {
                    *same = cut;
                }
            }
        }
        let mut found: Vec<Cut> = found.into_values().collect();
        found.sort_by_key(|cut| (cut.at, cut.seed));
        found
    }
}

/// A disk after a cut.
#[derive(Debug)]
pub struct Disk<'a> {
    base: &'a [u8],
    writes: Vec<(u64, &'a [u8])>,
}

impl Disk<'_> {
    /// Its bytes, into a file that may have held another disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &std::fs::File) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        const BLOCK: usize = 4096;
        // What is not written stays a hole: most of a disk is empty.
        file.set_len(0)?;
        file.set_len(self.base.len() as u64)?;
        let empty = [0; BLOCK];
        let mut blocks = self.base.chunks(BLOCK).enumerate().peekable();
        while let Some((first, block)) = blocks.next() {
            if *block == empty[..block.len()] {
                continue;
            }
            let mut end = first + 1;
            while let Some((next, _)) = blocks.next_if(|(_, b)| **b != empty[..b.len()]) {
                end = next + 1;
            }
            let range = first * BLOCK..(end * BLOCK).min(self.base.len());
            file.write_all_at(&self.base[range.clone()], range.start as u64)?;
        }
        for (sector, data) in &self.writes {
            file.write_all_at(data, sector * SECTOR as u64)?;
        }
        Ok(())
    }

    /// What tells it from others that began as the same one: all sectors that are not as they were.
    pub fn digest(&self) -> [u8; 32] {
        let mut sectors = BTreeMap::new();
        for (sector, data) in &self.writes {
            sectors.extend((*sector..).zip(data.chunks(SECTOR)));
        }
        let mut hasher = Sha256::new();
        for (sector, data) in sectors {
            let at = usize::try_from(sector).expect("within the disk") * SECTOR;
            if self.base[at..at + SECTOR] != *data {
                hasher.update(sector.to_le_bytes());
                hasher.update(data);
            }
        }
        hasher.finalize().into()
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.base.to_vec();
        for (sector, data) in &self.writes {
            let at = usize::try_from(*sector).expect("within the disk") * SECTOR;
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        bytes
    }
}

/// A hash of a disk that follows its writes: the sum of the hashes of all sectors that are ever
/// written, each with its place.
struct Sum<'a> {
    recording: &'a Recording,
    sectors: HashMap<u64, u128>,
    total: u128,
}

impl<'a> Sum<'a> {
    fn new(recording: &'a Recording) -> Self {
        Self {
            recording,
            sectors: recording.base_hashes.clone(),
            total: 0,
        }
    }

    fn hashes(&self, piece: &Piece) -> impl Iterator<Item = (u64, u128)> + use<'a> {
        let sectors = piece.data.start / SECTOR..piece.data.end / SECTOR;
        (piece.sector..).zip(self.recording.hashes[sectors].iter().copied())
    }

    fn write(&mut self, piece: &Piece) {
        for (sector, new) in self.hashes(piece) {
            let old = self.sectors.insert(sector, new).unwrap_or_default();
            self.total = self.total.wrapping_sub(old).wrapping_add(new);
        }
    }

    /// What it would be with further writes.
    fn with(&self, pieces: &[Piece]) -> u128 {
        let last: HashMap<u64, u128> = pieces.iter().flat_map(|piece| self.hashes(piece)).collect();
        last.into_iter().fold(self.total, |total, (sector, new)| {
            total.wrapping_sub(self.sectors[&sector]).wrapping_add(new)
        })
    }
}

fn hash(sector: u64, content: &[u8]) -> u128 {
    let digest = Sha256::new()
        .chain_update(sector.to_le_bytes())
        .chain_update(content)
        .finalize();
    u128::from_le_bytes(digest[..16].try_into().expect("sixteen bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Sixteen sectors; a write for each number, which is also its contents, 0 being a flush.
    fn recording(writes: &[(u64, u8, usize)]) -> Recording {
        let entries: Vec<_> = writes
            .iter()
            .map(|(sector, fill, sectors)| (*sector, vec![*fill; sectors * SECTOR]))
            .collect();
        Recording::new(vec![0; 16 * SECTOR], Log::of(&entries), 8..10).expect("a recording")
    }

    fn first_bytes(bytes: &[u8]) -> Vec<u8> {
        bytes.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_plain_cut_has_all_entries_before_it() {
        let recording = recording(&[(0, 1, 2), (0, 0, 0), (1, 2, 1), (3, 3, 1)]);
        let check = |at, expected: &[u8]| {
            let bytes = recording.disk(Cut { at, seed: None }).bytes();
            assert_eq!(first_bytes(&bytes)[..4], *expected, "{at}");
        };
        check(0, &[0, 0, 0, 0]);
        check(1, &[1, 1, 0, 0]);
        check(2, &[1, 1, 0, 0]);
        check(3, &[1, 2, 0, 0]);
        check(4, &[1, 2, 0, 3]);
    }

    #[test]
    fn a_random_cut_has_all_that_was_flushed_and_any_part_of_the_rest() {
        let recording = recording(&[(0, 1, 2), (0, 0, 0), (1, 2, 1), (2, 3, 2), (4, 4, 1)]);
        let mut seen = HashSet::new();
        for seed in 0..2000 {
            let bytes = recording
                .disk(Cut {
                    at: 5,
                    seed: Some(seed),
                })
                .bytes();
            let bytes = first_bytes(&bytes);
            assert_eq!(bytes[0], 1, "seed {seed}: what was flushed is there");
            seen.insert(bytes[1..5].to_vec());
        }
        // Each of the three came through or not, the one of two sectors also by halves.
        assert_eq!(seen.len(), 2 * 4 * 2, "{seen:?}");
    }

    #[test]
    fn what_is_written_whole_is_not_torn() {
        let recording = recording(&[(7, 1, 4)]);
        let mut seen = HashSet::new();
        for seed in 0..2000 {
            let cut = Cut {
                at: 1,
                seed: Some(seed),
            };
            seen.insert(first_bytes(&recording.disk(cut).bytes())[7..11].to_vec());
        }
        assert_eq!(seen.len(), 2 * 2 * 2, "{seen:?}");
        assert!(seen.iter().all(|bytes| bytes[1] == bytes[2]), "{seen:?}");
    }

    #[test]
    fn cuts_are_told_apart_by_their_disks() {
        let recording = recording(&[
            (0, 1, 8),
            (0, 0, 0),
            (0, 2, 8),
            (8, 3, 4),
            (0, 0, 0),
            (0, 1, 8),
        ]);
        let cuts = recording.cuts(70, 7);
        let disks: HashSet<_> = cuts
            .iter()
            .map(|cut| recording.disk(*cut).bytes())
            .collect();
        assert_eq!(disks.len(), cuts.len(), "no two are alike");
        let digests: HashSet<_> = cuts
            .iter()
            .map(|cut| recording.disk(*cut).digest())
            .collect();
        assert_eq!(digests.len(), cuts.len(), "nor are their digests");
        assert_eq!(cuts.len(), 70);
        for at in 0..=6 {
            let plain = recording.disk(Cut { at, seed: None }).bytes();
            assert!(disks.contains(&plain), "after {at} entries");
        }
        // What the first flush leaves may be there until the next one.
        let first = recording.disk(Cut { at: 2, seed: None }).bytes();
        let cut = cuts
            .iter()
            .find(|cut| recording.disk(**cut).bytes() == first);
        assert!(cut.expect("one leaves it").at > 2, "{cut:?}");
        assert_eq!(cuts, recording.cuts(70, 7), "the same seed gives the same");
        assert_ne!(cuts, recording.cuts(70, 8));
    }

    #[test]
    fn a_cut_is_read_as_it_is_shown() {
        for text in ["0", "57", "57:18446744073709551615"] {
            assert_eq!(text.parse::<Cut>().expect(text).to_string(), text);
        }
        for text in ["", "x", "1:", "1:y"] {
            text.parse::<Cut>().expect_err(text);
        }
    }

    #[test]
    fn a_disk_is_written_over_another_one() {
        use std::io::Read as _;
        let recording = recording(&[(0, 9, 2), (12, 7, 1)]);
        let mut file = tempfile::tempfile().expect("a file");
        for at in [2, 0, 1] {
            let disk = recording.disk(Cut { at, seed: None });
            disk.write(&file).expect("written");
            let mut bytes = Vec::new();
            std::io::Seek::rewind(&mut file).expect("rewound");
            file.read_to_end(&mut bytes).expect("read");
            assert!(bytes == disk.bytes(), "{at}");
        }
    }
}
