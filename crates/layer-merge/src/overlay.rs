//! What one layer adds, as a trie above the merged tree of the layers below it. Nothing of the lower
//! tree changes before the whole layer is in it.

use pleach_fs_tree::{
    Chunks, Inode, InodeId, Kind, MAX_SYMLINKS, Metadata, Name, Tree, TreePath, escape,
};

use crate::graft::{Additions, Leaf, Node, NodeId, ROOT, empty_directory};
use crate::work::Work;
use crate::{Fault, MergeOptions};

/// See the module.
pub(crate) struct Overlay<'t, C> {
    tree: &'t Tree<C>,
    options: &'t MergeOptions,
    work: &'t Work,
    nodes: Chunks<Node>,
    /// Each is there; the graft takes them one by one.
    inodes: Chunks<Option<Inode<C>>>,
    /// Whether the last entry replaced what an earlier one of the layer had put at its path.
    duplicate: bool,
}

/// One directory as it is seen through both: what the overlay has of it and what is below.
#[derive(Clone, Copy)]
struct Seen {
    over: Option<NodeId>,
    under: Option<InodeId>,
}

/// The way to a directory, without symbolic links.
type Way = Vec<(Name, Seen)>;

/// What the union has under a name.
enum Found<'a> {
    Nothing,
    Directory(Seen),
    Symlink(&'a [u8]),
    /// Something else of this layer.
    Own,
    /// Something else of a lower one.
    Lower,
}

impl<'t, C> Overlay<'t, C> {
    /// Nothing, above the tree out of which the layer's whiteouts have been taken already.
    pub(crate) fn new(tree: &'t Tree<C>, options: &'t MergeOptions, work: &'t Work) -> Self {
        Self {
            tree,
            options,
            work,
            nodes: Chunks::from_iter([empty_directory()]),
            inodes: Chunks::default(),
            duplicate: false,
        }
    }

    /// Puts an inode at a path. A directory that is there already gets new metadata, everything else
    /// is replaced.
    pub(crate) fn put(
        &mut self,
        path: &TreePath,
        inode: Inode<C>,
        entry: u64,
    ) -> Result<(), Fault> {
        let Some((node, name)) = self.make_parent(path)? else {
            return self.own_directory(ROOT, inode.metadata, entry);
        };
        if let Kind::Directory(_) = inode.kind {
            let directory = self.make_directory(node, name)?;
            return self.own_directory(directory, inode.metadata, entry);
        }
        let leaf = Leaf::New(self.inodes.push(Some(inode)));
        self.set(node, name, Node::Leaf(leaf, entry))
    }

    /// Gives what is at `target` one more name. The metadata of that inode stay.
    pub(crate) fn link(
        &mut self,
        path: &TreePath,
        target: &TreePath,
        entry: u64,
    ) -> Result<(), Fault> {
        let bad = |why| Fault::BadLink {
            target: escape(target.as_bytes()),
            why,
        };
        let name = target
            .file_name()
            .ok_or(bad("a directory has only one name"))?;
        let parent = target.parent().unwrap_or_default();
        let parent = self
            .resolve(&parent)
            .map_err(|_| bad("it has no such parent"))?;
        let seen = self.seen(&parent);
        let over = seen.over.and_then(|node| self.child(node, &name));
        let leaf = match over.map(|node| &self.nodes[node]) {
            Some(Node::Directory { .. }) => return Err(bad("a directory has only one name")),
            Some(Node::Leaf(leaf, _)) => *leaf,
            None => {
                let under = seen
                    .under
                    .and_then(|id| self.tree.child(id, name.as_bytes()));
                let under = under.ok_or(bad("there is nothing"))?;
                if self.tree.inode(under).entries().is_some() {
                    return Err(bad("a directory has only one name"));
                }
                Leaf::Lower(under)
            }
        };
        let target_way: Vec<_> = parent.into_iter().map(|(name, _)| name).collect();
        if path.is_root() {
            return Err(Fault::RootType);
        }
        let own_name = path.file_name().expect("not the root");
        let own_way = self.resolve(&path.parent().unwrap_or_default())?;
        if own_name == name && own_way.iter().map(|(name, _)| name).eq(&target_way) {
            return Err(bad("it is a link to itself"));
        }
        let (node, own_name) = self.make_parent(path)?.expect("not the root");
        self.set(node, own_name, Node::Leaf(leaf, entry))
    }

