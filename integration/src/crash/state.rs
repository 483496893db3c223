//! The states that a power cut can leave a disk in, from the log of its writes.
//!
//! What was written before the last flush is there. Of what was written since, any part may be, and
//! of the writes in flight any sectors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// Which cuts are asked for.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// How many.
    pub states: usize,
    /// Of their choice.
    pub seed: u64,
    /// From which place in the log to which.
    pub within: Range<usize>,
    /// Places that are not left out, if nothing is lost there.
    pub always: &'a [usize],
}

impl Asked<'_> {
    /// So many, of all of the log.
    pub fn of_all(states: usize, seed: u64) -> Self {
        Self {
            states,
            seed,
            within: 0..usize::MAX,
            always: &[],
        }
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

    /// How many entries were whole when the log had so many bytes.
    pub fn position(&self, bytes: u64) -> usize {
        self.log.position(bytes)
    }

    /// Cuts that leave disks which are all different, in the order of the log. Half of them, or more where
    /// there are not so many others, lose a part of what was written since the last flush. The others are
    /// whole up to an entry: evenly, with the first and the last place and those that are asked for.
    pub fn cuts(&self, asked: &Asked<'_>) -> Vec<Cut> {
        let end = asked.within.end.min(self.len());
        let places = asked.within.start.min(end)..=end;
        let mut by_place = BTreeMap::<usize, Vec<Option<u64>>>::new();
        for at in places.clone() {
            by_place.entry(at).or_default().push(None);
        }
        let loose: Vec<usize> = places.filter(|at| self.durable(*at) < *at).collect();
        let mut random = Random::new(asked.seed);
        let mut found = self.distinct(&by_place);
        // Rounds, since how many of the random ones are alike is not known before.
        for _ in 0..8 {
            let lossy = found.iter().filter(|(_, whole)| whole.is_none()).count();
            let half = lossy * 2 >= asked.states;
            if loose.is_empty() || half && found.len() >= asked.states {
                break;
            }
            for _ in 0..asked.states {
                let at = loose[random.below(loose.len())];
                by_place
                    .entry(at)
                    .or_default()
                    .push(Some(random.next_u64()));
            }
            found = self.distinct(&by_place);
        }
        let mut plain: Vec<(usize, Cut)> = Vec::new();
        let mut lossy: Vec<Cut> = Vec::new();
        for (cut, whole) in found {
            match whole {
                Some(at) => plain.push((at, cut)),
                None => lossy.push(cut),
            }
        }
        plain.sort_by_key(|(at, _)| *at);
        let more = asked.states.saturating_sub(plain.len());
        let wanted = more.max(asked.states / 2);
        while lossy.len() > wanted {
            lossy.swap_remove(random.below(lossy.len()));
        }
        let mut cuts = some(plain, asked.states - lossy.len(), asked.always);
        cuts.append(&mut lossy);
        cuts.sort_by_key(|cut| (cut.at, cut.seed));
        cuts
    }

    /// Of those that leave the same disk only the last: of it the most is asked, since more was done when
    /// the power was cut. With each of them the last place of which a whole log leaves that disk too.
    fn distinct(&self, by_place: &BTreeMap<usize, Vec<Option<u64>>>) -> Vec<(Cut, Option<usize>)> {
        let mut sum = Sum::new(self);
        let (mut applied, mut found) = (0, HashMap::<u128, (Cut, Option<usize>)>::new());
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
                let disk = sum.with(&self.loose(cut));
                let (same, whole) = found.entry(disk).or_insert((cut, None));
                if seed.is_none() {
                    *whole = Some(*at);
                }
                if same.at < cut.at {
                    *same = cut;
                }
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by_key(|(cut, _)| (cut.at, cut.seed));
        found
    }
}

/// So many of these, which are sorted by their places: evenly, with those at or behind some places.
fn some(cuts: Vec<(usize, Cut)>, wanted: usize, always: &[usize]) -> Vec<Cut> {
    let behind = |place: &usize| cuts.iter().position(|(at, _)| at >= place);
    let mut chosen: BTreeSet<usize> = always.iter().filter_map(behind).collect();
    chosen.extend([0, cuts.len().saturating_sub(1)]);
    // Halves of halves, until there are enough.
    let mut parts = 1;
    while chosen.len() < wanted.min(cuts.len()) {
        for part in (1..parts).step_by(2) {
            if chosen.len() < wanted {
                chosen.insert(cuts.len() * part / parts);
            }
        }
        parts *= 2;
    }
    let chosen = chosen.into_iter().filter_map(|index| cuts.get(index));
    chosen.map(|(_, cut)| *cut).collect()
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
        let asked = |seed| Asked::of_all(70, seed);
        let cuts = recording.cuts(&asked(7));
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
        assert_eq!(
            cuts,
            recording.cuts(&asked(7)),
            "the same seed gives the same"
        );
        assert_ne!(cuts, recording.cuts(&asked(8)));
    }

    #[test]
    fn half_of_the_cuts_lose_something() {
        let writes: Vec<_> = (0..40)
            .map(|number| (number % 16, number as u8 + 1, usize::from(number % 5 != 4)))
            .collect();
        let recording = recording(&writes);
        let plain = |at: usize| recording.disk(Cut { at, seed: None }).bytes();
        let whole: HashSet<_> = (0..=recording.len()).map(plain).collect();
        let check = |asked: Asked<'_>, wanted: usize, at: &[usize]| {
            let cuts = recording.cuts(&asked);
            let disks = cuts.iter().map(|cut| recording.disk(*cut).bytes());
            let disks: HashSet<_> = disks.collect();
            assert_eq!(disks.len(), asked.states, "{asked:?}: {cuts:?}");
            let found = disks.intersection(&whole).count();
            assert_eq!(found, wanted, "{asked:?}: {cuts:?}");
            for place in at {
                assert!(
                    disks.contains(&plain(*place)),
                    "{asked:?}: {place}: {cuts:?}"
                );
            }
            let within = |cut: &Cut| asked.within.contains(&cut.at) || cut.at == asked.within.end;
            assert!(cuts.iter().all(within), "{asked:?}: {cuts:?}");
        };
        // A cut behind a flush leaves what one before it leaves.
        check(Asked::of_all(20, 1), 10, &[0, 40]);
        check(
            Asked {
                always: &[17, 18],
                ..Asked::of_all(20, 1)
            },
            10,
            &[0, 17, 18, 40],
        );
        check(
            Asked {
                within: 20..24,
                ..Asked::of_all(8, 1)
            },
            4,
            &[24],
        );
        // There are no more of those that are whole.
        check(Asked::of_all(80, 1), 33, &[]);
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
