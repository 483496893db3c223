//! The three-way merge of a text.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::{ContentOptions, MergedContent, NotMerged, Opened, each_side, open};
use crate::Sides;

/// Merges a text line by line, where the two sides changed different places, with an unchanged line
/// between them. There are never conflict markers: what overlaps is refused, and so is what could be
/// merged in two ways since lines are repeated.
///
/// # Errors
/// [`NotMerged`]: an overlap, a file that one side removed and the other changed, a NUL (which is
/// never a text), or one of the limits.
pub fn merge_text(
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    match open(sides, options)? {
        Opened::Settled(content) => Ok(MergedContent::clean(content)),
        Opened::Open(open) => merge_open(open, options).map(|content| MergedContent {
            content: Some(content),
            conflicts: Vec::new(),
        }),
    }
}

/// The same for three texts.
pub(super) fn merge_open(
    sides: Sides<&[u8]>,
    options: &ContentOptions,
) -> Result<Vec<u8>, NotMerged> {
    let mut lines = each_side(sides, |side, content| {
        let lines: Vec<_> = content.split_inclusive(|&b| b == b'\n').collect();
        let (count, limit) = (lines.len(), options.max_lines);
        if count > limit {
            let lines = count;
            return Err(NotMerged::TooManyLines { side, lines, limit });
        }
        Ok(lines)
    })?;
    let merged = diff3(&lines).ok_or(NotMerged::Overlap)?;
    // Where equal lines are repeated, it is a matter of taste which of them a change is next to.
    // Read from the end, the taste is another: only what does not depend on it is taken.
    for lines in [&mut lines.pristine, &mut lines.current, &mut lines.new] {
        lines.reverse();
    }
    match diff3(&lines) {
        Some(backwards) if backwards.iter().rev().eq(&merged) => Ok(merged.concat()),
        _ => Err(NotMerged::Overlap),
    }
}

/// Lines of the pristine side that became other lines.
#[derive(Debug)]
struct Hunk {
    from: Range<usize>,
    to: Range<usize>,
}

/// Merges the hunks of both sides, unless two of them overlap or touch, and are not the same change.
fn diff3<'a>(lines: &Sides<Vec<&'a [u8]>>) -> Option<Vec<&'a [u8]>> {
    let mut ours = hunks(&lines.pristine, &lines.current)
        .into_iter()
        .peekable();
    let mut theirs = hunks(&lines.pristine, &lines.new).into_iter().peekable();
    let mut merged = Vec::new();
    let mut at = 0;
    loop {
        let ours_first = match (ours.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => {
                let touch = a.from.start <= b.from.end && b.from.start <= a.from.end;
                let same =
                    a.from == b.from && lines.current[a.to.clone()] == lines.new[b.to.clone()];
                if touch && !same {
                    return None;
                }
                let first = same || a.from.start < b.from.start;
                if same {
                    theirs.next();
                }
                first
            }
        };
        let (hunk, side) = if ours_first {
            (ours.next()?, &lines.current)
        } else {
            (theirs.next()?, &lines.new)
        };
        merged.extend_from_slice(&lines.pristine[at..hunk.from.start]);
        merged.extend_from_slice(&side[hunk.to]);
        at = hunk.from.end;
    }
    merged.extend_from_slice(&lines.pristine[at..]);
    Some(merged)
}

/// What changed, with at least one equal line between any two hunks.
fn hunks(from: &[&[u8]], to: &[&[u8]]) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, from, to) {
        if operation.tag() == DiffTag::Equal {
            continue;
        }
        let (from, to) = (operation.old_range(), operation.new_range());
        match hunks.last_mut() {
            Some(last) if last.from.end == from.start && last.to.end == to.start => {
                last.from.end = from.end;
                last.to.end = to.end;
            }
            _ => hunks.push(Hunk { from, to }),
        }
    }
    hunks
}
