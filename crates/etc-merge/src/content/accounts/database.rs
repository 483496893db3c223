//! One account file: its lines, and how one of them is merged.

use super::{AccountReport, Database};
use crate::Sides;
use crate::content::ordered::{self, Counts, count_repeats};
use crate::content::{settled, three_way};

/// What a line is found by on the other sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key<'a> {
    /// The first line of an account or group: the one that counts.
    Name(&'a [u8]),
    /// A further one, by its number.
    Again(&'a [u8], u32),
    /// Any other line, as it is, and its number among equal ones, from 1: a comment, one of NIS
    /// (`+`, `-user`, `+@netgroup`), or what cannot be read. A range of subordinate ids is such a
    /// line too, and always has the number 1.
    Line(&'a [u8], u32),
}

impl Key<'_> {
    /// Whether it has to stay behind all names: NIS's `+` hides what comes after it.
    pub(super) fn is_nis(&self) -> bool {
        matches!(self, Self::Line([b'+' | b'-', ..], _))
    }
}

/// The lines of a file with their keys.
pub(super) fn items<'a>(database: Database, lines: &[&'a [u8]]) -> Vec<(Key<'a>, &'a [u8])> {
    let ranges = matches!(database, Database::Subuid | Database::Subgid);
    let keys = lines.iter().map(|line| match name(line) {
        Some(_) if ranges => Key::Line(line.trim_ascii(), 0),
        Some(name) => Key::Name(name),
        None => Key::Line(line, 0),
    });
    let numbered = count_repeats(keys).map(|(key, number)| match key {
        Key::Name(name) if number > 1 => Key::Again(name, number),
        Key::Line(line, _) if ranges && name(line).is_some() => Key::Line(line, 1),
        Key::Line(line, _) => Key::Line(line, number),
        key => key,
    });
    numbered.zip(lines.iter().copied()).collect()
}

/// The numbered lines that are for no name.
pub(super) fn other_lines<'a>(
    items: &[(Key<'a>, &'a [u8])],
) -> impl Iterator<Item = (&'a [u8], u32)> {
    items.iter().filter_map(|(key, _)| match *key {
        Key::Line(line, number) => Some((line, number)),
        _ => None,
    })
}

/// The name that a line is for, or `None` if it is no entry.
fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&b| b == b':')?;
    match &line[..colon] {
        [] | [b'#' | b'+' | b'-', ..] => None,
        name => Some(name),
    }
}

/// The names of a file with the fields of each.
pub(super) fn entries<'a>(
    database: Database,
    lines: &[&'a [u8]],
) -> impl Iterator<Item = (&'a [u8], Vec<&'a [u8]>)> {
    let items = items(database, lines).into_iter();
    items.filter_map(|(key, line)| match key {
        Key::Name(name) => Some((name, fields(line))),
        _ => None,
    })
}

pub(super) fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|&b| b == b':').collect()
}

/// The fields after the name, as passwd(5), group(5), shadow(5) and gshadow(5) call them.
fn field_names(database: Database) -> &'static [&'static str] {
    match database {
        Database::Passwd => &[PASSWORD, "UID", "GID", "comment", "home", "shell"],
        Database::Group => &[PASSWORD, "GID", "members"],
        Database::Shadow => &[
            PASSWORD,
            LAST_CHANGE,
            "minimum password age",
            "maximum password age",
            "password warning period",
            "password inactivity period",
            "account expiration date",
            "reserved field",
        ],
        Database::Gshadow => &[PASSWORD, "administrators", "members"],
        Database::Subuid | Database::Subgid => &[],
    }
}

const PASSWORD: &str = "password";
const LAST_CHANGE: &str = "date of last password change";

/// Merges the line of a name that the machine and the image have, field by field.
pub(super) fn merge_entry(
    database: Database,
    name: &[u8],
    lines: Sides<Option<&[u8]>>,
    reports: &mut Vec<AccountReport>,
) -> Option<Vec<u8>> {
    let mut conflict = |field| {
        reports.push(AccountReport::FieldConflict {
            database,
            name: name.into(),
            field,
        });
    };
    if let Some(line) = settled(lines) {
        return line.map(<[u8]>::to_vec);
    }
    let (current, new) = (lines.current?, lines.new?);
    let names = field_names(database);
    let of_side = lines.map(|line| line.map_or(Vec::new(), fields));
    let readable = |fields: &Vec<&[u8]>| fields.len() == names.len() + 1;
    let pristine_readable = lines.pristine.is_none() || readable(&of_side.pristine);
    if !pristine_readable || !readable(&of_side.current) || !readable(&of_side.new) {
        conflict("line");
        return Some(current.to_vec());
    }
    debug_assert!(current.starts_with(name) && new.starts_with(name));

    let mut merged = name.to_vec();
    let passwords = of_side.as_ref().map(|fields| fields.get(1).copied());
    let both_unusable =
        passwords.current.is_some_and(is_unusable) && passwords.new.is_some_and(is_unusable);
    let local_password =
        passwords.current != passwords.new && three_way(passwords).0 == passwords.current;
    for (at, &what) in (1..).zip(names) {
        let values = of_side.as_ref().map(|fields| fields.get(at).copied());
        merged.push(b':');
        if matches!(what, "members" | "administrators") {
            merged.extend(merge_members(values));
            continue;
        }
        let (mut value, mut both_changed) = three_way(values);
        match what {
            // `!`, `!!`, `*` and `!*` are one thing in four spellings.
            PASSWORD => both_changed &= !both_unusable,
            // The date tells the age of the password, and comes along with the machine's.
            LAST_CHANGE if local_password => (value, both_changed) = (values.current, false),
            LAST_CHANGE => both_changed &= !both_unusable,
            _ => {}
        }
        if both_changed {
            conflict(what);
        }
        merged.extend_from_slice(value?);
    }
    Some(merged)
}

/// Whether no password matches, and there is none to be unlocked either.
fn is_unusable(password: &[u8]) -> bool {
    !password.is_empty() && password.iter().all(|b| b"!*".contains(b))
}

/// Merges comma-separated names as a set, in the machine's order, the image's additions last.
fn merge_members(lists: Sides<Option<&[u8]>>) -> Vec<u8> {
    if let Some(list) = settled(lists) {
        return list.unwrap_or_default().to_vec();
    }
    let members = lists.map(|list| {
        let list = list.unwrap_or_default().split(|&b| b == b',');
        let list = list.filter(|member| !member.is_empty());
        list.map(|member| ((member, 1), member)).collect::<Vec<_>>()
    });
    let counts = Counts::new(members.as_ref().map(|list| list.iter().map(|item| item.0)));
    let merged = ordered::merge(
        members.as_ref().map(Vec::as_slice),
        |_| false,
        |key, of_key| counts.decide(key, of_key),
    );
    merged.join(&b","[..])
}
