//! Users and groups: what shadow-utils would choose, as a plan, and two ways of writing it.
//!
//! Ignition runs `groupadd`, `useradd`, `usermod` and their like. [`plan`] follows their rules over the
//! image's own files, so that every route ends with the same numbers. [`edit_account_files`] then gives
//! the files that those programs would have left, and [`sysusers_d`] the lines of sysusers.d(5) for an
//! image whose accounts are made at boot.

mod database;
mod defaults;
mod edit;
mod ids;
mod plan;
mod sysusers;

pub use edit::{EditedAccounts, edit_account_files};
pub use plan::plan;
pub use sysusers::{SysusersRemainder, sysusers_d, sysusers_field, sysusers_remainder};

use std::collections::BTreeMap;

use crate::lower::BaseView;
use crate::model::Origin;
use crate::secret::Secret;

/// The image's account files, as bytes. One that is missing is `None`, which is not the same as empty:
/// `useradd` gives out subordinate IDs only where the file exists.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BaseAccounts {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
    /// `/etc/shadow`.
    pub shadow: Option<Vec<u8>>,
    /// `/etc/gshadow`.
    pub gshadow: Option<Vec<u8>>,
    /// `/etc/subuid`.
    pub subuid: Option<Vec<u8>>,
    /// `/etc/subgid`.
    pub subgid: Option<Vec<u8>>,
    /// `/etc/login.defs`.
    pub login_defs: Option<Vec<u8>>,
    /// `/etc/default/useradd`.
    pub default_useradd: Option<Vec<u8>>,
}

impl std::fmt::Debug for BaseAccounts {
    // The shadow files hold hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseAccounts").finish_non_exhaustive()
    }
}

impl BaseAccounts {
    /// Reads them from a tree.
    pub fn read(view: &dyn BaseView) -> Self {
        let file = |path: &str| {
            let path = view.resolve(path.as_bytes()).ok()?;
            view.read_file(&path)
        };
        Self {
            passwd: file("/etc/passwd").unwrap_or_default(),
            group: file("/etc/group").unwrap_or_default(),
            shadow: file("/etc/shadow"),
            gshadow: file("/etc/gshadow"),
            subuid: file("/etc/subuid"),
            subgid: file("/etc/subgid"),
            login_defs: file("/etc/login.defs"),
            default_useradd: file("/etc/default/useradd"),
        }
    }
}

/// What happens to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It is made.
    New,
    /// The image has it, and it is changed.
    Modified,
    /// The image has it, and it is removed.
    Removed,
}

/// What happens to a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// It stays as the image has it.
    Unchanged,
    /// `*`: no password fits.
    Locked,
    /// This hash.
    Hash(Secret),
}

/// The first ID and the count of a range of subordinate IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubordinateRange {
    /// First ID.
    pub start: u64,
    /// How many.
    pub count: u64,
}

/// What becomes of one user. For an existing one the fields hold what it has afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedUser {
    /// Account name.
    pub name: String,
    /// Made, changed or removed.
    pub disposition: Disposition,
    /// User ID.
    pub uid: u32,
    /// Primary group's ID.
    pub gid: u32,
    /// Comment field.
    pub gecos: String,
    /// Home directory, as `passwd` says it.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Supplementary groups, as the document lists them. `None` leaves an existing user's alone; a list
    /// is the whole new list.
    pub groups: Option<Vec<String>>,
    /// Whether a group of the same name is made with it.
    pub user_group: bool,
    /// Whether it is a system account.
    pub system: bool,
    /// Whether the home directory is made.
    pub create_home: bool,
    /// Permission bits of a home directory that is made.
    pub home_mode: u32,
    /// What happens to the password.
    pub password: Password,
    /// Subordinate user IDs that it gets.
    pub subuid: Option<SubordinateRange>,
    /// Subordinate group IDs that it gets.
    pub subgid: Option<SubordinateRange>,
    /// Lines for `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// What changes for an existing user, in words: `its shell`.
    pub changed: Vec<&'static str>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// What becomes of one group of `passwd.groups`. (A user's own group is in [`PlannedUser`].)
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedGroup {
    /// Group name.
    pub name: String,
    /// Made, changed or removed.
    pub disposition: Disposition,
    /// Group ID.
    pub gid: u32,
    /// Whether it is a system group.
    pub system: bool,
    /// What happens to the group's password.
    pub password: Password,
    /// Whether an existing group gets another ID.
    pub renumbered: bool,
    /// Where it was asked for.
    pub origin: Origin,
}

/// What becomes of the accounts, in the order in which it is done: groups, then users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountPlan {
    /// `passwd.groups`.
    pub groups: Vec<PlannedGroup>,
    /// `passwd.users`.
    pub users: Vec<PlannedUser>,
    /// Every user name that exists afterwards, with its ID.
    pub uids: BTreeMap<String, u32>,
    /// Every group name that exists afterwards, with its ID.
    pub gids: BTreeMap<String, u32>,
}

impl AccountPlan {
    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.users.is_empty()
    }

    /// The first item that asked for something.
    pub fn origin(&self) -> Option<&Origin> {
        let group = self.groups.first().map(|group| &group.origin);
        group.or_else(|| self.users.first().map(|user| &user.origin))
    }
}

/// Why `useradd` and its like would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountErrorKind {
    /// The ID is another account's.
    #[error("{what} ID {id} of '{name}' belongs to '{holder}'")]
    IdTaken {
        /// `user` or `group`.
        what: &'static str,
        /// The ID.
        id: u32,
        /// Who wants it.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// No ID is left in the range of login.defs.
    #[error("no {what} ID is free for '{name}' between {min} and {max}")]
    NoFreeId {
        /// `user`, `group`, `subordinate user` or `subordinate group`.
        what: &'static str,
        /// Who wants it.
        name: String,
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// A group that does not exist.
    #[error(
        "user '{name}' is to be in group '{group}', which neither the image nor the document has"
    )]
    UnknownGroup {
        /// The user.
        name: String,
        /// The group.
        group: String,
    },
    /// `useradd` would make a group that is there already.
    #[error(
        "group '{name}' exists, so user '{name}' cannot get a group of its own: name it as primary_group"
    )]
    UserGroupExists {
        /// The user's name and the group's.
        name: String,
    },
    /// A setting of an existing user that other files depend on.
    #[error(
        "user '{name}' exists with {setting} {now}, which is not changed to {wanted}: its files would not follow"
    )]
    ExistingUser {
        /// The user.
        name: String,
        /// `uid` or `home_dir`.
        setting: &'static str,
        /// What it has.
        now: String,
        /// What the document says.
        wanted: String,
    },
    /// A group cannot be removed while it is someone's primary group.
    #[error("group '{name}' cannot be removed: it is the primary group of '{user}'")]
    PrimaryGroup {
        /// The group.
        name: String,
        /// The user.
        user: String,
    },
}

/// An [`AccountErrorKind`] and the item that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {kind}")]
#[non_exhaustive]
pub struct AccountError {
    /// The item.
    pub origin: Origin,
    /// What is wrong.
    pub kind: AccountErrorKind,
}

/// All [`AccountError`]s of one run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct AccountErrors(pub Vec<AccountError>);
