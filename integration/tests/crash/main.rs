//! Power cuts while deployments change. `cargo xtask test --tier vm` names the program; no machine
//! is booted.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "a test suite opens what its environment names, and says what it found"
)]

mod barriers;
mod control;
mod esp;
mod faults;
mod ours;
mod races;
mod strace;
mod system;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use pleach_integration::crash::campaign::{Case, Options, Recorded};
use pleach_integration::crash::mount::FileSystem;

/// Where a test works.
pub(crate) struct Room {
    /// In memory where there is such a place: states are written by the thousand.
    pub(crate) folder: PathBuf,
    name: String,
}

impl Room {
    pub(crate) fn options(&self, states: usize) -> Options {
        Options {
            states,
            seed: seed(),
            again_every: 20,
            within: 0..usize::MAX,
            failures: 20,
            work: self.folder.join("states"),
        }
    }

    /// Keeps what failures are replayed from, where the suite keeps all it leaves.
    pub(crate) fn keep(&self, case: &Case<'_>, recorded: &Recorded) -> Result<PathBuf> {
        let busy = if case.busy { "-busy" } else { "" };
        let kept = self.kept(&format!("{}-{}{busy}", case.name, case.kind.name()))?;
        std::fs::copy(&case.base, kept.join("base.img"))?;
        std::fs::copy(self.folder.join("record/log.img"), kept.join("log.img"))?;
        let exit = recorded.exit.map(|exit| exit.to_string());
        std::fs::write(kept.join("exit"), exit.unwrap_or_default())?;
        Ok(kept)
    }

    /// A folder for what outlives the suite.
    pub(crate) fn kept(&self, name: &str) -> Result<PathBuf> {
        let output =
            std::env::var_os("PLEACH_VM_OUTPUT").map_or_else(std::env::temp_dir, PathBuf::from);
        let kept = output.join("crash").join(name);
        std::fs::create_dir_all(&kept)?;
        Ok(kept)
    }

    /// Tells a person, past libtest's capture: figures are the point of these tests.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            let line = format!("{}: {line}\n", self.name);
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const TOOLS: &[(&str, &str)] = &[
    ("qemu-storage-daemon", "qemu-system-common"),
    ("grub-fstest", "grub-common"),
    ("losetup", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ostree", "ostree"),
    ("strace", "strace"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
];

/// Whether all is asked for, and not only what fits into a run that somebody waits for.
pub(crate) fn all() -> bool {
    std::env::var("PLEACH_CASES").is_ok_and(|cases| cases == "all")
}

/// Of the choice of states: `PLEACH_SEED=N` chooses others.
pub(crate) fn seed() -> u64 {
    match std::env::var("PLEACH_SEED") {
        Ok(seed) => seed.parse().expect("PLEACH_SEED is a number"),
        Err(_) => 1,
    }
}

/// The file systems that are looked at: `PLEACH_FS=NAME` chooses one.
pub(crate) fn kinds() -> Vec<FileSystem> {
    let kinds = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];
    let wanted = std::env::var("PLEACH_FS");
    let wanted = match &wanted {
        Ok(name) => Some(name.as_str()),
        Err(_) if all() => None,
        Err(_) => Some("ext4"),
    };
    let found: Vec<_> = kinds
        .into_iter()
        .filter(|kind| wanted.is_none_or(|wanted| wanted == kind.name()))
        .collect();
    assert!(!found.is_empty(), "PLEACH_FS is ext4, xfs or btrfs");
    found
}

/// What is missing to run these tests.
fn missing() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &str| std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let mut missing: Vec<String> = TOOLS
        .iter()
        .filter(|(tool, _)| !there(tool))
        .map(|(tool, package)| format!("{tool} (package {package})"))
        .collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("root, to mount".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !Path::new(device).exists() {
            missing.push(device.to_owned());
        }
    }
    missing
}

/// Runs a test where its inputs are, and says why where they are not.
pub(crate) fn with(name: &str, needs_pleach: bool, test: impl FnOnce(&Room) -> Result<()>) {
    let mut missing = missing();
    if needs_pleach && std::env::var_os("PLEACH_BIN").is_none() {
        missing.push("PLEACH_BIN; run: cargo xtask test --tier vm".to_owned());
    }
    if !missing.is_empty() {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{name} cannot run: {missing:?}");
        eprintln!("SKIP {name}: {}", missing.join(", "));
        return;
    }
    // Each of them takes all processors.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = parent.join(format!("pleach-crash-{name}-{}", std::process::id()));
    let room = Room {
        folder,
        name: name.to_owned(),
    };
    let run = || {
        std::fs::create_dir_all(&room.folder)?;
        test(&room)
    };
    if let Err(error) = run() {
        panic!("{error:?}");
    }
}
