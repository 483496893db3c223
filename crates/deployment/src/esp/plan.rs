//! What the ESP lacks and what it holds too much: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::EntryName;
use crate::error::{Error, Result};

/// What a file takes on a vfat filesystem, at most: its clusters, and entries of its directory.
const CLUSTER: u64 = 32 << 10;

/// A kernel or an initramfs that an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Its path below the boot filesystem.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// An entry of the root, as the ESP is to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootEntry {
    /// File name without counter and `.conf`.
    pub id: String,
    /// Its text, with paths from the root of the ESP.
    pub text: String,
    /// What it names.
    pub files: Vec<BootFile>,
}

/// An entry on the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspEntry {
    /// Its file name.
    pub name: EntryName,
    /// Its text.
    pub text: String,
    /// What it names, by path.
    pub files: Vec<PathBuf>,
}

/// What of ours is on the ESP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Esp {
    /// Entries `ostree-*.conf`, by file name.
    pub entries: Vec<EspEntry>,
    /// Sizes of kernels and initramfs by path, unfinished ones among them.
    pub files: BTreeMap<PathBuf, u64>,
    /// Entries that were not finished, by path.
    pub unfinished: Vec<PathBuf>,
    /// Free bytes.
    pub free: u64,
}

impl Esp {
    /// Files that an entry names and that are not there: such an entry does not boot.
    pub fn missing<'a>(&self, entry: &'a EspEntry) -> Vec<&'a Path> {
        let files = entry.files.iter().map(PathBuf::as_path);
        files
            .filter(|path| !self.files.contains_key(*path))
            .collect()
    }
}

/// How to mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// How many boots the default entry may try, if it is new and there is another one to fall back to.
    /// `None`: nobody counts.
    pub tries: Option<u32>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Remove a kernel, an initramfs or what was not finished.
    Remove {
        /// Its path.
        path: PathBuf,
    },
    /// Remove a directory that is empty by then.
    RemoveDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// Copy from the root's `/boot`, in place of what may be there.
    Copy {
        /// Its path, there and here.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Write an entry, in place of one of that very name.
    WriteEntry {
        /// Its name.
        name: EntryName,
        /// Its text.
        text: String,
    },
    /// Remove an entry.
    RemoveEntry {
        /// Its name.
        name: EntryName,
    },
}

/// Steps, in the order in which they are safe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// To be carried out from the first to the last.
    pub steps: Vec<Step>,
}

/// What makes the ESP a mirror of the root's entries, of which the first is the default.
///
/// An entry that is there with the same text stays as it is, whatever its counter says.
///
/// # Errors
/// [`Error::NoSpace`], before anything is written.
pub fn plan(root: &[RootEntry], esp: &Esp, options: &PlanOptions) -> Result<Plan> {
    let kept = kept(root, esp);
    let wanted: BTreeMap<&Path, u64> = root
        .iter()
        .flat_map(|entry| &entry.files)
        .map(|file| (file.path.as_path(), file.bytes))
        .collect();
    let named: BTreeSet<&Path> = esp
        .entries
        .iter()
        .flat_map(|entry| &entry.files)
        .map(PathBuf::as_path)
        .collect();
    let unwanted = |path: &&PathBuf| !wanted.contains_key(path.as_path());
    let (old, garbage): (Vec<_>, Vec<_>) = esp
        .files
        .keys()
        .filter(unwanted)
        .partition(|path| named.contains(path.as_path()));

    let mut steps = Vec::new();
    // What no entry names can go at once, and may be needed as room.
    steps.extend(
        esp.unfinished
            .iter()
            .chain(garbage.iter().copied())
            .map(remove),
    );
    let mut needed = 0;
    for (path, &bytes) in &wanted {
        if esp.files.get(*path) != Some(&bytes) {
            needed += bytes.next_multiple_of(CLUSTER) + CLUSTER;
            steps.push(Step::Copy {
                path: (*path).to_owned(),
                bytes,
            });
        }
    }
    let new = || {
        root.iter()
            .filter(|entry| !kept.contains_key(entry.id.as_str()))
    };
    needed += new().count() as u64 * CLUSTER;
    let freed: u64 = garbage.iter().map(|path| esp.files[*path]).sum();
    if needed > esp.free + freed {
        return Err(Error::NoSpace {
            what: "the EFI system partition",
            needed,
            free: esp.free + freed,
        });
    }
    // The default entry last: until then the machine boots what it booted.
    for entry in new().rev() {
        let counts = root.len() > 1 && entry.id == root[0].id;
        steps.push(Step::WriteEntry {
            name: EntryName::new(&entry.id, options.tries.filter(|_| counts)),
            text: entry.text.clone(),
        });
    }
    let written: Vec<EntryName> = steps.iter().filter_map(written).collect();
    for entry in &esp.entries {
        let stays = kept.get(entry.name.id.as_str()) == Some(&&entry.name);
        if !stays && !written.contains(&entry.name) {
            steps.push(Step::RemoveEntry {
                name: entry.name.clone(),
            });
        }
    }
    steps.extend(old.iter().copied().map(remove));
    steps.extend(empty_directories(esp, &wanted));
    Ok(Plan { steps })
}

fn remove(path: impl AsRef<Path>) -> Step {
    Step::Remove {
        path: path.as_ref().to_owned(),
    }
}

fn written(step: &Step) -> Option<EntryName> {
    match step {
        Step::WriteEntry { name, .. } => Some(name.clone()),
        _ => None,
    }
}

/// Entries that are there as they should be, by id; of several with one id, the one that has booted least.
fn kept<'a>(root: &[RootEntry], esp: &'a Esp) -> BTreeMap<&'a str, &'a EntryName> {
    let mut kept: BTreeMap<&str, &EntryName> = BTreeMap::new();
    for EspEntry { name, text, .. } in &esp.entries {
        let same = |entry: &RootEntry| entry.id == name.id && entry.text == *text;
        if !root.iter().any(same) {
            continue;
        }
        let known = kept.entry(&name.id).or_insert(name);
        if (name.left.is_none(), name.left) > (known.left.is_none(), known.left) {
            *known = name;
        }
    }
    kept
}

/// Directories of kernels in which nothing will be left.
fn empty_directories(esp: &Esp, wanted: &BTreeMap<&Path, u64>) -> Vec<Step> {
    let stay: BTreeSet<&Path> = wanted.keys().filter_map(|path| path.parent()).collect();
    let all: BTreeSet<&Path> = esp.files.keys().filter_map(|path| path.parent()).collect();
    all.difference(&stay)
        .filter(|path| path.components().count() > 1)
        .map(|path| Step::RemoveDirectory {
            path: path.to_path_buf(),
        })
        .collect()
}
