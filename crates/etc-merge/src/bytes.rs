//! What the merge asks of the contents of regular files.

use std::borrow::Cow;

use pleach_fs_tree::TreePath;

use crate::Error;

/// The contents of the three trees, whatever stands for them in a [`Tree`](pleach_fs_tree::Tree):
/// their bytes, digests, places on a disk. Only contents of one path are compared.
pub trait Contents<C> {
    /// Whether two contents of a path are the same; an equivalence.
    fn same(&self, a: &C, b: &C) -> bool;

    /// Tells whatever makes this content another one, for [`MergePlan::inputs`](crate::MergePlan).
    fn identify(&self, content: &C, tell: &mut dyn FnMut(&[u8]));

    /// The bytes of a content, for a policy that merges what a file says. `None` where they cannot
    /// be had: then the policy is not applied, and the plan says so.
    ///
    /// # Errors
    /// When they could be had, and reading them fails.
    fn bytes<'a>(&self, path: &TreePath, content: &'a C) -> Result<Option<Cow<'a, [u8]>>, Error>;
}

/// Contents that are their own bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl<C: AsRef<[u8]>> Contents<C> for Bytes {
    fn same(&self, a: &C, b: &C) -> bool {
        a.as_ref() == b.as_ref()
    }

    fn identify(&self, content: &C, tell: &mut dyn FnMut(&[u8])) {
        tell(content.as_ref());
    }

    fn bytes<'a>(&self, _: &TreePath, content: &'a C) -> Result<Option<Cow<'a, [u8]>>, Error> {
        Ok(Some(Cow::Borrowed(content.as_ref())))
    }
}
