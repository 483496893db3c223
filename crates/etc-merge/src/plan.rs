//! The plan: what a merge will do, as a value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pleach_fs_tree::{Inode, InodeId, Kind, Metadata, NodeType, Tree, TreePath};

use crate::inode::without_overlayfs;
use crate::{Action, Conflict, Error, Finding, InputsDigest, Side, Sides, State};

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
    /// A content that is made of all three sides, as a policy says.
    Composed {
        /// The content.
        content: Composed,
        /// The attributes.
        metadata: Box<Metadata>,
    },
}

/// The bytes of a file that a policy merged. They may be secrets (`shadow`), so they are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Composed(pub Arc<[u8]>);

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Where the content of a file of the result is from.
#[derive(Debug)]
pub enum ContentFrom<'a, C> {
    /// A side has it at that path.
    Side(Side, &'a C),
    /// It is in the plan.
    Composed(&'a Composed),
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
    inputs: InputsDigest,
}

impl MergePlan {
    pub(crate) fn new(entries: Vec<Entry>, paths: usize, inputs: InputsDigest) -> Self {
        Self {
            entries,
            paths,
            inputs,
        }
    }

    /// For whoever left out paths that are the same in all trees.
    #[cfg(feature = "fs")]
    pub(crate) fn with_paths(self, paths: usize) -> Self {
        Self { paths, ..self }
    }

    /// All that the plan was made from, as one digest.
    pub fn inputs(&self) -> InputsDigest {
        self.inputs
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

    /// Whether no policy refuses the merge.
    ///
    /// # Errors
    /// [`Error::Refused`] if one does.
    pub fn accepted(&self) -> Result<(), Error> {
        let mut refused = self.refused();
        match refused.next() {
            None => Ok(()),
            Some(first) => Err(Error::Refused {
                first: first.path.clone(),
                count: 1 + refused.count(),
            }),
        }
    }

    /// The merged tree, from the trees that the plan was made from. No inode has two names in it:
    /// a hard link of either side becomes independent files, as copies are.
    ///
    /// # Errors
    /// [`Error::Refused`] where a policy says so, [`Error::OtherTrees`] where a path of the plan is
    /// not in the trees.
    pub fn result<C>(&self, current: &Tree<C>, new: &Tree<C>) -> Result<Tree<C>, Error>
    where
        C: Clone + From<Vec<u8>>,
    {
        self.result_with(current, new, |_, content| match content {
            ContentFrom::Side(_, content) => content.clone(),
            ContentFrom::Composed(composed) => composed.0.to_vec().into(),
        })
    }

    /// Like [`result`](Self::result), where `content` says what becomes of a file's content.
    ///
    /// # Errors
    /// Like [`result`](Self::result).
    pub fn result_with<C, D>(
        &self,
        current: &Tree<C>,
        new: &Tree<C>,
        content: impl FnMut(&TreePath, ContentFrom<'_, C>) -> D,
    ) -> Result<Tree<D>, Error> {
        self.accepted()?;
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

impl<C, D, F: FnMut(&TreePath, ContentFrom<'_, C>) -> D> Builder<'_, C, D, F> {
    fn put(&mut self, entry: &Entry) -> Result<(), Error> {
        let path = &entry.path;
        let (side, metadata) = match &entry.resolution {
            Resolution::Absent => return Ok(()),
            Resolution::Local => (Side::Local, None),
            Resolution::Image => (Side::Image, None),
            Resolution::Merged { content, metadata } => (*content, Some(&**metadata)),
            Resolution::Composed { content, metadata } => {
                let content = (self.content)(path, ContentFrom::Composed(content));
                return self.insert(path, Inode::file((**metadata).clone(), content));
            }
        };
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
            Kind::File(content) => {
                Kind::File((self.content)(path, ContentFrom::Side(side, content)))
            }
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
        self.insert(path, Inode { metadata, kind })
    }

    fn insert(&mut self, path: &TreePath, inode: Inode<D>) -> Result<(), Error> {
        let put = self.out.put(path, inode);
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
            Self::Composed { content, metadata } => {
                let Metadata { mode, uid, gid, .. } = **metadata;
                write!(f, "composed ({content:?}, {mode:04o} {uid}:{gid})")
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
