//! Who may log in by which key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The authorized keys of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserKeys {
    /// `AuthorizedKeysFile` for this user, before its tokens are replaced.
    pub patterns: Vec<String>,
    /// `AuthorizedKeysCommand` and its user, if there is one. It is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The files that exist, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, KeyFile>,
    /// The keys in them by fingerprint (`SHA256:…`), each as often as it stands there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Vec<AuthorizedKey>>,
}

/// A file with authorized keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Whether sshd would read it.
    pub effective: bool,
    /// If not, why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Lines that are neither key nor comment.
    pub bad_lines: u32,
}

/// One authorized key in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizedKey {
    /// The file it stands in.
    pub file: String,
    /// `ssh-ed25519`…
    #[serde(rename = "type")]
    pub key_type: String,
    /// Comment, escaped.
    pub comment: String,
    /// Options before the key, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether sshd would accept it.
    pub effective: bool,
    /// If not, why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
