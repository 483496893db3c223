//! Three lists of items that have keys, merged into one list.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::three_way;
use crate::Sides;

/// Merges lists. `decide` gives the item of a key from what the sides have for it, or nothing.
///
/// The order is the machine's. What it does not have comes after the item that it follows in the
/// image's list, as far as the machine has that one; but never behind the first item of the
/// machine's that is `trailing`. Trailing items of the image's come last.
///
/// Where a list has a key twice, the first counts for the other sides; the machine's are all decided.
pub(super) fn merge<K: Ord + Copy, V: Copy, T>(
    sides: Sides<&[(K, V)]>,
    trailing: impl Fn(K) -> bool,
    mut decide: impl FnMut(K, Sides<Option<V>>) -> Option<T>,
) -> Vec<T> {
    let pristine = first_of_each(sides.pristine);
    let new = first_of_each(sides.new);
    let mut places = BTreeMap::new();
    for (place, &(key, _)) in sides.current.iter().enumerate() {
        places.entry(key).or_insert(place);
    }
    let end = sides.current.len();
    let fence = sides.current.iter().position(|&(key, _)| trailing(key));
    let fence = fence.unwrap_or(end);

    // The image's additions, by the item of the machine's that they come before.
    let mut added: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    let mut place = 0;
    let mut seen = BTreeMap::new();
    for &(key, value) in sides.new {
        if let Some(before) = places.get(&key) {
            place = before + 1;
        } else if let Entry::Vacant(vacant) = seen.entry(key) {
            vacant.insert(());
            let of_key = Sides {
                pristine: pristine.get(&key).copied(),
                current: None,
                new: Some(value),
            };
            let place = if trailing(key) { end } else { place.min(fence) };
            if let Some(item) = decide(key, of_key) {
                added.entry(place).or_default().push(item);
            }
        }
    }

    let mut merged = Vec::new();
    for (place, &(key, value)) in sides.current.iter().enumerate() {
        merged.extend(added.remove(&place).into_iter().flatten());
        let of_key = Sides {
            pristine: pristine.get(&key).copied(),
            current: Some(value),
            new: new.get(&key).copied(),
        };
        merged.extend(decide(key, of_key));
    }
    merged.extend(added.into_values().flatten());
    merged
}

/// How often each line is in the result, by how often the sides have it: where both changed that,
/// as often as the machine has it. For a line that is there or not, this is the merge of a set.
pub(super) struct Counts<T>(BTreeMap<T, u32>);

impl<T: Ord + Copy> Counts<T> {
    /// Of lines that are numbered, equal ones from 1 on.
    pub(super) fn new(sides: Sides<impl Iterator<Item = (T, u32)>>) -> Self {
        let mut counts: BTreeMap<T, Sides<u32>> = BTreeMap::new();
        for (line, number) in sides.pristine {
            let count = &mut counts.entry(line).or_default().pristine;
            *count = number.max(*count);
        }
        for (line, number) in sides.current {
            let count = &mut counts.entry(line).or_default().current;
            *count = number.max(*count);
        }
        for (line, number) in sides.new {
            let count = &mut counts.entry(line).or_default().new;
            *count = number.max(*count);
        }
        let merged = counts.into_iter().map(|(k, count)| (k, three_way(count).0));
        Self(merged.collect())
    }

    /// Decides about a line: of two spellings the machine's, unless only the image changed it.
    pub(super) fn decide<V: PartialEq + Copy>(
        &self,
        (line, number): (T, u32),
        of_key: Sides<Option<V>>,
    ) -> Option<V> {
        if self.0.get(&line).is_none_or(|&count| number > count) {
            return None;
        }
        match (of_key.current, of_key.new) {
            (Some(_), Some(_)) => three_way(of_key).0,
            (current, new) => current.or(new),
        }
    }
}

fn first_of_each<K: Ord + Copy, V: Copy>(items: &[(K, V)]) -> BTreeMap<K, V> {
    let mut first = BTreeMap::new();
    for &(key, value) in items {
        first.entry(key).or_insert(value);
    }
    first
}

/// Pairs each value with how many equal ones came before it.
pub(super) fn count_repeats<'a, T: Ord + Copy + 'a>(
    values: impl IntoIterator<Item = T> + 'a,
) -> impl Iterator<Item = (T, u32)> + 'a {
    let mut seen: BTreeMap<T, u32> = BTreeMap::new();
    values.into_iter().map(move |value| {
        let count = seen.entry(value).or_default();
        *count += 1;
        (value, *count)
    })
}
