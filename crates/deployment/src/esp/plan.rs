//! What the ESP lacks and what it holds too much: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::shared::with_shared_names;
use super::{ENTRIES, EntryName, HIDDEN, with};
use crate::error::{Error, Result};

/// What a file takes on a vfat filesystem, at most: its clusters, and entries of its directory.
const CLUSTER: u64 = 32 << 10;

/// A kernel or an initramfs that an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Its path on the ESP, where it may have another name.
    pub path: PathBuf,
    /// Its path below the root's `/boot`.
    pub source: PathBuf,
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
    /// Entries that were not finished, and such as were hidden to be removed, by path.
    pub unfinished: Vec<PathBuf>,
    /// Names that share a file with another one, as a rename leaves them of which only a part came to the
    /// disk. None of them may be removed or replaced: the other one would lose its clusters.
    pub twins: BTreeSet<PathBuf>,
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
    /// Remove a kernel, an initramfs, a hidden entry or what was not finished.
    Remove {
        /// Its path.
        path: PathBuf,
    },
    /// Remove a directory that is empty by then.
    RemoveDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// Copy from the root's `/boot`, under another name.
    Copy {
        /// Its path here.
        path: PathBuf,
        /// Its path there.
        source: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Write an entry, under another name.
    WriteEntry {
        /// Its name.
        name: EntryName,
        /// Its text.
        text: String,
    },
    /// Give what was copied or written its name, in place of what may have that.
    Name {
        /// Its path.
        path: PathBuf,
    },
    /// Give an entry a name that no boot loader reads.
    HideEntry {
        /// Its name.
        name: EntryName,
    },
    /// All before is on the disk before anything after it is begun.
    Settle,
}

