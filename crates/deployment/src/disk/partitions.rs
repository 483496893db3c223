//! The partition table: an ESP and a root, by the types of UAPI.2 (Discoverable Partitions Specification).

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use cap_std::fs::File;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{EFI, Type};
use uuid::Uuid;

use super::MIB;
use crate::error::{Error, Result, io};

/// Where partitions begin, and what is left free at both ends for the tables.
pub(super) const ALIGNMENT: u64 = MIB;
const SECTOR: u64 = 512;

/// Part of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A partition table for a disk of a known size.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) esp: Region,
    pub(super) root: Region,
}

impl Layout {
    /// Bytes of a disk with such partitions.
    pub(super) fn disk_bytes(esp: u64, root: u64) -> u64 {
        esp.next_multiple_of(ALIGNMENT) + root.next_multiple_of(ALIGNMENT) + 2 * ALIGNMENT
    }

    /// The root takes what the ESP leaves.
    pub(super) fn of(disk: u64, esp: u64) -> Self {
        let esp = Region {
            offset: ALIGNMENT,
            bytes: esp.next_multiple_of(ALIGNMENT),
        };
        let offset = esp.offset + esp.bytes;
        let end = disk.saturating_sub(ALIGNMENT) / ALIGNMENT * ALIGNMENT;
        Self {
            esp,
            root: Region {
                offset,
                bytes: end.saturating_sub(offset),
            },
        }
    }

    /// Writes the table: the last thing, since it makes a disk of what was written.
    pub(super) fn write(&self, disk: &File, name: &Path, ids: &PartitionIds) -> Result<()> {
        let bad = |what: &'static str| {
            move |e: &dyn std::fmt::Display| Error::PartitionTable {
                path: name.to_owned(),
                message: format!("{what}: {e}"),
            }
        };
        let mut file = disk.try_clone().map_err(io("open", name))?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(io("seek in", name))?;
        let sectors = u32::try_from(bytes / SECTOR - 1).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(sectors)
            .overwrite_lba0(&mut file)
            .map_err(|e| bad("writing the protective MBR")(&e))?;
        let mut table = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(LogicalBlockSize::Lb512)
            .create_from_device(file, Some(uuid(&ids.disk)?))
            .map_err(|e| bad("making the table")(&e))?;
        let mut partitions = BTreeMap::new();
        for (number, (region, kind, id, name)) in [
            (self.esp, EFI, &ids.esp, "esp"),
            (self.root, root_type(), &ids.root, "root"),
        ]
        .into_iter()
        .enumerate()
        {
            let partition = Partition {
                part_type_guid: kind,
                part_guid: uuid(id)?,
                first_lba: region.offset / SECTOR,
                last_lba: (region.offset + region.bytes) / SECTOR - 1,
                flags: 0,
                name: name.into(),
            };
            partitions.insert(number as u32 + 1, partition);
        }
        table
            .update_partitions(partitions)
            .map_err(|e| bad("laying out partitions")(&e))?;
        let mut file = table.write().map_err(|e| bad("writing the table")(&e))?;
        file.flush().map_err(io("write", name))
    }
}

/// Names of the disk and of its partitions: GUIDs in text form, 8-4-4-4-12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionIds {
    /// Of the disk.
    pub disk: String,
    /// Of the ESP.
    pub esp: String,
    /// Of the root.
    pub root: String,
}

fn uuid(text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::Invalid {
        what: "partition id",
        value: text.into(),
        reason: "is not a UUID".into(),
    })
}

/// The root's type is the processor's (UAPI.2).
fn root_type() -> Type {
    match std::env::consts::ARCH {
        "aarch64" => gpt::partition_types::LINUX_ROOT_ARM_64,
        _ => gpt::partition_types::LINUX_ROOT_X64,
    }
}

/// Partitions of a disk: the ESP and the root. `None` if there is no table.
///
/// # Errors
/// When there is a table without these.
pub(super) fn find(disk: &File, name: &Path) -> Result<Option<(Region, Region)>> {
    let file = disk.try_clone().map_err(io("open", name))?;
    let Ok(table) = gpt::GptConfig::new().open_from_device(file) else {
        return Ok(None);
    };
    let of = |kind: Type, what: &str| {
        let found = table
            .partitions()
            .values()
            .find(|partition| partition.part_type_guid == kind);
        let partition = found.ok_or_else(|| Error::PartitionTable {
            path: name.to_owned(),
            message: format!("no partition of the type {what}"),
        })?;
        Ok::<_, Error>(Region {
            offset: partition.first_lba * SECTOR,
            bytes: (partition.last_lba + 1 - partition.first_lba) * SECTOR,
        })
    };
    Ok(Some((of(EFI, "ESP")?, of(root_type(), "root")?)))
}
