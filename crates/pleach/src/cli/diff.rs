//! `pleach diff`: two images, and what becomes of a machine between them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use clap::Args;
use pleach_etc_merge::Finding;
use pleach_fs_tree::{FileContent, Kind, ScanOptions, Tree, TreePath, scan_readable};
use pleach_image_lint::{
    EtcMerge, EtcMergeEntry, Image, MAX_DATABASE, MAX_TEXT, largest, pair, pair_wants, wants,
};
use pleach_layer_merge::{Keep, Kept, MergeOptions, index_keeping};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::etc::{plan, sides};
use super::exit::End;
use super::fetch::Source;
use super::image::{self, make, open_dir};
use super::output::{self, Format};

/// Say what differs between two images, like diff(1): packages, units, accounts, kernel arguments,
/// files, defaults of /etc; and what will not arrive on a machine that is there already.
///
/// With a machine, as a capture or as its /etc, also what the merge of /etc will do there. Nothing is
/// run or written. Times are no difference. Exit code 0 if the images are the same, 1 if they differ.
#[derive(Args)]
pub(crate) struct Diff {
    /// What the machines run: an image, or rootfs:DIR, the root of a system in a directory.
    old: String,
    /// What they get.
    new: String,
    /// A capture of a machine that runs the old image (pleach-capture).
    #[arg(long, value_name = "FILE", conflicts_with = "etc")]
    machine: Option<PathBuf>,
    /// The /etc of such a machine.
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
    /// Merge without the policies that come with pleach.
    #[arg(long)]
    no_shipped_policies: bool,
    /// Keep the indexes of layers here, and read those that are there instead of the layers.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Diff {
    pub(crate) fn run(&self) -> Result<End> {
        let [old, new] = [&self.old, &self.new].map(|reference| self.side(reference));
        let (old, new) = (old?, new?);
        let labels = BTreeMap::new();
        let read =
            [&old, &new].map(|side| move |path: &TreePath, held: &Held| side.read(path, held));
        let of = |side: usize, tree| Image {
            tree,
            read: &read[side],
            size: &|held: &Held| held.content().size,
            labels: &labels,
            layers: &[],
            layer: &|_| None,
            hidden: &[],
            base: None,
        };
        let same = |a: &Held, b: &Held| a.content() == b.content();
        let mut found = pair(&of(0, &old.tree), &of(1, &new.tree), &same);
        (found.old, found.new) = (old.name.clone(), new.name.clone());
        found
            .notes
            .extend(old.notes.iter().chain(&new.notes).cloned());
        let on = match (&self.machine, &self.etc) {
            (Some(capture), _) => Some((plan::On::Capture(capture), capture)),
            (None, Some(etc)) => Some((plan::On::Etc(etc), etc)),
            (None, None) => None,
        };
        if let Some((on, machine)) = on {
            found.etc_merge = Some(self.merge(&old, &new, on, machine)?);
        }
        match self.format {
            Format::Human => output::print(&found.to_string())?,
            Format::Json => output::print(&(serde_json::to_string_pretty(&found)? + "\n"))?,
        }
        Ok(match found.is_empty() {
            true => End::Fine,
            false => End::Differs,
        })
    }

