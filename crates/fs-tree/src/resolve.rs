//! Following symbolic links inside a tree, as the kernel would with the tree as its root.

use thiserror::Error;

use crate::{Kind, Name, PathError, Tree, TreePath};

/// How many symbolic links one resolution follows before it gives up, as Linux does (path_resolution(7)).
pub const MAX_SYMLINKS: usize = 40;

/// A path that leads nowhere.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// More than [`MAX_SYMLINKS`] links, or a loop.
    #[error("{path}: more than {MAX_SYMLINKS} symbolic links")]
    TooManyLinks {
        /// The path asked for.
        path: TreePath,
    },
    /// A component on the way is no directory.
    #[error("{path}: {at} is not a directory")]
    NotADirectory {
        /// The path asked for.
        path: TreePath,
        /// What is in the way.
        at: TreePath,
    },
    /// A link's target is no path.
    #[error("{path}: the link {at} has a bad target")]
    BadTarget {
        /// The path asked for.
        path: TreePath,
        /// The link.
        at: TreePath,
        /// What is wrong with the target.
        source: PathError,
    },
}

impl<C> Tree<C> {
    /// The path that `path` means when the symbolic links of its parents are followed inside the
    /// tree; absolute targets start at the root and `..` stops there (`RESOLVE_IN_ROOT` of
    /// openat2(2)). The last component is not followed unless `follow_last`. Components that do not
    /// exist stay as they are: what is returned need not exist.
    ///
    /// # Errors
    /// When a link loops, or a component on the way is neither directory nor link.
    pub fn resolve(&self, path: &TreePath, follow_last: bool) -> Result<TreePath, ResolveError> {
        let mut hops = 0;
        // What is still to be walked, innermost last.
        let mut rest: Vec<Box<[u8]>> = path.components().rev().map(Into::into).collect();
        let mut done = TreePath::root();
        while let Some(component) = rest.pop() {
            if &*component == b".." {
                done = done.parent().unwrap_or_default();
                continue;
            }
            let name = Name::new(&component).expect("components were checked");
            let next = done.join(&name);
            match self.get(&next).map(|inode| &inode.kind) {
                Some(Kind::Symlink(target)) if follow_last || !rest.is_empty() => {
                    hops += 1;
                    if hops > MAX_SYMLINKS {
                        return Err(ResolveError::TooManyLinks { path: path.clone() });
                    }
                    if target.first() == Some(&b'/') {
                        done = TreePath::root();
                    }
                    for part in target.rsplit(|&b| b == b'/') {
                        if part.is_empty() || part == b"." {
                            continue;
                        }
                        if part != b".." {
                            Name::new(part).map_err(|source| ResolveError::BadTarget {
                                path: path.clone(),
                                at: next.clone(),
                                source,
                            })?;
                        }
                        rest.push(part.into());
                    }
                }
                Some(Kind::Directory(_)) | None => done = next,
                Some(_) if rest.is_empty() => done = next,
                Some(_) => {
                    return Err(ResolveError::NotADirectory {
                        path: path.clone(),
                        at: next,
                    });
                }
            }
        }
        Ok(done)
    }
}
