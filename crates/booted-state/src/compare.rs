//! What differs between two snapshots, leaf by leaf.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Section, SectionName, Snapshot};

/// One difference: a leaf of an entry, a whole entry, or a whole section.
///
/// The order is that of the sections, then keys, then attributes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// The section.
    pub section: SectionName,
    /// The key in the section: a path, a unit, a user. `None`: the section itself was captured on
    /// one side only, or could not be had for different reasons.
    pub key: Option<String>,
    /// Which attribute of the entry differs: the names of the fields on the way to it, joined by
    /// dots (`mode`, `loaded.active_state`, `xattrs.user.note`), or `value` where the entry is a
    /// plain value. `None`: the entry is on one side only.
    pub attribute: Option<String>,
    /// The left value, as text; `None` where the left has none. A whole entry is compact JSON.
    pub left: Option<String>,
    /// The right value.
    pub right: Option<String>,
}

/// `section key attribute: left | right`, where `-` stands for nothing.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.section)?;
        for part in [&self.key, &self.attribute].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        write!(f, ": {} | {}", side(&self.left), side(&self.right))
    }
}

/// The attribute of an entry that is a plain value.
pub const PLAIN: &str = "value";

/// All differences, sorted. Every leaf takes part but the format version and the tool; a section is
/// left out only where neither side captured it. Two snapshots that are equal in their sections
/// have none, all others have at least one.
pub fn compare(left: &Snapshot, right: &Snapshot) -> Vec<Difference> {
    let mut out = Vec::new();
    left.compare_into(right, &mut out);
    out
}

pub(crate) fn compare_section<T: Serialize + PartialEq>(
    name: SectionName,
    left: &Section<T>,
    right: &Section<T>,
    out: &mut Vec<Difference>,
) {
    let (left, right) = match (left, right) {
        (Section::Entries(left), Section::Entries(right)) => (left, right),
        _ => {
            if left != right {
                out.push(Difference {
                    section: name,
                    key: None,
                    attribute: None,
                    left: Some(left.status().to_string()),
                    right: Some(right.status().to_string()),
                });
            }
            return;
        }
    };
    // Both maps are sorted; the keys of one that the other lacks come in their place.
    let mut keys: Vec<&String> = left.keys().collect();
    keys.extend(right.keys().filter(|key| !left.contains_key(*key)));
    keys.sort_unstable();
    for key in keys {
        let (a, b) = (left.get(key), right.get(key));
        if a == b {
            continue;
        }
        let difference = |attribute, left, right| Difference {
            section: name,
            key: Some(key.clone()),
            attribute,
            left,
            right,
        };
        match (a.map(json), b.map(json)) {
            (Some(a), Some(b)) => {
                let leaves = differing_leaves(&a, &b);
                if leaves.is_empty() {
                    // Two values that only their text makes equal: never silent.
                    let attribute = Some(PLAIN.to_owned());
                    out.push(difference(
                        attribute,
                        Some(a.to_string()),
                        Some(b.to_string()),
                    ));
                }
                for (attribute, left, right) in leaves {
                    out.push(difference(Some(attribute), left, right));
                }
            }
            (a, b) => out.push(difference(
                None,
                a.as_ref().map(Value::to_string),
                b.as_ref().map(Value::to_string),
            )),
        }
    }
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("maps have string keys")
}

type Leaves = BTreeMap<Vec<String>, String>;

fn differing_leaves(a: &Value, b: &Value) -> Vec<(String, Option<String>, Option<String>)> {
    let (mut left, mut right) = (Leaves::new(), Leaves::new());
    leaves(a, &mut Vec::new(), &mut left);
    leaves(b, &mut Vec::new(), &mut right);
    let mut paths: Vec<&Vec<String>> = left.keys().chain(right.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path))
        .filter(|path| !only_empties(&left, &right, path) && !only_empties(&right, &left, path))
        .map(|path| {
            let name = if path.is_empty() {
                PLAIN.to_owned()
            } else {
                path.join(".")
            };
            (name, left.get(path).cloned(), right.get(path).cloned())
        })
        .collect()
}

/// An empty map or list against one with entries: the entries say it.
fn only_empties(one: &Leaves, other: &Leaves, path: &Vec<String>) -> bool {
    matches!(one.get(path).map(String::as_str), Some("{}" | "[]"))
        && other
            .range(path.clone()..)
            .find(|(candidate, _)| *candidate != path)
            .is_some_and(|(candidate, _)| candidate.starts_with(path))
}

/// A list of plain values is one leaf: in what differs its order is better seen as a whole.
fn leaves(value: &Value, path: &mut Vec<String>, out: &mut Leaves) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                path.push(name.clone());
                leaves(value, path, out);
                path.pop();
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                leaves(item, path, out);
                path.pop();
            }
        }
        Value::String(text) => {
            out.insert(path.clone(), text.clone());
        }
        other => {
            out.insert(path.clone(), other.to_string());
        }
    }
}
