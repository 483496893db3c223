//! Reading an image whose root is ext4, through debugfs.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};
use rustix::fs::{Mode, OFlags};

use super::partitions::{self, Region};
use super::tool::{Tool, image_at, quote, read_at};
use crate::boot_entry::{self, BootEntry};
use crate::error::{Error, Result, io};

/// Most bytes of a boot loader entry.
const MAX_BOOT_ENTRY_BYTES: u64 = 1 << 20;

/// An entry of a directory in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// Its name.
    pub name: PathBuf,
    /// Its inode.
    pub inode: u64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes; 0 for a directory.
    pub size: u64,
}

impl ImageEntry {
    fn is_regular(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// An image, checked to be readable as it is.
struct Image {
    file: File,
    /// Where its filesystem begins.
    offset: u64,
    debugfs: PathBuf,
}

impl Image {
    fn open(image: (&Dir, &Path)) -> Result<Self> {
        let file = open(image, OFlags::RDONLY)?;
        let offset = offset(&file, image.1)?;
        if Superblock::of(&file, offset, image.1)?.needs_recovery() {
            return Err(Error::NeedsRecovery {
                path: image.1.to_owned(),
            });
        }
        Ok(Self {
            file,
            offset,
            debugfs: "debugfs".into(),
        })
    }

    fn debugfs(&self, request: &str) -> Result<Vec<u8>> {
        Tool::new(&self.debugfs, 0)
            .args(["-R", request, &image_at(self.offset)])
            .run(self.file.as_fd(), &[])
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<ImageEntry>> {
        let listing = match self.debugfs(&format!("ls -p {}", quote(path)?)) {
            Err(Error::ToolFailed { stderr, .. }) if stderr.contains("not found") => {
                return Err(in_image(path, "no such directory"));
            }
            other => other?,
        };
        let lines = listing.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let mut entries = Vec::new();
        for line in lines {
            let entry = parse(line).ok_or_else(|| in_image(path, "not listed as a directory"))?;
            if entry.name != Path::new(".") && entry.name != Path::new("..") {
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read_file(&self, path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
        let parent = path.parent().ok_or_else(|| in_image(path, "is no file"))?;
        let entries = self.read_dir(parent)?;
        let found = entries
            .iter()
            .find(|e| Some(e.name.as_os_str()) == path.file_name());
        let entry = found.ok_or_else(|| in_image(path, "no such file"))?;
        self.content(entry, path, max_bytes)
    }

    fn content(&self, entry: &ImageEntry, path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
        if !entry.is_regular() {
            return Err(in_image(path, "is not a regular file"));
        }
        if entry.size > max_bytes {
            return Err(Error::Limit {
                limit: "max_bytes",
                value: max_bytes,
                path: path.to_owned(),
            });
        }
        self.debugfs(&format!("cat <{}>", entry.inode))
    }
}

/// A directory of the image by name; `path` is absolute, and links on the way to it are followed within the
/// image.
pub fn read_dir(image: (&Dir, &Path), path: &Path) -> Result<Vec<ImageEntry>> {
    Image::open(image)?.read_dir(path)
}

/// A regular file of the image, of at most `max_bytes`; `path` is absolute, and links to its directory, not
/// the last one, are followed within the image.
pub fn read_file(image: (&Dir, &Path), path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    Image::open(image)?.read_file(path, max_bytes)
}

/// The partitions of an image: its ESP and its root. `None` where there is no table, and the root
/// filesystem starts at the first byte.
pub fn partitions(image: (&Dir, &Path)) -> Result<Option<(Region, Region)>> {
    partitions::find(&open(image, OFlags::RDONLY)?, image.1)
}

/// Where the root filesystem begins.
fn offset(file: &File, name: &Path) -> Result<u64> {
    Ok(partitions::find(file, name)?.map_or(0, |(_, root)| root.offset))
}

/// The boot loader entries of the image, the default one first.
pub fn boot_entries(image: (&Dir, &Path)) -> Result<Vec<BootEntry>> {
    let image = Image::open(image)?;
    let dir = Path::new("/").join(boot_entry::DIRECTORY);
    let mut all = Vec::new();
    for entry in image.read_dir(&dir)? {
        if entry.name.extension().is_none_or(|e| e != "conf") {
            continue;
        }
        let path = dir.join(&entry.name);
        let text = image.content(&entry, &path, MAX_BOOT_ENTRY_BYTES)?;
        let text = String::from_utf8(text).map_err(|_| in_image(&path, "is not UTF-8"))?;
        all.push(BootEntry::parse(&entry.name, &text)?);
    }
    boot_entry::sort(&mut all);
    Ok(all)
}

/// Write in place what an image's journal holds, as a mount would: for an image of a machine that was not
/// shut down cleanly. Nothing else is repaired. `e2fsck` is the program, a path or a name to look up.
pub fn replay_journal(image: (&Dir, &Path), e2fsck: &Path) -> Result<()> {
    let file = open(image, OFlags::RDWR)?;
    let offset = offset(&file, image.1)?;
    if !Superblock::of(&file, offset, image.1)?.needs_recovery() {
        return Ok(());
    }
    Tool::new(e2fsck, 0)
        .args(["-p", "-E", "journal_only", &image_at(offset)])
        .run(file.as_fd(), &[])
        .map(drop)
}

fn open((dir, name): (&Dir, &Path), flags: OFlags) -> Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(io("open", name))?;
    Ok(File::from_std(fd.into()))
}

fn in_image(path: &Path, reason: &'static str) -> Error {
    Error::InImage {
        path: path.to_owned(),
        reason,
    }
}

/// A line of `ls -p`: `/INODE/MODE/UID/GID/NAME/SIZE/`.
fn parse(line: &[u8]) -> Option<ImageEntry> {
    let mut fields = line.strip_prefix(b"/")?.split(|b| *b == b'/');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let inode = text()?.parse().ok()?;
    let mode = u32::from_str_radix(text()?, 8).ok()?;
    let (uid, gid) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let name = PathBuf::from(OsStr::from_bytes(fields.next()?));
    let size = match fields.next()? {
        b"" => 0,
        digits => std::str::from_utf8(digits).ok()?.parse().ok()?,
    };
    Some(ImageEntry {
        name,
        inode,
        mode,
        uid,
        gid,
        size,
    })
}

/// The fields of the superblock that matter here (kernel documentation, "ext4 Super Block").
pub(super) struct Superblock([u8; 1024]);

impl Superblock {
    pub(super) fn of(image: &File, offset: u64, path: &Path) -> Result<Self> {
        let not_ext4 = || Error::NotExt4 {
            path: path.to_owned(),
        };
        let mut head = [0; 2048];
        match read_at(image, offset, &mut head) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Err(not_ext4()),
            other => other.map_err(io("read", path))?,
        }
        let mut block = [0; 1024];
        block.copy_from_slice(&head[1024..]);
        let superblock = Self(block);
        match superblock.0[0x38..0x3A] {
            [0x53, 0xEF] => Ok(superblock),
            _ => Err(not_ext4()),
        }
    }

    fn word(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_le_bytes(bytes)
    }

    /// `s_inodes_count - s_free_inodes_count`.
    pub(super) fn used_inodes(&self) -> u64 {
        u64::from(self.word(0) - self.word(0x10))
    }

    /// `INCOMPAT_RECOVER` of `s_feature_incompat`.
    fn needs_recovery(&self) -> bool {
        self.word(0x60) & 4 != 0
    }
}
