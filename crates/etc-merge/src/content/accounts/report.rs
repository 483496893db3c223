//! What a merge of the accounts has to tell. Never a password, nor the hash of one.

use std::fmt;

use pleach_fs_tree::escape;

use super::Database;
use crate::Side;
use crate::content::NotMerged;

/// Something that a person should know about the merged accounts. Names are bytes; none of the
/// fields that are shown is ever secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AccountReport {
    /// The whole set is the machine's, for this reason.
    NotMerged {
        /// The file that cannot be merged.
        database: Database,
        /// Why.
        why: NotMerged,
    },
    /// One side has no such file any more, and the machine changed this or another of the files.
    /// The machine's side is kept: its file, or its lack.
    FileRemoved {
        /// The file.
        database: Database,
        /// Who removed it.
        by: Side,
    },
    /// Both sides set a field to different values: the machine's is kept.
    FieldConflict {
        /// The file.
        database: Database,
        /// The account or group.
        name: Box<[u8]>,
        /// The field, as the manual page of the file calls it; `line` where the sides do not have
        /// the same number of fields.
        field: &'static str,
    },
    /// The image dropped an entry that is kept, since the machine changed it, or its entry in the
    /// other file (`passwd` and `shadow`, `group` and `gshadow`), or since it is the primary group
    /// of an account that the machine added or changed.
    RemovedByImageModifiedLocally {
        /// The file.
        database: Database,
        /// The account or group.
        name: Box<[u8]>,
    },
    /// The machine removed an entry that the image changed: it stays removed.
    RemovedLocallyModifiedByImage {
        /// The file.
        database: Database,
        /// The account or group.
        name: Box<[u8]>,
    },
    /// The image renumbered an account that the machine had left alone. Files outside of the image
    /// may still be owned by the old number.
    UidChanged {
        /// The account.
        name: Box<[u8]>,
        /// The number until now.
        from: u32,
        /// The image's.
        to: u32,
    },
    /// The same for a group.
    GidChanged {
        /// The group.
        name: Box<[u8]>,
        /// The number until now.
        from: u32,
        /// The image's.
        to: u32,
    },
    /// Accounts share a number that did not share it on either side.
    UidCollision {
        /// The number.
        uid: u32,
        /// All that have it, in the order of the file.
        names: Vec<Box<[u8]>>,
    },
    /// The same for groups.
    GidCollision {
        /// The number.
        gid: u32,
        /// All that have it, in the order of the file.
        names: Vec<Box<[u8]>>,
    },
    /// An entry says `x` (the password is in the shadow file), and the shadow file has no such
    /// entry: nobody can log in with a password. None is made up.
    MissingShadow {
        /// [`Database::Shadow`] or [`Database::Gshadow`].
        database: Database,
        /// The account or group.
        name: Box<[u8]>,
    },
    /// The merge left an entry in a shadow file without the account or group that it is for.
    OrphanedShadow {
        /// [`Database::Shadow`] or [`Database::Gshadow`].
        database: Database,
        /// The account or group.
        name: Box<[u8]>,
    },
    /// The merge left an account without a name for its primary group.
    MissingGroup {
        /// The account.
        name: Box<[u8]>,
        /// The number that no group has.
        gid: u32,
    },
    /// A range that the image added overlaps one of the machine's.
    RangeOverlap {
        /// [`Database::Subuid`] or [`Database::Subgid`].
        database: Database,
        /// Whose range of the machine's.
        local: Box<[u8]>,
        /// Whose range of the image's.
        image: Box<[u8]>,
        /// The first number that is in both.
        first: u64,
    },
}

impl AccountReport {
    /// The file that it is about.
    pub fn database(&self) -> Database {
        match self {
            Self::NotMerged { database, .. }
            | Self::FileRemoved { database, .. }
            | Self::FieldConflict { database, .. }
            | Self::RemovedByImageModifiedLocally { database, .. }
            | Self::RemovedLocallyModifiedByImage { database, .. }
            | Self::MissingShadow { database, .. }
            | Self::OrphanedShadow { database, .. }
            | Self::RangeOverlap { database, .. } => *database,
            Self::UidChanged { .. } | Self::UidCollision { .. } | Self::MissingGroup { .. } => {
                Database::Passwd
            }
            Self::GidChanged { .. } | Self::GidCollision { .. } => Database::Group,
        }
    }

    /// Whether both sides want something that cannot both be had.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::NotMerged { .. }
                | Self::FileRemoved { .. }
                | Self::FieldConflict { .. }
                | Self::RemovedByImageModifiedLocally { .. }
                | Self::RemovedLocallyModifiedByImage { .. }
        )
    }
}

impl fmt::Display for AccountReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMerged { database, why } => {
                write!(f, "{database}: {why}: all account files are the machine's")
            }
            Self::FileRemoved { database, by } => write!(
                f,
                "{database}: removed on the {by} side; the machine's side is kept"
            ),
            Self::FieldConflict {
                database,
                name,
                field,
            } => write!(
                f,
                "{database}: {}: both sides changed {field}; the machine's is kept",
                escape(name)
            ),
            Self::RemovedByImageModifiedLocally { database, name } => write!(
                f,
                "{database}: {}: dropped by the image and changed here; kept",
                escape(name)
            ),
            Self::RemovedLocallyModifiedByImage { database, name } => write!(
                f,
                "{database}: {}: removed here and changed by the image; stays removed",
                escape(name)
            ),
            Self::UidChanged { name, from, to } => renumbered(f, "uid", name, *from, *to),
            Self::GidChanged { name, from, to } => renumbered(f, "gid", name, *from, *to),
            Self::UidCollision { uid, names } => collide(f, "passwd: uid", *uid, names),
            Self::GidCollision { gid, names } => collide(f, "group: gid", *gid, names),
            Self::MissingShadow { database, name } => {
                write!(f, "{database}: {}: has no entry", escape(name))
            }
            Self::OrphanedShadow { database, name } => write!(
                f,
                "{database}: {}: has an entry, and nothing has that name",
                escape(name)
            ),
            Self::MissingGroup { name, gid } => write!(
                f,
                "passwd: {}: no group has the gid {gid} of its primary group",
                escape(name)
            ),
            Self::RangeOverlap {
                database,
                local,
                image,
                first,
            } => write!(
                f,
                "{database}: the image's range of {} overlaps that of {} here, from {first} on",
                escape(image),
                escape(local)
            ),
        }
    }
}

fn renumbered(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    name: &[u8],
    from: u32,
    to: u32,
) -> fmt::Result {
    write!(
        f,
        "{}: the image changed its {what} from {from} to {to}; files outside of the image may be \
         owned by {from}",
        escape(name)
    )
}

fn collide(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    number: u32,
    names: &[Box<[u8]>],
) -> fmt::Result {
    let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
    write!(f, "{what} {number} is shared by {}", names.join(", "))
}
