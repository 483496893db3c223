//! The merge on directories.
//!
//! Reading: three directories are walked in step ([`walk`]); what is the same in all three is
//! forgotten, the kernel plans the rest. Writing: a copy of the new tree ([`checkout`]) is patched to
//! the planned result ([`patch`]) and exchanged for the target ([`deployment`]). All goes through
//! file descriptors, component by component; no symbolic link is followed and no mount point
//! crossed.

mod checkout;
mod compare;
mod copy;
mod deployment;
mod journal;
mod known;
mod look;
mod open;
mod origin;
mod patch;
mod pool;
mod remove;
mod saved;
mod stat;
mod told;
mod trees;
mod walk;

use cap_std::fs::Dir;
use pleach_fs_tree::{MaterializeOptions, Name, TreePath};

use checkout::copy_tree;
use deployment::{Beside, Deployment};
use journal::{Journal, Merged};
pub use known::Known;
use open::OnDisk;
use origin::{Origin, SIDES};
use stat::Birth;
use walk::{Walked, walk};

use crate::strict::plan_read;
use crate::{Error, MergePlan, Policies, Sides};

/// How a merge is carried out on directories.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// What of the metadata is written, and how deep directories may lie in one another: each level
    /// holds up to three file descriptors for each thread.
    pub materialize: MaterializeOptions,
    /// How often to begin again when something changes while it is read.
    pub attempts: usize,
    /// The name of the target in the deployment.
    pub target: Name,
    /// Sync the file system before and after the exchange. Off only for a caller that syncs it
    /// himself before anything leads to the deployment; until then a power failure may leave
    /// neither tree.
    pub sync: bool,
    /// Threads; 0 is one for each processor, up to four.
    pub threads: usize,
    /// Pairs of files that need not be read: from a plan of the same directories
    /// ([`Planned::known`]), or from the merge that made the current one ([`known`]).
    pub known: Known,
    /// Merge into a target that is the result of another merge already. Off, that is
    /// [`Error::AlreadyMerged`]: somebody may have changed it since.
    pub again: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            materialize: MaterializeOptions::default(),
            attempts: 5,
            target: Name::new(b"etc").expect("a plain name"),
            sync: true,
            threads: 0,
            known: Known::default(),
            again: false,
        }
    }
}

/// What [`plan_dirs`] found.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: MergePlan,
    /// Mount points in the current tree. What is below cannot be seen and counts as untouched.
    pub mounts: Vec<TreePath>,
    /// What need not be read when the same directories are planned again.
    pub known: Known,
}

/// What [`apply`] did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The plan that was carried out.
    pub plan: MergePlan,
    /// The paths for which it says something else than the preview; all, if that was made from
    /// other trees. Empty without a preview.
    pub replanned: Vec<TreePath>,
    /// Mount points in the current tree.
    pub mounts: Vec<TreePath>,
    /// The target was the result of this very merge already.
    pub unchanged: bool,
}

/// Plans the merge of three directories and changes nothing.
///
/// # Errors
/// When a directory cannot be read, or something is mounted in the pristine or new one.
pub fn plan_dirs(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
) -> Result<Planned, Error> {
    let (walked, plan) = steadily(options, || plan_once(sides, policies, options, true))?;
    Ok(Planned {
        plan,
        mounts: walked.mounts,
        known: walked.known,
    })
}

/// What is known to be equal to the image's, of the target that a merge has made. For the next
/// merge, in which that target is the current tree and that image's the pristine one.
///
/// # Errors
/// When it is there and cannot be read. Where there is none, nothing is known.
pub fn known(deployment: &Dir, options: &ApplyOptions) -> Result<Known, Error> {
    Deployment::look(deployment, options)?.known()
}

