//! Back to the image's default: what a withdrawn document put, or any path that somebody names.

use std::collections::BTreeSet;

use pleach_fs_tree::{Inode, Kind, NodeType, Tree, TreePath};

use super::{Before, Ledger, Machine, alike, still};
use crate::Error;

/// Whose records are released.
#[derive(Debug, Clone, Copy)]
pub enum Selector<'a> {
    /// Those of a document, by its digest.
    Document(&'a str),
    /// Those of a path and of all that is below it.
    Path(&'a TreePath),
}

/// One change to the machine's `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub path: TreePath,
    /// What.
    pub action: StepAction,
}

/// What a [`Step`] does. Steps are in an order in which they can be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepAction {
    /// Takes away what is there; a directory is empty by then.
    Remove,
    /// Puts the image's inode there: in the place of something that is no directory, or of nothing.
    /// A directory comes without entries.
    Put,
    /// Gives the directory that is there the image's mode, owner and extended attributes.
    Attributes,
}

impl StepAction {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Put => "put",
            Self::Attributes => "attributes",
        }
    }
}

/// What becomes of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The path.
    pub path: TreePath,
    /// What becomes of it.
    pub outcome: Outcome,
    /// What was there before it was put was the machine's own ([`Before::Local`]): the default comes,
    /// not that.
    pub local_before: bool,
}

/// How a release ends for one path. Unless it is kept, its record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is the default already.
    Already,
    /// It becomes the image's.
    Restored,
    /// The image has nothing there, and so has the machine then.
    Removed,
    /// It stays, and so does its record.
    Kept(Kept),
}

/// Why a path stays as the machine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The machine changed it since it was put.
    Changed,
    /// The machine removed it since it was put.
    Gone,
    /// A directory in which something is that nobody released.
    NotEmpty(TreePath),
    /// Something that is no directory stands in the way.
    Blocked(TreePath),
}

/// A planned way back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Back {
    /// What becomes of each record, in the order of a walk.
    pub returned: Vec<Returned>,
    /// The changes to the machine.
    pub steps: Vec<Step>,
}

impl Back {
    /// The paths whose records go.
    pub fn forgotten(&self) -> impl Iterator<Item = &TreePath> {
        let returned = self.returned.iter();
        let gone = returned.filter(|r| !matches!(r.outcome, Outcome::Kept(_)));
        gone.map(|r| &r.path)
    }

    /// The paths that stay, and why.
    pub fn kept(&self) -> impl Iterator<Item = (&TreePath, &Kept)> {
        self.returned.iter().filter_map(|r| match &r.outcome {
            Outcome::Kept(kept) => Some((&r.path, kept)),
            _ => None,
        })
    }
}

impl<C: Clone + PartialEq> Ledger<C> {
    /// Plans the way back to the default for all records that the selector names. What the machine
    /// changed since is kept and reported, unless `force` says otherwise; what has no record is never
    /// touched.
    ///
    /// # Errors
    /// [`Error::NotInLedger`] when no record is selected.
    pub fn release(
        &self,
        selector: Selector<'_>,
        machine: Machine<'_, C>,
        force: bool,
    ) -> Result<Back, Error> {
        let selected: Vec<_> = self
            .records()
            .filter(|(path, record)| match selector {
                Selector::Path(top) => path.starts_with(top),
                Selector::Document(digest) => {
                    let document = record.owner.document.as_ref();
                    document.is_some_and(|document| document.digest == digest)
                }
            })
            .collect();
        if selected.is_empty() {
            let what = match selector {
                Selector::Path(path) => path.to_string(),
                Selector::Document(digest) => format!("the document {digest}"),
            };
            return Err(Error::NotInLedger { what });
        }
        let mut outcomes: Vec<Outcome> = selected
            .iter()
            .map(|(path, record)| {
                let pristine = machine.pristine.get(path);
                let current = machine.current.get(path);
                match (pristine, current) {
                    _ if alike(pristine, current) => Outcome::Already,
                    (_, None) if !force && record.put.is_some() => Outcome::Kept(Kept::Gone),
                    _ if !force && !still(record.put.as_ref(), current) => {
                        Outcome::Kept(Kept::Changed)
                    }
                    (None, _) => Outcome::Removed,
                    (Some(_), _) => Outcome::Restored,
                }
            })
            .collect();
        let mut way = Way::new(machine);
        let all = || selected.iter().map(|(path, _)| *path);
        // What is deepest goes first, so that directories are empty when it is their turn.
        for (path, outcome) in all().zip(&mut outcomes).rev() {
            way.clear(path, outcome);
        }
        for (path, outcome) in all().zip(&mut outcomes) {
            if *outcome == Outcome::Restored {
                way.put(path, outcome);
            }
        }
        let returned = selected.into_iter().zip(outcomes);
        let returned = returned.map(|((path, record), outcome)| Returned {
            path: path.clone(),
            local_before: record.before == Before::Local && outcome != Outcome::Already,
            outcome,
        });
        Ok(Back {
            returned: returned.collect(),
            steps: way.steps,
        })
    }
}

