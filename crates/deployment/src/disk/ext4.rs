//! ext4, by mkfs and debugfs.

use std::ffi::OsString;
use std::os::fd::AsFd;

use cap_std::fs::{Dir, File};

use super::partitions::Region;
use super::tool::{IMAGE, Tool};
use super::usage::{BLOCK, INODE, Usage};
use super::{DiskOptions, MIB, finish};
use crate::error::Result;

/// ext4 of kernels since 4.5, and fs-verity, spelled out so that the host's mke2fs.conf has no say.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                        sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,verity";

/// Makes the filesystem of a sysroot in a part of a disk.
pub(super) fn make(
    sysroot: &Dir,
    disk: &File,
    at: Region,
    usage: &Usage,
    options: &DiskOptions,
) -> Result<()> {
    Tool::new(&options.mkfs, options.timestamp)
        .args(arguments(usage, at, options))
        .cwd(sysroot)?
        .run(disk.as_fd(), &[])?;
    finish::settle(sysroot, disk, at, usage, options)
}

fn arguments(usage: &Usage, at: Region, options: &DiskOptions) -> Vec<OsString> {
    let free = at
        .bytes
        .saturating_sub(usage.blocks * BLOCK + options.journal_bytes);
    let text = format!(
        "-q -F -t ext4 -b {BLOCK} -I {INODE} -N {} -m 0 -J size={} -O {FEATURES} -U {} \
         -E hash_seed={},root_owner=0:0,nodiscard{} -d .",
        usage.inode_count(free),
        options.journal_bytes / MIB,
        options.uuid,
        options.hash_seed,
        match at.offset {
            0 => String::new(),
            offset => format!(",offset={offset}"),
        },
    );
    let label = ["-L", &options.label].map(OsString::from);
    let image = [IMAGE.to_owned(), format!("{}", at.bytes / BLOCK)];
    let words = text.split(' ').map(OsString::from);
    words
        .chain(label)
        .chain(image.map(OsString::from))
        .collect()
}