    /// The directory that shall have a path's last name, made in the overlay with all its parents;
    /// `None` for the root.
    fn make_parent(&mut self, path: &TreePath) -> Result<Option<(NodeId, Name)>, Fault> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let way = self.resolve(&parent)?;
        // Links may lead deeper than the path itself is.
        let limits = &self.options.limits;
        let length: usize = way.iter().map(|(name, _)| name.as_bytes().len() + 1).sum();
        for (what, value, limit) in [
            ("components of a path", way.len() + 1, limits.depth),
            (
                "bytes of a path",
                length + name.as_bytes().len(),
                limits.path,
            ),
        ] {
            if value > limit {
                let limit = limit as u64;
                return Err(Fault::Limit { what, limit });
            }
        }
        let mut node = ROOT;
        for (name, _) in way {
            node = self.make_directory(node, name)?;
        }
        Ok(Some((node, name)))
    }

    fn make_directory(&mut self, parent: NodeId, name: Name) -> Result<NodeId, Fault> {
        match self.child(parent, &name) {
            Some(node) if matches!(self.nodes[node], Node::Directory { .. }) => Ok(node),
            _ => {
                self.set(parent, name, empty_directory())?;
                Ok(self.nodes.len() - 1)
            }
        }
    }

    fn own_directory(&mut self, node: NodeId, metadata: Metadata, entry: u64) -> Result<(), Fault> {
        let Node::Directory { own, .. } = &mut self.nodes[node] else {
            unreachable!("made a directory before");
        };
        match own.replace((metadata, entry)) {
            Some(_) => self.note_duplicate(),
            None => Ok(()),
        }
    }

    fn set(&mut self, parent: NodeId, name: Name, node: Node) -> Result<(), Fault> {
        self.work.node(&self.options.limits)?;
        let id = self.nodes.push(node);
        let Node::Directory { children, .. } = &mut self.nodes[parent] else {
            unreachable!("only directories are parents");
        };
        match children.insert(name, id) {
            Some(_) => self.note_duplicate(),
            None => Ok(()),
        }
    }

    fn note_duplicate(&mut self) -> Result<(), Fault> {
        if self.options.strict {
            return Err(Fault::DuplicateEntry);
        }
        self.duplicate = true;
        Ok(())
    }

    fn child(&self, node: NodeId, name: &Name) -> Option<NodeId> {
        match &self.nodes[node] {
            Node::Directory { children, .. } => children.get(name).copied(),
            Node::Leaf(..) => None,
        }
    }

    fn seen(&self, way: &Way) -> Seen {
        let root = Seen {
            over: Some(ROOT),
            under: Some(self.tree.root()),
        };
        way.last().map_or(root, |(_, seen)| *seen)
    }

    fn find(&self, at: Seen, name: &Name) -> Found<'_> {
        let under = at.under.and_then(|id| self.tree.child(id, name.as_bytes()));
        let of_inode = |inode: &'_ Inode<C>| matches!(inode.kind, Kind::Directory(_));
        let lower_directory = under.filter(|&id| of_inode(self.tree.inode(id)));
        match at.over.and_then(|node| self.child(node, name)) {
            Some(node) => match &self.nodes[node] {
                Node::Directory { .. } => Found::Directory(Seen {
                    over: Some(node),
                    under: lower_directory,
                }),
                Node::Leaf(leaf, _) => match self.leaf(*leaf) {
                    Kind::Symlink(target) => Found::Symlink(target),
                    _ => Found::Own,
                },
            },
            None => match under.map(|id| &self.tree.inode(id).kind) {
                None => Found::Nothing,
                Some(Kind::Directory(_)) => Found::Directory(Seen { over: None, under }),
                Some(Kind::Symlink(target)) => Found::Symlink(target),
                Some(_) => Found::Lower,
            },
        }
    }

    fn leaf(&self, leaf: Leaf) -> &Kind<C> {
        match leaf {
            Leaf::New(index) => &self.inodes[index].as_ref().expect("not grafted yet").kind,
            Leaf::Lower(id) => &self.tree.inode(id).kind,
        }
    }

    /// The way to a directory through the union, following symbolic links inside the image. Missing
    /// components of the path itself will be made; a link that leads nowhere is an error.
    fn resolve(&self, path: &TreePath) -> Result<Way, Fault> {
        let mut way = Way::new();
        let mut hops = 0;
        // What is still to be walked, innermost last, and whether a link's target says it.
        let components = path.components().rev();
        let mut rest: Vec<(Box<[u8]>, bool)> = components.map(|c| (c.into(), false)).collect();
        while let Some((component, of_link)) = rest.pop() {
            if &*component == b".." {
                way.pop();
                continue;
            }
            let error = |way: &Way, why| {
                let names = way.iter().map(|(name, _)| name.as_bytes());
                let names: Vec<_> = names.chain([&*component]).collect();
                let at = format!("/{}", escape(&names.join(b"/".as_slice())));
                Fault::ParentNotDirectory { at, why }
            };
            let Ok(name) = Name::new(&component) else {
                return Err(error(&way, "no name"));
            };
            match self.find(self.seen(&way), &name) {
                Found::Directory(seen) => way.push((name, seen)),
                Found::Own => return Err(error(&way, "this layer has no directory there")),
                Found::Lower if of_link || self.options.strict => {
                    return Err(error(&way, "a lower layer has no directory there"));
                }
                Found::Nothing if of_link => {
                    return Err(error(
                        &way,
                        "a symbolic link leads there, and nothing is there",
                    ));
                }
                Found::Nothing | Found::Lower => {
                    let seen = Seen {
                        over: None,
                        under: None,
                    };
                    way.push((name, seen));
                }
                Found::Symlink(target) => {
                    hops += 1;
                    if hops > MAX_SYMLINKS {
                        return Err(error(&way, "a loop of symbolic links"));
                    }
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    for part in target.rsplit(|&b| b == b'/') {
                        self.work.step(&self.options.limits)?;
                        if !part.is_empty() && part != b"." {
                            rest.push((part.into(), true));
                        }
                    }
                }
            }
        }
        Ok(way)
    }

    /// Whether the last entry replaced what an earlier one of the layer had put at its path.
    pub(crate) fn took_duplicate(&mut self) -> bool {
        std::mem::take(&mut self.duplicate)
    }

    /// Ends the layer: the additions alone, free of the tree.
    pub(crate) fn finish(self) -> Additions<C> {
        Additions::new(self.nodes, self.inodes)
    }
}
