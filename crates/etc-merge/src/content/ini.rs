//! Files of sections and keys.

use std::collections::{BTreeMap, BTreeSet};

use pleach_fs_tree::escape;

use super::{
    ContentOptions, KeyConflict, MergedContent, NotMerged, Opened, each_side, join, last_has_end,
    open, settled, split, text,
};
use crate::Sides;

/// Merges a file of `[section]`s and `key = value` lines by key: units and configuration of systemd,
/// repositories of dnf, keyfiles of NetworkManager and the like.
///
/// All values of a key in a section are one value (systemd's lists), and a section that is there
/// twice is one. Comments are lines that begin with `#` or `;`. A value goes on in the next line
/// after a backslash, or where that is indented more than the key. Blanks around keys and values do
/// not count. Where a key was changed on both sides to different values, the machine's is kept and
/// the conflict is reported.
///
/// If a text merge says the same, it is the result. Otherwise the machine's file is, with what the
/// image changed: a new value in the place of the old, a new key or section after what it follows in
/// the image, with the comment right above it. All else stays byte for byte.
///
/// # Errors
/// [`NotMerged::Unreadable`] with the line that is none of the above, and the errors of all mergers.
pub fn merge_ini(
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    let open = match open(sides, options)? {
        Opened::Settled(content) => return Ok(MergedContent::clean(content)),
        Opened::Open(open) => open,
    };
    let files = each_side(open, |side, content| {
        File::read(content).map_err(|(line, what)| NotMerged::Unreadable {
            side,
            line,
            what: what.to_owned(),
        })
    })?;
    let models = files.as_ref().map(File::model);
    let mut wanted = Model::new();
    let mut conflicts = Vec::new();
    let keys: BTreeSet<_> = [&models.pristine, &models.current, &models.new]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    for &key in &keys {
        let values = models.as_ref().map(|model| model.get(key));
        let merged = settled(values).unwrap_or_else(|| {
            conflicts.push(KeyConflict { key: show(key) });
            values.current
        });
        wanted.extend(merged.map(|values| (*key, values.clone())));
    }
    let says_it = |content: &Vec<u8>| File::read(content).is_ok_and(|f| f.model() == wanted);
    let content = text::merge_open(open, options)
        .ok()
        .filter(says_it)
        .or_else(|| {
            let ends = last_has_end(files.as_ref().map(|file| file.last_has_end));
            let edited = join(edit(&files, &models, &wanted), ends);
            says_it(&edited).then_some(edited)
        })
        .ok_or(NotMerged::Unfaithful)?;
    Ok(MergedContent {
        content: Some(content),
        conflicts,
    })
}

/// A section, empty before the first header (no header can be), and a key in it.
type Key<'a> = (&'a [u8], &'a [u8]);

/// What a file says. Of a value of several lines, each without the blanks around it.
type Model<'a> = BTreeMap<Key<'a>, Vec<Vec<&'a [u8]>>>;

fn show((section, key): &Key<'_>) -> String {
    match section {
        [] => escape(key),
        section => format!("[{}] {}", escape(section), escape(key)),
    }
}

/// Lines that belong together.
struct Part<'a> {
    /// The section that it is in.
    section: &'a [u8],
    what: What<'a>,
    lines: Vec<&'a [u8]>,
}

enum What<'a> {
    /// A comment or a blank line.
    Other,
    Header,
    Key(&'a [u8]),
}

struct File<'a> {
    parts: Vec<Part<'a>>,
    last_has_end: bool,
}

impl<'a> File<'a> {
    fn read(content: &'a [u8]) -> Result<Self, (usize, &'static str)> {
        let (lines, last_has_end) = split(content);
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut section: &[u8] = b"";
        // Of the value that may go on: how far its key is indented, and whether a backslash ends it.
        let mut value: Option<(usize, bool)> = None;
        for (number, &line) in (1..).zip(&lines) {
            let text = line.trim_ascii();
            let indent = line.len() - line.trim_ascii_start().len();
            let backslash = ends_with_backslash(text);
            if let (Some((of_key, goes_on)), Some(part)) = (value, parts.last_mut()) {
                let header = matches!(text, [b'[', .., b']']);
                if goes_on && header {
                    return Err((number, "a section right after a backslash"));
                }
                if goes_on || (indent > of_key && !text.is_empty() && !is_comment(text)) {
                    part.lines.push(line);
                    value = Some((of_key, backslash));
                    continue;
                }
            }
            value = None;
            let what = match text {
                [] => What::Other,
                text if is_comment(text) => What::Other,
                [b'[', name @ .., b']'] if !name.is_empty() => {
                    section = name;
                    What::Header
                }
                [b'[', ..] => return Err((number, "a section has the form [name]")),
                text => {
                    value = Some((indent, backslash));
                    What::Key(key_of(text).map_err(|what| (number, what))?)
                }
            };
            let lines = vec![line];
            parts.push(Part {
                section,
                what,
                lines,
            });
        }
        Ok(Self {
            parts,
            last_has_end,
        })
    }