/// Where an entry is.
pub(super) fn entry_path(name: &EntryName) -> PathBuf {
    Path::new(ENTRIES).join(name.to_string())
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
/// [`Error::NoSpace`] and, where something that has two names would have to be written anew,
/// [`Error::Invalid`], before anything is written.
pub fn plan(root: &[RootEntry], esp: &Esp, options: &PlanOptions) -> Result<Plan> {
    let root: Vec<RootEntry> = root
        .iter()
        .map(|entry| with_shared_names(entry, esp))
        .collect();
    let root = root.as_slice();
    let kept = kept(root, esp);
    let wanted: BTreeMap<&Path, &BootFile> = root
        .iter()
        .flat_map(|entry| &entry.files)
        .map(|file| (file.path.as_path(), file))
        .collect();
    // The default entry last.
    let new: Vec<(EntryName, &str)> = root
        .iter()
        .rev()
        .filter(|entry| !kept.contains_key(entry.id.as_str()))
        .map(|entry| {
            let counts = root.len() > 1 && entry.id == root[0].id;
            let name = EntryName::new(&entry.id, options.tries.filter(|_| counts));
            (name, entry.text.as_str())
        })
        .collect();
    // Of entries that are there: some stay as they are, some are replaced, the others go.
    let stays = |entry: &&EspEntry| {
        kept.get(entry.name.id.as_str()) == Some(&&entry.name)
            || esp.twins.contains(&entry_path(&entry.name))
    };
    let replaced = |entry: &&EspEntry| new.iter().any(|(name, _)| *name == entry.name);
    let hidden: Vec<&EntryName> = esp
        .entries
        .iter()
        .filter(|entry| !stays(entry) && !replaced(entry))
        .map(|entry| &entry.name)
        .collect();
    let named = |by: &dyn Fn(&&EspEntry) -> bool| -> BTreeSet<&Path> {
        let entries = esp.entries.iter().filter(by);
        entries
            .flat_map(|entry| &entry.files)
            .map(PathBuf::as_path)
            .collect()
    };
    let (named, held) = (named(&|_| true), named(&stays));
    let unwanted = |path: &&PathBuf| {
        let path = path.as_path();
        !wanted.contains_key(path) && !held.contains(path) && !esp.twins.contains(path)
    };
    let (old, garbage): (Vec<_>, Vec<_>) = esp
        .files
        .keys()
        .filter(unwanted)
        .partition(|path| named.contains(path.as_path()));

    let mut steps = Steps::default();
    // What no entry names can go at once, and may be needed as room.
    let unfinished = esp
        .unfinished
        .iter()
        .filter(|path| !esp.twins.contains(*path));
    steps.settled(unfinished.chain(garbage.iter().copied()).map(remove));
    let copied: Vec<Step> = wanted
        .values()
        .filter(|file| esp.files.get(&file.path) != Some(&file.bytes))
        .map(|file| Step::Copy {
            path: file.path.clone(),
            source: file.source.clone(),
            bytes: file.bytes,
        })
        .collect();
    let taken = copied
        .iter()
        .map(|step| step.bytes().next_multiple_of(CLUSTER) + CLUSTER);
    let needed = taken.sum::<u64>() + new.len() as u64 * CLUSTER;
    let freed: u64 = garbage.iter().map(|path| esp.files[*path]).sum();
    if needed > esp.free + freed {
        return Err(Error::NoSpace {
            what: "the EFI system partition",
            needed,
            free: esp.free + freed,
        });
    }
    let kernels: Vec<Step> = copied.iter().filter_map(Step::named).collect();
    steps.settled(copied);
    steps.add(kernels);
    let entries: Vec<Step> = new
        .iter()
        .map(|(name, text)| Step::WriteEntry {
            name: name.clone(),
            text: (*text).to_owned(),
        })
        .collect();
    let names: Vec<Step> = entries.iter().filter_map(Step::named).collect();
    steps.settled(entries);
    // Until now the machine boots what it booted.
    steps.settled(names);
    steps.settled(hidden.iter().map(|name| Step::HideEntry {
        name: (*name).clone(),
    }));
    steps.add(
        hidden
            .iter()
            .map(|name| remove(with(&entry_path(name), HIDDEN))),
    );
    steps.add(old.iter().copied().map(remove));
    let gone: BTreeSet<&PathBuf> = old.into_iter().chain(garbage).collect();
    steps.settled(empty_directories(esp, &wanted, &gone));
    steps.plan(&esp.twins)
}

/// Steps that are being put in order.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn add(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.0.extend(steps);
    }

    /// Adds some that have to be on the disk, with all before them, before the next one.
    fn settled(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.add(steps);
        if self.0.last().is_some_and(|last| *last != Step::Settle) {
            self.0.push(Step::Settle);
        }
    }

    fn plan(self, twins: &BTreeSet<PathBuf>) -> Result<Plan> {
        let named = self.0.iter().filter_map(|step| match step {
            Step::Name { path } => Some(path),
            _ => None,
        });
        match named.into_iter().find(|path| twins.contains(*path)) {
            Some(path) => Err(Error::Invalid {
                what: "file on the EFI system partition",
                value: path.display().to_string(),
                reason: "a power cut has left it with two names; fsck.vfat has to mend it first"
                    .into(),
            }),
            None => Ok(Plan { steps: self.0 }),
        }
    }
}

impl Step {
    /// What gives its name to what this one has written.
    fn named(&self) -> Option<Self> {
        let path = match self {
            Self::Copy { path, .. } => path.clone(),
            Self::WriteEntry { name, .. } => entry_path(name),
            _ => return None,
        };
        Some(Self::Name { path })
    }

    /// What it copies.
    fn bytes(&self) -> u64 {
        match self {
            Self::Copy { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}

fn remove(path: impl AsRef<Path>) -> Step {
    Step::Remove {
        path: path.as_ref().to_owned(),
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
fn empty_directories(
    esp: &Esp,
    wanted: &BTreeMap<&Path, &BootFile>,
    gone: &BTreeSet<&PathBuf>,
) -> Vec<Step> {
    let stay = esp.files.keys().filter(|path| !gone.contains(path));
    let stay = stay.map(PathBuf::as_path).chain(wanted.keys().copied());
    let stay: BTreeSet<&Path> = stay.filter_map(Path::parent).collect();
    let all: BTreeSet<&Path> = esp.files.keys().filter_map(|path| path.parent()).collect();
    all.difference(&stay)
        .filter(|path| path.components().count() > 1)
        .map(|path| Step::RemoveDirectory {
            path: path.to_path_buf(),
        })
        .collect()
}
