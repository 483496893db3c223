//! A sysroot into an image of an ext4 filesystem, and files out of such an image; nothing is mounted.

mod finish;
mod read;
mod tool;
mod unfinished;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use crate::error::{Error, Result, io};
use crate::walk::{TreeLimits, walk};
use crate::xattr;

pub use read::{ImageEntry, boot_entries, read_dir, read_file, replay_journal};
use tool::Tool;
use unfinished::Unfinished;

const BLOCK: u64 = 4096;
const INODE: u64 = 256;
const MIB: u64 = 1 << 20;

/// ext4 of kernels since 4.5, and fs-verity, spelled out so that the host's mke2fs.conf has no say.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                        sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,verity";

/// How large the filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskSize {
    /// That many bytes; a multiple of 4096.
    Bytes(u64),
    /// What the sysroot needs, and about that many bytes left free for the machine.
    Free(u64),
}

/// How to make the filesystem. The same sysroot and options give the same bytes, with the same mkfs.
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

/// Write an image of `sysroot` as the file `out.1` in `out.0`, in place of any that is there; all of it or,
/// on an error, nothing. Returns the size in bytes; blocks that hold nothing are holes.
///
/// The file is 0600 from its first moment: it holds all of the machine's files, those
/// that only its root may read among them.
///
/// The filesystem starts at the first byte: there is no partition table. Its root is 0755 and root's.
/// Owners, modes, hard links and extended attributes are kept, and deployments' roots are immutable
/// (`chattr +i`), as libostree has them on a machine; no privilege is needed but to read the sysroot. A time
/// later than `timestamp` becomes `timestamp`, since it only tells when this ran.
pub fn write_image(sysroot: &Dir, out: (&Dir, &Path), options: &DiskOptions) -> Result<u64> {
    options.check()?;
    let usage = Usage::of(sysroot, options)?;
    let bytes = match options.size {
        DiskSize::Bytes(bytes) => bytes,
        DiskSize::Free(free) => usage.size_with(free, options.journal_bytes),
    };
    let (dir, name) = out;
    let image = Unfinished::new(dir).map_err(io("create", name))?;
    let file = image.file();
    file.set_len(bytes).map_err(io("set length of", name))?;
    let mkfs =
        Tool::new(&options.mkfs, options.timestamp).args(usage.mkfs_arguments(options, bytes));
    mkfs.cwd(sysroot)?.run(file.as_fd(), &[])?;
    finish::settle(sysroot, file, &usage, options)?;
    file.sync_all().map_err(io("write", name))?;
    image.finish(name).map_err(io("create", name))?;
    Ok(bytes)
}

/// What a sysroot takes up.
#[derive(Default)]
struct Usage {
    /// Inodes, hard links once.
    inodes: u64,
    /// Blocks of files, links, directories and extended attributes.
    blocks: u64,
    /// Paths with a modification time later than the options' timestamp.
    later: Vec<PathBuf>,
}

impl Usage {
    fn of(sysroot: &Dir, options: &DiskOptions) -> Result<Self> {
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
    fn size_with(&self, free: u64, journal: u64) -> u64 {
        let used = (self.blocks * BLOCK + free) / 20 * 21 + journal;
        (used + self.inode_count(free) * INODE + 8 * MIB).next_multiple_of(MIB)
    }

    /// Room for as many new files as mkfs would give by itself, one in 16 KiB.
    fn inode_count(&self, free: u64) -> u64 {
        self.inodes + 1024 + free / (16 << 10)
    }

    fn mkfs_arguments(&self, options: &DiskOptions, bytes: u64) -> Vec<OsString> {
        let free = match options.size {
            DiskSize::Free(free) => free,
            DiskSize::Bytes(bytes) => bytes.saturating_sub(self.blocks * BLOCK),
        };
        let text = format!(
            "-q -F -t ext4 -b {BLOCK} -I {INODE} -N {} -m 0 -J size={} -O {FEATURES} -U {} \
             -E hash_seed={},root_owner=0:0,nodiscard -d .",
            self.inode_count(free),
            options.journal_bytes / MIB,
            options.uuid,
            options.hash_seed,
        );
        let label = ["-L", &options.label].map(OsString::from);
        let image = [tool::IMAGE.to_owned(), format!("{}", bytes / BLOCK)];
        let words = text.split(' ').map(OsString::from);
        words
            .chain(label)
            .chain(image.map(OsString::from))
            .collect()
    }
}
