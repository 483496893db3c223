//! One section of a snapshot: a sorted map, or the reason why there is none.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One aspect of a system, as a map from a key (a path, a unit, a user) to a small value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section<T> {
    /// Nobody looked: the kind of view has no such section, as that of a tree that was never booted.
    #[default]
    NotCaptured,
    /// It was looked for and could not be had: a tool is missing, or failed.
    Unavailable(Unavailable),
    /// What was found; empty means that there really is nothing.
    Entries(BTreeMap<String, T>),
}

/// Why a section could not be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unavailable {
    /// For people: which tool or file, and what it said.
    pub why: String,
}

/// Which of the three a [`Section`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// [`Section::NotCaptured`].
    NotCaptured,
    /// [`Section::Unavailable`], with the reason.
    Unavailable(String),
    /// [`Section::Entries`], with their number.
    Entries(usize),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCaptured => f.write_str("not captured"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Entries(count) => write!(f, "{count} entries"),
        }
    }
}

impl<T> Section<T> {
    /// A section that could not be captured.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(Unavailable { why: why.into() })
    }

    /// The entries, if it was captured.
    pub fn entries(&self) -> Option<&BTreeMap<String, T>> {
        match self {
            Self::Entries(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entries, to be changed.
    pub fn entries_mut(&mut self) -> Option<&mut BTreeMap<String, T>> {
        match self {
            Self::Entries(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key; `None` also where the section was not captured.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.entries()?.get(key)
    }

    /// Which of the three it is.
    pub fn status(&self) -> Status {
        match self {
            Self::NotCaptured => Status::NotCaptured,
            Self::Unavailable(Unavailable { why }) => Status::Unavailable(why.clone()),
            Self::Entries(entries) => Status::Entries(entries.len()),
        }
    }
}

impl<T> FromIterator<(String, T)> for Section<T> {
    /// Keys that come again get `#2`, `#3`… appended, so that nothing is lost.
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let mut unique = key.clone();
            let mut count = 1;
            while map.contains_key(&unique) {
                count += 1;
                unique = format!("{key}#{count}");
            }
            map.insert(unique, value);
        }
        Self::Entries(map)
    }
}
