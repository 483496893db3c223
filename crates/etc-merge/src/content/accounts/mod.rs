//! passwd, group, shadow, gshadow, subuid and subgid, merged as one set.

mod checks;
mod database;
mod report;

use std::collections::BTreeSet;
use std::fmt;

pub use report::AccountReport;

use self::database::{Key, entries, fields, items, merge_entry, other_lines};
use super::{ContentOptions, NotMerged, check_text, each_side, ordered, settled, split};
use crate::{Side, Sides};

/// One of the files that hold the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each names a file")]
pub enum Database {
    Passwd,
    Group,
    Shadow,
    Gshadow,
    Subuid,
    Subgid,
}

impl Database {
    /// All, in the order of the fields of [`Accounts`].
    pub const ALL: [Self; 6] = [
        Self::Passwd,
        Self::Group,
        Self::Shadow,
        Self::Gshadow,
        Self::Subuid,
        Self::Subgid,
    ];

    /// Its name in `/etc`.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Passwd => "passwd",
            Self::Group => "group",
            Self::Shadow => "shadow",
            Self::Gshadow => "gshadow",
            Self::Subuid => "subuid",
            Self::Subgid => "subgid",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

/// One thing for each of the files.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each names a file")]
pub struct Accounts<T> {
    pub passwd: T,
    pub group: T,
    pub shadow: T,
    pub gshadow: T,
    pub subuid: T,
    pub subgid: T,
}

impl<T> Accounts<T> {
    /// Asks for each file.
    pub fn from_fn(mut f: impl FnMut(Database) -> T) -> Self {
        Self {
            passwd: f(Database::Passwd),
            group: f(Database::Group),
            shadow: f(Database::Shadow),
            gshadow: f(Database::Gshadow),
            subuid: f(Database::Subuid),
            subgid: f(Database::Subgid),
        }
    }

    /// That of one file.
    pub fn get(&self, database: Database) -> &T {
        match database {
            Database::Passwd => &self.passwd,
            Database::Group => &self.group,
            Database::Shadow => &self.shadow,
            Database::Gshadow => &self.gshadow,
            Database::Subuid => &self.subuid,
            Database::Subgid => &self.subgid,
        }
    }
}

/// Shadow files hold hashes of passwords: nothing that is in here is shown.
impl<T> fmt::Debug for Accounts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// What became of the account files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedAccounts {
    /// The files; `None` for one that is not in the result.
    pub files: Accounts<Option<Vec<u8>>>,
    /// What a person should know, sorted.
    pub reports: Vec<AccountReport>,
}

type Files<'a> = Accounts<Option<&'a [u8]>>;

