//! The plan: what a merge will do, as a value.

use std::collections::BTreeMap;
use std::fmt;

use pleach_fs_tree::{Inode, InodeId, Kind, Metadata, NodeType, Tree, TreePath};

use crate::inode::without_overlayfs;
use crate::{Action, Conflict, Error, Finding, Side, Sides, State};

/// What a plan says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub path: TreePath,
    /// What the three sides have there.
    pub sides: Sides<Option<NodeSummary>>,
    /// What happened to it.
    pub state: State,
    /// What the result has there.
    pub resolution: Resolution,
    /// The result has an SELinux label here that the machine gave and the image does not know
    /// ([`Labels`](crate::Labels)).
    pub carries_label: bool,
    /// The rule that covers the path: its action and origin. `None`: no rule does, the default.
    pub policy: Option<(Action, String)>,
    /// What there is to tell, sorted.
    pub findings: Vec<Finding>,
    /// The side that was not taken and is to be saved beside the deployment, with all that it has
    /// below this path.
    pub saved: Option<Side>,
}

impl Entry {
    /// The conflicts among the findings.
    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.findings.iter().filter_map(|finding| match finding {
            Finding::Conflict(conflict) => Some(conflict),
            Finding::Note(_) => None,
        })
    }
}

/// What the result has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing.
    Absent,
    /// What the machine has.
    Local,
    /// What the next image has.
    Image,
    /// The content of one side with attributes of both.
    Merged {
        /// Whose type and content.
        content: Side,
        /// The attributes.
        metadata: Box<Metadata>,
    },
}

impl From<Side> for Resolution {
    fn from(side: Side) -> Self {
        match side {
            Side::Local => Self::Local,
            Side::Image => Self::Image,
        }
    }
}

/// What a side has at a path, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each names an attribute")]
pub struct NodeSummary {
    pub node_type: NodeType,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
}

impl NodeSummary {
    pub(crate) fn of<C>(inode: &Inode<C>) -> Self {
        Self {
            node_type: inode.kind.node_type(),
            mode: inode.metadata.mode,
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
        }
    }
}

/// A planned merge: an entry for each path that is not the same in all three trees, in the order of
/// a walk. The same trees and policies give the same plan.
///
/// Its text (`Display`) has one line for each entry: state, path, resolution, and what there is to
/// tell. The alternate form (`{:#}`) adds what the three sides have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePlan {
    entries: Vec<Entry>,
    paths: usize,
}

impl MergePlan {
    pub(crate) fn new(entries: Vec<Entry>, paths: usize) -> Self {
        Self { entries, paths }
    }

    /// All entries. A path without one is the image's default, and stays it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a path.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|entry| entry.path.cmp(path));
        found.ok().map(|index| &self.entries[index])
    }

    /// How many paths the three trees have together.
    pub fn paths(&self) -> usize {
        self.paths
    }

    /// The entries that have conflicts.
    pub fn conflicts(&self) -> impl Iterator<Item = &Entry> {
        let mut entries = self.entries.iter();
        std::iter::from_fn(move || entries.find(|entry| entry.conflicts().next().is_some()))
    }

    /// The entries for which a version is to be saved beside the deployment.
    pub fn saved(&self) -> impl Iterator<Item = (&TreePath, Side)> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| Some((&entry.path, entry.saved?)))
    }

    /// Conflicts at paths whose policy is [`Action::Fail`]. If there are any, there is no result.
    pub fn refused(&self) -> impl Iterator<Item = &Entry> {
        self.conflicts()
            .filter(|entry| matches!(entry.policy, Some((Action::Fail, _))))
    }

    /// The merged tree, from the trees that the plan was made from. No inode has two names in it:
    /// a hard link of either side becomes independent files, as copies are.
    ///
    /// # Errors
    /// [`Error::Refused`] where a policy says so, [`Error::OtherTrees`] where a path of the plan is
    /// not in the trees.
    pub fn result<C: Clone>(&self, current: &Tree<C>, new: &Tree<C>) -> Result<Tree<C>, Error> {
        self.result_with(current, new, |_, _, content| content.clone())
    }

    /// Like [`result`](Self::result), where `content` says what becomes of a file's content: it is
    /// given the side that the content is from, the path, and what that side's tree has.
    ///
    /// # Errors
    /// Like [`result`](Self::result).
    pub fn result_with<C, D>(
        &self,
        current: &Tree<C>,
        new: &Tree<C>,
        content: impl FnMut(Side, &TreePath, &C) -> D,
    ) -> Result<Tree<D>, Error> {
        let mut refused = self.refused();
        if let Some(first) = refused.next() {
            return Err(Error::Refused {
                first: first.path.clone(),
                count: 1 + refused.count(),
            });
        }
        let mut builder = Builder {
            out: Tree::new(Metadata::default()),
            current,
            new,
            content,
        };
        let mut entries = self.entries.iter().peekable();
        // Both are in the order of a walk, so each directory is there before what is in it.
        for (path, id) in new.walk() {
            while let Some(entry) = entries.next_if(|entry| entry.path < path) {
                builder.put(entry)?;
            }
            match entries.next_if(|entry| entry.path == path) {
                Some(entry) => builder.put(entry)?,
                None => builder.copy(&path, Side::Image, id, None)?,
            }
        }
        entries.try_for_each(|entry| builder.put(entry))?;
        Ok(builder.out)
    }
}

