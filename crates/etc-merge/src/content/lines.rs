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

/// What makes a line the same as another, and the line.
type Item<'a> = ((&'a [u8], u32), &'a [u8]);

fn items<'a>(lines: &[&'a [u8]]) -> Vec<Item<'a>> {
    count_repeats(lines.iter().map(|line| line.trim_ascii_end()))
        .zip(lines)
        .map(|((key, count), &line)| {
            let repeats = matches!(key.trim_ascii_start(), [] | [b'#', ..]);
            ((key, if repeats { count } else { 1 }), line)
        })
        .collect()
}
