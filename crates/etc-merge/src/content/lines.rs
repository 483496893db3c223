//! A file as a set of lines.

use super::ordered::{self, Counts, count_repeats};
use super::{ContentOptions, MergedContent, NotMerged, Opened, join, last_has_end, open, split};
use crate::Sides;

/// Merges a file whose lines are a set, like `/etc/shells`: what either side added or removed is
/// added or removed, so there is never a conflict.
///
/// The order is the machine's; a line that the image adds comes after the one that it follows in the
/// image, as far as the machine has that. An entry that differs only in blanks at its end is the
/// same entry: none is added twice. Comments (`#`) and blank lines travel like lines, but may be
/// there more than once: how often is merged like a value, with the machine's in a conflict. Whether the last line has an end is merged like everything else.
///
/// # Errors
/// [`NotMerged::Removed`], [`NotMerged::Binary`] and [`NotMerged::TooLarge`].
pub fn merge_lines(
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    let open = match open(sides, options)? {
        Opened::Settled(content) => return Ok(MergedContent::clean(content)),
        Opened::Open(open) => open,
    };
    let lines = open.map(split);
    let of_side = lines.as_ref().map(|(lines, _)| items(lines));
    let counts = Counts::new(
        of_side
            .as_ref()
            .map(|items| items.iter().map(|&(key, _)| key)),
    );
    let merged = ordered::merge(
        of_side.as_ref().map(Vec::as_slice),
        |_| false,
        |key, of_key| counts.decide(key, of_key),
    );
    let merged = join(merged, last_has_end(lines.map(|(_, end)| end)));
    Ok(MergedContent::clean(Some(&merged)))
}

/// A line, and its number among equal ones if it may be there more than once.
type Key<'a> = (&'a [u8], u32);

fn items<'a>(lines: &[&'a [u8]]) -> Vec<(Key<'a>, &'a [u8])> {
    let repeats = |line: &[u8]| matches!(line.trim_ascii(), [] | [b'#', ..]);
    let keys = lines.iter().map(|&line| match line {
        line if repeats(line) => line,
        entry => entry.trim_ascii_end(),
    });
    count_repeats(keys)
        .map(|(key, number)| (key, if repeats(key) { number } else { 1 }))
        .zip(lines.iter().copied())
        .collect()
}
