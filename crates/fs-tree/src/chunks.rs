//! A list that grows without moving what it has.

use std::ops::{Index, IndexMut};

/// Items in one chunk. A growing [`Vec`] leaves behind a hole of half its size each time it moves,
/// and up to half of it is empty: for the inodes of a large image that is megabytes.
const CHUNK: usize = 512;

/// A list in chunks of a fixed length: at most one chunk is not full, and none ever moves. Whoever
/// takes the items one by one frees each chunk when it is through.
#[derive(Debug, Clone)]
pub struct Chunks<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunks<T> {
    /// Items.
    pub fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends an item, and gives its index.
    pub fn push(&mut self, item: T) -> usize {
        let index = self.len();
        if index.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.last_mut().expect("one with room");
        last.push(item);
        index
    }

    /// The items in their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl<T> IntoIterator for Chunks<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}

impl<T> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        for item in items {
            list.push(item);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_list_like_any_other() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut list = Chunks::default();
            for item in 0..length {
                assert_eq!(list.push(item), item, "the index that a push gives");
            }
            assert_eq!(list.len(), length);
            assert_eq!(list.is_empty(), length == 0, "{length} items");
            assert!((0..length).all(|at| list[at] == at), "{length} items");
            if let Some(last) = length.checked_sub(1) {
                list[last] += 1;
                assert_eq!(list.iter().last(), Some(&length));
                list[last] -= 1;
            }
            assert!(list.iter().copied().eq(0..length), "{length} items");
            assert!(list.into_iter().eq(0..length), "{length} items");
        }
    }
}
