//! Three trees walked in step, and what is known of each path before anything is decided.

use std::collections::BTreeSet;

use pleach_fs_tree::{Inode, InodeId, Name, NodeType, Tree, TreePath};

use crate::bytes::Contents;
use crate::inode::{is_special, same_attributes, same_content};
use crate::sides::Same;
use crate::{Action, Error, Policies, Sides};

/// One path that at least one of the trees has.
pub(crate) struct Node<'a> {
    /// `None` for the root.
    name: Option<&'a Name>,
    pub(crate) parent: usize,
    pub(crate) ids: Sides<Option<InodeId>>,
    /// Type and content, target or device number are equal.
    pub(crate) content: Same,
    /// That, and all attributes.
    pub(crate) own: Same,
    /// That, and all that is below.
    pub(crate) whole: Same,
    /// Index of the rule that covers it.
    pub(crate) rule: Option<usize>,
    pub(crate) below: Facts,
    pub(crate) here: Facts,
}

/// Facts about a path and what is below it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Facts {
    /// The machine added something or changed a content, target or type. Special files do not count.
    pub(crate) local_content: bool,
    /// Something of the machine's stays where the image drops the path.
    pub(crate) local_stays: bool,
    /// The machine has something that a rule keeps for it.
    pub(crate) pinned: bool,
    /// Something of the image's comes where the machine has removed the path.
    pub(crate) image_comes: bool,
}

impl Facts {
    fn or(self, other: Self) -> Self {
        Self {
            local_content: self.local_content || other.local_content,
            local_stays: self.local_stays || other.local_stays,
            pinned: self.pinned || other.pinned,
            image_comes: self.image_comes || other.image_comes,
        }
    }
}

/// All paths, each directory before what is in it, siblings by their bytes.
pub(crate) struct Aligned<'a, C> {
    pub(crate) trees: Sides<&'a Tree<C>>,
    pub(crate) nodes: Vec<Node<'a>>,
}

impl<'a, C> Aligned<'a, C> {
    pub(crate) fn new(
        trees: Sides<&'a Tree<C>>,
        policies: &Policies,
        contents: &impl Contents<C>,
    ) -> Result<Self, Error> {
        let mut aligned = Self {
            trees,
            nodes: Vec::new(),
        };
        let roots = trees.map(|tree| Some(tree.root()));
        let mut stack = vec![(None, 0, roots)];
        while let Some((name, parent, ids)) = stack.pop() {
            let index = aligned.nodes.len();
            aligned.push(name, parent, ids, contents);
            if index >= policies.max_paths {
                let (path, limit) = (aligned.path(index), policies.max_paths);
                let what = "paths to merge";
                return Err(Error::Limit { path, what, limit });
            }
            if !policies.rules.is_empty() {
                aligned.nodes[index].rule = policies.covering(&aligned.path(index));
            }
            let entries = trees.zip(ids).map(|(tree, id)| tree.inode(id?).entries());
            let all = [entries.pristine, entries.current, entries.new];
            let names: BTreeSet<_> = all.into_iter().flatten().flat_map(|e| e.keys()).collect();
            stack.extend(names.into_iter().rev().map(|name| {
                let ids = entries.map(|entries| entries?.get(name).copied());
                (Some(name), index, ids)
            }));
        }
        aligned.sum_up(policies);
        Ok(aligned)
    }

    fn push(
        &mut self,
        name: Option<&'a Name>,
        parent: usize,
        ids: Sides<Option<InodeId>>,
        contents: &impl Contents<C>,
    ) {
        let inodes = self.inodes_of(ids);
        let content = Same::of(inodes, |a, b| match (a, b) {
            (Some(a), Some(b)) => same_content(&a.kind, &b.kind, &|a, b| contents.same(a, b)),
            (a, b) => a.is_none() && b.is_none(),
        });
        let attributes = Same::of(inodes, |a, b| match (a, b) {
            (Some(a), Some(b)) => same_attributes(&a.metadata, &b.metadata),
            (a, b) => a.is_none() && b.is_none(),
        });
        let own = content.and(attributes);
        self.nodes.push(Node {
            name,
            parent,
            ids,
            content,
            own,
            whole: own,
            rule: None,
            below: Facts::default(),
            here: Facts::default(),
        });
    }

    /// Children come after their parent, so one pass backwards sees each directory last.
    fn sum_up(&mut self, policies: &Policies) {
        for index in (0..self.nodes.len()).rev() {
            let here = self.facts(index, policies);
            let node = &mut self.nodes[index];
            node.here = here;
            let (whole, parent) = (node.whole, node.parent);
            if index > 0 {
                let parent = &mut self.nodes[parent];
                parent.whole = parent.whole.and(whole);
                parent.below = parent.below.or(here);
            }
        }
    }

    fn facts(&self, index: usize, policies: &Policies) -> Facts {
        let node = &self.nodes[index];
        let types = self.types(index);
        let action = node.rule.map(|rule| &policies.rules[rule].action);
        let keeps_local = action.is_some_and(Action::keeps_local);
        let to_image = action.is_some_and(Action::prefers_image);
        let directory = Some(NodeType::Directory);
        let special = types.current.is_some_and(is_special);

        let local_content = match (types.pristine, types.current) {
            (_, None) => false,
            _ if special => false,
            (None, _) => true,
            _ if node.whole.pristine_current => false,
            (pristine, current) if pristine == directory && current == directory => {
                node.below.local_content
            }
            _ => !node.content.pristine_current,
        };
        let pinned = types.current.is_some() && !special && (keeps_local || node.below.pinned);
        let local_stays = pinned
            || match (types.pristine, types.current) {
                (None, _) => local_content,
                (pristine, current) if pristine == directory && current == directory => {
                    node.below.local_stays
                }
                _ => local_content && !to_image,
            };
        let image_comes = match (types.pristine, types.new) {
            (_, None) => false,
            _ if keeps_local => false,
            (None, _) => true,
            _ if node.whole.pristine_new => false,
            (pristine, new) if pristine == directory && new == directory => node.below.image_comes,
            (pristine, new) if pristine == directory || new == directory => true,
            _ => to_image,
        };
        Facts {
            local_content,
            local_stays,
            pinned,
            image_comes,
        }
    }

    pub(crate) fn inodes(&self, index: usize) -> Sides<Option<&'a Inode<C>>> {
        self.inodes_of(self.nodes[index].ids)
    }

    fn inodes_of(&self, ids: Sides<Option<InodeId>>) -> Sides<Option<&'a Inode<C>>> {
        self.trees.zip(ids).map(|(tree, id)| Some(tree.inode(id?)))
    }

    pub(crate) fn types(&self, index: usize) -> Sides<Option<NodeType>> {
        let inodes = self.inodes(index);
        inodes.map(|inode| Some(inode?.kind.node_type()))
    }

    pub(crate) fn path(&self, index: usize) -> TreePath {
        let mut names = Vec::new();
        let mut at = index;
        while let Some(name) = self.nodes[at].name {
            names.push(name.as_bytes());
            at = self.nodes[at].parent;
        }
        names.reverse();
        TreePath::new(names.join(&b'/')).expect("joined names are a path")
    }
}
