//! `pleach etc plan`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cap_std::fs::Dir;
use clap::Args;
use pleach_etc_merge::{Contents, MergePlan, Policies, Sides, plan_dirs, plan_with};
use pleach_fs_tree::{Digest, Kind, TreePath};

use super::apply::ended;
use super::json::{self, FORMAT_VERSION, Report};
use super::policy::Effective;
use super::show::{effective, mounted};
use super::sides::{self, Etc, Machine};
use super::{beneath, ledger_file, print};
use crate::cli::compare;
use crate::cli::exit::End;
use crate::cli::fetch::Source;
use crate::cli::image::open_dir;
use crate::cli::output::Format;

/// Print what an upgrade would do with each path of /etc; exit code 1 if there are conflicts.
///
/// The machine is directories, or a capture of a machine that is far away (--machine); what comes is a
/// directory, or an image that was never deployed (--image). Nothing is written, and of an image or a
/// capture nothing but digests is read, so no right is needed that reading does not.
#[derive(Args)]
pub(super) struct Plan {
    #[command(flatten)]
    directories: Machine,
    /// A capture of the machine (pleach-capture --etc-defaults), in the place of directories. Drop-ins
    /// count only where --root names the system that they are on.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pristine", "current"])]
    machine: Option<PathBuf>,
    /// The image that the captured machine runs; not needed if the capture has the defaults.
    #[arg(long, value_name = "IMAGE", requires = "machine")]
    from: Option<String>,
    /// What the next image ships: the usr/etc of its deployment.
    #[arg(long, value_name = "DIR", required_unless_present = "image")]
    new: Option<PathBuf>,
    /// The next image.
    #[arg(long, value_name = "IMAGE", conflicts_with = "new")]
    image: Option<String>,
    #[command(flatten)]
    source: Source,
    /// Without the policies that come with pleach.
    #[arg(long)]
    no_shipped_policies: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A plan, and what there is to say of how it was made.
struct Planned {
    plan: MergePlan,
    mounts: Vec<TreePath>,
    notes: Vec<String>,
}

impl Plan {
    pub(super) fn run(&self) -> Result<End> {
        let planned = match &self.machine {
            Some(capture) => self.afar(capture)?,
            None => self.here()?,
        };
        let Planned {
            plan,
            mounts,
            notes,
        } = planned;
        let human = || {
            let mut out = String::new();
            for entry in plan.entries() {
                out.push_str(&format!("{entry}\n"));
            }
            out.push_str(&mounted(&mounts));
            out.extend(notes.iter().map(|note| format!("note: {note}\n")));
            out
        };
        print(self.format, human, || Report::Plan {
            format_version: FORMAT_VERSION,
            plan: json::plan(&plan, &mounts),
            notes: notes.clone(),
        })?;
        Ok(ended(&plan))
    }

    fn here(&self) -> Result<Planned> {
        let open = self.directories.open()?;
        let effective = effective(&open, !self.no_shipped_policies)?;
        let ledger = ledger_file::read(&open.current, &open.current_path)?;
        let policies = effective.policies(ledger.pins());
        if let Some(new) = &self.new {
            let new = open_dir(new)?;
            let sides = Sides {
                pristine: &open.pristine,
                current: &open.current,
                new: &new,
            };
            let planned = plan_dirs(sides, &policies, &open.options())?;
            return Ok(Planned {
                plan: planned.plan,
                mounts: planned.mounts,
                notes: Vec::new(),
            });
        }
        let (pristine, current, mounts) = open.trees()?;
        let trees = Trees::new(pristine, current, self.new_tree()?);
        Ok(Planned {
            plan: trees.plan(&policies, &Known::new())?,
            mounts,
            notes: trees.notes,
        })
    }

    fn afar(&self, capture: &Path) -> Result<Planned> {
        let capture = compare::read(capture)?;
        let (mut current, mounts) = sides::captured(&capture)?;
        let pristine = match &self.from {
            Some(image) => sides::of_image(image, &self.source)?,
            None => sides::captured_defaults(&capture)?,
        };
        for path in &mounts {
            sides::hide(&mut current, path, &pristine)?;
        }
        let mut notes = unread(&current)?;
        let mut trees = Trees::new(pristine, current, self.new_tree()?);
        notes.append(&mut trees.notes);
        // Not by default: what this runs on is not the machine that is planned for.
        let root = match self.directories.root.as_deref() {
            Some(path) => Some((open_dir(path)?, path)),
            None => None,
        };
        let etc = match &root {
            Some((_, path)) if path.join("etc").is_dir() => Some(open_dir(&path.join("etc"))?),
            _ => None,
        };
        let etc_path = self.directories.current_path();
        let mut pins = Vec::new();
        if let Some(etc) = &etc {
            pins = ledger_file::read(etc, &etc_path)?.pins();
        }
        let effective = Effective::read(
            root.as_ref().map(|(dir, path)| (dir, *path)),
            etc.as_ref().map(|dir| (dir, &*etc_path)),
            !self.no_shipped_policies,
        )?;
        let policies = effective.policies(pins);
        Ok(Planned {
            plan: trees.plan(&policies, &Known::new())?,
            mounts,
            notes,
        })
    }

