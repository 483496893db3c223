//! What is known of the customization and its routes before anything is compared.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a customization got onto a machine.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Route {
    /// Not at all: the base image alone.
    Base,
    /// As a layer of the image.
    Derive,
    /// Written into the deployment's `/etc` and `/var`.
    Etc,
    /// In two parts: what a layer can hold as one, the rest written into the deployment's `/etc` and
    /// `/var`.
    Split,
    /// By Ignition, at first boot.
    Ignition,
    /// By cloud-init, at first boot, from a disk with a seed.
    CloudInit,
    /// As systemd's system credentials, at every boot.
    Credentials,
}

impl Route {
    /// The routes that a customization can take.
    pub const CUSTOMIZED: [Self; 6] = [
        Self::Derive,
        Self::Etc,
        Self::Split,
        Self::Ignition,
        Self::CloudInit,
        Self::Credentials,
    ];

    /// Whether the customization is on the disk before the machine boots. What the other routes make
    /// can be seen in a booted machine only.
    pub fn is_composed(self) -> bool {
        matches!(self, Self::Base | Self::Derive | Self::Etc | Self::Split)
    }

    /// Whether its image is another one than the base image.
    pub fn is_derived(self) -> bool {
        matches!(self, Self::Derive | Self::Split)
    }

    /// As it is spelled on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Derive => "derive",
            Self::Etc => "etc",
            Self::Split => "split",
            Self::Ignition => "ignition",
            Self::CloudInit => "cloud-init",
            Self::Credentials => "credentials",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no route.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no route to compare; there are derive, etc, split, ignition, cloud-init and credentials"
)]
pub struct RouteError(String);

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let route = Self::CUSTOMIZED
            .into_iter()
            .find(|route| route.as_str() == text);
        route.ok_or_else(|| RouteError(text.to_owned()))
    }
}

/// What the customization is known to touch; rules use it to excuse no more than that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Users that it adds or changes.
    pub users: BTreeSet<String>,
    /// Groups that it adds or changes, those of its users included.
    pub groups: BTreeSet<String>,
    /// Units that it brings, amends or enables.
    pub units: BTreeSet<String>,
    /// Units that it masks.
    pub masked: BTreeSet<String>,
    /// Whether a derived image has units of the document in `/usr` rather than in `/etc`.
    pub units_in_usr: bool,
    /// Paths below `/usr` that only a derived image has: declarations for sysusers.d, tmpfiles.d
    /// and `kargs.d`, and what they copy.
    pub declarations: BTreeSet<String>,
    /// Whether the systems were booted. Then every section must have been captured, and every path
    /// that the document names must be there with its content.
    pub booted: bool,
    /// Paths that the document itself names, links of their parents followed.
    pub named_paths: BTreeSet<String>,
    /// Paths that are not in the derived image but made at its first boot; empty where both systems
    /// were booted.
    pub declared: BTreeSet<String>,
    /// Paths that a withdrawal leaves behind: data in `/var`, and accounts, to which files may belong.
    pub left_behind: BTreeSet<String>,
    /// Whether the customization was withdrawn, by a route's own steps.
    pub withdrawn: bool,
    /// Paths below `/etc` that the customization puts, changes or removes, apart from what
    /// [`crate::rules`] knows of account files.
    pub etc_paths: BTreeSet<String>,
    /// Those of them that are left where the customization is split.
    pub remaining_etc_paths: BTreeSet<String>,
}

impl Facts {
    /// What still holds when the customization was withdrawn: its paths in `/etc` are nobody's any more.
    pub fn withdraw(&mut self) {
        self.units.clear();
        self.masked.clear();
        self.declarations.clear();
        self.named_paths.clear();
        self.withdrawn = true;
        self.left_behind = std::mem::take(&mut self.declared);
        // Subordinate ids go with accounts, and no section tells them one by one.
        let ids = ["/etc/subuid", "/etc/subgid"].map(str::to_owned);
        self.left_behind.extend(ids);
        self.etc_paths.clear();
    }
}
