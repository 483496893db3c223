//! What differs, as a value: what `pleach diff --format json` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shape of [`Pair`].
pub const PAIR_FORMAT_VERSION: u32 = 1;

/// All that differs between two images. Paths are escaped where they are not printable UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// [`PAIR_FORMAT_VERSION`].
    pub format_version: u32,
    /// The old image, as it was asked for, with its digest where it has one.
    pub old: String,
    /// The new one.
    pub new: String,
    /// Packages that were added, removed, or have another version.
    pub packages: Vec<PackageChange>,
    /// Units that are new, gone, or started otherwise.
    pub units: Vec<UnitChange>,
    /// Users and groups.
    pub accounts: Vec<AccountChange>,
    /// Kernel arguments of `kargs.d`.
    pub kargs: Vec<KargChange>,
    /// Files that are neither in `/etc` nor in `/var`.
    pub files: Vec<FileChange>,
    /// Defaults of `/etc`, wherever the image has them: a machine gets them by the merge.
    pub etc: Vec<FileChange>,
    /// Content of the new image's `/var` that the old one has not, or has otherwise: it does not
    /// arrive on a machine that is there already.
    pub var: Vec<VarContent>,
    /// What the merge of `/etc` does on a machine, if one was named.
    pub etc_merge: Option<EtcMerge>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

/// What became of something.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the new image has it.
    Added,
    /// Only the old image has it.
    Removed,
    /// Both have it, and differently.
    Changed,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageChange {
    /// `dpkg`, `apk` or `rpm`.
    pub database: String,
    /// Its name; where several architectures of one are installed, with that.
    pub name: String,
    /// The old version; of rpm's, with epoch and release. Where several are installed, all of them.
    pub old: Option<String>,
    /// The new version.
    pub new: Option<String>,
}

/// How a unit comes to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    /// A link in `/etc` starts it with another unit.
    Enabled,
    /// A link in `/usr` does; a machine can only mask it.
    Wanted,
    /// It can be enabled, and is not.
    Disabled,
    /// It cannot be enabled: others start it, or nothing.
    Static,
    /// It is another name of a unit.
    Alias,
    /// It cannot be started.
    Masked,
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitChange {
    /// Its name.
    pub unit: String,
    /// In the old image.
    pub old: Option<UnitState>,
    /// In the new image.
    pub new: Option<UnitState>,
    /// What the presets of the new image say of it, where that is not what the old one's said:
    /// `enable`, `disable` or `ignore`.
    pub preset: Option<String>,
}

/// Which account.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum AccountKind {
    User,
    Group,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountChange {
    /// Which.
    pub kind: AccountKind,
    /// Its name.
    pub name: String,
    /// What the old image says of it: number, home and shell, or that `sysusers.d` makes it.
    pub old: Option<String>,
    /// What the new image says.
    pub new: Option<String>,
    /// Why this needs care: its number drifts, or was somebody else's. Files on a machine keep the
    /// number.
    pub drift: Option<String>,
}

/// A kernel argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KargChange {
    /// Whether it comes or goes.
    pub change: Change,
    /// It.
    pub argument: String,
    /// The file that has it.
    pub file: String,
    /// The architectures that it is for; all if there is none.
    pub architectures: Vec<String>,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// Where, from the root; below `/etc` also where the image has it in `/usr/etc`.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// What differs, if it is in both: `content`, `mode 0644 -> 0755`, …
    pub what: Vec<String>,
    /// The package that owns it, if that has another version, is new or is gone.
    pub package: Option<String>,
}

/// Content of `/var`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VarContent {
    /// Where.
    pub path: String,
    /// Added or changed.
    pub change: Change,
    /// The line of `tmpfiles.d` that makes the path at boot, file and line: that much arrives.
    pub declared: Option<String>,
}

/// What the merge does on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EtcMerge {
    /// The machine: the capture, or the directory.
    pub machine: String,
    /// How many paths are in conflict.
    pub conflicts: usize,
    /// Paths that are not the image's on all sides.
    pub entries: Vec<EtcMergeEntry>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

/// What the merge does with a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EtcMergeEntry {
    /// From the root.
    pub path: String,
    /// How the three sides lie: `local-modified`, `image-updated`, …
    pub state: String,
    /// What the result has: `local`, `image`, …
    pub resolution: String,
    /// Conflicts and notes, as `pleach etc plan` prints them.
    pub findings: Vec<String>,
    /// Whether one of them is a conflict.
    pub conflict: bool,
}

impl Pair {
    /// Whether nothing differs. What the merge does is no difference of the images.
    pub fn is_empty(&self) -> bool {
        let Self {
            packages,
            units,
            accounts,
            kargs,
            files,
            etc,
            var,
            ..
        } = self;
        packages.is_empty()
            && units.is_empty()
            && accounts.is_empty()
            && kargs.is_empty()
            && files.is_empty()
            && etc.is_empty()
            && var.is_empty()
    }
}