/// Copies the new tree to `etc.new`, so that [`apply`] has less to do: a machine has time for it
/// when an update is staged, and little when it is finalized. Without it, `apply` does it. Where the
/// target is the result of a merge already, nothing is prepared.
///
/// # Errors
/// When something cannot be read or written. The target is not touched.
pub fn prepare(new: &Dir, deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    let deployment = Deployment::lock(deployment, options)?;
    match deployment.journal()? {
        // That the target is the result of a merge must not be forgotten.
        Some(Journal::Merged(merged)) => {
            if deployment.birth(&options.target)? == Some(merged.made) {
                return Ok(());
            }
        }
        // While etc.new is in the making, nothing may say that it is made.
        Some(Journal::Prepared { .. }) => deployment.note(&Journal::Merging)?,
        Some(Journal::Merging) | None => {}
    }
    let prepare = || {
        let (made, new) = steadily(options, || check_out(new, &deployment, options))?;
        deployment.write_journal(&Journal::Prepared { made, new })?;
        deployment.sync("sync the copy of the new tree")?;
        deployment.turn_journal()
    };
    prepare().inspect_err(|_| give_up(&deployment))
}

/// Merges three directories into `deployment/etc` ([`ApplyOptions::target`]).
///
/// The plan is made anew from what the directories hold now; [`Applied::replanned`] says where it is
/// no longer the preview. The result is made in `etc.new`, what the plan saves in `etc.saved`
/// (`image/…` and `local/…`), all is synced, and then `etc` is exchanged for the result in one step:
/// at any moment it is whole, either the old or the new. The old one becomes `etc.prev`, for
/// [`undo`], until it is [`release`]d. `etc.journal` says how far it came: whoever was interrupted
/// calls this again, and where the target is the result of this very merge nothing is done. Whether
/// it is hangs on what the three trees were: after a change in one of them, a target that is merged
/// is [`Error::AlreadyMerged`].
///
/// `new` is the next image's own tree (`usr/etc`), not the target.
///
/// # Errors
/// When something cannot be read or written, when the trees keep changing
/// ([`ApplyOptions::attempts`]), and when a policy refuses the merge; the target, `etc.prev` and
/// `etc.saved` are then as they were. Only what fails after the exchange (an older `etc.prev` that
/// cannot be removed, the last sync) leaves the target as the result that it is already; the next
/// call, of `undo` too, goes on from there.
/// A target that is a mount point, or lies in a lower layer of overlayfs, cannot be exchanged.
pub fn apply(
    sides: Sides<&Dir>,
    policies: &Policies,
    preview: Option<&MergePlan>,
    deployment: &Dir,
    options: &ApplyOptions,
) -> Result<Applied, Error> {
    let deployment = Deployment::lock(deployment, options)?;
    steadily(options, || {
        let (walked, plan) = plan_once(sides, policies, options, false)?;
        plan.accepted()?;
        let unchanged = is_merged(&deployment, &plan, options)?;
        if !unchanged {
            let made = make(&deployment, sides, &walked, &plan, options);
            made.inspect_err(|_| give_up(&deployment))?;
            deployment.finish()?;
        }
        Ok(Applied {
            replanned: preview.map_or_else(Vec::new, |preview| differing(preview, &plan)),
            plan,
            mounts: walked.mounts,
            unchanged,
        })
    })
}

/// Exchanges `etc` and `etc.prev` again. Called twice, it changes nothing.
///
/// # Errors
/// When there is no `etc.prev`, or the two cannot be exchanged.
pub fn undo(deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    Deployment::lock(deployment, options)?.exchange_back()
}

/// Removes `etc.prev`, and with it the way back. Where there is none, nothing is done.
///
/// # Errors
/// When it cannot be removed.
pub fn release(deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    Deployment::lock(deployment, options)?.discard_previous()
}

fn plan_once(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
    learns: bool,
) -> Result<(Walked, MergePlan), Error> {
    let walked = walk(sides, policies, options, learns)?;
    let contents = OnDisk::new(sides, policies.content.max_bytes as u64);
    let plan = plan_read(walked.trees.as_ref(), policies, &contents, walked.digests)?;
    let plan = plan.with_paths(walked.paths);
    Ok((walked, plan))
}

fn is_merged(
    deployment: &Deployment<'_>,
    plan: &MergePlan,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    let Some(Journal::Merged(Merged { made, inputs, .. })) = deployment.journal()? else {
        return Ok(false);
    };
    if deployment.birth(&options.target)? != Some(made) {
        return Ok(false);
    }
    match (inputs == plan.inputs(), options.again) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => Err(Error::AlreadyMerged {
            path: TreePath::from(options.target.clone()),
        }),
    }
}

