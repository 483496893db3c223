//! Inodes compared and merged, attribute by attribute.

use std::collections::BTreeSet;

use pleach_fs_tree::{Inode, Kind, Metadata, NodeType, Xattrs};

use crate::finding::{Attribute, Conflict};
use crate::sides::Same;
use crate::state::Divergence;
use crate::{Side, Sides};

pub(crate) const SELINUX: &[u8] = b"security.selinux";
const IMA: &[u8] = b"security.ima";
const EVM: &[u8] = b"security.evm";
/// What the system puts onto a file by itself, by its path or its content.
pub(crate) const LABELS: [&[u8]; 3] = [SELINUX, IMA, EVM];

/// Overlayfs keeps its own books in these; they are no part of a file's state, and copied into a
/// tree that becomes a layer they would change what the layer means.
pub(crate) fn belongs_to_overlayfs(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

pub(crate) fn without_overlayfs(mut metadata: Metadata) -> Metadata {
    metadata
        .xattrs
        .retain(|name, _| !belongs_to_overlayfs(name));
    metadata
}

fn same_xattrs(a: &Xattrs, b: &Xattrs) -> bool {
    let relevant = |xattrs: &Xattrs| -> Vec<_> {
        let all = xattrs
            .iter()
            .filter(|(name, _)| !belongs_to_overlayfs(name));
        all.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    a == b || relevant(a) == relevant(b)
}

/// Modification times are not compared: whoever wrote the tree to disk made them.
pub(crate) fn same_attributes(a: &Metadata, b: &Metadata) -> bool {
    (a.mode, a.uid, a.gid) == (b.mode, b.uid, b.gid) && same_xattrs(&a.xattrs, &b.xattrs)
}

/// Type and content, target or device number; a directory's entries are paths of their own.
pub(crate) fn same_content<C>(a: &Kind<C>, b: &Kind<C>, same: &impl Fn(&C, &C) -> bool) -> bool {
    match (a, b) {
        (Kind::File(a), Kind::File(b)) => same(a, b),
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        (Kind::CharDevice(a), Kind::CharDevice(b))
        | (Kind::BlockDevice(a), Kind::BlockDevice(b)) => a == b,
        _ => a.node_type() == b.node_type(),
    }
}

pub(crate) fn is_special(node_type: NodeType) -> bool {
    !matches!(
        node_type,
        NodeType::Directory | NodeType::File | NodeType::Symlink
    )
}

/// An inode made of two.
pub(crate) struct Merged {
    /// Whose content it has; equal contents count as the image's.
    pub(crate) content: Side,
    pub(crate) metadata: Metadata,
    pub(crate) conflicts: Vec<Conflict>,
    /// Signatures that sign something else than the result.
    pub(crate) dropped: Vec<Box<[u8]>>,
}

/// Merges two inodes of one type. `pristine` is `None` where there is none of that type: then both
/// sides were added. `same` says which contents are equal. `prefer` is taken in a conflict. Where the
/// content is `composed` of both, contents are no conflict.
pub(crate) fn merge<C>(
    inodes: Sides<Option<&Inode<C>>>,
    same: Same,
    prefer: Side,
    composed: bool,
) -> Option<Merged> {
    let (current, new) = (inodes.current?, inodes.new?);
    let pristine = inodes
        .pristine
        .filter(|inode| inode.kind.node_type() == new.kind.node_type());
    let mut conflicts = Vec::new();
    let content = if composed {
        Side::Local
    } else if same.current_new || (pristine.is_some() && same.pristine_current) {
        Side::Image
    } else if pristine.is_some() && same.pristine_new {
        Side::Local
    } else {
        conflicts.push(Conflict::Content(match pristine {
            Some(_) => Divergence::BothModified,
            None => Divergence::AddAdd,
        }));
        prefer
    };
    let metadata = Sides {
        pristine: pristine.map(|inode| &inode.metadata),
        current: Some(&current.metadata),
        new: Some(&new.metadata),
    };
    let mut merger = Merger {
        metadata,
        prefer,
        conflicts,
    };
    let (metadata, dropped) = merger.metadata(content, composed, same.current_new)?;
    Some(Merged {
        content,
        metadata,
        conflicts: merger.conflicts,
        dropped,
    })
}

struct Merger<'a> {
    metadata: Sides<Option<&'a Metadata>>,
    prefer: Side,
    conflicts: Vec<Conflict>,
}

impl<'a> Merger<'a> {
    fn metadata(
        &mut self,
        content: Side,
        composed: bool,
        equal: bool,
    ) -> Option<(Metadata, Vec<Box<[u8]>>)> {
        let (current, new) = (self.metadata.current?, self.metadata.new?);
        let mut merged = Metadata {
            mode: self.pick(Attribute::Mode, |m| Some(m.mode))?,
            uid: self.pick(Attribute::Uid, |m| Some(m.uid))?,
            gid: self.pick(Attribute::Gid, |m| Some(m.gid))?,
            mtime: match content {
                Side::Local => current.mtime,
                Side::Image => new.mtime,
            },
            xattrs: Xattrs::new(),
        };
        let mut dropped = Vec::new();
        let all = [
            self.metadata.pristine,
            self.metadata.current,
            self.metadata.new,
        ];
        let names: BTreeSet<&'a [u8]> = all
            .into_iter()
            .flatten()
            .flat_map(|metadata| metadata.xattrs.keys())
            .map(|name| &**name)
            .filter(|name| !belongs_to_overlayfs(name) && *name != EVM)
            .collect();
        for name in names {
            let value = match name {
                SELINUX => get(new, name),
                IMA if composed => None,
                IMA if !equal => self.signature_of(content),
                _ => self.pick(Attribute::Xattr(name.into()), |m| get(m, name)),
            };
            if let Some(value) = value {
                merged.xattrs.insert(name.into(), value.into());
            } else if name == IMA && get(current, IMA).is_some() {
                dropped.push(name.into());
            }
        }
        // EVM signs all of the metadata, so it holds only for a side that is taken whole.
        let whole = |side: &Metadata| {
            let mut side = without_overlayfs(side.clone());
            let signature = side.xattrs.remove(EVM)?;
            same_attributes(&side, &merged).then_some(signature)
        };
        let signature = match content {
            _ if composed => None,
            _ if equal => whole(new).or_else(|| whole(current)),
            Side::Image => whole(new),
            Side::Local => whole(current),
        };
        match signature {
            Some(signature) => drop(merged.xattrs.insert(EVM.into(), signature)),
            None if get(current, EVM).or(get(new, EVM)).is_some() => dropped.push(EVM.into()),
            None => {}
        }
        Some((merged, dropped))
    }

    /// One attribute: a one-sided change wins; where both changed it, each in its own way, that is a
    /// conflict.
    fn pick<T: PartialEq>(
        &mut self,
        attribute: Attribute,
        get: impl Fn(&'a Metadata) -> Option<T>,
    ) -> Option<T> {
        let Sides {
            pristine,
            current,
            new,
        } = self.metadata.map(|metadata| metadata.and_then(&get));
        if current == new || pristine == current {
            return new;
        }
        if pristine == new {
            return current;
        }
        self.conflicts.push(Conflict::Attribute(attribute));
        match self.prefer {
            Side::Local => current,
            Side::Image => new,
        }
    }

    /// An IMA signature signs a content: it comes along with it, and the machine's only if the
    /// machine made it, not if it is the one that the image had for another content.
    fn signature_of(&self, content: Side) -> Option<&'a [u8]> {
        let of = |metadata: Option<&'a Metadata>| metadata.and_then(|m| get(m, IMA));
        match content {
            Side::Image => of(self.metadata.new),
            Side::Local => {
                of(self.metadata.current).filter(|v| of(self.metadata.pristine) != Some(v))
            }
        }
    }
}

fn get<'a>(metadata: &'a Metadata, name: &[u8]) -> Option<&'a [u8]> {
    metadata.xattrs.get(name).map(|value| &**value)
}
