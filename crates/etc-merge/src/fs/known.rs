//! What is known to be equal already, so that it need not be read again.

use pleach_fs_tree::Timestamp;
use sha2::{Digest as _, Sha256};

use super::stat::Stat;

const MAGIC: &[u8; 16] = b"pleach-etc-known";

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

    pub(super) fn from_pairs(mut pairs: Vec<u128>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        pairs.shrink_to_fit();
        Self { pairs }
    }

    /// The name of a pair, if it is known.
    pub(super) fn pair(&self, a: &Stat, b: &Stat) -> Option<u128> {
        if self.pairs.is_empty() {
            return None;
        }
        let pair = pair(a, b);
        self.pairs.binary_search(&pair).is_ok().then_some(pair)
    }

    /// The pairs as bytes, for [`from_bytes`](Self::from_bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for pair in &self.pairs {
            out.extend(pair.to_be_bytes());
        }
        let digest: [u8; 32] = Sha256::digest(&out).into();
        out.extend(digest);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (all, digest) = bytes.split_last_chunk::<32>()?;
        let expected: [u8; 32] = Sha256::digest(all).into();
        let pairs = all.strip_prefix(MAGIC)?;
        let (pairs, []) = pairs.as_chunks::<16>() else {
            return None;
        };
        let pairs = pairs
            .iter()
            .map(|pair| u128::from_be_bytes(*pair))
            .collect();
        (expected == *digest).then_some(Self { pairs })
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
pub(super) const MARGIN_OF_OURS: i64 = 100;

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
