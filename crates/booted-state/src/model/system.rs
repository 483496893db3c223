//! Kernel, mounts, and what the rest of the system says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A kernel argument: all values that were given for its key, in order; `null` where there was no
/// `=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelArgument(pub Vec<Option<String>>);

/// A loaded kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// `Live`, `Loading`, `Unloading`.
    pub state: String,
    /// Modules that use it, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

/// What a file below `/proc/sys` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sysctl {
    /// Its text without the last newline, escaped.
    Value(String),
    /// A secret: the digest of the text.
    Secret(String),
    /// It can be opened but not read; the error.
    Unreadable(String),
}

/// What is mounted on one directory, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MountStack(pub Vec<Mount>);

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Type of the file system.
    pub fs_type: String,
    /// What is mounted.
    pub source: MountSource,
    /// Which directory of that file system.
    pub root: String,
    /// Options of this mount, sorted.
    pub options: Vec<String>,
    /// Options of the file system, sorted. Identifiers (`fd`, `pgrp`, `pipe_ino`) are left out, as
    /// they mean nothing outside one boot.
    pub fs_options: Vec<String>,
    /// Options of the file system that give an amount (`size`, `nr_inodes`), which often follow the memory there is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub amounts: BTreeMap<String, String>,
    /// `shared`, `slave`, `unbindable`, without the group numbers; empty is private.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub propagation: Vec<String>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountSource {
    /// A device, by its path.
    Device(String),
    /// A name that the file system or whoever mounted it chose.
    Named(String),
}

/// How a path of `/etc` differs from `/usr/etc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each says what it is")]
pub enum ConfigChange {
    Modified,
    Added,
    Deleted,
}

/// A message in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalProblem {
    /// The unit that it is about, or the program or kernel that it comes from.
    pub source: String,
    /// The text, escaped, as it is.
    pub message: String,
    /// 0 (emerg) to 3 (err).
    pub priority: u8,
    /// How often.
    pub count: u32,
}
