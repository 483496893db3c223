//! The machine's `/etc` into that of a staged deployment.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use pleach_deployment::{Deployment, Staged, Sysroot};
use pleach_etc_merge::{
    ApplyOptions, MergePlan, Policies, Sides, apply, known, plan_dirs, release,
};

use pleach_fs_tree::TreePath;

use crate::cli::etc::policy::Effective;
use crate::cli::etc::{beneath, json, ledger_file};

/// What became of a merge.
pub(super) struct Merged {
    /// As `pleach etc plan --format json` has it.
    pub(super) plan: serde_json::Value,
    /// One line for people.
    pub(super) summary: String,
}

/// What would be merged, without writing.
pub(super) fn preview(sysroot: &Sysroot, current: &Deployment, staged: &Staged) -> Result<Merged> {
    let sides = Opened::new(sysroot, current, staged)?;
    let planned = plan_dirs(sides.sides(), &sides.policies()?, &sides.options)?;
    planned.plan.accepted()?;
    tell(&planned.plan, &planned.mounts, None)
}

/// Merges what the machine has into a deployment that was checked out just now: all of it is synced before
/// an entry leads to it, and after a power cut it is checked out anew.
pub(super) fn merge(sysroot: &Sysroot, current: &Deployment, staged: &Staged) -> Result<Merged> {
    merge_into(sysroot, current, staged, None, false)
}

/// Merges what the machine has into a deployment that outlasts a power cut. `before` is what was planned when
/// it was staged.
pub(super) fn merge_later(
    sysroot: &Sysroot,
    current: &Deployment,
    staged: &Staged,
    before: Option<&serde_json::Value>,
) -> Result<Merged> {
    merge_into(sysroot, current, staged, before, true)
}

fn merge_into(
    sysroot: &Sysroot,
    current: &Deployment,
    staged: &Staged,
    before: Option<&serde_json::Value>,
    sync: bool,
) -> Result<Merged> {
    let mut opened = Opened::new(sysroot, current, staged)?;
    // A merge whose commit a power cut prevented is made again from what the machine has now: nobody has
    // used the result, since a staged deployment is never booted.
    opened.options.again = true;
    opened.options.sync = sync;
    let target = sysroot.staged_root(staged)?;
    let merged = apply(
        opened.sides(),
        &opened.policies()?,
        None,
        &target,
        &opened.options,
    );
    let merged = merged
        .context("merging /etc into the new deployment; what the machine boots is as it was")?;
    // What it replaced is the image's own, which is in /usr/etc.
    release(&target, &opened.options)?;
    tell(&merged.plan, &merged.mounts, before)
}

struct Opened {
    root: Dir,
    pristine: Dir,
    current: Dir,
    new: Dir,
    path: PathBuf,
    options: ApplyOptions,
}

impl Opened {
    fn new(sysroot: &Sysroot, current: &Deployment, staged: &Staged) -> Result<Self> {
        let root = sysroot.deployment_root(current)?;
        let options = ApplyOptions::default();
        let known = known(&root, &options).unwrap_or_default();
        Ok(Self {
            pristine: defaults(&root, &current.path)?,
            current: sysroot.deployment_etc(current)?,
            new: defaults(&sysroot.staged_root(staged)?, &staged.path)?,
            path: current.path.clone(),
            root,
            options: ApplyOptions { known, ..options },
        })
    }

    fn sides(&self) -> Sides<&Dir> {
        Sides {
            pristine: &self.pristine,
            current: &self.current,
            new: &self.new,
        }
    }

    fn policies(&self) -> Result<Policies> {
        let etc = self.path.join("etc");
        let ledger = ledger_file::read(&self.current, &etc)?;
        let root = Some((&self.root, &*self.path));
        let effective = Effective::read(root, Some((&self.current, &*etc)), true)?;
        Ok(effective.policies(ledger.pins()))
    }
}

/// What the image of a deployment ships.
fn defaults(root: &Dir, path: &Path) -> Result<Dir> {
    let found = beneath::find_dir(root, &TreePath::new("usr/etc")?)?;
    found.with_context(|| format!("{} has no usr/etc", path.display()))
}

fn tell(
    plan: &MergePlan,
    mounts: &[TreePath],
    before: Option<&serde_json::Value>,
) -> Result<Merged> {
    let json = serde_json::to_value(json::plan(plan, mounts))?;
    let mut summary = format!(
        "/etc: {} paths differ from the image, {} conflicts",
        plan.entries().len(),
        plan.conflicts().count()
    );
    if before.is_some_and(|before| *before != json) {
        summary.push_str("; not what was planned when it was staged");
    }
    Ok(Merged {
        plan: json,
        summary,
    })
}
