//! Mergers of what is in a file: three contents in, one content out, no I/O.
//!
//! All of them hold to the same laws. Where two of the three sides are equal, byte for byte, the
//! third is the result, byte for byte, and nothing is looked into. Otherwise a one-sided change
//! always wins; where both sides changed the same thing, the machine's is kept, and the conflict is
//! reported or the whole file is refused ([`NotMerged`]). Nothing panics, whatever the bytes are.

pub(crate) mod accounts;
pub(crate) mod ini;
#[cfg(feature = "json")]
pub(crate) mod json;
pub(crate) mod lines;
mod ordered;
pub(crate) mod text;
#[cfg(feature = "toml")]
pub(crate) mod toml;

use std::fmt;

use thiserror::Error;

use crate::{Side, Sides};

/// What a content merger may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentOptions {
    /// The most bytes that one side of one file may have.
    pub max_bytes: usize,
    /// The most lines that one side may have where lines are compared with each other as in
    /// diff(1): the work may grow with their number squared.
    pub max_lines: usize,
}

impl Default for ContentOptions {
    /// 1 MiB, and 10,000 lines.
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            max_lines: 10_000,
        }
    }
}

/// What a merger made of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct MergedContent {
    /// The content, or `None` where the file is not in the result.
    pub content: Option<Vec<u8>>,
    /// Where both sides set the same thing to different values, in the order of their places: the
    /// machine's is in the content.
    pub conflicts: Vec<KeyConflict>,
}

impl MergedContent {
    fn clean(content: Option<&[u8]>) -> Self {
        Self {
            content: content.map(<[u8]>::to_vec),
            conflicts: Vec::new(),
        }
    }
}

/// Configuration may hold secrets: the content is not shown, only its length.
impl fmt::Debug for MergedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedContent")
            .field("bytes", &self.content.as_ref().map(Vec::len))
            .field("conflicts", &self.conflicts)
            .finish()
    }
}

/// A key that both sides set to different values, or that one removed and the other changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyConflict {
    /// Where: `[section] key` in an ini file, `table.key` in TOML, a JSON pointer (RFC 6901) in
    /// JSON. Escaped, and never with a value, which may be a secret.
    pub key: String,
}

impl fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// Why a file was not merged: the caller falls back to what it does with whole files.
///
/// The sides are called `pristine`, `current` and `new`, as in [`Sides`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum NotMerged {
    /// One side has no such file any more, and the other changed it.
    #[error("removed on the {by} side and changed on the other")]
    Removed {
        /// Who removed it.
        by: Side,
    },
    /// [`ContentOptions::max_bytes`] was passed.
    #[error("{side}: {bytes} bytes, and no more than {limit} are merged")]
    TooLarge {
        /// Which of the sides.
        side: &'static str,
        /// How many it has.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// [`ContentOptions::max_lines`] was passed.
    #[error("{side}: {lines} lines, and no more than {limit} are merged")]
    TooManyLines {
        /// Which of the sides.
        side: &'static str,
        /// How many it has.
        lines: usize,
        /// The limit.
        limit: usize,
    },
    /// There is a NUL in it.
    #[error("{side}: not a text: line {line} has a NUL byte")]
    Binary {
        /// Which of the sides.
        side: &'static str,
        /// The first line that has one, from 1.
        line: usize,
    },
    /// It is not what its policy says it is.
    #[error("{side}: cannot be read: line {line}: {what}")]
    Unreadable {
        /// Which of the sides.
        side: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// This build cannot read the format.
    #[error("built without the feature {format}")]
    NotBuiltIn {
        /// The format and the feature.
        format: &'static str,
    },
    /// Both sides changed the same or neighbouring lines.
    #[error("both sides changed the same lines")]
    Overlap,
    /// The merged file, read again, does not say what it should.
    #[error("the merged file would not say what both sides say")]
    Unfaithful,
}

/// A merge that needs a look inside, or one that does not.
enum Opened<'a> {
    Settled(Option<&'a [u8]>),
    /// A file that both sides added has an empty pristine side.
    Open(Sides<&'a [u8]>),
}

/// The side that is the result where two of the three are equal.
fn settled<T: PartialEq>(sides: Sides<T>) -> Option<T> {
    let Sides {
        pristine,
        current,
        new,
    } = sides;
    if current == pristine || current == new {
        Some(new)
    } else if new == pristine {
        Some(current)
    } else {
        None
    }
}

fn open<'a>(
    sides: Sides<Option<&'a [u8]>>,
    options: &ContentOptions,
) -> Result<Opened<'a>, NotMerged> {
    if let Some(content) = settled(sides) {
        return Ok(Opened::Settled(content));
    }
    let removed = |by| NotMerged::Removed { by };
    let open = Sides {
        pristine: sides.pristine.unwrap_or_default(),
        current: sides.current.ok_or(removed(Side::Local))?,
        new: sides.new.ok_or(removed(Side::Image))?,
    };
    each_side(open, |side, content| check_text(side, content, options))?;
    Ok(Opened::Open(open))
}

/// Calls `f` with each side and its name.
fn each_side<T, U>(
    sides: Sides<T>,
    mut f: impl FnMut(&'static str, T) -> Result<U, NotMerged>,
) -> Result<Sides<U>, NotMerged> {
    Ok(Sides {
        pristine: f("pristine", sides.pristine)?,
        current: f("current", sides.current)?,
        new: f("new", sides.new)?,
    })
}

fn check_text(
    side: &'static str,
    content: &[u8],
    options: &ContentOptions,
) -> Result<(), NotMerged> {
    let (bytes, limit) = (content.len(), options.max_bytes);
    if bytes > limit {
        return Err(NotMerged::TooLarge { side, bytes, limit });
    }
    match content.iter().position(|&b| b == 0) {
        Some(at) => Err(NotMerged::Binary {
            side,
            line: line_of(content, at),
        }),
        None => Ok(()),
    }
}

/// The number of the line that has the byte at `at`, from 1.
fn line_of(content: &[u8], at: usize) -> usize {
    1 + content.iter().take(at).filter(|&&b| b == b'\n').count()
}

/// The lines without their ends, and whether the last one has an end (an empty file counts as one
/// that does).
fn split(content: &[u8]) -> (Vec<&[u8]>, bool) {
    if content.is_empty() {
        return (Vec::new(), true);
    }
    let body = content.strip_suffix(b"\n");
    let lines = body.unwrap_or(content).split(|&b| b == b'\n').collect();
    (lines, body.is_some())
}

/// The inverse of [`split`]. A blank last line always has an end: it would be none without.
fn join<'a>(lines: impl IntoIterator<Item = &'a [u8]>, last_has_end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    if !last_has_end && !out.ends_with(b"\n\n") && out != b"\n" {
        out.pop();
    }
    out
}

/// Whether the last line of the result has an end. Of three truth values two are always equal.
fn last_has_end(ends: Sides<bool>) -> bool {
    settled(ends).unwrap_or(true)
}

/// One value of three, and whether both sides changed it differently: the machine's is kept then.
fn three_way<T: PartialEq + Copy>(sides: Sides<T>) -> (T, bool) {
    settled(sides).map_or((sides.current, true), |value| (value, false))
}
