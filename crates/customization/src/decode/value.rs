//! What a field holds, held to the type that it must have.

use super::{Decoder, Entry, Object};
use crate::fields::Field;
use crate::source::{IntError, Place, Value, child};

impl Decoder<'_> {
    pub(crate) fn list<'n>(&mut self, entry: Option<Entry<'n>>) -> Vec<Entry<'n>> {
        let Some((node, path)) = entry else {
            return Vec::new();
        };
        match &node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (item, child(&path, index)))
                .collect(),
            _ => {
                self.error(
                    node.place,
                    &path,
                    format!("a list is expected here, not {}", node.kind()),
                );
                Vec::new()
            }
        }
    }

    pub(crate) fn text<'n>(
        &mut self,
        entry: Option<Entry<'n>>,
    ) -> Option<(&'n str, Place, String)> {
        let (node, path) = entry?;
        let text = node.as_str();
        if text.is_none() {
            self.error(
                node.place,
                &path,
                format!("a string is expected here, not {}", node.kind()),
            );
        }
        text.map(|text| (text, node.place, path))
    }

    pub(crate) fn string(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        self.text(object.get(name))
            .map(|(text, ..)| text.to_owned())
    }

    /// A field without which the item has no meaning.
    pub(crate) fn required<'n>(
        &mut self,
        object: &Object<'n>,
        name: &'static str,
        table: &'static [Field],
    ) -> Option<(&'n str, Place, String)> {
        let given = object.get(name);
        let missing = given
            .as_ref()
            .is_none_or(|(node, _)| node.as_str() == Some(""));
        if missing {
            let (place, path) = match &given {
                Some((node, path)) => (node.place, path.clone()),
                None => (object.place, object.path.clone()),
            };
            let name = self.spelled(name, table);
            self.error(place, &path, format!("'{name}' is required"));
            return None;
        }
        self.text(given)
    }

    pub(crate) fn boolean(&mut self, object: &Object<'_>, name: &str) -> Option<bool> {
        let (node, path) = object.get(name)?;
        let value = node.as_bool();
        if value.is_none() {
            self.error(
                node.place,
                &path,
                format!("true or false is expected here, not {}", node.kind()),
            );
        }
        value
    }

    pub(crate) fn integer(&mut self, (node, path): &Entry<'_>) -> Option<i64> {
        match node.as_int() {
            Ok(value) => Some(value),
            Err(error) => {
                let message = match error {
                    IntError::NotAnInteger => {
                        format!("an integer is expected here, not {}", node.kind())
                    }
                    IntError::NotOctal => {
                        "a number that begins with 0 is octal, and has no digit 8 or 9".into()
                    }
                    IntError::TooLarge => "this number is too large".into(),
                };
                self.error(node.place, path, message);
                None
            }
        }
    }

    /// A user or group ID: the kernel keeps 2³²-1 for "none".
    pub(crate) fn id(&mut self, object: &Object<'_>, name: &str) -> Option<u32> {
        let entry = object.get(name)?;
        let value = self.integer(&entry)?;
        let id = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
        if id.is_none() {
            self.error(
                entry.0.place,
                &entry.1,
                format!("{value} is no ID: 0 to 4294967294 are"),
            );
        }
        id
    }

    /// A number that counts something.
    pub(crate) fn count(&mut self, object: &Object<'_>, name: &str) -> Option<u32> {
        let entry = object.get(name)?;
        let value = self.integer(&entry)?;
        let count = u32::try_from(value).ok();
        if count.is_none() {
            let message = format!("{value} is not between 0 and {}", u32::MAX);
            self.error(entry.0.place, &entry.1, message);
        }
        count
    }

    /// A list of strings, each of which is given once if `unique` names them.
    pub(crate) fn strings(
        &mut self,
        object: &Object<'_>,
        name: &str,
        unique: Option<&str>,
    ) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for entry in self.list(object.get(name)) {
            let Some((text, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            match unique {
                Some(what) if out.iter().any(|known| known == text) => {
                    self.error(place, &path, format!("{what} '{text}' is given twice"));
                }
                _ => out.push(text.into()),
            }
        }
        out
    }
}