/// Copies the new tree to `etc.new`; gives that directory and the tree's digest.
fn check_out(
    new: &Dir,
    deployment: &Deployment<'_>,
    options: &ApplyOptions,
) -> Result<(Birth, [u8; 32]), Error> {
    let name = deployment.name(Beside::New);
    let target = deployment.make(Beside::New)?;
    let copied = copy_tree(new, Origin::New, &target, &name, options)?;
    // Only a cache: that it cannot be written costs time later, and does not fail the merge.
    let _ = deployment.keep_known(&copied.known);
    Ok((birth(&target, &name)?, copied.digest))
}

/// Of an open directory with this name beside the target.
fn birth(directory: &std::os::fd::OwnedFd, name: &Name) -> Result<Birth, Error> {
    let found = Birth::find(directory, b".");
    let found = found.and_then(|birth| birth.ok_or_else(|| stat::Changed.into()));
    found.map_err(|source| Error::Io {
        operation: "stat",
        path: name.clone().into(),
        source,
    })
}

/// Makes the result and exchanges it for the target.
fn make(
    deployment: &Deployment<'_>,
    sides: Sides<&Dir>,
    walked: &Walked,
    plan: &MergePlan,
    options: &ApplyOptions,
) -> Result<(), Error> {
    let name = deployment.name(Beside::New);
    let before = deployment.journal()?;
    let mut prepared = false;
    // The journal of a target that is merged stays true until that is exchanged away.
    if let Some(Journal::Prepared { made, new }) = &before {
        let there = deployment.birth(&name)?;
        prepared = there == Some(*made) && *new == walked.digests.new;
        deployment.note(&Journal::Merging)?;
    }
    if !prepared {
        let (_, copied) = check_out(sides.new, deployment, options)?;
        if copied != walked.digests.new {
            return Err(failed(Origin::New, "copy", &TreePath::root())(
                stat::Changed,
            ));
        }
    }
    let target = deployment.open(Beside::New)?;
    let made = birth(&target, &name)?;
    let target = Dir::from_std_file(target.into());
    patch::patch(plan, &walked.trees, sides, &target, &name, options)?;
    let saved = saved::save(deployment, plan, sides, walked, options)?;
    let replaced = deployment.birth(&options.target)?;
    deployment.write_journal(&Journal::Merged(Merged {
        made,
        inputs: plan.inputs(),
        replaced,
        saved,
        finished: false,
    }))?;
    deployment.sync("sync")?;
    deployment.turn_journal()?;
    deployment.exchange().inspect_err(|_| {
        // The target is what it was, so the journal is; a failure of this is told by the first.
        let was = before.filter(|journal| matches!(journal, Journal::Merged(_)));
        let _ = deployment.note(&was.unwrap_or(Journal::Merging));
    })
}

/// After a failure: what is half made only takes room, which may be what was missing. Where even
/// this fails, the next merge does it.
fn give_up(deployment: &Deployment<'_>) {
    let _ = deployment.remove(Beside::New);
    let _ = deployment.remove(Beside::SavedNew);
}

/// Begins again while what is read changes.
fn steadily<T>(
    options: &ApplyOptions,
    mut once: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match once() {
            Err(Error::Read { path, source, .. }) if stat::changed_meanwhile(&source) => {
                if attempts >= options.attempts {
                    return Err(Error::Unsteady { path, attempts });
                }
            }
            done => return done,
        }
    }
}

fn differing(preview: &MergePlan, plan: &MergePlan) -> Vec<TreePath> {
    if preview.inputs() == plan.inputs() {
        return Vec::new();
    }
    let one_way = |a: &MergePlan, b: &MergePlan| -> Vec<TreePath> {
        let differs = a.entries().iter().filter(|e| b.get(&e.path) != Some(*e));
        differs.map(|e| e.path.clone()).collect()
    };
    let mut paths = one_way(preview, plan);
    paths.extend(one_way(plan, preview));
    paths.sort();
    paths.dedup();
    paths
}

fn failed<E: Into<std::io::Error>>(
    origin: Origin,
    operation: &'static str,
    path: &TreePath,
) -> impl FnOnce(E) -> Error + use<E> {
    let (side, path) = (SIDES[origin as usize], path.clone());
    move |error| Error::Read {
        side,
        operation,
        path,
        source: error.into(),
    }
}
