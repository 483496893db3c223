//! Policies by path: what the merge does otherwise than by default.

use std::fmt;

use pleach_fs_tree::{Name, TreePath};

use crate::{Error, Pattern};

/// What a [`Rule`] does with the paths that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The default, said explicitly: one-sided changes win, a conflict goes to the machine.
    Local,
    /// One-sided changes win, a conflict goes to the image.
    Image,
    /// A conflict refuses the whole merge ([`MergePlan::refused`](crate::MergePlan::refused)).
    Fail,
    /// The machine's side is kept whatever the image does, also where it equals the default now, and
    /// also where it is that there is nothing.
    Pin,
    /// Like [`Action::Pin`], for what nobody wants to hear of: lock files, editors' backups.
    Ignore,
}

impl Action {
    pub(crate) fn keeps_local(self) -> bool {
        matches!(self, Self::Pin | Self::Ignore)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Image => "image",
            Self::Fail => "fail",
            Self::Pin => "pin",
            Self::Ignore => "ignore",
        })
    }
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The paths that it covers.
    pub pattern: Pattern,
    /// What it does with them.
    pub action: Action,
    /// Where it comes from: a file and line, or a reason. It is in the plan.
    pub origin: String,
}

impl Rule {
    /// A rule from its parts.
    ///
    /// # Errors
    /// When the pattern cannot be read.
    pub fn new(
        pattern: impl AsRef<[u8]>,
        action: Action,
        origin: impl Into<String>,
    ) -> Result<Self, Error> {
        Ok(Self {
            pattern: Pattern::new(pattern)?,
            action,
            origin: origin.into(),
        })
    }
}

/// Where SELinux labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Labels {
    /// A path that was merged has the image's label. A path that the image left alone, or never
    /// had, keeps the machine's, and [`Entry::carries_label`](crate::Entry) says so: there the new
    /// policy may want another.
    #[default]
    Carry,
    /// No label comes from the machine: a path that the image has gets the image's, others get none.
    /// For those who label the result by the new policy anyway.
    FromImage,
}

/// All policies of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// The first rule that covers a path is the path's.
    pub rules: Vec<Rule>,
    /// Files that are never in a result, whoever has them.
    pub stamps: Vec<TreePath>,
    /// Where SELinux labels come from.
    pub labels: Labels,
    /// The most paths that the three trees may have together; more are [`Error::Limit`].
    pub max_paths: usize,
}

impl Default for Policies {
    /// No rules. `.updated` is a stamp: while it is missing, `ConditionNeedsUpdate=/etc` of
    /// systemd.unit(5) runs what has to run after an update.
    fn default() -> Self {
        let updated = Name::new(b".updated").map(TreePath::from);
        Self {
            rules: Vec::new(),
            stamps: updated.into_iter().collect(),
            labels: Labels::default(),
            max_paths: 4_000_000,
        }
    }
}

impl Policies {
    /// The index of the rule that covers a path.
    pub(crate) fn covering(&self, path: &TreePath) -> Option<usize> {
        self.rules.iter().position(|r| r.pattern.covers(path))
    }
}
