//! The profile `strict`: nothing is lost in silence, and nothing fails that need not.
//!
//! The rules, for each path, in this order:
//!
//! 1. Special files that the machine made are never carried over.
//! 2. What a rule pins or ignores stays as the machine has it.
//! 3. Sub-trees that are equal on two sides: the third is taken (both sides alike: done).
//! 4. Removed on one side and changed on the other: a change of content stays or comes, a change of
//!    attributes alone does not bring a removed path back.
//! 5. Other types on the two sides: the machine's is kept, unless it had changed no more than
//!    attributes or removed paths.
//! 6. Otherwise content, mode, owner, group and each extended attribute are merged on their own.

use std::sync::Arc;

use pleach_fs_tree::{Inode, NodeType, Tree};

use crate::align::{Aligned, Facts, Node};
use crate::bytes::{Bytes, Contents};
use crate::compose::{Composition, compose};
use crate::entry::entry;
use crate::finding::{Conflict, Finding, Note};
use crate::inode::{self, Merged, is_special};
use crate::plan::{Composed, MergePlan, Resolution};
use crate::sides::Same;
use crate::state::Divergence;
use crate::{Action, Error, Policies, Side, Sides, inputs};

/// Plans the merge of three trees that hold the bytes of their files.
///
/// # Errors
/// [`Error::Limit`]. A conflict is no error: see [`MergePlan::conflicts`].
pub fn plan<C: AsRef<[u8]>>(
    pristine: &Tree<C>,
    current: &Tree<C>,
    new: &Tree<C>,
    policies: &Policies,
) -> Result<MergePlan, Error> {
    let trees = Sides {
        pristine,
        current,
        new,
    };
    plan_with(trees, policies, &Bytes)
}

/// Like [`plan`], for trees in which something else stands for the contents.
///
/// # Errors
/// [`Error::Limit`], and those of [`Contents::bytes`].
pub fn plan_with<C>(
    trees: Sides<&Tree<C>>,
    policies: &Policies,
    contents: &impl Contents<C>,
) -> Result<MergePlan, Error> {
    let digests = trees.map(|tree| inputs::of_tree(tree, contents));
    plan_read(trees, policies, contents, digests)
}

/// For whoever has made the digests of the trees already, and may have left out paths that are the
/// same in all three: they change nothing for the others.
pub(crate) fn plan_read<C>(
    trees: Sides<&Tree<C>>,
    policies: &Policies,
    contents: &impl Contents<C>,
    digests: Sides<[u8; 32]>,
) -> Result<MergePlan, Error> {
    let aligned = Aligned::new(trees, policies, contents)?;
    let compositions = compose(&aligned, policies, contents)?;
    let mut below = Vec::with_capacity(aligned.nodes.len());
    let mut entries = Vec::new();
    for (index, node) in aligned.nodes.iter().enumerate() {
        let inherited = match index {
            0 => Below::Merge,
            _ => below[node.parent],
        };
        let made = compositions.made.get(&index);
        let mut decision = decide(&aligned, index, policies, inherited, made);
        if let Some(note) = compositions.failed.get(&index) {
            decision = decision.note(note.clone());
        }
        below.push(decision.below);
        decision.findings.sort();
        entries.extend(entry(&aligned, index, policies, decision));
    }
    let digest = inputs::with_policies(digests, policies);
    Ok(MergePlan::new(entries, aligned.nodes.len(), digest))
}

/// What becomes of the paths below one.
#[derive(Clone, Copy)]
pub(crate) enum Below {
    /// Each is decided on its own.
    Merge,
    /// All are this side's, also where it has nothing.
    Take(Side),
}

pub(crate) struct Decision {
    pub(crate) resolution: Resolution,
    pub(crate) findings: Vec<Finding>,
    pub(crate) saved: Option<Side>,
    pub(crate) below: Below,
}

impl Decision {
    fn take(side: Side, below: Below) -> Self {
        Self {
            resolution: side.into(),
            findings: Vec::new(),
            saved: None,
            below,
        }
    }

    fn whole(side: Side) -> Self {
        Self::take(side, Below::Take(side))
    }

    fn note(mut self, note: Note) -> Self {
        self.findings.push(Finding::Note(note));
        self
    }

