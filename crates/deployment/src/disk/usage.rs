//! What a sysroot takes up.

use std::path::PathBuf;

use cap_std::fs::Dir;

use super::{DiskOptions, MIB};
use crate::error::Result;
use crate::walk::walk;
use crate::xattr;

pub(super) const BLOCK: u64 = 4096;
pub(super) const INODE: u64 = 256;

/// What a sysroot takes up.
#[derive(Default)]
pub(super) struct Usage {
    /// Inodes, hard links once.
    pub(super) inodes: u64,
    /// Blocks of files, links, directories and extended attributes.
    pub(super) blocks: u64,
    /// Paths with a modification time later than the options' timestamp.
    pub(super) later: Vec<PathBuf>,
}

impl Usage {
    pub(super) fn of(sysroot: &Dir, options: &DiskOptions) -> Result<Self> {
        use rustix::fs::FileType;
        let mut usage = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        let mut names = 0;
        walk(sysroot, &options.limits, &mut |parent, path, stat| {
            // An entry of a directory: 8 bytes and the name, in fours.
            names += 8 + path
                .file_name()
                .map_or(0, |n| n.len() as u64)
                .next_multiple_of(4);
            if stat.st_mtime > options.timestamp as i64 {
                usage.later.push(path.to_owned());
            }
            let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if directory || stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                usage.inodes += 1;
                usage.blocks += match directory {
                    true => 1,
                    false => (stat.st_size as u64).div_ceil(BLOCK),
                } + u64::from(xattr::any(parent, path)?);
            }
            Ok(())
        })?;
        // Directories over one block, which are at least half full.
        usage.blocks += names.div_ceil(BLOCK / 2);
        Ok(usage)
    }

    /// With a twentieth for extent trees and the tables of block groups.
    pub(super) fn size_with(&self, free: u64, journal: u64) -> u64 {
        let used = (self.blocks * BLOCK + free) / 20 * 21 + journal;
        (used + self.inode_count(free) * INODE + 8 * MIB).next_multiple_of(MIB)
    }

    /// Room for as many new files as mkfs would give by itself, one in 16 KiB.
    pub(super) fn inode_count(&self, free: u64) -> u64 {
        self.inodes + 1024 + free / (16 << 10)
    }
}
