//! What was found, as a value: what `pleach lint --format json` prints, and what other reports are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// To be derived from.
    Base,
    /// To be run.
    Final,
}

/// How much is set up in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// No users, keys, network configuration or applications: whoever runs it sets it up.
    Generic,
    /// Made for one use.
    Specific,
}

/// What a piece of evidence speaks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are those of Role and Scope")]
pub enum SpeaksFor {
    Base,
    Final,
    Generic,
    Specific,
}

/// How sure something is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It may mean something else as well; alone it decides nothing.
    Hint,
    /// It seldom means something else.
    Likely,
    /// It means nothing else.
    Certain,
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It works, and not as somebody will expect.
    Warning,
    /// It leaks, does not deploy or does not boot.
    Error,
}

/// Something that speaks for a classification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// For what.
    pub speaks_for: SpeaksFor,
    /// How sure it is.
    pub certainty: Certainty,
    /// Where, escaped.
    pub path: String,
    /// The layer that put it there: an index into [`Report::layers`], where the layers are known.
    pub layer: Option<usize>,
    /// The line, from 1, in a text file.
    pub line: Option<usize>,
    /// What.
    pub what: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where, escaped.
    pub path: String,
    /// The layer that put it there: an index into [`Report::layers`], where the layers are known.
    pub layer: Option<usize>,
    /// The line, from 1, in a text file.
    pub line: Option<usize>,
    /// What is wrong here.
    pub what: String,
    /// Why that matters: the rule's.
    pub why: String,
    /// What to do about it: the rule's.
    pub fix: String,
}

/// A finding that somebody has a reason to live with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppressed {
    /// It.
    pub finding: Finding,
    /// The reason.
    pub reason: String,
    /// Who says so: a file, or the command line.
    pub origin: String,
}

/// What an image says of itself, by its labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Declared {
    /// `org.pleach.role`.
    pub role: Option<Role>,
    /// `org.pleach.scope`.
    pub scope: Option<Scope>,
    /// `containers.bootc` or `ostree.bootable`.
    pub bootable: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Of this shape.
    pub format_version: u32,
    /// Base or final.
    pub role: Role,
    /// How sure that is.
    pub role_certainty: Certainty,
    /// Generic or specific.
    pub scope: Scope,
    /// How sure that is.
    pub scope_certainty: Certainty,
    /// What the image says itself.
    pub declared: Declared,
    /// What speaks for what, in the order of the tree.
    pub evidence: Vec<Evidence>,
    /// What is wrong, in the order of the rules.
    pub findings: Vec<Finding>,
    /// What is wrong and accepted.
    pub suppressed: Vec<Suppressed>,
    /// Suppressions that nothing needed, as they were given.
    pub idle: Vec<String>,
    /// Files that a rule would have read and could not, escaped.
    pub unread: Vec<String>,
    /// What could not be asked of this image at all.
    pub notes: Vec<String>,
    /// The digests of the layers, the lowest first; none where only a tree was looked at.
    pub layers: Vec<String>,
}

/// The shape of [`Report`].
pub const FORMAT_VERSION: u32 = 2;

impl Report {
    /// The worst that was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}
