//! Accounts, without their secrets.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A line of `getent passwd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The password field of passwd(5) itself.
    pub password: Password,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Comment.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
}

/// A line of `getent group`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The password field of group(5) itself.
    pub password: Password,
    /// Group id.
    pub gid: u32,
    /// Members.
    pub members: BTreeSet<String>,
}

/// A password field, with a digest in place of the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Password {
    /// Empty: none is asked for.
    None,
    /// `x`: in the shadow file.
    Shadowed,
    /// No password can match; the field as it is, such as `*`, `!`, `!!` or `*LK*`: a marker of `*`
    /// and `!` around nothing, `LK` or `NP`. Tools differ in which one they write and others read
    /// meaning into it, so they are not the same.
    Unusable(String),
    /// A hash, or another text that is no marker, behind `!`: locked, and unlocked it is this password.
    Locked {
        /// `sha256:…` of the field without its `!`.
        digest: String,
        /// The method, such as `$y$`; empty for a traditional one or none of crypt(5).
        method: String,
    },
    /// A hash, or another text that is no marker.
    Set {
        /// `sha256:…` of the field.
        digest: String,
        /// The method, such as `$y$`; empty for a traditional one or none of crypt(5).
        method: String,
    },
}

/// When a password was changed last (shadow(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastChange {
    /// Empty: ageing is off.
    Never,
    /// Zero: it must be changed at the next login.
    Forced,
    /// Days since the epoch.
    Day(u64),
}

/// A line of `getent shadow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The password.
    pub password: Password,
    /// When it was changed last.
    pub last_change: LastChange,
    /// Days before it may be changed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<u64>,
    /// Days after which it must be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<u64>,
    /// Days of warning before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<u64>,
    /// Days of grace after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive: Option<u64>,
    /// Day since the epoch on which the account expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// A line of `getent gshadow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupShadow {
    /// The password with which one who is no member may enter the group.
    pub password: Password,
    /// Who may change the password and the members.
    pub administrators: BTreeSet<String>,
    /// Members; group(5) has a list of its own, and the two can differ.
    pub members: BTreeSet<String>,
}