    fn side(&self, reference: &str) -> Result<Side> {
        if let Some(folder) = reference.strip_prefix("rootfs:") {
            let root = open_dir(Path::new(folder))?;
            let scanned = scan_readable(&root, &ScanOptions::default());
            let (tree, skipped) = scanned.with_context(|| format!("reading {folder}"))?;
            let note = |path: &dyn std::fmt::Display| format!("{reference}: not read: {path}");
            return Ok(Side {
                name: reference.to_owned(),
                tree: tree.map(Held::File),
                root: Some(root),
                notes: skipped.iter().map(|path| note(path)).collect(),
            });
        }
        let opened = image::open(reference, &self.source)?;
        let keep = Keep {
            name: match cfg!(feature = "rpm") {
                true => "pair 2 rpm",
                false => "pair 2",
            },
            max: &largest,
            wants: &|path, bytes| {
                pair_wants(path) || (bytes.len() as u64 <= MAX_TEXT && wants(path, bytes))
            },
        };
        let cache = self.cache.as_deref().map(make).transpose()?;
        let options = MergeOptions::default();
        let merged = index_keeping(
            opened.layout(),
            opened.image(),
            keep,
            cache.as_ref(),
            &options,
        );
        let merged = merged.with_context(|| format!("reading {reference}"))?;
        image::tell(reference, &merged.notes);
        Ok(Side {
            name: format!("{}@{}", opened.reference(), opened.digest()),
            tree: merged.tree.map(Held::Kept),
            root: None,
            notes: Vec::new(),
        })
    }

    fn merge(&self, old: &Side, new: &Side, on: plan::On<'_>, machine: &Path) -> Result<EtcMerge> {
        let of = |side: &Side| {
            let digests = side.tree.clone().map(|held| held.content());
            sides::of_tree(&side.name, &digests)
        };
        let shipped = !self.no_shipped_policies;
        let mut known = plan::Known::new();
        for side in [old, new] {
            side.learn(&mut known);
        }
        let (plan, notes) = plan::between(of(old)?, of(new)?, on, shipped, known)?;
        let is_conflict = |finding: &Finding| matches!(finding, Finding::Conflict(_));
        let entries = plan.entries().iter().map(|entry| EtcMergeEntry {
            path: format!("/etc{}", entry.path),
            state: entry.state.to_string(),
            resolution: entry.resolution.to_string(),
            findings: entry.findings.iter().map(ToString::to_string).collect(),
            conflict: entry.findings.iter().any(is_conflict),
        });
        let entries: Vec<_> = entries.collect();
        Ok(EtcMerge {
            machine: machine.display().to_string(),
            conflicts: entries.iter().filter(|entry| entry.conflict).count(),
            entries,
            notes,
        })
    }
}

/// One of the two.
struct Side {
    name: String,
    tree: Tree<Held>,
    /// Of a directory, from which files are read when they are asked for.
    root: Option<Dir>,
    notes: Vec<String>,
}

#[derive(Clone)]
enum Held {
    Kept(Kept),
    File(FileContent),
}

impl Held {
    fn content(&self) -> FileContent {
        match self {
            Self::Kept(kept) => kept.content(),
            Self::File(content) => *content,
        }
    }
}

impl Side {
    fn read(&self, path: &TreePath, held: &Held) -> Option<Vec<u8>> {
        match (held, &self.root) {
            (Held::Kept(kept), _) => kept.bytes().map(<[u8]>::to_vec),
            (Held::File(_), Some(root)) => read_below(root, path).ok(),
            (Held::File(_), None) => None,
        }
    }

    /// Adds the contents of its `/etc` to those that are known.
    fn learn(&self, known: &mut plan::Known) {
        for top in ["/etc", "/usr/etc"] {
            let top = TreePath::new(top).expect("a plain path");
            let Some(id) = self.tree.lookup(&top) else {
                continue;
            };
            for (below, id) in self.tree.walk_from(id) {
                let Kind::File(held) = &self.tree.inode(id).kind else {
                    continue;
                };
                let content = held.content();
                if let Some(digest) = content.digest.filter(|_| content.size <= MAX_TEXT)
                    && let Some(bytes) = self.read(&top.concat(&below), held)
                {
                    known.insert(digest, bytes);
                }
            }
        }
    }
}

/// The bytes of a file below `root`; no link is followed.
fn read_below(root: &Dir, path: &TreePath) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let fd = rustix::fs::openat2(root, path.as_bytes(), flags, Mode::empty(), resolve)?;
    let mut bytes = Vec::new();
    let file = cap_std::fs::File::from_std(fd.into());
    file.take(MAX_DATABASE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
