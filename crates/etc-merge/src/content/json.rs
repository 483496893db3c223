//! JSON, merged by key.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use pleach_fs_tree::escape;

use super::{
    ContentOptions, KeyConflict, MergedContent, NotMerged, Opened, each_side, line_of, open,
    ordered, settled, text,
};
use crate::Sides;

/// Merges a JSON file by key; objects are merged within, all else is one value. Where a key was
/// changed on both sides to different values, the machine's is kept and the conflict is reported.
///
/// If a text merge says the same, it is the result. Otherwise the file is written anew: with the
/// order of keys and the indentation of the machine's file, and the image's new keys after what they
/// follow there.
///
/// # Errors
/// [`NotMerged::Unreadable`] with the line that is no JSON; where a key is there twice, or a number
/// cannot be written as it was; and the errors of all mergers.
pub fn merge_json(
    sides: Sides<Option<&[u8]>>,
    options: &ContentOptions,
) -> Result<MergedContent, NotMerged> {
    let open = match open(sides, options)? {
        Opened::Settled(content) => return Ok(MergedContent::clean(content)),
        Opened::Open(open) => open,
    };
    let values = each_side(open, |side, content| {
        // A file that both sides added has nothing on the pristine side.
        let nothing = side == "pristine" && content.trim_ascii().is_empty();
        let value = if nothing {
            Value::Object(Map::new())
        } else {
            read(side, content)?
        };
        match value {
            Value::Object(object) => Ok(object),
            _ => Err(NotMerged::Unreadable {
                side,
                line: 1,
                what: "not an object".to_owned(),
            }),
        }
    })?;
    let mut merge = Merge::default();
    let wanted = Value::Object(merge.objects(values.as_ref().map(Some)));
    let says_it = |content: &Vec<u8>| read("", content).is_ok_and(|value| value == wanted);
    let content = text::merge_open(open, options)
        .ok()
        .filter(says_it)
        .or_else(|| write(&wanted, open.current).filter(says_it))
        .ok_or(NotMerged::Unfaithful)?;
    merge.conflicts.sort();
    Ok(MergedContent {
        content: Some(content),
        conflicts: merge.conflicts,
    })
}

fn read(side: &'static str, content: &[u8]) -> Result<Value, NotMerged> {
    let unreadable = |line, what: &str| NotMerged::Unreadable {
        side,
        line,
        what: what.to_owned(),
    };
    let value = serde_json::from_slice(content).map_err(|error| {
        let what = error.to_string();
        let what = what
            .rsplit_once(" at line ")
            .map_or(&*what, |(what, _)| what);
        unreadable(error.line().max(1), what)
    })?;
    let mut colons = 0;
    for (at, token) in tokens(content) {
        if token == b":" {
            colons += 1;
        } else if matches!(token, [b'-' | b'0'..=b'9', ..]) {
            let number: Option<Value> = serde_json::from_slice(token).ok();
            if number.is_none_or(|number| number.to_string().as_bytes() != token) {
                let what = "a number that would be written in another way";
                return Err(unreadable(line_of(content, at), what));
            }
        }
    }
    // The last of several would hide the others.
    if colons != count_members(&value) {
        return Err(unreadable(1, "an object has a key twice"));
    }
    Ok(value)
}

/// The colons and numbers of a JSON text, and where they are.
fn tokens(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = content.get(at..)?;
            let start = at;
            match *rest.first()? {
                b':' => {
                    at += 1;
                    return Some((start, &rest[..1]));
                }
                b'-' | b'0'..=b'9' => {
                    let number = |b: &&u8| b"+-.eE0123456789".contains(b);
                    let length = rest.iter().take_while(number).count();
                    at += length;
                    return Some((start, &rest[..length]));
                }
                b'"' => at += 1 + string_length(&rest[1..]),
                _ => at += 1,
            }
        }
    })
}

/// How long a string is, with its closing quote.
fn string_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn count_members(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count_members).sum(),
        Value::Object(object) => object.len() + object.values().map(count_members).sum::<usize>(),
        _ => 0,
    }
}

/// The value in the style of another text.
fn write(value: &Value, like: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let indented = like.split(|&b| b == b'\n').find_map(|line| {
        let text = line.trim_ascii_start();
        let indent = &line[..line.len() - text.len()];
        (!indent.is_empty() && !text.is_empty()).then_some(indent)
    });
    match indented {
        Some(indent) => {
            let formatter = PrettyFormatter::with_indent(indent);
            let mut serializer = Serializer::with_formatter(&mut out, formatter);
            value.serialize(&mut serializer).ok()?;
        }
        None => out = value.to_string().into_bytes(),
    }
    if like.ends_with(b"\n") {
        out.push(b'\n');
    }
    Some(out)
}

#[derive(Default)]
struct Merge {
    path: String,
    conflicts: Vec<KeyConflict>,
}

impl Merge {
    /// The pristine side may be none.
    fn objects(&mut self, sides: Sides<Option<&Map<String, Value>>>) -> Map<String, Value> {
        let items = sides.map(|object| {
            let members = object.into_iter().flatten();
            members
                .map(|(key, value)| (key.as_str(), value))
                .collect::<Vec<_>>()
        });
        let merged = ordered::merge(
            items.as_ref().map(Vec::as_slice),
            |_| false,
            |key, values| Some((key.to_owned(), self.values(key, values)?)),
        );
        merged.into_iter().collect()
    }

    fn values(&mut self, key: &str, values: Sides<Option<&Value>>) -> Option<Value> {
        if let Some(value) = settled(values) {
            return value.cloned();
        }
        let length = self.path.len();
        self.path += "/";
        self.path += &key.replace('~', "~0").replace('/', "~1");
        let objects = values.map(|value| value.map(Value::as_object));
        let merged = match (objects.pristine, objects.current, objects.new) {
            (pristine @ (None | Some(Some(_))), Some(Some(current)), Some(Some(new))) => {
                let sides = Sides {
                    pristine: pristine.flatten(),
                    current: Some(current),
                    new: Some(new),
                };
                Some(Value::Object(self.objects(sides)))
            }
            _ => {
                let key = escape(self.path.as_bytes());
                self.conflicts.push(KeyConflict { key });
                values.current.cloned()
            }
        };
        self.path.truncate(length);
        merged
    }
}
