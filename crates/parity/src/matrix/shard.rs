//! The part of a matrix that one process takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The K-th of N parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    count: u32,
}

/// A text that names no part.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no part: it is K/N, where K counts from 1 and is at most N")]
pub struct ShardError(String);

impl Shard {
    /// The cells of this part: a contiguous slice, so that the parts of one N are disjoint and are
    /// together the whole, and differ in length by one at most. It may be empty.
    pub fn of<'a, T>(&self, cells: &'a [T]) -> &'a [T] {
        let cut = |part: u32| {
            let at = cells.len() as u128 * u128::from(part) / u128::from(self.count);
            usize::try_from(at).expect("no more than there are")
        };
        &cells[cut(self.index - 1)..cut(self.index)]
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        // Digits alone: parse takes a plus sign, too.
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        let (index, count) = (number(index)?, number(count)?);
        match (1..=count).contains(&index) {
            true => Ok(Self { index, count }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(text: String) -> Result<Self, ShardError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Shard {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Shard".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The K-th of N parts.",
            "type": "string",
            "pattern": "^[0-9]+/[0-9]+$"
        })
    }
}
