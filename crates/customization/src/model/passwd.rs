//! `passwd`: users and groups.

use super::Origin;
use crate::secret::Secret;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Account name.
    pub name: String,
    /// `false` removes the account; none means that it is to exist.
    pub should_exist: Option<bool>,
    /// User ID; none lets `useradd`'s rule choose.
    pub uid: Option<u32>,
    /// Comment field.
    pub gecos: Option<String>,
    /// Home directory.
    pub home_dir: Option<String>,
    /// Whether the home directory is left out.
    pub no_create_home: Option<bool>,
    /// Primary group, by name or number.
    pub primary_group: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Whether it is a system account.
    pub system: Option<bool>,
    /// Whether no group of the same name is made.
    pub no_user_group: Option<bool>,
    /// Whether the login record databases are left alone.
    pub no_log_init: Option<bool>,
    /// Hash for `shadow(5)`. An empty one locks the password.
    pub password_hash: Option<Secret>,
    /// Lines for `authorized_keys`.
    pub ssh_authorized_keys: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Group name.
    pub name: String,
    /// `false` removes the group; none means that it is to exist.
    pub should_exist: Option<bool>,
    /// Group ID; none lets `groupadd`'s rule choose.
    pub gid: Option<u32>,
    /// Whether it is a system group.
    pub system: Option<bool>,
    /// Hash for `gshadow(5)`.
    pub password_hash: Option<Secret>,
    /// Where it was asked for.
    pub origin: Origin,
}