    fn new_tree(&self) -> Result<Etc> {
        match (&self.new, &self.image) {
            (Some(new), _) => sides::scan_dir(&open_dir(new)?, new),
            (None, Some(image)) => sides::of_image(image, &self.source),
            (None, None) => bail!("name what comes: --new or --image"),
        }
    }
}

/// The machine's own policies and pins, of which a capture has no contents.
fn unread(current: &Etc) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for name in ["pleach/etc-merge.d", "pleach/ownership.json"] {
        let top = TreePath::new(name)?;
        let Some(id) = current.lookup(&top) else {
            continue;
        };
        for (below, id) in current.walk_from(id) {
            if current.inode(id).entries().is_none() {
                let path = top.concat(&below);
                notes.push(format!(
                    "the machine has /etc{path}, which a capture has no contents of: it does not count here; name a copy of the system with --root"
                ));
            }
        }
    }
    Ok(notes)
}

/// A machine, by a capture of it or by its `/etc`.
#[derive(Clone, Copy)]
pub(in crate::cli) enum On<'a> {
    Capture(&'a Path),
    Etc(&'a Path),
}

/// Contents by their digests.
pub(in crate::cli) type Known = HashMap<Digest, Vec<u8>>;

/// A larger file of a machine is not read for what it says.
const MAX_CONTENT: u64 = 1 << 20;

/// What the merge does on a machine that goes from one image's defaults to another's, and what could
/// not be compared. `known` are contents of the images, which policies may have to read; those of a
/// machine that is here are read as well.
pub(in crate::cli) fn between(
    pristine: Etc,
    new: Etc,
    on: On<'_>,
    shipped: bool,
    mut known: Known,
) -> Result<(MergePlan, Vec<String>)> {
    let (mut notes, mut pins, mut etc) = (Vec::new(), Vec::new(), None);
    let current = match on {
        On::Capture(path) => {
            let (mut current, mounts) = sides::captured(&compare::read(path)?)?;
            for path in &mounts {
                sides::hide(&mut current, path, &pristine)?;
                let hidden = "mounted; what is below counts as untouched";
                notes.push(format!("/etc{path}: {hidden}"));
            }
            notes.extend(unread(&current)?);
            current
        }
        On::Etc(path) => {
            let dir = open_dir(path)?;
            pins = ledger_file::read(&dir, path)?.pins();
            let current = sides::scan_dir(&dir, path)?;
            learn(&dir, path, &current, &mut known);
            etc = Some((dir, path));
            current
        }
    };
    let etc = etc.as_ref().map(|(dir, path)| (dir, *path));
    let policies = Effective::read(None, etc, shipped)?.policies(pins);
    let mut trees = Trees::new(pristine, current, new);
    notes.append(&mut trees.notes);
    Ok((trees.plan(&policies, &known)?, notes))
}

/// Reads the contents that are not known yet. One that cannot be had is not known then either, which
/// the plan says where it matters.
fn learn(etc: &Dir, shown: &Path, tree: &Etc, known: &mut Known) {
    for (path, id) in tree.walk() {
        let Kind::File(digest) = &tree.inode(id).kind else {
            continue;
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        if known.contains_key(digest) {
            continue;
        }
        let Ok(folder) = beneath::open_dir(etc, &parent) else {
            continue;
        };
        if let Ok(bytes) = beneath::read(&folder, name.as_bytes(), MAX_CONTENT, shown) {
            known.insert(*digest, bytes);
        }
    }
}

/// Three trees whose labels can be compared, or have none.
struct Trees {
    pristine: Etc,
    current: Etc,
    new: Etc,
    notes: Vec<String>,
}

impl Trees {
    fn new(mut pristine: Etc, mut current: Etc, mut new: Etc) -> Self {
        let without = sides::comparable_labels([
            ("pristine", &mut pristine),
            ("current", &mut current),
            ("new", &mut new),
        ]);
        let mut notes = Vec::new();
        if !without.is_empty() {
            let which = without.join(" and ");
            notes.push(format!(
                "SELinux labels are not compared: {which} has none (an image gets them when it is deployed)"
            ));
        }
        Self {
            pristine,
            current,
            new,
            notes,
        }
    }
}

impl Trees {
    fn plan(&self, policies: &Policies, known: &Known) -> Result<MergePlan> {
        let trees = Sides {
            pristine: &self.pristine,
            current: &self.current,
            new: &self.new,
        };
        Ok(plan_with(trees, policies, &Digests(known))?)
    }
}

/// Contents of which the digest is here, and of some the bytes.
struct Digests<'a>(&'a Known);

impl Contents<Digest> for Digests<'_> {
    fn same(&self, a: &Digest, b: &Digest) -> bool {
        a == b
    }

    fn identify(&self, content: &Digest, tell: &mut dyn FnMut(&[u8])) {
        tell(&content.0);
    }

    fn bytes<'a>(
        &self,
        _: &TreePath,
        digest: &'a Digest,
    ) -> Result<Option<Cow<'a, [u8]>>, pleach_etc_merge::Error> {
        let bytes = self.0.get(digest).cloned();
        Ok(bytes.map(Cow::Owned))
    }
}
