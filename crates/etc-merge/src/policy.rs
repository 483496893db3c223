//! Policies by path: what the merge does otherwise than by default.

use std::fmt;
use std::sync::Arc;

use pleach_fs_tree::{Name, TreePath};

use crate::{ContentOptions, Error, Pattern};

/// What a [`Rule`] does with the paths that it covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Action {
    /// The default, said explicitly: one-sided changes win, a conflict goes to the machine.
    Local,
    /// One-sided changes win, a conflict goes to the image.
    Image,
    /// A conflict refuses the whole merge ([`MergePlan::refused`](crate::MergePlan::refused)).
    Fail,
    /// A text that both sides changed is merged line by line, but only where no two changes meet;
    /// otherwise it is a conflict like any other. Nothing is ever marked up in the file.
    Text,
    /// A set of lines (`/etc/shells`): what either side added or removed is added or removed.
    Lines,
    /// `passwd`, `group`, `shadow`, `gshadow`, `subuid` and `subgid` of one directory, entry by
    /// entry and field by field, as one transaction.
    Accounts,
    /// A file of keys and values, key by key.
    Keyed(Format),
    /// Made from something else: the image's is taken where it has one, and the plan names the
    /// command that makes it anew.
    Derived {
        /// The command, for a shell.
        regenerate: Arc<str>,
    },
    /// The machine's side is kept whatever the image does, also where it equals the default now, and
    /// also where it is that there is nothing.
    Pin,
    /// Like [`Action::Pin`], for what nobody wants to hear of: lock files, editors' backups.
    Ignore,
}

/// How a file of keys and values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Sections and `key = value`, as systemd, NetworkManager and many others have it.
    Ini,
    /// TOML (needs the feature `toml`).
    Toml,
    /// JSON (needs the feature `json`).
    Json,
}

impl Format {
    /// One word, as a configuration file spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ini => "ini",
            Self::Toml => "toml",
            Self::Json => "json",
        }
    }
}

impl Action {
    pub(crate) fn keeps_local(&self) -> bool {
        matches!(self, Self::Pin | Self::Ignore)
    }

    /// It merges what files say.
    pub(crate) fn reads(&self) -> bool {
        matches!(
            self,
            Self::Text | Self::Lines | Self::Accounts | Self::Keyed(_)
        )
    }

    pub(crate) fn prefers_image(&self) -> bool {
        matches!(self, Self::Image | Self::Derived { .. })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Image => "image",
            Self::Fail => "fail",
            Self::Text => "text",
            Self::Lines => "lines",
            Self::Accounts => "accounts",
            Self::Keyed(format) => format.as_str(),
            Self::Derived { .. } => "derived",
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
    /// What a policy that merges what files say may use.
    pub content: ContentOptions,
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
            content: ContentOptions::default(),
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
