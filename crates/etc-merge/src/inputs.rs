//! One digest for all that a plan was made from.

use std::fmt;

use pleach_fs_tree::{Inode, Kind, Metadata, Tree};
use sha2::{Digest as _, Sha256};

use crate::bytes::Contents;
use crate::{Action, ContentOptions, Policies, Sides};

/// The SHA-256 of everything that a plan was made from: the three trees and the policies. Two plans
/// with the same digest are the same. What stands for a content is the caller's
/// ([`Contents::identify`]), so digests of trees that were read in different ways differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputsDigest(pub [u8; 32]);

impl fmt::Display for InputsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InputsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Each part is told with its length, so that no two sequences of parts look alike.
pub(crate) struct Teller(Sha256);

impl Teller {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn tell(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Puts the policies to the digests of the three trees.
pub(crate) fn with_policies(trees: Sides<[u8; 32]>, policies: &Policies) -> InputsDigest {
    let mut teller = Teller::new();
    for tree in [trees.pristine, trees.current, trees.new] {
        teller.tell(&tree);
    }
    let Policies {
        rules,
        stamps,
        labels,
        content: ContentOptions {
            max_bytes,
            max_lines,
        },
        // It changes no plan; it may refuse one.
        max_paths: _,
    } = policies;
    teller.tell(&rules.len().to_le_bytes());
    for rule in rules {
        teller.tell(rule.pattern.to_string().as_bytes());
        teller.tell(rule.action.to_string().as_bytes());
        if let Action::Derived { regenerate } = &rule.action {
            teller.tell(regenerate.as_bytes());
        }
        teller.tell(rule.origin.as_bytes());
    }
    for stamp in stamps {
        teller.tell(stamp.as_bytes());
    }
    teller.tell(format!("{labels:?} {max_bytes} {max_lines}").as_bytes());
    InputsDigest(teller.finish())
}

pub(crate) fn of_tree<C>(tree: &Tree<C>, contents: &impl Contents<C>) -> [u8; 32] {
    let mut teller = Teller::new();
    for (path, id) in tree.walk() {
        let Inode { metadata, kind } = tree.inode(id);
        teller.tell(path.as_bytes());
        teller.tell(kind.node_type().as_str().as_bytes());
        attributes(metadata, &mut teller);
        match kind {
            Kind::File(content) => contents.identify(content, &mut |part| teller.tell(part)),
            Kind::Symlink(target) => teller.tell(target),
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                teller.tell(format!("{}:{}", device.major, device.minor).as_bytes());
            }
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
        }
    }
    teller.finish()
}

fn attributes(metadata: &Metadata, teller: &mut Teller) {
    let Metadata {
        mode,
        uid,
        gid,
        mtime,
        xattrs,
    } = metadata;
    let (seconds, nanoseconds) = (mtime.seconds, mtime.nanoseconds);
    teller.tell(format!("{mode} {uid} {gid} {seconds} {nanoseconds}").as_bytes());
    teller.tell(&xattrs.len().to_le_bytes());
    for (name, value) in xattrs {
        teller.tell(name);
        teller.tell(value);
    }
}
