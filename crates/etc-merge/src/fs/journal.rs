//! What a merge in progress has done, for the run after one that was killed.

use std::fmt::Write as _;

use pleach_fs_tree::Timestamp;

use super::stat::Birth;
use crate::InputsDigest;

const FIRST_LINE: &str = "pleach-etc-merge journal 1";

/// The state of the directory beside the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Journal {
    /// `etc.new` is the directory `made` and a copy of the new tree with this digest.
    Prepared { made: Birth, new: [u8; 32] },
    /// `etc.new` is being changed: if nobody is at it, it is worthless.
    Merging,
    /// The directory `made` is the result of a merge; it is about to become, or is, the target.
    Merged(Merged),
}

/// See [`Journal::Merged`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) made: Birth,
    pub(super) inputs: InputsDigest,
    /// What was the target before. While `etc.new` is that directory it waits to become `etc.prev`.
    pub(super) replaced: Option<Birth>,
    /// Whether sides were saved.
    pub(super) saved: bool,
    /// Whether all has its place, and is on disk.
    pub(super) finished: bool,
}

impl Journal {
    pub(super) fn to_text(&self) -> String {
        let mut out = format!("{FIRST_LINE}\n");
        match self {
            Self::Prepared { made, new } => {
                out.push_str(&format!("prepared {} ", birth(*made)));
                hex(&mut out, new);
            }
            Self::Merging => out.push_str("merging"),
            Self::Merged(merged) => {
                out.push_str(&format!("merged {} ", birth(merged.made)));
                hex(&mut out, &merged.inputs.0);
                let replaced = merged.replaced.map_or("-".to_owned(), birth);
                let saved = if merged.saved { "saved" } else { "-" };
                let finished = if merged.finished { "finished" } else { "-" };
                out.push_str(&format!(" {replaced} {saved} {finished}"));
            }
        }
        out.push('\n');
        out
    }

    /// `None` for anything that is no whole journal: as good as none.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let words: Vec<_> = lines.next()?.split(' ').collect();
        let journal = match *words.as_slice() {
            ["prepared", made, new] => Self::Prepared {
                made: from_birth(made)?,
                new: unhex(new)?,
            },
            ["merging"] => Self::Merging,
            ["merged", made, inputs, replaced, saved, finished] => Self::Merged(Merged {
                made: from_birth(made)?,
                inputs: InputsDigest(unhex(inputs)?),
                replaced: match replaced {
                    "-" => None,
                    replaced => Some(from_birth(replaced)?),
                },
                saved: flag(saved, "saved")?,
                finished: flag(finished, "finished")?,
            }),
            _ => return None,
        };
        lines.next().is_none().then_some(journal)
    }
}

/// `NUMBER@SECONDS.NANOSECONDS`, or `NUMBER@` where no time is known.
fn birth(made: Birth) -> String {
    let time = made
        .born
        .map(|t| format!("{}.{}", t.seconds, t.nanoseconds));
    format!("{}@{}", made.inode, time.unwrap_or_default())
}

fn from_birth(text: &str) -> Option<Birth> {
    let (inode, time) = text.split_once('@')?;
    let born = match time.split_once('.') {
        Some((seconds, nanoseconds)) => Some(Timestamp {
            seconds: seconds.parse().ok()?,
            nanoseconds: nanoseconds.parse().ok()?,
        }),
        None if time.is_empty() => None,
        None => return None,
    };
    let inode = inode.parse().ok()?;
    Some(Birth { inode, born })
}

fn flag(text: &str, set: &str) -> Option<bool> {
    match text {
        "-" => Some(false),
        text => (text == set).then_some(true),
    }
}

fn hex(out: &mut String, bytes: &[u8; 32]) {
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a string");
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}
