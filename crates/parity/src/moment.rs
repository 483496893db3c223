//! When two routes are compared: what agrees at first boot can part later.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use pleach_booted_state::SectionName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Route, Verdict};

/// A moment in the life of a machine.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Moment {
    /// The first boot.
    #[default]
    #[serde(rename = "t0")]
    First,
    /// After an upgrade to a new base image.
    #[serde(rename = "t1")]
    Upgraded,
    /// After a rollback from that.
    #[serde(rename = "t2")]
    RolledBack,
    /// After the customization was withdrawn from the machine that was rolled back.
    #[serde(rename = "t3")]
    Withdrawn,
}

impl Moment {
    /// All, in the order in which a machine comes to them.
    pub const ALL: [Self; 4] = [
        Self::First,
        Self::Upgraded,
        Self::RolledBack,
        Self::Withdrawn,
    ];

    /// As it is spelled on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "t0",
            Self::Upgraded => "t1",
            Self::RolledBack => "t2",
            Self::Withdrawn => "t3",
        }
    }

    /// What it is, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::First => "first boot",
            Self::Upgraded => "after the upgrade",
            Self::RolledBack => "after the rollback",
            Self::Withdrawn => "after the withdrawal",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no moment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no moment; there are t0 (first boot), t1 (upgrade), t2 (rollback) and t3 (withdrawal)"
)]
pub struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let found = Self::ALL.into_iter().find(|moment| moment.as_str() == text);
        found.ok_or_else(|| MomentError(text.to_owned()))
    }
}

/// What the merge of a machine's `/etc` did with a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How the three sides lay: `local-modified`, `image-updated`, `conflict:both-modified`, …
    pub state: String,
    /// What the result has: `local`, `image`, `merged`, `absent`, …
    pub resolution: String,
}

/// What the merge of one machine did, by path from the root; what is not in it was the image's on all
/// sides.
pub type Decisions = BTreeMap<String, Decision>;

/// A path of `/etc` in which two routes have parted: which keeps what, why, and what would mend it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parting {
    /// From the root.
    pub path: String,
    /// What the left machine's merge did.
    pub left: String,
    /// What the right machine's merge did.
    pub right: String,
    /// The command that, given on the machine in time, makes the routes agree; none is known for others.
    pub mend: Option<String>,
}

impl Verdict {
    /// Says of each defect in `/etc` how it came.
    pub fn explain(&mut self, left: &Decisions, right: &Decisions) {
        let mut paths: Vec<&String> = self.differing_in_etc().collect();
        paths.sort();
        paths.dedup();
        let partings = paths.into_iter().map(|path| {
            let sides = [(self.left, left.get(path)), (self.right, right.get(path))];
            Parting {
                path: path.clone(),
                left: told(sides[0]),
                right: told(sides[1]),
                mend: mend(path, sides),
            }
        });
        self.partings = partings.collect();
    }

    fn differing_in_etc(&self) -> impl Iterator<Item = &String> {
        let differences = self.defects.iter().filter_map(|defect| match defect {
            crate::Defect::Difference(difference) => Some(difference),
            crate::Defect::Shape { .. } => None,
        });
        let paths = differences.filter(|d| d.section == SectionName::Paths);
        let keys = paths.filter_map(|difference| difference.key.as_ref());
        keys.filter(|key| key.starts_with("/etc/"))
    }
}

fn told((route, decision): (Route, Option<&Decision>)) -> String {
    match (route, decision) {
        (_, Some(Decision { state, resolution })) => format!("{state}, so it has {resolution}"),
        (Route::Derive, None) => "its image ships it so".to_owned(),
        (_, None) => "untouched, so it has what the image ships".to_owned(),
    }
}

/// What follows the image and what is the machine's for ever can be made the other, each by one command.
fn mend(path: &str, sides: [(Route, Option<&Decision>); 2]) -> Option<String> {
    let (_, injected) = sides
        .into_iter()
        .find(|(route, _)| *route != Route::Derive)?;
    let kept = injected.is_some_and(|d| matches!(&*d.resolution, "local" | "merged" | "composed"));
    Some(match kept {
        true => format!("pleach etc release {path}"),
        false => format!("pleach etc pin {path}"),
    })
}