/// Merges the account files as one set: by name, and by field within an entry.
///
/// - A field that one side changed is that side's. Changed on both sides to different values, it is
///   the machine's, and a [`AccountReport::FieldConflict`] says so. Members and administrators of
///   groups are merged as sets. The date of a password comes along with the machine's password.
/// - No name of the machine's is lost, unless the image removed it and the machine had left it alone
///   in both of its files. No name of the image's is lost, unless the machine removed it.
/// - Comments, lines of NIS, and lines that cannot be read are a set of lines, and stay where they
///   are, as they are. Several names may share a number. Of several lines for a name the first
///   counts, as it does for whoever reads the file: the others stay with the machine's, and are
///   never taken from the image.
/// - The order is the machine's; what the image adds comes after what it follows there, and before
///   any line of NIS. Ranges of subordinate ids are a set of lines.
/// - A file that the image no longer has stays, if the machine changed any of the six. One that the
///   machine removed stays removed.
/// - If one of the files cannot be merged (a NUL, or larger than
///   [`ContentOptions::max_bytes`]), all six are the machine's, unless all six are equal on two
///   sides; [`AccountReport::NotMerged`] says why.
///
/// A file whose pristine and current side are equal becomes the new one byte for byte, unless an
/// entry is kept that the image dropped; and likewise for the other pairs. `passwd`, `group` and so
/// on keep what is wrong with them: nothing is made up. What is amiss in the result is reported.
pub fn merge_accounts(sides: Sides<Files<'_>>, options: &ContentOptions) -> MergedAccounts {
    if let Err((database, why)) = check(sides, options) {
        let unreadable = AccountReport::NotMerged { database, why };
        let (files, reports) = match settled(sides) {
            Some(files) => (files, Vec::new()),
            None => (sides.current, vec![unreadable]),
        };
        let files = Accounts::from_fn(|database| files.get(database).map(<[u8]>::to_vec));
        return MergedAccounts { files, reports };
    }
    let mut merge = Merge {
        sides,
        changed: sides.pristine != sides.current,
        kept: Accounts::default(),
        reports: Vec::new(),
    };
    // A group may be kept because of an account, so accounts come first.
    merge.kept.passwd = merge.locally_changed([Database::Passwd, Database::Shadow]);
    merge.kept.shadow = merge.kept.passwd.clone();
    let passwd = merge.file(Database::Passwd);
    merge.kept.group = merge.locally_changed([Database::Group, Database::Gshadow]);
    merge.keep_primary_groups(passwd.as_deref());
    merge.kept.gshadow = merge.kept.group.clone();
    let files = Accounts {
        passwd,
        group: merge.file(Database::Group),
        shadow: merge.file(Database::Shadow),
        gshadow: merge.file(Database::Gshadow),
        subuid: merge.file(Database::Subuid),
        subgid: merge.file(Database::Subgid),
    };
    let mut reports = merge.reports;
    checks::check(sides, &files, &mut reports);
    reports.sort();
    reports.dedup();
    MergedAccounts { files, reports }
}

fn check(sides: Sides<Files<'_>>, options: &ContentOptions) -> Result<(), (Database, NotMerged)> {
    for database in Database::ALL {
        let of_file = sides.map(|files| files.get(database).unwrap_or_default());
        each_side(of_file, |side, content| check_text(side, content, options))
            .map_err(|why| (database, why))?;
    }
    Ok(())
}

struct Merge<'a> {
    sides: Sides<Files<'a>>,
    /// Whether the machine changed any of the files.
    changed: bool,
    /// The names that stay where the image drops them.
    kept: Accounts<BTreeSet<&'a [u8]>>,
    reports: Vec<AccountReport>,
}

impl<'a> Merge<'a> {
    fn lines(&self, database: Database) -> Sides<(Vec<&'a [u8]>, bool)> {
        self.sides
            .map(|files| split(files.get(database).unwrap_or_default()))
    }

