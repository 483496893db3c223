//! A sysroot onto a disk, and files out of one.
//!
//! ext4 and vfat are written without mounting anything, and ext4 is read so. xfs and btrfs are made through
//! a loop device and a mount that has no place in the file tree: both go away with the process.

mod ext4;
mod finish;
mod install;
mod mounted;
mod partitions;
mod read;
mod target;
mod tool;
mod unfinished;
mod usage;
mod vfat;

use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::error::{Error, Result};
use crate::walk::TreeLimits;

pub use install::{EspOptions, Filesystem, InstallOptions, install};
pub use partitions::{PartitionIds, Region};
pub use read::{ImageEntry, boot_entries, partitions, read_dir, read_file, replay_journal};
pub use target::Target;

const MIB: u64 = 1 << 20;

/// How large the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskSize {
    /// That many bytes; a multiple of 4096.
    Bytes(u64),
    /// What the sysroot needs, and about that many bytes left free for the machine. A device is used whole
    /// and must have as much.
    Free(u64),
}

/// How to make the root filesystem. With ext4, the same sysroot and options give the same bytes, with the
/// same mkfs.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// How large.
    pub size: DiskSize,
    /// Label, at most 16 bytes.
    pub label: String,
    /// UUID in text form: 8-4-4-4-12 hexadecimal digits.
    pub uuid: String,
    /// Seed of the directory hash, in the same form.
    pub hash_seed: String,
    /// Seconds since the epoch: what the filesystem says of its making, and what takes the place of any
    /// later time of a file; below 2^31.
    pub timestamp: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// The `mkfs.ext4` program: a path, or a name to look up in PATH.
    pub mkfs: PathBuf,
    /// The `debugfs` program, likewise.
    pub debugfs: PathBuf,
    /// How much of the sysroot is read before giving up.
    pub limits: TreeLimits,
}

impl DiskOptions {
    /// Label `root`, 1 GiB free, a journal of 64 MiB.
    pub fn new(uuid: &str, hash_seed: &str, timestamp: u64) -> Self {
        Self {
            size: DiskSize::Free(1 << 30),
            label: "root".into(),
            uuid: uuid.into(),
            hash_seed: hash_seed.into(),
            timestamp,
            journal_bytes: 64 * MIB,
            mkfs: "mkfs.ext4".into(),
            debugfs: "debugfs".into(),
            limits: TreeLimits::default(),
        }
    }

    fn check(&self) -> Result<()> {
        let invalid = |what, value: &dyn ToString, reason: &str| {
            Err(Error::Invalid {
                what,
                value: value.to_string(),
                reason: reason.into(),
            })
        };
        let is_uuid = |text: &str| {
            text.len() == 36
                && text.bytes().enumerate().all(|(i, b)| match i {
                    8 | 13 | 18 | 23 => b == b'-',
                    _ => b.is_ascii_hexdigit(),
                })
        };
        match self {
            _ if !is_uuid(&self.uuid) => invalid("uuid", &self.uuid, "is not a UUID"),
            _ if !is_uuid(&self.hash_seed) => {
                invalid("hash_seed", &self.hash_seed, "is not a UUID")
            }
            _ if self.label.len() > 16 => invalid("label", &self.label, "is over 16 bytes"),
            _ if self.timestamp >= 1 << 31 => {
                invalid("timestamp", &self.timestamp, "is not below 2^31")
            }
            _ => Ok(()),
        }
    }
}

/// [`install`] into a file that may be there: ext4 from the first byte, no partition table.
pub fn write_image(sysroot: &Dir, out: (&Dir, &Path), options: &DiskOptions) -> Result<u64> {
    let mut install_options = InstallOptions::new(options.clone());
    install_options.wipe = true;
    install(sysroot, Target::File(out.0, out.1), &install_options)
}
