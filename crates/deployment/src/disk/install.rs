//! A sysroot onto a disk.

use std::path::Path;

use cap_std::fs::Dir;

use super::partitions::{Layout, PartitionIds, Region};
use super::target::{Opened, Target};
use super::usage::Usage;
use super::{DiskOptions, DiskSize, MIB, ext4, mounted, vfat};
use crate::error::{Error, Result};
use crate::walk::{TreeLimits, walk};

/// The root's filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filesystem {
    /// ext4, written without mounting it.
    Ext4,
    /// xfs, through a loop device: real root is needed.
    Xfs,
    /// btrfs, likewise. `mkfs.btrfs --rootdir` would need no mount, but before btrfs-progs 6.12 it makes two
    /// files of a hard link, and a sysroot is full of them.
    Btrfs,
}

/// The ESP.
#[derive(Debug, Clone)]
pub struct EspOptions<'a> {
    /// What is on it.
    pub content: &'a Dir,
    /// Its size; by default room for its content three times, and 512 MiB at least.
    pub bytes: Option<u64>,
    /// Volume id of its filesystem.
    pub volume_id: u32,
    /// Names in the partition table.
    pub ids: PartitionIds,
}

/// How to install.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InstallOptions<'a> {
    /// The root filesystem, and the size of all.
    pub disk: DiskOptions,
    /// Its type.
    pub filesystem: Filesystem,
    /// The ESP. Without one there is no partition table either: the root filesystem starts at the first
    /// byte, and whoever boots it brings the kernel.
    pub esp: Option<EspOptions<'a>>,
    /// Whether what the target holds may be lost.
    pub wipe: bool,
}

impl InstallOptions<'_> {
    /// ext4 from the first byte of a target that holds nothing.
    pub fn new(disk: DiskOptions) -> Self {
        Self {
            disk,
            filesystem: Filesystem::Ext4,
            esp: None,
            wipe: false,
        }
    }
}

/// Write a disk with the content of `sysroot` as its root filesystem. Returns its size in bytes.
///
/// A file is all there or, on an error, not there, is 0600 from its first moment (it holds all of the
/// machine's files, those that only its root may read among them), and blocks that hold nothing are holes.
/// A device has no partition table until all else is on it.
///
/// The root is 0755 and root's. Owners, modes, hard links and extended attributes are kept, and
/// deployments' roots are immutable (`chattr +i`), as libostree has them on a machine. With ext4 no
/// privilege is needed but to read the sysroot, and a time later than the options' becomes that, since it
/// only tells when this ran.
///
/// # Errors
/// Before anything is written: [`Error::TargetBusy`], [`Error::TargetHolds`], [`Error::NoSpace`].
pub fn install(sysroot: &Dir, target: Target<'_>, options: &InstallOptions<'_>) -> Result<u64> {
    options.disk.check()?;
    let name = target.name();
    let usage = Usage::of(sysroot, &options.disk)?;
    let esp_bytes = options.esp.as_ref().map(esp_bytes).transpose()?;
    let opened = target.open(options.wipe)?;
    let bytes = size(&opened, &usage, esp_bytes, options)?;
    opened.begin(bytes, name)?;
    let layout = esp_bytes.map(|esp| Layout::of(bytes, esp));
    let root = match &layout {
        Some(layout) => layout.root,
        None => Region { offset: 0, bytes },
    };
    let file = opened.file();
    match options.filesystem {
        Filesystem::Ext4 => ext4::make(sysroot, file, root, &usage, &options.disk)?,
        filesystem => mounted::make(sysroot, file, root, filesystem, &options.disk)?,
    }
    if let (Some(esp), Some(layout)) = (&options.esp, &layout) {
        let time = options.disk.timestamp;
        vfat::make(esp.content, file, layout.esp, esp.volume_id, time)?;
        file.sync_all().map_err(crate::error::io("write", name))?;
        layout.write(file, name, &esp.ids)?;
    }
    opened.finish(name)?;
    Ok(bytes)
}

/// Bytes of the whole disk, if what is to be on it fits.
fn size(
    opened: &Opened<'_>,
    usage: &Usage,
    esp: Option<u64>,
    options: &InstallOptions<'_>,
) -> Result<u64> {
    let with_root = |root: u64| match esp {
        Some(esp) => Layout::disk_bytes(esp, root),
        None => root,
    };
    let needed = |free| {
        let own = match options.filesystem {
            Filesystem::Ext4 => 0,
            // The smallest that mkfs.xfs makes is 300 MiB; btrfs has its metadata twice.
            Filesystem::Xfs | Filesystem::Btrfs => 320 * MIB,
        };
        with_root(usage.size_with(free, options.disk.journal_bytes) + own)
    };
    let (bytes, needed) = match (opened, options.disk.size) {
        (Opened::File(_), DiskSize::Free(free)) => (needed(free), 0),
        (Opened::File(_), DiskSize::Bytes(bytes)) => (bytes, needed(0)),
        (Opened::Device(_, bytes), DiskSize::Free(free)) => (*bytes, needed(free)),
        (Opened::Device(_, bytes), DiskSize::Bytes(part)) => {
            (part.min(*bytes), part.max(needed(0)))
        }
    };
    match needed <= bytes {
        true => Ok(bytes),
        false => Err(Error::NoSpace {
            what: "the target",
            needed,
            free: bytes,
        }),
    }
}

fn esp_bytes(esp: &EspOptions<'_>) -> Result<u64> {
    let mut content = 0;
    walk(
        esp.content,
        &TreeLimits::default(),
        &mut |_, _: &Path, stat| {
            content += stat.st_size as u64;
            Ok(())
        },
    )?;
    let needed = content + content / 50 + 40 * MIB;
    match esp.bytes {
        Some(bytes) if bytes < needed => Err(Error::NoSpace {
            what: "the EFI system partition",
            needed,
            free: bytes,
        }),
        Some(bytes) => Ok(bytes),
        None => Ok((512 * MIB).max(3 * content)),
    }
}
