//! Which ID a new account gets: shadow-utils' rules.

use std::collections::BTreeSet;

use super::database::Table;
use super::defaults::Defaults;
use super::{AccountErrorKind, SubordinateRange};

/// Users or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    User,
    Group,
}

impl Space {
    fn key(self, rest: &str) -> String {
        match self {
            Self::User => format!("UID_{rest}"),
            Self::Group => format!("GID_{rest}"),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }
}

/// Lowest and highest ID that is given out.
fn range(space: Space, system: bool, defaults: &Defaults) -> (u64, u64) {
    let min = defaults.number(&space.key("MIN"), 1000);
    if system {
        let system_min = defaults.number(&format!("SYS_{}", space.key("MIN")), 101);
        let system_max =
            defaults.number(&format!("SYS_{}", space.key("MAX")), min.saturating_sub(1));
        // 0 is root's.
        (system_min.max(1), system_max)
    } else {
        (min, defaults.number(&space.key("MAX"), 60000))
    }
}

/// A free ID. Ordinary accounts count up from the highest that is taken, system accounts down from the
/// lowest, so that the ID of a removed account is not given to another while there are others.
pub(super) fn free(
    space: Space,
    name: &str,
    system: bool,
    taken: &BTreeSet<u32>,
    preferred: Option<u32>,
    defaults: &Defaults,
) -> Result<u32, AccountErrorKind> {
    let (min, max) = range(space, system, defaults);
    let is_free =
        |id: u64| u32::try_from(id).is_ok_and(|id| id != u32::MAX && !taken.contains(&id));
    if let Some(id) = preferred {
        let lowest = if system { 1 } else { min };
        if (lowest..=max).contains(&u64::from(id)) && is_free(id.into()) {
            return Ok(id);
        }
    }
    let within = || {
        taken
            .iter()
            .map(|id| u64::from(*id))
            .filter(|id| (min..=max).contains(id))
    };
    let found = if system {
        let start = within().min().map_or(max, |lowest| lowest - 1);
        let start = if start < min { max } else { start };
        (min..=start)
            .rev()
            .chain((min..=max).rev())
            .find(|id| is_free(*id))
    } else {
        let start = within().max().map_or(min, |highest| highest + 1);
        let start = if start > max { min } else { start };
        (start..=max).chain(min..=max).find(|id| is_free(*id))
    };
    found
        .and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| AccountErrorKind::NoFreeId {
            what: space.words(),
            name: name.into(),
            min,
            max,
        })
}

/// The first hole among the ranges of subordinate IDs that is large enough.
pub(super) fn free_range(
    space: Space,
    name: &str,
    table: &Table,
    defaults: &Defaults,
) -> Result<Option<SubordinateRange>, AccountErrorKind> {
    let key = |rest: &str| format!("SUB_{}", space.key(rest));
    let min = defaults.number(&key("MIN"), 100_000);
    let max = defaults.number(&key("MAX"), 600_100_000);
    let count = defaults.number(&key("COUNT"), 65_536);
    if count == 0 {
        return Ok(None);
    }
    let none = || AccountErrorKind::NoFreeId {
        what: match space {
            Space::User => "subordinate user",
            Space::Group => "subordinate group",
        },
        name: name.into(),
        min,
        max,
    };
    let mut ranges: Vec<(u64, u64)> = table
        .rows()
        .filter_map(|row| Some((row.number(1)?, row.number(2)?)))
        .collect();
    ranges.sort_unstable();
    let mut low = min;
    for (start, length) in ranges {
        let high = start.min(max.saturating_add(1));
        if high > low && high - low >= count {
            break;
        }
        low = low.max(start.saturating_add(length));
    }
    if low > max || max - low + 1 < count {
        return Err(none());
    }
    Ok(Some(SubordinateRange { start: low, count }))
}
