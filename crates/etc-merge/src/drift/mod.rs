//! Drift: where the machine is not what the image shipped, and which of it is to be expected.

mod noise;

use std::collections::BTreeMap;
use std::fmt;

use pleach_fs_tree::{Changed, Kinds, NodeType, Tree, TreePath, diff, escape};

pub use noise::{NoiseClass, NoiseModel};

use crate::Ledger;
use crate::inode::belongs_to_overlayfs;
use crate::ledger::{Machine, still};
use crate::plan::NodeSummary;

/// One path that is not the image's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftEntry {
    /// The path.
    pub path: TreePath,
    /// What is different.
    pub kind: DriftKind,
    /// What the image shipped.
    pub pristine: Option<NodeSummary>,
    /// What the machine has.
    pub current: Option<NodeSummary>,
    /// Why it is to be expected; `None`: nobody knows.
    pub because: Option<Because>,
}

/// How a path differs from the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriftKind {
    /// Only the machine has it.
    Added,
    /// Only the image has it.
    Removed,
    /// Both have it; this differs. Times and hard links do not count.
    Changed(Changed),
}

impl DriftKind {
    /// As one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
        }
    }

    /// What differs, by name; empty for what is added or removed.
    pub fn attributes(&self) -> Vec<String> {
        let Self::Changed(changed) = self else {
            return Vec::new();
        };
        let plain = [
            (changed.node_type, "type"),
            (changed.content, "content"),
            (changed.mode, "mode"),
            (changed.uid, "uid"),
            (changed.gid, "gid"),
        ];
        let plain = plain.iter().filter(|(differs, _)| *differs);
        let xattrs = changed
            .xattrs
            .iter()
            .map(|name| format!("xattr:{}", escape(name)));
        plain
            .map(|(_, name)| (*name).to_owned())
            .chain(xattrs)
            .collect()
    }
}

/// Why a difference is to be expected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Because {
    /// A class of noise, by its id.
    Noise(String),
    /// The ownership ledger has a record of it, and it is as it was put. The owner's text.
    Owned(String),
}

/// All drift of a machine, in the order of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    entries: Vec<DriftEntry>,
    classes: Vec<NoiseClass>,
}

/// Compares a machine with the image's default.
///
/// An entry is explained by the ledger where it is what somebody put, or by the first class of noise
/// that covers it. A class explains that something is there, is gone, or has another content; never
/// that a mode, an owner or an extended attribute differs. A directory that the machine added is
/// explained by what is in it, if all of that is.
pub fn drift<C: Clone + PartialEq>(
    machine: Machine<'_, C>,
    noise: &NoiseModel,
    ledger: &Ledger<C>,
) -> Drift {
    let Machine { pristine, current } = machine;
    let differences = diff(pristine, current, C::eq).into_iter();
    let mut entries: Vec<_> = differences
        .filter_map(|difference| {
            let (left, right, kind) = match difference.kinds {
                Kinds::OnlyLeft(id) => (Some(id), None, DriftKind::Removed),
                Kinds::OnlyRight(id) => (None, Some(id), DriftKind::Added),
                Kinds::Both(left, right, mut changed) => {
                    changed.mtime = false;
                    changed.hard_links = false;
                    changed.xattrs.retain(|name| !belongs_to_overlayfs(name));
                    if changed.is_empty() {
                        return None;
                    }
                    (Some(left), Some(right), DriftKind::Changed(changed))
                }
            };
            let of = |tree: &Tree<C>, id: Option<_>| id.map(|id| NodeSummary::of(tree.inode(id)));
            let path = difference.path;
            let owner = ledger.get(&path).filter(|record| {
                let here = right.map(|id| current.inode(id));
                still(record.put.as_ref(), here)
            });
            let because = match owner {
                Some(record) => Some(Because::Owned(record.owner.to_string())),
                None if explainable(&kind) => noise
                    .class_of(&path)
                    .map(|class| Because::Noise(class.id.clone())),
                None => None,
            };
            Some(DriftEntry {
                pristine: of(pristine, left),
                current: of(current, right),
                path,
                kind,
                because,
            })
        })
        .collect();
    explain_directories(&mut entries);
    Drift {
        entries,
        classes: noise.classes().to_vec(),
    }
}

fn explainable(kind: &DriftKind) -> bool {
    match kind {
        DriftKind::Added | DriftKind::Removed => true,
        // Another type has another mode: no link has one of its own.
        DriftKind::Changed(c) => {
            (c.node_type || !c.mode) && !c.uid && !c.gid && c.xattrs.is_empty()
        }
    }
}

/// Backwards, so that what is in a directory is explained before it.
fn explain_directories(entries: &mut [DriftEntry]) {
    for index in (0..entries.len()).rev() {
        let (head, below) = entries.split_at_mut(index + 1);
        let entry = &mut head[index];
        let directory =
            |node: &NodeSummary| entry.pristine.is_none() && node.node_type == NodeType::Directory;
        if entry.because.is_some() || !entry.current.as_ref().is_some_and(directory) {
            continue;
        }
        let mut inside = below
            .iter()
            .take_while(|other| other.path.starts_with(&entry.path));
        let first = inside.next().and_then(|other| other.because.clone());
        if inside.all(|other| other.because.is_some()) {
            entry.because = first;
        }
    }
}

impl Drift {
    /// All entries, explained or not.
    pub fn entries(&self) -> &[DriftEntry] {
        &self.entries
    }

    /// The entries that nothing explains.
    pub fn unexplained(&self) -> impl Iterator<Item = &DriftEntry> {
        self.entries.iter().filter(|entry| entry.because.is_none())
    }

    /// How many entries each class of noise explains; those that explain none are left out.
    pub fn noise(&self) -> Vec<(&NoiseClass, usize)> {
        let count = |class: &NoiseClass| {
            let mine = |because: &Option<Because>| match because {
                Some(Because::Noise(id)) => *id == class.id,
                _ => false,
            };
            self.entries.iter().filter(|e| mine(&e.because)).count()
        };
        let counted = self.classes.iter().map(|class| (class, count(class)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// How many entries each owner explains.
    pub fn owned(&self) -> BTreeMap<&str, usize> {
        let mut out = BTreeMap::new();
        for entry in &self.entries {
            if let Some(Because::Owned(owner)) = &entry.because {
                *out.entry(owner.as_str()).or_default() += 1;
            }
        }
        out
    }
}

/// One line for each entry that nothing explains, then the counts of what is explained. The alternate
/// form (`{:#}`) has all entries.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            if entry.because.is_none() || f.alternate() {
                writeln!(f, "{entry}")?;
            }
        }
        for (class, count) in self.noise() {
            let NoiseClass { id, reason, source } = class;
            writeln!(f, "{count} {id} (noise): {reason} [{source}]")?;
        }
        for (owner, count) in self.owned() {
            writeln!(f, "{count} owned: {owner}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DriftEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.path)?;
        let attributes = self.kind.attributes();
        match (attributes.is_empty(), self.current.or(self.pristine)) {
            (true, Some(node)) => write!(f, ": {node}")?,
            _ => write!(f, ": {}", attributes.join(" "))?,
        }
        match &self.because {
            Some(Because::Noise(id)) => write!(f, "; {id}"),
            Some(Because::Owned(owner)) => write!(f, "; {owner}"),
            None => Ok(()),
        }
    }
}
