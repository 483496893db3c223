//! The merge on directories.
//!
//! Reading: three directories are walked in step ([`walk`]); what is the same in all three is
//! forgotten, the kernel plans the rest. Writing: a copy of the new tree ([`checkout`]) is patched to
//! the planned result ([`patch`]) and exchanged for the target ([`deployment`]). All goes through
//! file descriptors, component by component; no symbolic link is followed and no mount point
//! crossed.

mod checkout;
mod copy;
mod deployment;
mod journal;
mod known;
mod open;
mod patch;
mod pool;
mod remove;
mod stat;
mod told;
mod walk;

use cap_std::fs::Dir;
use pleach_fs_tree::{MaterializeOptions, Name, NodeType, TreePath};

use checkout::{copy_error, copy_tree};
use copy::{Copier, Place, read_special};
use deployment::{Beside, Deployment};
use journal::Journal;
pub use known::Known;
use open::{OnDisk, Opener};
use stat::{Birth, Stat};
use walk::{Origin, SIDES, Walked, walk};

use crate::strict::plan_read;
use crate::{Error, MergePlan, Policies, Side, Sides};

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
    /// The largest file that a policy may merge by what it says, in bytes.
    pub max_bytes: u64,
    /// Merge into a target that is the result of another merge already. Off, that is
    /// [`Error::AlreadyMerged`]: somebody may have changed it since.
    pub again: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            materialize: MaterializeOptions::default(),
            attempts: 3,
            target: Name::new(b"etc").expect("a plain name"),
            sync: true,
            threads: 0,
            known: Known::default(),
            max_bytes: 4 * 1024 * 1024,
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
    let (walked, plan) = steadily(options, || plan_once(sides, policies, options))?;
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
    Deployment::lock(deployment, options)?.known()
}

/// Copies the new tree to `etc.new`, so that [`apply`] has less to do: a machine has time for it
/// when an update is staged, and little when it is finalized. Without it, `apply` does it.
///
/// # Errors
/// When something cannot be read or written. The target is not touched.
pub fn prepare(new: &Dir, deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    let deployment = Deployment::lock(deployment, options)?;
    match deployment.journal()? {
        // That the target is the result of a merge must not be forgotten.
        Some(Journal::Merged { made, .. }) => {
            if deployment.birth(&options.target)? == Some(made) {
                return Ok(());
            }
        }
        // While etc.new is in the making, nothing may say that it is made.
        Some(Journal::Prepared { .. }) => deployment.note(&Journal::Merging)?,
        Some(Journal::Merging) | None => {}
    }
    let (made, new) = steadily(options, || check_out(new, &deployment, options))?;
    deployment.sync("sync the copy of the new tree")?;
    deployment.note(&Journal::Prepared { made, new })
}

/// Merges three directories into `deployment/etc` ([`ApplyOptions::target`]).
///
/// The plan is made anew from what the directories hold now; [`Applied::replanned`] says where it is
/// no longer the preview. The result is made in `etc.new`, what the plan saves in `etc.saved`
/// (`image/…` and `local/…`), all is synced, and then `etc` is exchanged for the result in one step:
/// at any moment it is whole, either the old or the new. The old one becomes `etc.prev`, for
/// [`undo`], until it is [`release`]d. `etc.journal` says how far it came: whoever was interrupted
/// calls this again, and where the target is the result of this very merge nothing is done.
///
/// `new` is the next image's own tree (`usr/etc`), not the target.
///
/// # Errors
/// When something cannot be read or written, when the trees keep changing
/// ([`ApplyOptions::attempts`]), and when a policy refuses the merge; the target is then as it was,
/// except when the last sync fails ("sync what was exchanged in"): then it is the result already.
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
        let (walked, plan) = plan_once(sides, policies, options)?;
        plan.accepted()?;
        let unchanged = is_merged(&deployment, &plan, options)?;
        if !unchanged {
            let made = make(&deployment, sides, &walked, &plan, options);
            made.inspect_err(|_| give_up(&deployment))?;
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
) -> Result<(Walked, MergePlan), Error> {
    let walked = walk(sides, policies, options)?;
    let contents = OnDisk::new(sides, options.max_bytes);
    let plan = plan_read(walked.trees.as_ref(), policies, &contents, walked.digests)?;
    let plan = plan.with_paths(walked.paths);
    Ok((walked, plan))
}