    fn model(&self) -> Model<'a> {
        let mut model = Model::new();
        for part in &self.parts {
            if let Some(key) = part.key() {
                let mut lines: Vec<_> = part.lines.iter().map(|line| line.trim_ascii()).collect();
                if let Some(first) = lines.first_mut() {
                    let equals = first.iter().position(|&b| b == b'=').unwrap_or_default();
                    *first = first[equals + 1..].trim_ascii_start();
                }
                model.entry(key).or_default().push(lines);
            }
        }
        model
    }

    /// The comments right above a part, and the part.
    fn with_comments(&self, at: usize) -> impl Iterator<Item = &'a [u8]> {
        let above = self.parts[..at].iter().rev();
        let comments = above.take_while(|part| match part.what {
            What::Other => part.lines.iter().all(|line| is_comment(line.trim_ascii())),
            _ => false,
        });
        let from = at - comments.count();
        self.parts[from..=at]
            .iter()
            .flat_map(|part| part.lines.iter().copied())
    }
}

impl<'a> Part<'a> {
    fn key(&self) -> Option<Key<'a>> {
        match self.what {
            What::Key(key) => Some((self.section, key)),
            _ => None,
        }
    }
}

fn is_comment(text: &[u8]) -> bool {
    matches!(text, [b'#' | b';', ..])
}

fn ends_with_backslash(text: &[u8]) -> bool {
    text.iter().rev().take_while(|&&b| b == b'\\').count() % 2 == 1
}

fn key_of(text: &[u8]) -> Result<&[u8], &'static str> {
    let equals = text.iter().position(|&b| b == b'=');
    match text[..equals.ok_or("not a section, a comment or key=value")?].trim_ascii_end() {
        [] => Err("a value without a key"),
        key => Ok(key),
    }
}

/// The machine's lines, with the values that are wanted.
fn edit<'a>(
    files: &Sides<File<'a>>,
    models: &Sides<Model<'a>>,
    wanted: &Model<'a>,
) -> Vec<&'a [u8]> {
    let current = &files.current.parts;
    let keeps = |key: &Key<'_>| models.current.get(key) == wanted.get(key);
    let places = Places::of(current);
    let mut image: BTreeMap<Key<'a>, Vec<&'a [u8]>> = BTreeMap::new();
    for part in &files.new.parts {
        if let Some(key) = part.key() {
            image.entry(key).or_default().extend(&part.lines);
        }
    }
    let of_image = |key| image.get(&key).into_iter().flatten().copied();
    let sections: BTreeSet<_> = wanted.keys().map(|(section, _)| *section).collect();
    // What the image adds, by the part of the machine's that it comes before.
    let mut added: BTreeMap<usize, Vec<&'a [u8]>> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let mut place = 0;
    for (at, part) in files.new.parts.iter().enumerate() {
        match part.what {
            What::Other => {}
            // Where the machine has the section at all, its first header is the place.
            What::Header => {
                if let Some(first) = places.header.get(part.section) {
                    place = first + 1;
                } else {
                    let before = place.checked_sub(1).map(|before| current[before].section);
                    let end = before.and_then(|section| places.end.get(section));
                    place = end.copied().unwrap_or(place);
                    if sections.contains(part.section) && done.insert((part.section, &b""[..])) {
                        let lines = added.entry(place).or_default();
                        if place > 0 || !lines.is_empty() {
                            lines.push(b"");
                        }
                        lines.extend(files.new.with_comments(at));
                    }
                }
            }
            What::Key(name) => {
                let key = (part.section, name);
                if let Some(end) = places.key.get(&key) {
                    place = *end;
                } else if wanted.contains_key(&key) && done.insert(key) {
                    let lines = added.entry(place).or_default();
                    lines.extend(files.new.with_comments(at));
                    lines.extend(of_image(key).skip(part.lines.len()));
                }
            }
        }
    }
    let mut merged = Vec::new();
    for (at, part) in current.iter().enumerate() {
        merged.extend(added.remove(&at).into_iter().flatten());
        match part.key() {
            Some(key) if !keeps(&key) => {
                // The first one has them all.
                if done.insert(key) && wanted.contains_key(&key) {
                    merged.extend(of_image(key));
                }
            }
            _ => merged.extend(&part.lines),
        }
    }
    merged.extend(added.into_values().flatten());
    merged
}

/// Where things are in a file, by the numbers of its parts.
#[derive(Default)]
struct Places<'a> {
    /// The first header of a section.
    header: BTreeMap<&'a [u8], usize>,
    /// Behind the last header or key of a section.
    end: BTreeMap<&'a [u8], usize>,
    /// Behind the last value of a key.
    key: BTreeMap<Key<'a>, usize>,
}

impl<'a> Places<'a> {
    fn of(parts: &[Part<'a>]) -> Self {
        let mut places = Self::default();
        for (at, part) in parts.iter().enumerate() {
            match part.what {
                What::Other => continue,
                What::Header => {
                    places.header.entry(part.section).or_insert(at);
                }
                What::Key(name) => {
                    places.key.insert((part.section, name), at + 1);
                }
            }
            places.end.insert(part.section, at + 1);
        }
        places
    }
}