struct Builder<'a, C, D, F> {
    out: Tree<D>,
    current: &'a Tree<C>,
    new: &'a Tree<C>,
    content: F,
}

impl<C, D, F: FnMut(Side, &TreePath, &C) -> D> Builder<'_, C, D, F> {
    fn put(&mut self, entry: &Entry) -> Result<(), Error> {
        let (side, metadata) = match &entry.resolution {
            Resolution::Absent => return Ok(()),
            Resolution::Local => (Side::Local, None),
            Resolution::Image => (Side::Image, None),
            Resolution::Merged { content, metadata } => (*content, Some(&**metadata)),
        };
        let path = &entry.path;
        let id = self.tree(side).lookup(path);
        let id = id.ok_or_else(|| Error::OtherTrees { path: path.clone() })?;
        self.copy(path, side, id, metadata)
    }

    fn tree(&self, side: Side) -> &Tree<C> {
        match side {
            Side::Local => self.current,
            Side::Image => self.new,
        }
    }

    /// A directory comes without its entries: they are paths of their own.
    fn copy(
        &mut self,
        path: &TreePath,
        side: Side,
        id: InodeId,
        metadata: Option<&Metadata>,
    ) -> Result<(), Error> {
        let inode = match side {
            Side::Local => self.current.inode(id),
            Side::Image => self.new.inode(id),
        };
        let kind = match &inode.kind {
            Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
            Kind::File(content) => Kind::File((self.content)(side, path, content)),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            Kind::CharDevice(device) => Kind::CharDevice(*device),
            Kind::BlockDevice(device) => Kind::BlockDevice(*device),
            Kind::Fifo => Kind::Fifo,
            Kind::Socket => Kind::Socket,
        };
        let metadata = match metadata {
            Some(metadata) => metadata.clone(),
            None => without_overlayfs(inode.metadata.clone()),
        };
        let put = self.out.put(path, Inode { metadata, kind });
        put.map_err(|_| Error::OtherTrees { path: path.clone() })?;
        Ok(())
    }
}

impl fmt::Display for MergePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            entry.fmt(f)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.state, self.path, self.resolution)?;
        if let Some((action, origin)) = &self.policy {
            write!(f, "; policy {action} ({origin})")?;
        }
        for finding in &self.findings {
            write!(f, "; {finding}")?;
        }
        if let Some(side) = self.saved {
            write!(f, "; {side} side saved")?;
        }
        if self.carries_label {
            f.write_str("; carries the machine's label")?;
        }
        if f.alternate() {
            for (name, side) in [
                ("pristine", self.sides.pristine),
                ("current", self.sides.current),
                ("new", self.sides.new),
            ] {
                match side {
                    Some(side) => write!(f, "\n    {name}: {side}")?,
                    None => write!(f, "\n    {name}: -")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Local => f.write_str("local"),
            Self::Image => f.write_str("image"),
            Self::Merged { content, metadata } => {
                let Metadata { mode, uid, gid, .. } = **metadata;
                write!(f, "merged (content {content}, {mode:04o} {uid}:{gid})")
            }
        }
    }
}

impl fmt::Display for NodeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node_type = self.node_type.as_str();
        write!(f, "{node_type} {:04o} {}:{}", self.mode, self.uid, self.gid)
    }
}