    /// A conflict, after which the side that was not taken is saved.
    fn conflict(mut self, conflict: Conflict) -> Self {
        self.findings.push(Finding::Conflict(conflict));
        self.saved = match self.resolution {
            Resolution::Image => Some(Side::Local),
            _ => Some(Side::Image),
        };
        self
    }
}

fn decide<C>(
    aligned: &Aligned<'_, C>,
    index: usize,
    policies: &Policies,
    inherited: Below,
    made: Option<&Composition>,
) -> Decision {
    let node = &aligned.nodes[index];
    let types = aligned.types(index);
    let action = node.rule.map(|rule| &policies.rules[rule].action);
    let special = types.current.is_some_and(is_special)
        && !node.own.pristine_current
        && !node.own.current_new;
    match inherited {
        _ if special && action != Some(&Action::Ignore) => {
            return Decision::whole(Side::Image).note(Note::SpecialSkipped);
        }
        _ if special => return Decision::whole(Side::Image),
        Below::Take(side) => return Decision::whole(side),
        Below::Merge => {}
    }
    let both_directories = [types.current, types.new] == [Some(NodeType::Directory); 2];
    let follow = |side| match both_directories {
        true => Decision::take(side, Below::Merge),
        false => Decision::whole(side),
    };
    if action.is_some_and(Action::keeps_local) {
        return match types.current {
            Some(NodeType::Directory) => Decision::take(Side::Local, Below::Merge),
            _ => Decision::whole(Side::Local),
        };
    }
    if let Some(made) = made {
        return composed(aligned, index, made);
    }
    if let (Some(Action::Derived { regenerate }), false) = (action, node.here.pinned) {
        return derived(node, types, regenerate);
    }
    if node.whole.current_new {
        return follow(Side::Image);
    }
    // A pinned path needs the directories above it, even if the image drops them.
    if node.whole.pristine_current && (both_directories || !node.here.pinned) {
        return follow(Side::Image);
    }
    if node.whole.pristine_new {
        return follow(Side::Local);
    }
    let prefer = match action.is_some_and(Action::prefers_image) {
        true => Side::Image,
        false => Side::Local,
    };
    match (types.current, types.new) {
        (None, _) => locally_removed(node, types, prefer),
        (_, None) => image_removed(node, types),
        (current, new) if current == new => merged(aligned, index, both_directories, prefer),
        _ => {
            let Facts {
                local_content,
                pinned,
                ..
            } = node.here;
            match (pinned, local_content) {
                (true, _) => Decision::whole(Side::Local).conflict(Conflict::Type),
                (false, true) => Decision::whole(prefer).conflict(Conflict::Type),
                (false, false) => {
                    Decision::whole(Side::Image).conflict(Conflict::TypeOverLocalAttributes)
                }
            }
        }
    }
}

/// The image's, where it has one or had one; what only the machine has made stays until it is made
/// anew.
fn derived(node: &Node<'_>, types: Sides<Option<NodeType>>, regenerate: &Arc<str>) -> Decision {
    let directory = Some(NodeType::Directory);
    match (types.current, types.new) {
        (current, new) if current == directory && new == directory => {
            return Decision::take(Side::Image, Below::Merge);
        }
        (current, None) if current == directory => {
            return match node.here.local_stays {
                true => Decision::take(Side::Local, Below::Merge),
                false => Decision::whole(Side::Image),
            };
        }
        _ => {}
    }
    let decision = match (types.pristine, types.new) {
        (None, None) => Decision::whole(Side::Local),
        _ => Decision::whole(Side::Image),
    };
    match node.content.pristine_current || node.content.current_new {
        true => decision,
        false => decision.note(Note::Regenerate(regenerate.clone())),
    }
}

fn locally_removed(node: &Node<'_>, types: Sides<Option<NodeType>>, prefer: Side) -> Decision {
    let updated = Conflict::Content(Divergence::LocalRemovedImageUpdated);
    let directory = |node_type| node_type == Some(NodeType::Directory);
    match (directory(types.pristine), directory(types.new)) {
        (true, true) if node.here.image_comes => {
            Decision::take(Side::Image, Below::Merge).note(Note::ImageAddedBelowLocalRemoval)
        }
        (true, true) => {
            let gone = Decision::take(Side::Local, Below::Merge);
            match node.own.pristine_new {
                true => gone,
                false => gone.conflict(updated),
            }
        }
        (false, false) => Decision::whole(prefer).conflict(updated),
        _ => Decision::whole(Side::Image).conflict(Conflict::LocalRemovedImageRetyped),
    }
}

