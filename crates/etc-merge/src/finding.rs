//! What a merge has to tell about a path.

use std::fmt;
use std::sync::Arc;

use pleach_fs_tree::escape;

use crate::state::Divergence;
use crate::{AccountReport, KeyConflict, NotMerged};

/// Something that is told about a path besides its state and its resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Both sides want something that cannot both be had.
    Conflict(Conflict),
    /// Nothing to decide, but a person may be surprised.
    Note(Note),
}

/// Two changes that cannot both be kept. One that is reported for a directory covers what is below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Conflict {
    /// Contents (or link targets, or device numbers) were changed on both sides, or one side
    /// removed what the other changed.
    Content(Divergence),
    /// The sides have different types here.
    Type,
    /// The sides have different types here, and all that the machine had changed were attributes,
    /// or paths that it had removed: the image's side is taken.
    TypeOverLocalAttributes,
    /// The machine removed it and the image made a directory of a file, or a file of a directory:
    /// what was removed is no more, so the image's side is taken.
    LocalRemovedImageRetyped,
    /// Both sides set an attribute, to different values.
    Attribute(Attribute),
    /// Both sides set a key of a file that is merged by its keys: the machine's is kept.
    Key(KeyConflict),
    /// Both sides changed the same of an account: the machine's is kept.
    Account(AccountReport),
}

/// An attribute that is merged on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each names an attribute")]
pub enum Attribute {
    Mode,
    Uid,
    Gid,
    /// An extended attribute, by name.
    Xattr(Box<[u8]>),
}

/// What a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Note {
    /// A socket, pipe or device node that the machine made: never carried over.
    SpecialSkipped,
    /// The machine had only changed attributes here, or removed something below, and the image
    /// drops the path: it goes.
    AttributesOfRemovedPath,
    /// The machine removed this directory, and the image adds something to it: the directory is
    /// made again, for that alone.
    ImageAddedBelowLocalRemoval,
    /// A stamp ([`Policies::stamps`](crate::Policies)) is never in a result.
    StampRemoved,
    /// The path is derived from others that the machine may have changed: this command makes it
    /// anew.
    Regenerate(Arc<str>),
    /// Something about the merged accounts that nobody has to decide.
    Account(AccountReport),
    /// A policy merges what files say, and what this one says was not at hand.
    NeedsContents,
    /// A policy merges what files say, and cannot do so here, for this reason.
    NotMerged(NotMerged),
    /// The policy for account files covers something that is none.
    NoAccounts,
    /// `security.ima` or `security.evm` signs a content or metadata that is not the result's.
    SignatureDropped(Box<[u8]>),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(conflict) => write!(f, "conflict:{conflict}"),
            Self::Note(note) => write!(f, "note:{note}"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(how) => f.write_str(how.as_str()),
            Self::Type => f.write_str("type"),
            Self::TypeOverLocalAttributes => f.write_str("type(local attributes or removals only)"),
            Self::LocalRemovedImageRetyped => f.write_str("local-removed/image-retyped"),
            Self::Attribute(attribute) => write!(f, "attr:{attribute}"),
            Self::Key(key) => write!(f, "key:{key}"),
            Self::Account(report) => write!(f, "account:{report}"),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode => f.write_str("mode"),
            Self::Uid => f.write_str("uid"),
            Self::Gid => f.write_str("gid"),
            Self::Xattr(name) => write!(f, "xattr:{}", escape(name)),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialSkipped => f.write_str("special-in-current"),
            Self::AttributesOfRemovedPath => f.write_str("attr-only-change-on-removed-path"),
            Self::ImageAddedBelowLocalRemoval => f.write_str("image-added-below-local-removal"),
            Self::StampRemoved => f.write_str("stamp-removed"),
            Self::Regenerate(command) => write!(f, "regenerate:{}", escape(command.as_bytes())),
            Self::Account(report) => write!(f, "account:{report}"),
            Self::NeedsContents => f.write_str("needs-contents"),
            Self::NotMerged(why) => write!(f, "not-merged:{why}"),
            Self::NoAccounts => f.write_str("not-merged:not an account file"),
            Self::SignatureDropped(name) => write!(f, "signature-dropped:{}", escape(name)),
        }
    }
}
