//! `storage`: what is laid out before there is a tree: disks, arrays, encrypted volumes, filesystems.
//!
//! Only Ignition makes these, at a machine's first boot. They are checked, kept and said again.

use super::{Contents, Origin};

/// A disk and its partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disk {
    /// Absolute path of the device.
    pub device: String,
    /// Whether its partition table is erased first; none means no.
    pub wipe_table: Option<bool>,
    /// Partitions, in document order.
    pub partitions: Vec<Partition>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A partition. Sizes are in MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its number, from 1; none takes the next free one.
    pub number: Option<u32>,
    /// Its name in the table, at most 36 characters.
    pub label: Option<String>,
    /// Its size; 0 or none means as large as fits.
    pub size_mib: Option<u64>,
    /// Where it begins; 0 or none means in the largest free block.
    pub start_mib: Option<u64>,
    /// Partition type; none means Linux data.
    pub type_guid: Option<String>,
    /// The partition's own GUID.
    pub guid: Option<String>,
    /// Whether another partition in its place is removed; none means that it is an error.
    pub wipe_partition_entry: Option<bool>,
    /// `false` removes it.
    pub should_exist: Option<bool>,
    /// Whether one that differs in its size alone is resized.
    pub resize: Option<bool>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// An array of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Raid {
    /// Name of the `md` device.
    pub name: String,
    /// Redundancy level, in one of mdadm's spellings.
    pub level: String,
    /// Absolute paths of the devices.
    pub devices: Vec<String>,
    /// How many devices are spares.
    pub spares: Option<u32>,
    /// More options for `mdadm`.
    pub options: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A filesystem, or swap space, on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filesystem {
    /// Absolute path of the device.
    pub device: String,
    /// `ext4`, `btrfs`, `xfs`, `vfat`, `swap` or `none`.
    pub format: Option<String>,
    /// Where Ignition mounts it while it runs.
    pub path: Option<String>,
    /// Whether it is made anew although one is there.
    pub wipe_filesystem: Option<bool>,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// More options for `mkfs`.
    pub options: Vec<String>,
    /// Options for `mount`, while Ignition runs.
    pub mount_options: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// An encrypted volume.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Luks {
    /// Name of the opened device below `/dev/mapper`.
    pub name: String,
    /// Absolute path of the device.
    pub device: String,
    /// The key; none lets Ignition make one.
    pub key_file: Option<Contents>,
    /// Its label, at most 47 characters.
    pub label: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// More options for `cryptsetup luksFormat`.
    pub options: Vec<String>,
    /// Whether freed blocks are discarded.
    pub discard: Option<bool>,
    /// More options for `cryptsetup luksOpen`.
    pub open_options: Vec<String>,
    /// Whether it is made anew although one is there.
    pub wipe_volume: Option<bool>,
    /// How it unlocks by itself.
    pub clevis: Clevis,
    /// Whether an IBM Crypto Express card holds the key.
    pub cex: Option<bool>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// How a volume unlocks by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clevis {
    /// Tang servers.
    pub tang: Vec<Tang>,
    /// Whether a TPM 2 is used.
    pub tpm2: Option<bool>,
    /// How many of them are needed; none means 1.
    pub threshold: Option<u32>,
    /// A configuration for `clevis luks bind` that takes the place of all of these.
    pub custom: Option<ClevisCustom>,
}

impl Clevis {
    /// Whether it asks for anything.
    pub fn is_present(&self) -> bool {
        self.custom.is_some()
            || !self.tang.is_empty()
            || self.tpm2 == Some(true)
            || self.threshold.is_some_and(|threshold| threshold != 0)
    }
}

/// A Tang server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tang {
    /// Its URL, `http:` or `https:`.
    pub url: String,
    /// Thumbprint of the signing key that is trusted.
    pub thumbprint: String,
    /// Its advertisement, as JSON; none lets Ignition fetch it.
    pub advertisement: Option<String>,
}

/// A clevis pin with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClevisCustom {
    /// `tpm2`, `tang` or `sss`.
    pub pin: String,
    /// The pin's configuration, as JSON.
    pub config: String,
    /// Whether the device needs the network.
    pub needs_network: Option<bool>,
}