fn image_removed(node: &Node<'_>, types: Sides<Option<NodeType>>) -> Decision {
    let modified = Conflict::Content(Divergence::LocalModifiedImageRemoved);
    let both = [types.pristine, types.current] == [Some(NodeType::Directory); 2];
    match (node.here.local_stays, node.here.local_content) {
        // Rule `image`: there was a conflict, and it went to the image.
        (false, true) if both => Decision::take(Side::Image, Below::Merge).conflict(modified),
        (false, true) => Decision::whole(Side::Image).conflict(modified),
        (false, false) => Decision::whole(Side::Image).note(Note::AttributesOfRemovedPath),
        (true, _) if both => Decision::take(Side::Local, Below::Merge).conflict(modified),
        (true, _) => Decision::whole(Side::Local).conflict(modified),
    }
}

/// A file whose content was merged by what it says.
fn composed<C>(aligned: &Aligned<'_, C>, index: usize, made: &Composition) -> Decision {
    let sides = aligned.inodes(index);
    let whole = |side| Decision::take(side, Below::Take(side));
    let mut decision = match (&made.content, sides.current, sides.new) {
        (Some(content), Some(current), Some(_)) => {
            let pristine = sides.pristine.is_some();
            let same = Same {
                pristine_current: pristine && made.equals == Some(Side::Image),
                pristine_new: pristine && made.equals == Some(Side::Local),
                current_new: false,
            };
            let bytes = !(same.pristine_current || same.pristine_new);
            let Some(mut merged) = inode::merge(sides, same, Side::Local, bytes) else {
                return whole(Side::Local);
            };
            if bytes {
                merged.metadata.mtime = current.metadata.mtime;
            }
            let content = bytes.then(|| Composed(content.as_slice().into()));
            one_type(sides, merged, content, Below::Take(Side::Local))
        }
        (Some(_), Some(_), None) | (None, None, _) => whole(Side::Local),
        _ => whole(Side::Image),
    };
    let conflict = |finding: &Finding| matches!(finding, Finding::Conflict(_));
    decision.saved = made.findings.iter().any(conflict).then_some(Side::Image);
    decision.findings.extend(made.findings.iter().cloned());
    decision
}

/// The same type on both sides.
fn merged<C>(
    aligned: &Aligned<'_, C>,
    index: usize,
    both_directories: bool,
    prefer: Side,
) -> Decision {
    let node = &aligned.nodes[index];
    let below = if both_directories {
        Below::Merge
    } else {
        Below::Take(prefer)
    };
    if node.own.current_new || node.own.pristine_current {
        return Decision::take(Side::Image, below);
    }
    if node.own.pristine_new {
        return Decision::take(Side::Local, below);
    }
    let sides = aligned.inodes(index);
    let Some(merged) = inode::merge(sides, node.content, prefer, false) else {
        return Decision::take(Side::Image, below);
    };
    let content = |c: &Conflict| matches!(c, Conflict::Content(_));
    let saved = merged.conflicts.iter().any(content);
    let mut decision = one_type(sides, merged, None, below);
    decision.saved = saved.then_some(prefer.other());
    decision
}

/// The decision for an inode that was made of two; `composed` is its content if neither side has it.
fn one_type<C>(
    sides: Sides<Option<&Inode<C>>>,
    merged: Merged,
    composed: Option<Composed>,
    below: Below,
) -> Decision {
    let is = |side: Option<&Inode<C>>| side.is_some_and(|inode| inode.metadata == merged.metadata);
    let resolution = match (composed, merged.content) {
        (Some(content), _) => Resolution::Composed {
            content,
            metadata: Box::new(merged.metadata),
        },
        (None, Side::Image) if is(sides.new) => Resolution::Image,
        (None, Side::Local) if is(sides.current) => Resolution::Local,
        (None, content) => Resolution::Merged {
            content,
            metadata: Box::new(merged.metadata),
        },
    };
    let conflicts = merged.conflicts.into_iter().map(Finding::Conflict);
    let dropped = merged.dropped.into_iter().map(Note::SignatureDropped);
    Decision {
        resolution,
        findings: conflicts.chain(dropped.map(Finding::Note)).collect(),
        saved: None,
        below,
    }
}
