//! What happened to one path, said without deciding anything.

use std::fmt;

use pleach_fs_tree::NodeType;

use crate::Sides;
use crate::sides::Same;

/// What happened to a path on the two sides since the pristine tree. It looks at the path alone
/// (type, content, target or device number, mode, owner, extended attributes; a directory's entries
/// are paths of their own) and is the same under every profile and policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nobody changed it.
    ImageDefault,
    /// Only the image changed it.
    ImageUpdated,
    /// Only the image has it.
    ImageAdded,
    /// The image dropped it, the machine left it alone.
    ImageRemoved,
    /// Only the machine has it.
    LocalAdded,
    /// Only the machine changed it.
    LocalModified,
    /// The machine removed it, the image left it alone.
    LocalRemoved,
    /// Both sides made the same change.
    Converged,
    /// Both sides changed it, each in its own way. Whether that is a conflict that somebody must
    /// hear of is the merge's decision ([`Conflict`](crate::Conflict)): a mode changed here and a
    /// content changed there go together well.
    Diverged {
        /// How.
        how: Divergence,
        /// The sides that have it do not agree on its type.
        types: bool,
    },
}

/// How two sides went apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Divergence {
    /// Both changed what was there.
    BothModified,
    /// Both added it.
    AddAdd,
    /// The machine changed it, the image dropped it.
    LocalModifiedImageRemoved,
    /// The machine removed it, the image changed it.
    LocalRemovedImageUpdated,
}

impl Divergence {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BothModified => "both-modified",
            Self::AddAdd => "add/add",
            Self::LocalModifiedImageRemoved => "local-modified/image-removed",
            Self::LocalRemovedImageUpdated => "local-removed/image-updated",
        }
    }
}

impl State {
    pub(crate) fn new(types: Sides<Option<NodeType>>, own: Same) -> Self {
        let Sides {
            pristine,
            current,
            new,
        } = types;
        if own.all() {
            return Self::ImageDefault;
        }
        if own.current_new {
            return Self::Converged;
        }
        if own.pristine_current {
            return match (pristine, new) {
                (None, _) => Self::ImageAdded,
                (_, None) => Self::ImageRemoved,
                _ => Self::ImageUpdated,
            };
        }
        if own.pristine_new {
            return match (pristine, current) {
                (None, _) => Self::LocalAdded,
                (_, None) => Self::LocalRemoved,
                _ => Self::LocalModified,
            };
        }
        let how = match (pristine, current, new) {
            (None, ..) => Divergence::AddAdd,
            (_, None, _) => Divergence::LocalRemovedImageUpdated,
            (.., None) => Divergence::LocalModifiedImageRemoved,
            _ => Divergence::BothModified,
        };
        let mut present = [pristine, current, new].into_iter().flatten();
        let first = present.next();
        Self::Diverged {
            how,
            types: present.any(|t| Some(t) != first),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ImageDefault => "image-default",
            Self::ImageUpdated => "image-updated",
            Self::ImageAdded => "image-added",
            Self::ImageRemoved => "image-removed",
            Self::LocalAdded => "local-added",
            Self::LocalModified => "local-modified",
            Self::LocalRemoved => "local-removed",
            Self::Converged => "converged",
            Self::Diverged { how, types } => {
                let suffix = if *types { "+type" } else { "" };
                return write!(f, "conflict:{}{suffix}", how.as_str());
            }
        })
    }
}
