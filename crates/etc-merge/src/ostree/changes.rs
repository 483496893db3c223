//! What the machine changed, as libostree sees it.

use std::collections::BTreeMap;

use pleach_fs_tree::{Inode, InodeId, Name, Tree, TreePath};

use super::{Refusal, RefusalKind};
use crate::inode::same_content;

/// Linux's `PATH_MAX` with its final NUL: the comparison goes by whole paths, so none may be longer.
/// (On a machine the deployment's own path counts too.)
const PATH_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Changes {
    /// A removed directory stands for all that was in it.
    pub(super) removed: Vec<TreePath>,
    pub(super) modified: Vec<TreePath>,
    /// With all that is below an added directory.
    pub(super) added: Vec<TreePath>,
}

/// The root is not compared, and where the type changed nothing below is.
pub(super) fn changes<C: PartialEq>(
    pristine: &Tree<C>,
    current: &Tree<C>,
) -> Result<Changes, Refusal> {
    let mut out = Changes::default();
    let mut stack = vec![(TreePath::root(), pristine.root(), current.root())];
    while let Some((path, was, is)) = stack.pop() {
        let (had, has) = (entries(pristine, was), entries(current, is));
        for (name, &was) in had.into_iter().flatten() {
            let path = checked(path.join(name))?;
            let Some(&is) = has.and_then(|has| has.get(name)) else {
                out.removed.push(path);
                continue;
            };
            let inodes = (pristine.inode(was), current.inode(is));
            if changed(inodes.0, inodes.1) {
                out.modified.push(path.clone());
            }
            if inodes.0.entries().is_some() && inodes.1.entries().is_some() {
                stack.push((path, was, is));
            }
        }
        for (name, &is) in has.into_iter().flatten() {
            if had.is_some_and(|had| had.contains_key(name)) {
                continue;
            }
            let path = path.join(name);
            for (below, _) in current.walk_from(is) {
                out.added.push(checked(path.concat(&below))?);
            }
        }
    }
    // libostree takes them as the file system lists them; any order that has directories first
    // gives the same, so this one is taken for being always the same.
    out.removed.sort();
    out.modified.sort();
    out.added.sort();
    Ok(out)
}

fn entries<C>(tree: &Tree<C>, id: InodeId) -> Option<&BTreeMap<Name, InodeId>> {
    tree.inode(id).entries()
}

fn checked(path: TreePath) -> Result<TreePath, Refusal> {
    if path.as_bytes().len() < PATH_MAX {
        return Ok(path);
    }
    Err(Refusal {
        kind: RefusalKind::PathTooLong,
        operation: "compare",
        path,
    })
}

fn changed<C: PartialEq>(was: &Inode<C>, is: &Inode<C>) -> bool {
    !same_content(&was.kind, &is.kind, &C::eq) || attributes(was) != attributes(is)
}

fn attributes<C>(inode: &Inode<C>) -> (u16, u32, u32) {
    let metadata = &inode.metadata;
    (metadata.mode, metadata.uid, metadata.gid)
}
