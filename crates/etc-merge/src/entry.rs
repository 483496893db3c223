//! What the plan says of a path, from what was decided.

use pleach_fs_tree::{InodeId, Metadata, NodeType, Tree};

use crate::align::{Aligned, Node};
use crate::finding::{Finding, Note};
use crate::inode::{self, SELINUX};
use crate::plan::{Entry, NodeSummary, Resolution};
use crate::strict::Decision;
use crate::{Action, Labels, Policies, Side, Sides, State};

/// The plan's entry, or nothing where there is nothing to say.
pub(crate) fn entry<C>(
    aligned: &Aligned<'_, C>,
    index: usize,
    policies: &Policies,
    decision: Decision,
) -> Option<Entry> {
    let node = &aligned.nodes[index];
    let Decision {
        mut resolution,
        mut findings,
        mut saved,
        ..
    } = decision;
    let sides = aligned.inodes(index);
    let has = |side| match side {
        Side::Local => sides.current.is_some(),
        Side::Image => sides.new.is_some(),
    };
    let taken = match &resolution {
        Resolution::Absent => None,
        Resolution::Image => Some(Side::Image),
        Resolution::Local => Some(Side::Local),
        Resolution::Merged { content, .. } => Some(*content),
        Resolution::Composed { .. } => Some(Side::Image),
    };
    if !taken.is_some_and(has) {
        resolution = Resolution::Absent;
    }
    saved = saved.filter(|side| has(*side));

    let state = State::new(aligned.types(index), node.own);
    let path = aligned.path(index);
    if resolution != Resolution::Absent && policies.stamps.contains(&path) {
        let directory = Some(NodeType::Directory);
        let types = aligned.types(index);
        if types.current != directory && types.new != directory {
            resolution = Resolution::Absent;
            saved = None;
            findings = vec![Finding::Note(Note::StampRemoved)];
        }
    }
    let action = node.rule.map(|rule| &policies.rules[rule].action);
    if action == Some(&Action::Ignore) {
        findings.clear();
    }
    if state == State::ImageDefault && findings.is_empty() {
        return None;
    }
    let (resolution, carries_label) = label(resolution, node, aligned.trees, policies.labels);
    Some(Entry {
        path,
        sides: sides.map(|inode| inode.map(NodeSummary::of)),
        state,
        resolution,
        carries_label,
        policy: node.rule.map(|rule| {
            let rule = &policies.rules[rule];
            (rule.action.clone(), rule.origin.clone())
        }),
        findings,
        saved,
    })
}

/// Whether a path keeps a label of the machine's that is not the image's; or takes it away.
fn label<C>(
    resolution: Resolution,
    node: &Node<'_>,
    trees: Sides<&Tree<C>>,
    labels: Labels,
) -> (Resolution, bool) {
    let metadata = |tree: &Tree<C>, id: Option<InodeId>| -> Option<Metadata> {
        Some(tree.inode(id?).metadata.clone())
    };
    let (Resolution::Local, Some(mut metadata)) =
        (&resolution, metadata(trees.current, node.ids.current))
    else {
        return (resolution, false);
    };
    let image = node.ids.new.and_then(|id| {
        let xattrs = &trees.new.inode(id).metadata.xattrs;
        xattrs.get(SELINUX).cloned()
    });
    if metadata.xattrs.get(SELINUX) == image.as_ref() {
        return (resolution, false);
    }
    if labels == Labels::Carry {
        let carries = metadata.xattrs.contains_key(SELINUX);
        return (resolution, carries);
    }
    match image {
        Some(image) => metadata.xattrs.insert(SELINUX.into(), image),
        None => metadata.xattrs.remove(SELINUX),
    };
    let content = Side::Local;
    let metadata = Box::new(inode::without_overlayfs(metadata));
    (Resolution::Merged { content, metadata }, false)
}