fn is_merged(
    deployment: &Deployment<'_>,
    plan: &MergePlan,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    let Some(Journal::Merged { made, inputs }) = deployment.journal()? else {
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
    deployment.keep_known(&copied.known)?;
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
    let mut prepared = false;
    // The journal of a target that is merged stays true until that is exchanged away.
    if let Some(Journal::Prepared { made, new }) = deployment.journal()? {
        let there = deployment.birth(&name)?;
        prepared = there == Some(made) && new == walked.digests.new;
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
    let any = save(deployment, plan, sides, walked, options)?;
    deployment.sync("sync")?;
    deployment.note(&Journal::Merged {
        made,
        inputs: plan.inputs(),
    })?;
    deployment.remove(Beside::Saved)?;
    if any {
        deployment.rename(Beside::SavedNew, Beside::Saved)?;
    }
    deployment.turn_known()?;
    deployment.exchange()
}

/// After a failure: what is half made only takes room, which may be what was missing. Where even
/// this fails, the next merge does it.
fn give_up(deployment: &Deployment<'_>) {
    if let Ok(Some(Journal::Merged { made, .. })) = deployment.journal()
        && let Ok(Some(half)) = deployment.birth(&deployment.name(Beside::New))
        && half == made
    {
        let _ = deployment.note(&Journal::Merging);
    }
    let _ = deployment.remove(Beside::New);
    let _ = deployment.remove(Beside::SavedNew);
}

/// Copies what the plan saves to `etc.saved.new`: `image/PATH` and `local/PATH`, each with all that
/// is below.
fn save(
    deployment: &Deployment<'_>,
    plan: &MergePlan,
    sides: Sides<&Dir>,
    walked: &Walked,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    deployment.remove(Beside::SavedNew)?;
    let mut openers = sides.map(Opener::new);
    let mut top: Option<(Dir, Name)> = None;
    let mut last: Option<(TreePath, Side)> = None;
    for (path, side) in plan.saved() {
        // Two conflicts one below the other: the outer one has saved the inner one too.
        if last
            .as_ref()
            .is_some_and(|(above, of)| *of == side && path.starts_with(above))
        {
            continue;
        }
        last = Some((path.clone(), side));
        if top.is_none() {
            let made = Dir::from_std_file(deployment.make(Beside::SavedNew)?.into());
            top = Some((made, deployment.name(Beside::SavedNew)));
        }
        let Some((top, name)) = &top else {
            continue;
        };
        let origin = match side {
            Side::Local => Origin::Current,
            Side::Image => Origin::New,
        };
        let tree = origin.of(&walked.trees);
        let seen = tree
            .get(path)
            .ok_or_else(|| Error::OtherTrees { path: path.clone() })?;
        let inside = TreePath::new(side.to_string())
            .unwrap_or_default()
            .concat(path);
        let target = directories(top, &inside, name)?;
        let other = || Error::OtherTrees { path: path.clone() };
        let last_name = path.file_name().ok_or_else(other)?;
        let writing = |operation, source| Error::Write {
            name: name.clone(),
            operation,
            path: inside.clone(),
            source,
        };
        let opener = origin.of_mut(&mut openers);
        if seen.kind.node_type() == NodeType::Directory {
            let from = opener
                .directory(path)
                .and_then(|fd| fd.try_clone_to_owned());
            let from = from.map_err(failed(origin, "open", path))?;
            let from = Dir::from_std_file(from.into());
            let created =
                rustix::fs::mkdirat(&target, last_name.as_bytes(), rustix::fs::Mode::RWXU);
            created.map_err(|e| writing("create", e.into()))?;
            let to = stat::open_directory(&target, last_name.as_bytes());
            let to = to.map_err(|e| writing("open", e))?;
            copy_tree(&from, origin, &to, name, options)?;
            continue;
        }
        let from = opener.parent(path).map_err(failed(origin, "open", path))?;
        let from = Place {
            directory: from,
            name: last_name.as_bytes(),
        };
        let to = Place {
            directory: std::os::fd::AsFd::as_fd(&target),
            name: last_name.as_bytes(),
        };
        let mut copier = Copier::new(&options.materialize);
        let copied = Stat::at(from.directory, from.name)
            .map_err(failed(origin, "stat", path))
            .and_then(|stat| {
                let copied = match stat.node_type {
                    NodeType::File => copier.file(from, &stat, to, None).map(drop),
                    _ => read_special(from, &stat)
                        .and_then(|inode| copier.special(&inode, to))
                        .map(drop),
                };
                copied.map_err(|e| copy_error(origin, name, &inside, e))
            });
        copied?;
    }
    Ok(top.is_some())
}

/// Makes the directories above a path, for root alone, and opens the last one.
fn directories(top: &Dir, path: &TreePath, name: &Name) -> Result<std::os::fd::OwnedFd, Error> {
    let above = path.parent().unwrap_or_default();
    let make = || -> std::io::Result<std::os::fd::OwnedFd> {
        let mut at = stat::open_directory(top, b".")?;
        for component in above.components() {
            match rustix::fs::mkdirat(&at, component, rustix::fs::Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = stat::open_directory(&at, component)?;
        }
        Ok(at)
    };
    make().map_err(|source| Error::Write {
        name: name.clone(),
        operation: "create",
        path: above.clone(),
        source,
    })
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
