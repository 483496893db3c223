//! A layer's additions as a trie of their own, and how they become part of the merged tree.

use std::collections::BTreeMap;

use pleach_fs_tree::{Chunks, Inode, InodeId, Metadata, Name, Tree};

pub(crate) type NodeId = usize;

pub(crate) enum Node {
    /// With the entry that names it, if one does: without, a lower directory keeps its metadata.
    Directory {
        own: Option<(Metadata, u64)>,
        children: BTreeMap<Name, NodeId>,
    },
    /// A name of an inode, and its entry.
    Leaf(Leaf, u64),
}

#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    /// One that this layer brings.
    New(usize),
    /// One of the lower tree: a hard link across layers.
    Lower(InodeId),
}

pub(crate) const ROOT: NodeId = 0;

pub(crate) fn empty_directory() -> Node {
    Node::Directory {
        own: None,
        children: BTreeMap::new(),
    }
}

/// What a layer adds, to be grafted onto the tree it was made for.
pub(crate) struct Additions<C> {
    nodes: Chunks<Node>,
    /// Each until it has its first name.
    inodes: Chunks<Option<Inode<C>>>,
    /// The inodes that have their first name.
    ids: BTreeMap<usize, InodeId>,
}

impl<C> Additions<C> {
    /// The first node is the root; the others are reached from it.
    pub(crate) fn new(nodes: Chunks<Node>, inodes: Chunks<Option<Inode<C>>>) -> Self {
        Self {
            nodes,
            inodes,
            ids: BTreeMap::new(),
        }
    }

    /// Grafts everything; `put` is told each name that is put into a directory or whose metadata
    /// change, with its entry if it has one, and the root as `None`.
    pub(crate) fn graft(
        mut self,
        tree: &mut Tree<C>,
        put: &mut dyn FnMut(Option<(InodeId, Name)>, Option<u64>),
    ) {
        let root = tree.root();
        let (own, children) = self.take(ROOT);
        if let Some((metadata, entry)) = own {
            *tree.metadata_mut(root) = metadata;
            put(None, Some(entry));
        }
        self.children(tree, root, children, put);
    }

    fn take(&mut self, node: NodeId) -> (Option<(Metadata, u64)>, BTreeMap<Name, NodeId>) {
        match &mut self.nodes[node] {
            Node::Directory { own, children } => (own.take(), std::mem::take(children)),
            Node::Leaf(..) => unreachable!("only directories are taken"),
        }
    }

    fn children(
        &mut self,
        tree: &mut Tree<C>,
        parent: InodeId,
        children: BTreeMap<Name, NodeId>,
        put: &mut dyn FnMut(Option<(InodeId, Name)>, Option<u64>),
    ) {
        for (name, node) in children {
            let insert = |tree: &mut Tree<C>, inode| {
                let inserted = tree.insert(parent, name.clone(), inode);
                inserted.expect("the parent is a directory")
            };
            let entry = match &self.nodes[node] {
                &Node::Leaf(leaf, entry) => {
                    let id = match leaf {
                        Leaf::Lower(id) => Some(id),
                        Leaf::New(index) => match self.inodes[index].take() {
                            Some(inode) => {
                                let id = insert(tree, inode);
                                self.ids.insert(index, id);
                                None
                            }
                            None => Some(self.ids[&index]),
                        },
                    };
                    if let Some(id) = id {
                        tree.link(id, parent, name.clone()).expect("no directory");
                    }
                    Some(entry)
                }
                Node::Directory { .. } => {
                    let (own, below) = self.take(node);
                    let entry = own.as_ref().map(|(_, entry)| *entry);
                    let there = tree.child(parent, name.as_bytes());
                    let there = there.filter(|&id| tree.inode(id).entries().is_some());
                    let id = match (there, own) {
                        (Some(id), Some((metadata, _))) => {
                            *tree.metadata_mut(id) = metadata;
                            id
                        }
                        (Some(id), None) => {
                            self.children(tree, id, below, put);
                            continue;
                        }
                        (None, own) => {
                            let implicit = || Metadata::with_mode(0o755);
                            let metadata = own.map_or_else(implicit, |(metadata, _)| metadata);
                            insert(tree, Inode::directory(metadata))
                        }
                    };
                    self.children(tree, id, below, put);
                    entry
                }
            };
            put(Some((parent, name)), entry);
        }
    }
}
