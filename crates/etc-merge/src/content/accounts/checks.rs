//! What is amiss in merged account files.

use std::collections::{BTreeMap, BTreeSet};

use super::database::{Key, entries, fields, items};
use super::{AccountReport, Accounts, Database, Files};
use crate::Sides;
use crate::content::split;

/// The names of a file with their fields.
type Table<'a> = BTreeMap<&'a [u8], Vec<&'a [u8]>>;

pub(super) fn check(
    sides: Sides<Files<'_>>,
    merged: &Accounts<Option<Vec<u8>>>,
    reports: &mut Vec<AccountReport>,
) {
    let result = Accounts::from_fn(|database| merged.get(database).as_deref());
    let (current, new) = (sides.current, sides.new);
    for database in [Database::Passwd, Database::Group] {
        let [was, images, is] = [current, new, result].map(|files| table(files, database));
        renumbered(database, &numbers(&was, 2), &numbers(&is, 2), reports);
        collisions(database, result, [&was, &images], reports);
    }
    for (main, shadow) in [
        (Database::Passwd, Database::Shadow),
        (Database::Group, Database::Gshadow),
    ] {
        shadows(main, shadow, [current, new], result, reports);
    }
    primary_groups([current, new], result, reports);
    for database in [Database::Subuid, Database::Subgid] {
        ranges(database, current, result, reports);
    }
}

fn table<'a>(files: Files<'a>, database: Database) -> Table<'a> {
    let (lines, _) = split(files.get(database).unwrap_or_default());
    entries(database, &lines).collect()
}

fn number(field: Option<&&[u8]>) -> Option<u32> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}

fn numbers<'a>(table: &Table<'a>, at: usize) -> BTreeMap<&'a [u8], u32> {
    let of = |(&name, fields): (&&'a [u8], &Vec<&[u8]>)| Some((name, number(fields.get(at))?));
    table.iter().filter_map(of).collect()
}

/// What the machine has is changed by nobody but the image.
fn renumbered(
    database: Database,
    was: &BTreeMap<&[u8], u32>,
    is: &BTreeMap<&[u8], u32>,
    reports: &mut Vec<AccountReport>,
) {
    for (&name, &to) in is {
        match was.get(name) {
            Some(&from) if from != to => {
                let name = name.into();
                reports.push(match database {
                    Database::Passwd => AccountReport::UidChanged { name, from, to },
                    _ => AccountReport::GidChanged { name, from, to },
                });
            }
            _ => {}
        }
    }
}

fn collisions(
    database: Database,
    result: Files<'_>,
    sides: [&Table<'_>; 2],
    reports: &mut Vec<AccountReport>,
) {
    let (lines, _) = split(result.get(database).unwrap_or_default());
    let mut sharing: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
    for (name, fields) in entries(database, &lines) {
        if let Some(number) = number(fields.get(2)) {
            sharing.entry(number).or_default().push(name);
        }
    }
    for (id, names) in sharing {
        // Nothing new, if one of the sides has all of them at this number.
        let had_all = |side: &Table<'_>| {
            let had = |name: &&[u8]| number(side.get(name).and_then(|f| f.get(2))) == Some(id);
            names.iter().all(had)
        };
        if names.len() < 2 || sides.into_iter().any(had_all) {
            continue;
        }
        let names = names.into_iter().map(Box::from).collect();
        reports.push(match database {
            Database::Passwd => AccountReport::UidCollision { uid: id, names },
            _ => AccountReport::GidCollision { gid: id, names },
        });
    }
}

fn shadows(
    main: Database,
    shadow: Database,
    sides: [Files<'_>; 2],
    result: Files<'_>,
    reports: &mut Vec<AccountReport>,
) {
    if result.get(shadow).is_none() {
        return;
    }
    let (accounts, secrets) = (table(result, main), table(result, shadow));
    for (&name, fields) in &accounts {
        if fields.get(1) == Some(&&b"x"[..]) && !secrets.contains_key(name) {
            let name = name.into();
            let database = shadow;
            reports.push(AccountReport::MissingShadow { database, name });
        }
    }
    let orphans = |files| -> BTreeSet<Vec<u8>> {
        let (accounts, secrets) = (table(files, main), table(files, shadow));
        let orphans = secrets.keys().filter(|name| !accounts.contains_key(*name));
        orphans.map(|name| name.to_vec()).collect()
    };
    let known = sides.map(orphans);
    for name in orphans(result) {
        if !known.iter().any(|known| known.contains(&name)) {
            let name = name.into();
            let database = shadow;
            reports.push(AccountReport::OrphanedShadow { database, name });
        }
    }
}

fn primary_groups(sides: [Files<'_>; 2], result: Files<'_>, reports: &mut Vec<AccountReport>) {
    let without = |files| -> BTreeSet<(Vec<u8>, u32)> {
        let groups = table(files, Database::Group);
        let gids: BTreeSet<u32> = numbers(&groups, 2).into_values().collect();
        let accounts = numbers(&table(files, Database::Passwd), 3);
        let without = accounts.into_iter().filter(|(_, gid)| !gids.contains(gid));
        without.map(|(name, gid)| (name.to_vec(), gid)).collect()
    };
    if result.group.is_none() {
        return;
    }
    let known = sides.map(without);
    for (name, gid) in without(result) {
        if !known
            .iter()
            .any(|known| known.contains(&(name.clone(), gid)))
        {
            let name = name.into();
            reports.push(AccountReport::MissingGroup { name, gid });
        }
    }
}

/// A range of subordinate ids: subuid(5).
struct Range<'a> {
    start: u64,
    end: u64,
    owner: &'a [u8],
    local: bool,
}

fn ranges(
    database: Database,
    current: Files<'_>,
    result: Files<'_>,
    reports: &mut Vec<AccountReport>,
) {
    let (local, _) = split(current.get(database).unwrap_or_default());
    let local: BTreeSet<Key<'_>> = items(database, &local).into_iter().map(|i| i.0).collect();
    let (lines, _) = split(result.get(database).unwrap_or_default());
    let mut ranges: Vec<_> = items(database, &lines)
        .into_iter()
        .filter_map(|(key, line)| range(line, local.contains(&key)))
        .collect();
    ranges.sort_by_key(|range| (range.start, range.end, range.owner));
    // Of each kind, the range that reaches farthest so far.
    let mut farthest: [Option<&Range<'_>>; 2] = [None, None];
    for range in &ranges {
        let other = farthest[usize::from(!range.local)];
        if let Some(other) = other.filter(|other| other.end > range.start) {
            let (local, image) = if range.local {
                (range, other)
            } else {
                (other, range)
            };
            reports.push(AccountReport::RangeOverlap {
                database,
                local: local.owner.into(),
                image: image.owner.into(),
                first: range.start,
            });
        }
        let mine = &mut farthest[usize::from(range.local)];
        if mine.is_none_or(|mine| mine.end < range.end) {
            *mine = Some(range);
        }
    }
}

fn range(line: &[u8], local: bool) -> Option<Range<'_>> {
    let fields = fields(line.trim_ascii());
    let [owner, start, count] = fields[..] else {
        return None;
    };
    let start = u64::from(number(Some(&start))?);
    let end = start + u64::from(number(Some(&count))?);
    Some(Range {
        start,
        end,
        owner,
        local,
    })
}
