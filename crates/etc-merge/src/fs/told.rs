//! The digest of a directory tree, made in any order.

use pleach_fs_tree::TreePath;

use super::stat::Stat;
use crate::inputs::Teller;

/// One directory: its path, and each name in it with what the kernel says of it.
pub(super) struct Told {
    teller: Teller,
    /// Hashing little by little costs more than the hash.
    held: Vec<u8>,
}

const HELD: usize = 8 * 1024;

impl Told {
    pub(super) fn new(path: &TreePath) -> Self {
        let mut teller = Teller::new();
        teller.tell(path.as_bytes());
        let held = Vec::new();
        Self { teller, held }
    }

    /// The entries are told in the order of their names.
    pub(super) fn entry(&mut self, name: &[u8], stat: &Stat) {
        // A name has at most 255 bytes; so no two sequences of entries look alike.
        self.held.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.held.extend_from_slice(name);
        self.held.extend_from_slice(&stat.identity());
        if self.held.len() >= HELD {
            self.teller.tell(&self.held);
            self.held.clear();
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.teller.tell(&self.held);
        self.teller.finish()
    }
}

/// The sum over all directories, as numbers of 256 bits: the same in whatever order they come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    pub(super) fn add(&mut self, told: Told) {
        let digest = told.finish();
        let (words, _) = digest.as_chunks::<8>();
        let mut other = [0; 4];
        for (word, bytes) in other.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        self.join(&Self(other));
    }

    pub(super) fn join(&mut self, other: &Self) {
        let mut carry = false;
        for (a, b) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = a.overflowing_add(b);
            let (sum, again) = sum.overflowing_add(carry.into());
            (*a, carry) = (sum, over || again);
        }
    }

    /// The digest of the whole, with the root's own attributes.
    pub(super) fn finish(self, root: &[u8]) -> [u8; 32] {
        let mut teller = Teller::new();
        for word in self.0 {
            teller.tell(&word.to_le_bytes());
        }
        teller.tell(root);
        teller.finish()
    }
}
