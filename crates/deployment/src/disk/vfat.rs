//! vfat, by dosfstools and mtools.

use std::os::fd::AsFd;
use std::path::Path;

use cap_std::fs::{Dir, File};

use super::partitions::Region;
use super::tool::{IMAGE, Tool};
use crate::error::{Result, io};

/// FAT with fewer clusters than this is FAT16, whatever it says of itself (Microsoft's FAT specification:
/// 65525), with some for the tables themselves.
const CLUSTERS: u64 = 70_000;

/// mkfs.vfat would go by the size of the whole disk.
fn cluster_sectors(bytes: u64) -> u64 {
    let fits = |sectors: &u64| bytes / 512 / sectors >= CLUSTERS;
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}

/// Makes the filesystem of an ESP in a part of a disk, with all that is in `content`.
pub(super) fn make(
    content: &Dir,
    disk: &File,
    at: Region,
    volume_id: u32,
    timestamp: u64,
) -> Result<()> {
    let text = format!(
        "--invariant -I -F 32 -n ESP -i {volume_id:08x} -S 512 -s {} --offset {} {IMAGE} {}",
        cluster_sectors(at.bytes),
        at.offset / 512,
        at.bytes / 1024
    );
    Tool::new(Path::new("mkfs.vfat"), timestamp)
        .package("dosfstools")
        .args(text.split(' '))
        .run(disk.as_fd(), &[])?;
    let mut names = Vec::new();
    for entry in content.entries().map_err(io("read directory", "."))? {
        let entry = entry.map_err(io("read directory", "."))?;
        names.push(Path::new(".").join(entry.file_name()));
    }
    names.sort();
    let image = format!("{IMAGE}@@{}", at.offset);
    Tool::new(Path::new("mcopy"), timestamp)
        .package("mtools")
        .args(["-i", &image, "-s", "-Q", "-m"])
        .args(names)
        .args(["::"])
        .cwd(content)?
        .run(disk.as_fd(), &[])
        .map(drop)
}
