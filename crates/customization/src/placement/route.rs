//! The ways into a booted system.

use std::fmt;
use std::str::FromStr;

/// A way into a booted system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// A layer on top of the image.
    Derive,
    /// Direct writes into a deployment's `/etc` and the stateroot's `/var`.
    Etc,
    /// Ignition at first boot.
    Ignition,
    /// cloud-init at first boot, from a NoCloud data source.
    CloudInit,
    /// A kickstart file, when the machine is installed.
    Kickstart,
    /// systemd's system credentials, at every boot that is given them.
    Credentials,
    /// A configuration extension of `/etc`, for as long as it is merged.
    Confext,
}

impl Route {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 7] = [
        Self::Derive,
        Self::Etc,
        Self::Ignition,
        Self::CloudInit,
        Self::Kickstart,
        Self::Credentials,
        Self::Confext,
    ];

    /// As it is spelled on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Derive => "derive",
            Self::Etc => "etc",
            Self::Ignition => "ignition",
            Self::CloudInit => "cloud-init",
            Self::Kickstart => "kickstart",
            Self::Credentials => "credentials",
            Self::Confext => "confext",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no route; there are derive, etc, ignition, cloud-init, kickstart, credentials and confext"
)]
pub struct RouteError(String);

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let route = Self::ALL.into_iter().find(|route| route.as_str() == text);
        route.ok_or_else(|| RouteError(text.to_owned()))
    }
}
