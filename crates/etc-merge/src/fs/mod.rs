//! The merge on directories: read three, write one beside the old one, exchange the two.
//!
//! Everything goes through file descriptors, component by component; no symbolic link is followed
//! and no mount point crossed. What is written is the planned result, with its exact attributes.

mod place;
mod read;

use cap_std::fs::Dir;
use pleach_fs_tree::{MaterializeOptions, Metadata, Name, ScanOptions, Tree, TreePath};

pub use place::{release, undo};
use read::{Located, Source};

use crate::{Error, MergePlan, Policies, Side, Sides, plan_with};

/// How a merge is carried out on directories.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// How the three directories are read, and the limits. Digests, extended attributes and
    /// `one_file_system` are always on.
    pub scan: ScanOptions,
    /// What of the metadata is written.
    pub materialize: MaterializeOptions,
    /// How often to begin again when something changes while it is read.
    pub attempts: usize,
    /// The name of the target in the deployment.
    pub target: Name,
    /// Sync the file system before and after the exchange. Off only for a caller that syncs it
    /// himself before anything leads to the deployment; until then a power failure may leave
    /// neither tree.
    pub sync: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            scan: ScanOptions::default(),
            materialize: MaterializeOptions::default(),
            attempts: 3,
            target: Name::new(b"etc").expect("a plain name"),
            sync: true,
        }
    }
}

impl ApplyOptions {
    fn beside(&self, suffix: &str) -> Name {
        let name = [self.target.as_bytes(), suffix.as_bytes()].concat();
        Name::new(&name).expect("longer, and as plain")
    }
}

/// What [`apply`] did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The plan that was carried out.
    pub plan: MergePlan,
    /// The paths for which it says something else than the preview; all, if that was made from
    /// other trees. Empty without a preview.
    pub replanned: Vec<TreePath>,
    /// Mount points in the current tree. What is below cannot be seen and counts as untouched.
    pub mounts: Vec<TreePath>,
    /// The target was as it should be already.
    pub unchanged: bool,
}

/// Plans the merge of three directories and changes nothing. Gives the mount points in the current
/// one too: what is below them cannot be seen and counts as untouched.
///
/// # Errors
/// When a directory cannot be read.
pub fn plan_dirs(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
) -> Result<(MergePlan, Vec<TreePath>), Error> {
    let planned = steadily(options, || plan_once(sides, policies, options))?;
    Ok((planned.plan, planned.mounts))
}

/// Merges three directories into `deployment/etc` ([`ApplyOptions::target`]).
///
/// The plan is made anew from what the directories hold now; [`Applied::replanned`] says where it is
/// no longer the preview. The result is written to `etc.new`, what the plan saves to `etc.saved`
/// (`image/…` and `local/…`), all is synced, and then `etc` is exchanged for the result in one step:
/// at any moment it is whole, either the old or the new. The old one becomes `etc.prev`, for
/// [`undo`], until it is [`release`]d. Where `etc` is the planned result already, nothing is done;
/// so whoever was interrupted calls this again.
///
/// `new` is best the next image's own tree (`usr/etc`), not the target: then a second run sees the
/// same three trees.
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
    steadily(options, || {
        let planned = plan_once(sides, policies, options)?;
        let Sides { current, new, .. } = &planned.trees;
        let result = planned.plan.result(current, new)?;
        let saved = saved(&planned)?;
        let mut source = Source::new(sides);
        let unchanged = place::place(deployment, &result, saved.as_ref(), &mut source, options)?;
        Ok(Applied {
            replanned: preview.map_or_else(Vec::new, |preview| differing(preview, &planned.plan)),
            plan: planned.plan,
            mounts: planned.mounts,
            unchanged,
        })
    })
}

struct Planned {
    trees: Sides<Tree<Located>>,
    plan: MergePlan,
    mounts: Vec<TreePath>,
}

fn plan_once(
    sides: Sides<&Dir>,
    policies: &Policies,
    options: &ApplyOptions,
) -> Result<Planned, Error> {
    let (trees, mounts) = read::read(sides, options)?;
    let plan = plan_with(trees.as_ref(), policies, |a, b| a.content == b.content)?;
    Ok(Planned {
        trees,
        plan,
        mounts,
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
            Err(error) => match read::changed_meanwhile(&error) {
                Some(_) if attempts < options.attempts => {}
                Some(path) => return Err(Error::Unsteady { path, attempts }),
                None => return Err(error),
            },
            done => return done,
        }
    }
}

/// What is to be saved, as a tree: `image/PATH` and `local/PATH`, each with all below.
fn saved(planned: &Planned) -> Result<Option<Tree<Located>>, Error> {
    let private = Metadata::with_mode(0o700);
    let mut out = Tree::new(private.clone());
    let mut any = false;
    for (path, side) in planned.plan.saved() {
        any = true;
        let tree = match side {
            Side::Local => &planned.trees.current,
            Side::Image => &planned.trees.new,
        };
        let other = || Error::OtherTrees { path: path.clone() };
        let top = TreePath::new(side.to_string())
            .map_err(|_| other())?
            .concat(path);
        let id = tree.lookup(path).ok_or_else(other)?;
        for (below, id) in tree.walk_from(id) {
            let place = top.concat(&below);
            // Two conflicts one below the other: the outer one has saved the inner one too.
            if out.lookup(&place).is_none() {
                let inode = read::alone(tree.inode(id));
                let put = out.put_with_parents(&place, inode, &private);
                put.map_err(|_| other())?;
            }
        }
    }
    Ok(any.then_some(out))
}

fn differing(preview: &MergePlan, plan: &MergePlan) -> Vec<TreePath> {
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
