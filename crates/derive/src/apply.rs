//! Changes, made to a tree in memory.

use pleach_customization::lower::Action;
use pleach_fs_tree::{Inode, InodeId, Kind, Metadata, Timestamp, Tree, TreeError, TreePath};

use crate::plan::Content;

/// Makes one change. Parents exist: the lowering puts their directories first.
pub(crate) fn change<C>(
    tree: &mut Tree<Content<C>>,
    path: &TreePath,
    action: &Action,
    mtime: Timestamp,
) -> Result<(), TreeError> {
    let metadata = |mode: u32, uid: u32, gid: u32| {
        let mode = u16::try_from(mode & 0o7777).expect("12 bits");
        Metadata {
            mode,
            uid,
            gid,
            mtime,
            ..Metadata::default()
        }
    };
    match action {
        Action::Write {
            contents,
            mode,
            uid,
            gid,
        } => {
            let inode = Inode::file(metadata(*mode, *uid, *gid), Content::New(contents.clone()));
            tree.put(path, inode)?;
        }
        Action::Mkdir { mode, uid, gid } => match directory(tree, path) {
            Some(id) => {
                let kept = std::mem::take(&mut tree.metadata_mut(id).xattrs);
                *tree.metadata_mut(id) = Metadata {
                    xattrs: kept,
                    ..metadata(*mode, *uid, *gid)
                };
            }
            None => {
                tree.put(path, Inode::directory(metadata(*mode, *uid, *gid)))?;
            }
        },
        Action::Symlink { target, uid, gid } => {
            tree.put(path, Inode::symlink(metadata(0o777, *uid, *gid), target))?;
        }
        Action::HardLink { target } => {
            let target = TreePath::new(target).map_err(|_| TreeError::NotAllowed {
                path: path.clone(),
                what: "the target of a hard link is no path",
            })?;
            let id = tree
                .lookup(&target)
                .ok_or(TreeError::NotFound { path: target })?;
            let parent = tree.directory(&path.parent().unwrap_or_default())?;
            if let Some(name) = path.file_name() {
                tree.link(id, parent, name)?;
            }
        }
        Action::SetMeta { mode, uid, gid } => {
            let id = tree
                .lookup(path)
                .ok_or_else(|| TreeError::NotFound { path: path.clone() })?;
            let kept = std::mem::take(&mut tree.metadata_mut(id).xattrs);
            *tree.metadata_mut(id) = Metadata {
                xattrs: kept,
                ..metadata(*mode, *uid, *gid)
            };
        }
        Action::Remove => {
            tree.remove(path);
        }
        _ => {
            return Err(TreeError::NotAllowed {
                path: path.clone(),
                what: "unknown change",
            });
        }
    }
    Ok(())
}

fn directory<C>(tree: &Tree<C>, path: &TreePath) -> Option<InodeId> {
    let id = tree.lookup(path)?;
    matches!(tree.inode(id).kind, Kind::Directory(_)).then_some(id)
}
