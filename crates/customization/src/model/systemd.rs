//! `systemd`: units and drop-ins.

use super::Origin;

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// Full name with its suffix.
    pub name: String,
    /// Enabled at first boot, disabled, or left as the presets say.
    pub enabled: Option<bool>,
    /// Masked, unmasked, or left as it is.
    pub mask: Option<bool>,
    /// The unit file. None, or empty, writes none.
    pub contents: Option<String>,
    /// Drop-ins, in document order.
    pub dropins: Vec<Dropin>,
    /// Where it was asked for.
    pub origin: Origin,
}

impl Unit {
    /// The unit file that is to be written, if any: an empty one is not.
    pub fn unit_file(&self) -> Option<&str> {
        self.contents.as_deref().filter(|text| !text.is_empty())
    }
}

/// A drop-in of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropin {
    /// File name, ending in `.conf`.
    pub name: String,
    /// Its text. None writes no file.
    pub contents: Option<String>,
    /// Where it was asked for.
    pub origin: Origin,
}