/// Plans the way back to the default for a path and all that is below it, whoever put it there. The
/// directories above are made where they are missing.
///
/// # Errors
/// [`Error::NoSuchPath`] where neither the image nor the machine has something, and
/// [`Error::Blocked`] where something that is no directory is above.
pub fn restore<C: Clone + PartialEq>(
    machine: Machine<'_, C>,
    path: &TreePath,
) -> Result<Vec<Step>, Error> {
    let pristine = machine.pristine.lookup(path);
    let current = machine.current.lookup(path);
    if pristine.is_none() && current.is_none() {
        return Err(Error::NoSuchPath { path: path.clone() });
    }
    let mut way = Way::new(machine);
    let below = |tree: &Tree<C>, id: Option<_>| -> Vec<TreePath> {
        let walk = id.map(|id| tree.walk_from(id)).into_iter().flatten();
        walk.map(|(below, _)| path.concat(&below)).collect()
    };
    for at in below(machine.current, current).iter().rev() {
        let wanted = machine.pristine.get(at);
        if wanted.is_none_or(|inode| way.other_type(at, inode)) {
            way.remove(at);
        }
    }
    for at in below(machine.pristine, pristine) {
        if let Err(by) = way.set(&at) {
            return Err(Error::Blocked { path: at, by });
        }
    }
    Ok(way.steps)
}

/// The machine as it is after the steps so far.
struct Way<'a, C> {
    pristine: &'a Tree<C>,
    now: Tree<C>,
    steps: Vec<Step>,
    /// Directories that a step made: they get the image's entries too.
    made: BTreeSet<TreePath>,
}

impl<'a, C: Clone + PartialEq> Way<'a, C> {
    fn new(machine: Machine<'a, C>) -> Self {
        Self {
            pristine: machine.pristine,
            now: machine.current.clone(),
            steps: Vec::new(),
            made: BTreeSet::new(),
        }
    }

    fn step(&mut self, path: &TreePath, action: StepAction) {
        let path = path.clone();
        self.steps.push(Step { path, action });
    }

    fn remove(&mut self, path: &TreePath) {
        if self.now.remove(path) {
            self.step(path, StepAction::Remove);
        }
    }

    /// A directory where the image has something else, or the other way round.
    fn other_type(&self, path: &TreePath, wanted: &Inode<C>) -> bool {
        let is_directory = |inode: &Inode<C>| inode.kind.node_type() == NodeType::Directory;
        let there = self.now.get(path);
        there.is_some_and(|there| is_directory(there) != is_directory(wanted))
    }

    /// Takes away what the image has not, or has as something else.
    fn clear(&mut self, path: &TreePath, outcome: &mut Outcome) {
        let goes = match outcome {
            Outcome::Removed => true,
            Outcome::Restored => {
                let wanted = self.pristine.get(path);
                wanted.is_some_and(|wanted| self.other_type(path, wanted))
            }
            _ => false,
        };
        if !goes {
            return;
        }
        let entries = self.now.get(path).and_then(Inode::entries);
        match entries.and_then(|entries| entries.keys().next()) {
            Some(first) => *outcome = Outcome::Kept(Kept::NotEmpty(path.join(first))),
            None => self.remove(path),
        }
    }

    /// Brings what the image has; with a directory that was none, all that is below.
    fn put(&mut self, path: &TreePath, outcome: &mut Outcome) {
        if let Err(by) = self.set(path) {
            *outcome = Outcome::Kept(Kept::Blocked(by));
            return;
        }
        if !self.made.contains(path) {
            return;
        }
        let Some(id) = self.pristine.lookup(path) else {
            return;
        };
        let below: Vec<_> = self.pristine.walk_from(id).skip(1).collect();
        for (below, _) in below {
            // Cannot be in the way of itself: the directory was made just now.
            let _ = self.set(&path.concat(&below));
        }
    }

    /// One inode, and the directories above it where they are missing.
    ///
    /// # Errors
    /// With the path of what stands in the way.
    fn set(&mut self, path: &TreePath) -> Result<(), TreePath> {
        let Some(wanted) = self.pristine.get(path).map(super::what_was_put) else {
            return Ok(());
        };
        if let Some(parent) = path.parent() {
            match self.now.get(&parent) {
                Some(inode) if inode.entries().is_some() => {}
                Some(_) => return Err(parent),
                None => self.set(&parent)?,
            }
        }
        let there = self.now.get(path);
        if alike(Some(&wanted), there) {
            return Ok(());
        }
        let is_directory = matches!(wanted.kind, Kind::Directory(_));
        match there.map(|there| there.kind.node_type()) {
            Some(NodeType::Directory) if is_directory => {
                if let Some(id) = self.now.lookup(path) {
                    *self.now.metadata_mut(id) = wanted.metadata;
                }
                self.step(path, StepAction::Attributes);
                return Ok(());
            }
            Some(NodeType::Directory) => return Err(path.clone()),
            Some(_) if is_directory => return Err(path.clone()),
            _ => {}
        }
        if is_directory {
            self.made.insert(path.clone());
        }
        self.now.put(path, wanted).map_err(|_| path.clone())?;
        self.step(path, StepAction::Put);
        Ok(())
    }
}
