//! What mkfs.ext4 leaves to be done: times, and the immutable flag of deployments' roots.

use std::fmt::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};

use super::partitions::Region;
use super::tool::{Tool, image_at, quote};
use super::usage::Usage;
use super::{DiskOptions, read};
use crate::error::{Error, Result, io};
use crate::walk::open_dir;

/// The first inode that is not reserved: `lost+found`.
const FIRST_INODE: u64 = 11;
/// `EXT4_EXTENTS_FL | EXT4_IMMUTABLE_FL`; a directory of one block has no other flag.
const IMMUTABLE: u32 = 0x8_0010;

/// mkfs.ext4 (1.47.0) copies the times of its source, among them the change time, which nobody can set and
/// which would make every image different.
pub(super) fn settle(
    sysroot: &Dir,
    image: &File,
    at: Region,
    usage: &Usage,
    options: &DiskOptions,
) -> Result<()> {
    let superblock = read::Superblock::of(image, at.offset, Path::new("image"))?;
    let time = options.timestamp;
    let mut script = String::new();
    // mkfs takes inodes in order, without gaps. The root has number 2.
    for inode in std::iter::once(2).chain(FIRST_INODE..=superblock.used_inodes()) {
        line(&mut script, format_args!("sif <{inode}> atime @{time}"));
        line(&mut script, format_args!("sif <{inode}> ctime @{time}"));
    }
    line(&mut script, format_args!("sif <2> mtime @{time}"));
    // Whether mkfs takes the mode of the source, often a private directory, depends on its version.
    line(&mut script, format_args!("sif <2> mode 040755"));
    line(
        &mut script,
        format_args!("sif <{FIRST_INODE}> mtime @{time}"),
    );
    for path in &usage.later {
        let path = quote(&Path::new("/").join(path))?;
        line(&mut script, format_args!("sif {path} mtime @{time}"));
    }
    for path in deployments(sysroot)? {
        let path = quote(&Path::new("/").join(path))?;
        line(&mut script, format_args!("sif {path} flags {IMMUTABLE:#x}"));
    }
    Tool::new(&options.debugfs, time)
        .args(["-w", "-f", "-", &image_at(at.offset)])
        .run(image.as_fd(), script.as_bytes())
        .map(drop)
}

fn line(script: &mut String, command: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(script, "{command}");
}

/// Roots of deployments. libostree gives each the flag; mkfs drops it, and who made the sysroot without
/// privilege never had it.
pub(super) fn deployments(sysroot: &Dir) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for stateroot in directories(sysroot, Path::new("ostree/deploy"))? {
        found.extend(directories(sysroot, &stateroot.join("deploy"))?);
    }
    found.sort();
    Ok(found)
}

/// The directories in a directory; none if there is none.
fn directories(sysroot: &Dir, path: &Path) -> Result<Vec<PathBuf>> {
    let dir = match open_dir(sysroot, path) {
        Ok(dir) => dir,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut all = Vec::new();
    for entry in dir.entries().map_err(io("read directory", path))? {
        let entry = entry.map_err(io("read directory", path))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            all.push(path.join(entry.file_name()));
        }
    }
    Ok(all)
}
