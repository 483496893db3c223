//! Trees as large as asked for, the same each time.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Files in a directory.
const DIRECTORY: u64 = 25;
/// Directories side by side at the top.
const TOPS: u64 = 40;

/// An `/etc` of so many files, and what becomes of it.
///
/// One path in ten is a symbolic link; a file has 1 to 3 KiB. What the machine changes the next image
/// may change too, but then the content: there libostree and we keep the machine's.
pub(super) struct Trees {
    pub(super) files: usize,
}

/// Which stream of numbers a question takes its answer from.
#[derive(Clone, Copy)]
enum About {
    Length,
    Bytes,
    Image,
    Local,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    None,
    Modified,
    Removed,
    /// Another file is added beside it.
    Added,
    Mode,
}

impl Trees {
    /// What the first image ships.
    pub(super) fn pristine(&self, top: &Path) -> Result<()> {
        for (index, path) in self.paths() {
            let path = top.join(path);
            let parent = path.parent().context("a path has a parent")?;
            if index.is_multiple_of(DIRECTORY) {
                fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            match is_link(index) {
                true => symlink(format!("../target-{index}"), &path),
                false => fs::write(&path, content(index, 0)),
            }
            .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Makes the next image's of it: 1 % modified, ½ % removed, ½ % added.
    pub(super) fn upgrade(&self, top: &Path) -> Result<()> {
        self.change(top, "image", 1, image)
    }

    /// What a machine does to it: 1 % modified, 1 % added, ¼ % with another mode.
    pub(super) fn customize(&self, top: &Path) -> Result<()> {
        self.change(top, "local", 2, local)
    }

    fn change(&self, top: &Path, who: &str, version: u64, what: fn(u64) -> Change) -> Result<()> {
        for (index, path) in self.paths() {
            let path = top.join(path);
            match what(index) {
                Change::None => Ok(()),
                Change::Modified => fs::write(&path, content(index, version)),
                Change::Removed => fs::remove_file(&path),
                Change::Added => fs::write(path.with_extension(who), content(index, version)),
                Change::Mode => fs::set_permissions(&path, fs::Permissions::from_mode(0o600)),
            }
            .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn paths(&self) -> impl Iterator<Item = (u64, String)> {
        (0..self.files as u64).map(|index| (index, path(index)))
    }
}

fn is_link(index: u64) -> bool {
    index % 10 == 3
}

fn path(index: u64) -> String {
    let directory = index / DIRECTORY;
    let (top, below) = (directory % TOPS, directory / TOPS);
    // Some lie deeper than the rest.
    let deeper = if directory.is_multiple_of(8) {
        "deep/er/"
    } else {
        ""
    };
    format!("top-{top:02}/{below:04}/{deeper}file-{index:06}.conf")
}

fn image(index: u64) -> Change {
    match number(About::Image, index) % 1000 {
        _ if is_link(index) => Change::None,
        0..10 => Change::Modified,
        10..15 => Change::Removed,
        15..20 => Change::Added,
        _ => Change::None,
    }
}

fn local(index: u64) -> Change {
    let quarters = number(About::Local, index) % 4000;
    match quarters {
        _ if is_link(index) => Change::None,
        0..40 => Change::Modified,
        40..80 => Change::Added,
        // Of a path that the image changes too, libostree would take all from the machine.
        80..90 if matches!(image(index), Change::None | Change::Added) => Change::Mode,
        _ => Change::None,
    }
}

/// Every other version of a file is as long as the first: then only its bytes tell.
fn content(index: u64, version: u64) -> Vec<u8> {
    let same_length = index.is_multiple_of(2);
    let seed = if same_length {
        index
    } else {
        index ^ (version << 40)
    };
    let length = 1024 + number(About::Length, seed) as usize % 2048;
    let mut out = Vec::with_capacity(length + 17);
    let mut word = index ^ (version << 40);
    while out.len() < length {
        word = number(About::Bytes, word);
        out.extend(format!("{word:016x}\n").bytes());
    }
    out.truncate(length);
    out
}

/// SplitMix64: each input has one number, and neighbours have nothing in common.
fn number(about: About, input: u64) -> u64 {
    let mut z = input
        .wrapping_add((about as u64) << 56)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_as_frequent_as_said() {
        let check = |what: fn(u64) -> Change, change, per_mille: f64| {
            let count = (0..100_000).filter(|i| what(*i) == change).count();
            // Links are left alone: nine paths in ten can change.
            let expected = per_mille * 100.0 * 0.9;
            let off = (count as f64 - expected).abs() / expected;
            assert!(off < 0.15, "{change:?}: {count}, expected {expected}");
        };
        check(image, Change::Modified, 10.0);
        check(image, Change::Removed, 5.0);
        check(image, Change::Added, 5.0);
        check(local, Change::Modified, 10.0);
        check(local, Change::Added, 10.0);
        check(local, Change::Mode, 2.5);
    }

    #[test]
    fn contents_differ_between_versions_and_files() {
        let lengths = |index| (content(index, 0).len(), content(index, 1).len());
        let (even, odd) = (lengths(4), lengths(5));
        assert_eq!(even.0, even.1);
        assert_ne!(odd.0, odd.1);
        assert_eq!(content(4, 1), content(4, 1));
        assert_ne!(content(4, 0), content(4, 1));
        assert_ne!(content(4, 0), content(6, 0));
    }
}