    /// The names whose lines the machine changed in one of two files.
    fn locally_changed(&self, files: [Database; 2]) -> BTreeSet<&'a [u8]> {
        let mut changed = BTreeSet::new();
        for database in files {
            let lines = self.lines(database);
            let of = |side: &[&'a [u8]]| -> BTreeSet<(Key<'a>, &'a [u8])> {
                items(database, side).into_iter().collect()
            };
            let (pristine, current) = (of(&lines.pristine.0), of(&lines.current.0));
            let differ = pristine.symmetric_difference(&current);
            changed.extend(differ.filter_map(|(key, _)| match *key {
                Key::Name(name) | Key::Again(name, _) => Some(name),
                Key::Line(..) => None,
            }));
        }
        changed
    }

    /// Keeps the groups that accounts of the machine's have as their primary group.
    fn keep_primary_groups(&mut self, passwd: Option<&[u8]>) {
        let (lines, _) = split(passwd.unwrap_or_default());
        let used: BTreeSet<_> = entries(Database::Passwd, &lines)
            .filter(|(name, _)| self.kept.passwd.contains(name))
            .filter_map(|(_, fields)| fields.get(3).map(|gid| gid.to_vec()))
            .collect();
        let groups = self.lines(Database::Group).current.0;
        let names = entries(Database::Group, &groups)
            .filter(|(_, fields)| fields.get(2).is_some_and(|&gid| used.contains(gid)))
            .map(|(name, _)| name);
        self.kept.group.extend(names);
    }

    fn file(&mut self, database: Database) -> Option<Vec<u8>> {
        let content = self.sides.map(|files| *files.get(database));
        let whole = settled(content);
        match (content.pristine, content.current, content.new) {
            (_, None, None) | (None, None, Some(_)) | (None, Some(_), None) => {
                return whole.flatten().map(<[u8]>::to_vec);
            }
            (Some(pristine), None, Some(new)) => {
                if pristine != new {
                    self.file_removed(database, Side::Local);
                }
                return None;
            }
            (Some(_), Some(current), None) => {
                if !self.changed {
                    return None;
                }
                self.file_removed(database, Side::Image);
                return Some(current.to_vec());
            }
            (_, Some(_), Some(_)) => {}
        }
        let lines = self.lines(database);
        let of_side = lines.as_ref().map(|(lines, _)| items(database, lines));
        let counts = ordered::Counts::new(of_side.as_ref().map(|items| other_lines(items)));
        let names = of_side.as_ref().map(|items| {
            let names = items.iter().filter_map(|(key, _)| match *key {
                Key::Name(name) => Some(name),
                _ => None,
            });
            names.collect::<BTreeSet<_>>()
        });
        let kept = self.kept.get(database).clone();
        let dropped = |name: &[u8]| {
            names.pristine.contains(name) && !names.new.contains(name) && !kept.contains(name)
        };
        let mut kept_any = false;
        let merged = ordered::merge(
            of_side.as_ref().map(Vec::as_slice),
            |key| key.is_nis(),
            |key, of_key| match key {
                Key::Name(name) => self.entry(database, name, of_key, &mut kept_any),
                // It goes with the name, and is else the machine's affair.
                Key::Again(name, _) => of_key
                    .current
                    .filter(|_| !dropped(name))
                    .map(<[u8]>::to_vec),
                Key::Line(line, number) => {
                    counts.decide((line, number), of_key).map(<[u8]>::to_vec)
                }
            },
        );
        // The lines are merged even so: for what there is to report.
        if let Some(whole) = whole.filter(|_| !kept_any) {
            return whole.map(<[u8]>::to_vec);
        }
        let ends = super::last_has_end(lines.map(|(_, end)| end));
        Some(super::join(merged.iter().map(Vec::as_slice), ends))
    }

    fn entry(
        &mut self,
        database: Database,
        name: &[u8],
        of_key: Sides<Option<&'a [u8]>>,
        kept_any: &mut bool,
    ) -> Option<Vec<u8>> {
        match (of_key.pristine, of_key.current, of_key.new) {
            (Some(_), Some(current), None) => {
                if !self.kept.get(database).contains(name) {
                    return None;
                }
                *kept_any = true;
                let name = name.into();
                let report = AccountReport::RemovedByImageModifiedLocally { database, name };
                self.reports.push(report);
                Some(current.to_vec())
            }
            (Some(pristine), None, Some(new)) => {
                if !same_but_for_date(database, pristine, new) {
                    let name = name.into();
                    let report = AccountReport::RemovedLocallyModifiedByImage { database, name };
                    self.reports.push(report);
                }
                None
            }
            _ => merge_entry(database, name, of_key, &mut self.reports),
        }
    }

    fn file_removed(&mut self, database: Database, by: Side) {
        self.reports
            .push(AccountReport::FileRemoved { database, by });
    }
}

/// Whether two lines are equal, but for the date of a password: an image has another one each time
/// that it is built.
fn same_but_for_date(database: Database, a: &[u8], b: &[u8]) -> bool {
    let undated = |line| {
        let mut fields = fields(line);
        if database == Database::Shadow && fields.len() > 2 {
            fields.remove(2);
        }
        fields
    };
    undated(a) == undated(b)
}
