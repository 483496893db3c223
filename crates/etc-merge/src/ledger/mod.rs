//! The ownership ledger: which path of `/etc` was put there by whom.
//!
//! A value, and operations on it that give plans. Where it is kept, and as what, is the caller's.

mod back;
mod why;

use std::collections::BTreeMap;
use std::fmt;

use pleach_fs_tree::{Inode, Kind, Metadata, Tree, TreePath};

pub use back::{Back, Kept, Outcome, Returned, Selector, Step, StepAction, restore};
pub use why::{Since, Why};

use crate::inode::{LABELS, same_attributes, same_content, without_overlayfs};
use crate::{Action, Error, Pattern, Rule};

/// What the image shipped and what the machine has: the two sides that a ledger speaks of.
#[derive(Debug)]
pub struct Machine<'a, C> {
    /// What the image that runs now shipped.
    pub pristine: &'a Tree<C>,
    /// What the machine has.
    pub current: &'a Tree<C>,
}

impl<C> Clone for Machine<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Machine<'_, C> {}

/// Who wants a path as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The way on which it came, as one word: `etc`, `ignition`, `cloud-init`, `kickstart`, `hand`.
    pub route: String,
    /// The document that asks for it.
    pub document: Option<Document>,
    /// Where in the document.
    pub place: Option<Place>,
}

/// A document, by name and content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document {
    /// As the caller named it.
    pub name: String,
    /// `sha256:` and 64 hexadecimal digits, of its bytes.
    pub digest: String,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The document path: `$.storage.files.0`.
    pub path: String,
}

/// What was at a path before somebody put something there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Before {
    /// Nothing.
    Absent,
    /// What the image shipped.
    Default,
    /// Something of the machine's own. It is not kept in the ledger.
    Local,
}

impl Before {
    /// What it was, from what the image shipped there and what the machine had.
    pub fn of<C: PartialEq>(pristine: Option<&Inode<C>>, had: Option<&Inode<C>>) -> Self {
        match had {
            None => Self::Absent,
            Some(_) if alike(pristine, had) => Self::Default,
            Some(_) => Self::Local,
        }
    }

    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Default => "default",
            Self::Local => "local",
        }
    }
}

/// What the ledger knows of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<C> {
    /// Who put it.
    pub owner: Owner,
    /// What was there before.
    pub before: Before,
    /// What was put: type, content, mode, owner and extended attributes. A directory has no entries
    /// here, and no time counts. `None`: it is wanted that nothing is there.
    pub put: Option<Inode<C>>,
    /// The next image does not replace it, even where it equals the default now.
    pub pinned: bool,
}

/// Who put what, by path below `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger<C> {
    records: BTreeMap<TreePath, Record<C>>,
}

impl<C> Default for Ledger<C> {
    fn default() -> Self {
        let records = BTreeMap::new();
        Self { records }
    }
}

impl<C> Ledger<C> {
    /// The record of exactly this path.
    pub fn get(&self, path: &TreePath) -> Option<&Record<C>> {
        self.records.get(path)
    }

    /// The record of this path, or of the nearest directory above that has one.
    pub fn nearest(&self, path: &TreePath) -> Option<(&TreePath, &Record<C>)> {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if let Some(found) = self.records.get_key_value(&path) {
                return Some(found);
            }
            at = path.parent();
        }
        None
    }

    /// All records, in the order of a walk.
    pub fn records(&self) -> impl Iterator<Item = (&TreePath, &Record<C>)> {
        self.records.iter()
    }

    /// Writes a record; gives the one that it replaces.
    pub fn insert(&mut self, path: TreePath, record: Record<C>) -> Option<Record<C>> {
        self.records.insert(path, record)
    }

    /// Takes a record out.
    pub fn remove(&mut self, path: &TreePath) -> Option<Record<C>> {
        self.records.remove(path)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A rule for each pinned path, for the front of
    /// [`Policies::rules`](crate::Policies::rules). A pinned directory pins what is below it.
    pub fn pins(&self) -> Vec<Rule> {
        let pinned = self.records.iter().filter(|(_, record)| record.pinned);
        let rule = |(path, record): (&TreePath, &Record<C>)| {
            Some(Rule {
                pattern: Pattern::literal(path)?,
                action: Action::Pin,
                origin: format!("ownership ledger: {}", record.owner),
            })
        };
        pinned.filter_map(rule).collect()
    }
}

impl<C: Clone + PartialEq> Ledger<C> {
    /// The records that say that somebody wants a path, and all that is below it, as the machine has
    /// it now. Of a path that has a record, what was there before it stays known, and a pin stays. Special files are
    /// left out: no merge carries them.
    ///
    /// With `pinned` only the path itself is pinned: that covers what is below. A path that is not
    /// there can be pinned, too: then the image does not bring it.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`] for a path that is not there, unless it is pinned;
    /// [`Error::WholeTree`] for the root.
    pub fn adopt(
        &self,
        machine: Machine<'_, C>,
        path: &TreePath,
        owner: &Owner,
        pinned: bool,
    ) -> Result<Vec<(TreePath, Record<C>)>, Error> {
        if path.is_root() {
            return Err(Error::WholeTree);
        }
        let record = |at: &TreePath, put: Option<&Inode<C>>| {
            let had = self.records.get(at);
            let before = match (had, machine.pristine.get(at)) {
                (Some(record), _) => record.before,
                (None, None) => Before::Absent,
                (None, Some(_)) => Before::Default,
            };
            Record {
                owner: owner.clone(),
                before,
                put: put.map(what_was_put),
                pinned: had.is_some_and(|record| record.pinned) || (pinned && at == path),
            }
        };
        let Some(top) = machine.current.lookup(path) else {
            return match pinned {
                true => Ok(vec![(path.clone(), record(path, None))]),
                false => Err(Error::NoSuchPath { path: path.clone() }),
            };
        };
        let walk = machine.current.walk_from(top);
        let here = walk.filter_map(|(below, id)| {
            let inode = machine.current.inode(id);
            let at = path.concat(&below);
            let special = crate::inode::is_special(inode.kind.node_type());
            (!special).then(|| (at.clone(), record(&at, Some(inode))))
        });
        Ok(here.collect())
    }
}

/// An inode as a record keeps it: without entries, time, and what overlayfs keeps for itself.
pub fn what_was_put<C: Clone>(inode: &Inode<C>) -> Inode<C> {
    let kind = match &inode.kind {
        Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
        other => other.clone(),
    };
    let metadata = Metadata {
        mtime: Default::default(),
        ..without_overlayfs(inode.metadata.clone())
    };
    Inode { metadata, kind }
}

/// Equal but for times and a directory's entries.
pub(crate) fn alike<C: PartialEq>(a: Option<&Inode<C>>, b: Option<&Inode<C>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            same_content(&a.kind, &b.kind, &C::eq) && same_attributes(&a.metadata, &b.metadata)
        }
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Still what was put. A label or a signature that the system set since does not count.
pub(crate) fn still<C: PartialEq + Clone>(
    put: Option<&Inode<C>>,
    current: Option<&Inode<C>>,
) -> bool {
    let plain = |inode: &Inode<C>| {
        let mut inode = what_was_put(inode);
        let xattrs = &mut inode.metadata.xattrs;
        xattrs.retain(|name, _| !LABELS.contains(&&**name));
        inode
    };
    alike(put.map(plain).as_ref(), current.map(plain).as_ref())
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.route)?;
        if let Some(document) = &self.document {
            write!(f, ", {}", document.name)?;
        }
        if let Some(Place { line, column, path }) = &self.place {
            write!(f, ":{line}:{column} ({path})")?;
        }
        Ok(())
    }
}
