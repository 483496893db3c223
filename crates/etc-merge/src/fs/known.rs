//! What is known to be equal already, so that it need not be read again.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use pleach_fs_tree::Timestamp;
use sha2::{Digest as _, Sha256};

use super::stat::Stat;

const MAGIC: &[u8; 16] = b"pleach-etc-known";
const DIGEST: usize = 32;
/// Bytes of pairs that are read or written at a time.
const BLOCK: usize = 64 * 1024;

/// Pairs of inodes that were found to have the same content (or link target) and the same extended
/// attributes.
///
/// A pair is named by the device, number, size and change time (`ctime`) of its two inodes. The
/// kernel changes that time with every change and nobody can set it, so as long as both are as they
/// were, the pair is equal without being read. Size and modification time alone would not do: both
/// can be kept through an edit. Pairs whose change time is too young to tell a later change from an
/// earlier one are not taken up.
///
/// It is a cache: without it all is read, and the outcome is the same.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Sorted.
    pairs: Vec<u128>,
}

impl Known {
    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Puts together the pairs that threads have, each in its own list.
    pub(super) fn from_threads(lists: impl IntoIterator<Item = Vec<u128>>) -> Self {
        let mut lists = lists.into_iter().filter(|list| !list.is_empty());
        let mut pairs = lists.next().unwrap_or_default();
        lists.for_each(|list| {
            pairs.reserve_exact(list.len());
            pairs.extend(list);
        });
        pairs.sort_unstable();
        pairs.dedup();
        pairs.shrink_to_fit();
        Self { pairs }
    }

    /// The number of a pair, if it is known.
    pub(super) fn find(&self, a: &Stat, b: &Stat) -> Option<u32> {
        if self.pairs.is_empty() {
            return None;
        }
        let found = self.pairs.binary_search(&pair(a, b)).ok()?;
        u32::try_from(found).ok()
    }

    /// The pairs that were [found](Self::find).
    pub(super) fn chosen(&self, numbers: &[u32]) -> Vec<u128> {
        let pair = |&number: &u32| self.pairs[number as usize];
        numbers.iter().map(pair).collect()
    }

    /// Writes the pairs, for [`read`](Self::read).
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut digest = Sha256::new_with_prefix(MAGIC);
        out.write_all(MAGIC)?;
        let mut bytes = Vec::with_capacity(BLOCK);
        for pairs in self.pairs.chunks(BLOCK / 16) {
            bytes.clear();
            bytes.extend(pairs.iter().flat_map(|pair| pair.to_be_bytes()));
            digest.update(&bytes);
            out.write_all(&bytes)?;
        }
        out.write_all(&digest.finalize())
    }

    /// Reads what [`write`](Self::write) wrote; `None` for anything else.
    ///
    /// # Errors
    /// When `input` cannot be read.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut magic = Vec::new();
        input.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        let mut digest = Sha256::new_with_prefix(&magic);
        let (mut pairs, mut bytes) = (Vec::new(), Vec::with_capacity(BLOCK + DIGEST));
        loop {
            let wanted = (BLOCK + DIGEST - bytes.len()) as u64;
            let got = input.take(wanted).read_to_end(&mut bytes)?;
            // The last bytes that there are may be the digest.
            let known = bytes.len().saturating_sub(DIGEST);
            let (whole, rest) = bytes[..known].as_chunks::<16>();
            digest.update(&bytes[..known - rest.len()]);
            pairs.extend(whole.iter().map(|pair| u128::from_be_bytes(*pair)));
            let torn = !rest.is_empty();
            bytes.drain(..known);
            if (got as u64) < wanted {
                let right = !torn && magic == MAGIC && bytes == digest.finalize()[..];
                return Ok(right.then_some(Self { pairs }));
            }
        }
    }
}

/// Pairs with the change time of a copy that was just made: each is taken up once that is old enough.
#[derive(Default)]
pub(super) struct Young {
    old: Vec<u128>,
    /// In the order in which they were made.
    young: VecDeque<(u128, Timestamp)>,
}

impl Young {
    pub(super) fn add(&mut self, pair: u128, changed: Timestamp) {
        self.grow(changed);
        self.young.push_back((pair, changed));
    }

    /// Those that are old enough at that time.
    pub(super) fn at(mut self, now: Timestamp) -> Vec<u128> {
        self.grow(now);
        self.old
    }

    fn grow(&mut self, now: Timestamp) {
        while let Some(&(pair, changed)) = self.young.front()
            && old_enough(changed, now, MARGIN_OF_OURS)
        {
            self.old.push(pair);
            self.young.pop_front();
        }
    }
}

/// The name of a pair; the order of the two does not matter.
pub(super) fn pair(a: &Stat, b: &Stat) -> u128 {
    let name = |stat: &Stat| {
        let mut out = [0; 36];
        out[..4].copy_from_slice(&stat.device.major.to_le_bytes());
        out[4..8].copy_from_slice(&stat.device.minor.to_le_bytes());
        out[8..16].copy_from_slice(&stat.inode.to_le_bytes());
        out[16..24].copy_from_slice(&stat.size.to_le_bytes());
        out[24..32].copy_from_slice(&stat.ctime.seconds.to_le_bytes());
        out[32..].copy_from_slice(&stat.ctime.nanoseconds.to_le_bytes());
        out
    };
    let (a, b) = (name(a), name(b));
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let digest: [u8; 32] = Sha256::new()
        .chain_update(first)
        .chain_update(second)
        .finalize()
        .into();
    let (name, _) = digest
        .split_first_chunk()
        .expect("32 bytes are more than 16");
    u128::from_be_bytes(*name)
}

/// For inodes that anybody may change, also on another machine.
pub(super) const MARGIN_OF_OTHERS: i64 = 2_000;
/// For inodes that we made where nobody else writes.
const MARGIN_OF_OURS: i64 = 100;

/// Whether a change after `now` would show in the change time. The kernel's clock for it goes in
/// ticks of up to 10 ms, and that of a network file system is another machine's.
pub(super) fn old_enough(changed: Timestamp, now: Timestamp, margin_ms: i64) -> bool {
    let ms = |time: Timestamp| {
        let part = i64::from(time.nanoseconds / 1_000_000);
        time.seconds.saturating_mul(1000).saturating_add(part)
    };
    ms(changed).saturating_add(margin_ms) < ms(now)
}

pub(super) fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: now.subsec_nanos(),
    }
}
