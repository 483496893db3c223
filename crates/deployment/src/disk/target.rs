//! What a disk is written to: a file, which gets its name when it is whole, or a device.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use cap_std::fs::{Dir, File};
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;

use super::MIB;
use super::unfinished::Unfinished;
use crate::error::{Error, Result, io};

/// Where to: a name in a directory. A link is not followed.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A regular file, made or replaced.
    File(&'a Dir, &'a Path),
    /// A block device that is there.
    Device(&'a Dir, &'a Path),
}

/// A target, checked and open.
pub(super) enum Opened<'a> {
    File(Unfinished<'a>),
    Device(File, u64),
}

impl<'a> Target<'a> {
    pub(super) fn name(&self) -> &'a Path {
        match *self {
            Self::File(_, name) | Self::Device(_, name) => name,
        }
    }

    /// Opens it, unless it is in use, or holds something and `wipe` is not set.
    pub(super) fn open(self, wipe: bool) -> Result<Opened<'a>> {
        match self {
            Self::File(dir, name) => {
                let found = dir.symlink_metadata(name);
                if found.is_ok_and(|found| found.len() > 0) && !wipe {
                    return Err(Error::TargetHolds {
                        path: name.into(),
                        what: "a file",
                    });
                }
                Unfinished::new(dir)
                    .map(Opened::File)
                    .map_err(io("create", name))
            }
            Self::Device(dir, name) => device(dir, name, wipe),
        }
    }
}

fn device<'a>(dir: &Dir, name: &Path, wipe: bool) -> Result<Opened<'a>> {
    let open = |more| {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
        openat(dir, name, flags, Mode::empty())
    };
    // Exclusive: who has mounted it, or one of its partitions, is in the way. mkfs asks for the same, so it
    // cannot be held meanwhile.
    match open(OFlags::EXCL) {
        Err(Errno::BUSY) => return Err(Error::TargetBusy { path: name.into() }),
        other => other.map_err(io("open", name))?,
    };
    let fd = open(OFlags::empty()).map_err(io("open", name))?;
    let stat = rustix::fs::fstat(&fd).map_err(io("stat", name))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(Error::Invalid {
            what: "target",
            value: name.display().to_string(),
            reason: "is no block device".into(),
        });
    }
    let sector = rustix::fs::ioctl_blksszget(&fd).map_err(io("ask for the sectors of", name))?;
    if sector != 512 {
        return Err(Error::Invalid {
            what: "target",
            value: name.display().to_string(),
            reason: format!("has sectors of {sector} bytes; only 512 is supported"),
        });
    }
    let mut file = File::from_std(fd.into());
    let bytes = file.seek(SeekFrom::End(0)).map_err(io("seek in", name))?;
    let mut held = None;
    for at in ends(bytes) {
        let mut buffer = vec![0; at.1 as usize];
        file.seek(SeekFrom::Start(at.0))
            .and_then(|_| file.read_exact(&mut buffer))
            .map_err(io("read", name))?;
        held = held.or(buffer.iter().any(|b| *b != 0).then_some("data"));
    }
    match held {
        Some(what) if !wipe => Err(Error::TargetHolds {
            path: name.into(),
            what,
        }),
        _ => Ok(Opened::Device(file, bytes)),
    }
}

/// Where tables and superblocks are: what tells that a device is in use for something.
fn ends(bytes: u64) -> [(u64, u64); 2] {
    let part = MIB.min(bytes / 2);
    [(0, part), (bytes - part, part)]
}

impl Opened<'_> {
    pub(super) fn file(&self) -> &File {
        match self {
            Self::File(file) => file.file(),
            Self::Device(file, _) => file,
        }
    }

    /// Makes it a disk of a size, without content that somebody would find.
    pub(super) fn begin(&self, bytes: u64, name: &Path) -> Result<()> {
        let mut file = self.file();
        match self {
            Self::File(file) => file
                .file()
                .set_len(bytes)
                .map_err(io("set length of", name)),
            Self::Device(..) => {
                for (at, length) in ends(bytes) {
                    file.seek(SeekFrom::Start(at))
                        .and_then(|_| file.write_all(&vec![0; length as usize]))
                        .map_err(io("wipe", name))?;
                }
                file.sync_all().map_err(io("sync", name))
            }
        }
    }

    pub(super) fn finish(self, name: &Path) -> Result<()> {
        self.file().sync_all().map_err(io("write", name))?;
        match self {
            Self::File(file) => file.finish(name).map_err(io("create", name)),
            Self::Device(..) => Ok(()),
        }
    }
}
