//! File systems in files, mounted by the kernel of this machine.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// What a disk is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// With a journal of metadata.
    Ext4,
    /// With a journal of metadata, and all else different.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl FileSystem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// Makes a disk image, as small as it can be and still be like a machine's.
    ///
    /// # Errors
    /// With what the tool said.
    pub fn format(self, image: &Path, mib: u64) -> Result<()> {
        std::fs::File::create(image)?.set_len(mib << 20)?;
        // All is written now: what is left for later would be in the log of somebody else.
        let (tool, arguments): (_, &[&str]) = match self {
            Self::Ext4 => (
                "mkfs.ext4",
                &[
                    "-q",
                    "-F",
                    "-b",
                    "4096",
                    "-J",
                    "size=4",
                    "-E",
                    "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
                ],
            ),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f", "-K"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-K"]),
        };
        run(Command::new(tool).args(arguments).arg(image)).map(drop)
    }

    /// The smallest size that is of use, in MiB.
    pub fn least_mib(self) -> u64 {
        match self {
            Self::Ext4 => 96,
            Self::Xfs => 320,
            Self::Btrfs => 256,
        }
    }

    /// The sectors of the superblock, which each of them needs to be written whole: its checksum is over
    /// all of them, and there is no other that a mount would look for. A disk with sectors of 4 KiB, or a
    /// journal of its own, does that.
    pub fn whole(self) -> Range<u64> {
        match self {
            Self::Ext4 => 2..4,
            Self::Xfs => 0..1,
            Self::Btrfs => 128..136,
        }
    }

    fn options(self) -> &'static str {
        match self {
            // A discard is no write, and what it leaves is not defined.
            Self::Ext4 | Self::Btrfs => "nodiscard",
            Self::Xfs => "nodiscard,nouuid",
        }
    }
}

/// A mounted file system; unmounted when it is dropped.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Mounts an image or a device at a directory, which is made.
    ///
    /// # Errors
    /// With what mount(8) said.
    pub fn new(what: &Path, at: &Path, kind: FileSystem) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let mut options = kind.options().to_owned();
        if !what.starts_with("/dev/loop") {
            options.insert_str(0, "loop,");
        }
        run(Command::new("mount")
            .args(["-t", kind.name(), "-o", &options])
            .arg(what)
            .arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// When somebody still uses it.
    pub fn unmount(self) -> Result<()> {
        // Whoever looks at all mounts, as some daemons do, is in the way for a moment.
        let mut unmounted = run(Command::new("umount").arg(&self.at));
        for _ in 0..100 {
            if unmounted.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
            unmounted = run(Command::new("umount").arg(&self.at));
        }
        if unmounted.is_ok() {
            std::mem::forget(self);
        }
        unmounted.map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // After a failure, which is what there is to report.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

/// Runs a tool that has to succeed.
///
/// # Errors
/// With what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}
