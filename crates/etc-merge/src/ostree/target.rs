//! The next image's tree while changes are carried out in it, with what system calls do there.

use std::collections::VecDeque;

use pleach_fs_tree::{
    Inode, InodeId, Kind, MAX_SYMLINKS, Metadata, Name, NodeType, Tree, TreePath,
};

use super::{Refusal, RefusalKind, acl};
use crate::inode::is_special;

const STAMP: &[u8] = b".updated";

pub(super) struct Target<'a, C> {
    current: &'a Tree<C>,
    tree: Tree<C>,
}

impl<'a, C: Clone> Target<'a, C> {
    pub(super) fn new(current: &'a Tree<C>, new: &Tree<C>) -> Self {
        let mut target = Self {
            current,
            tree: new.clone(),
        };
        target.check_out();
        target
    }

    /// The target is a copy of the image's tree. What is copied into a directory with a default ACL
    /// inherits it here too.
    fn check_out(&mut self) {
        let all: Vec<_> = self.tree.walk().collect();
        for (path, id) in all {
            let above = path.parent().and_then(|parent| self.tree.lookup(&parent));
            let Some(above) = above else {
                continue;
            };
            let above = self.tree.inode(above).metadata.clone();
            if !above.xattrs.contains_key(acl::DEFAULT) {
                continue;
            }
            let inode = self.tree.inode(id);
            let (node_type, own) = (inode.kind.node_type(), inode.metadata.clone());
            let metadata = self.tree.metadata_mut(id);
            acl::inherit(&above, node_type, metadata);
            metadata.xattrs.extend(own.xattrs);
            acl::follow_mode(metadata);
        }
    }

    /// `rm -rf`: the last component is not followed, those before it are.
    pub(super) fn remove(&mut self, path: &TreePath) -> Result<(), Refusal> {
        let fail = refusal("remove", path);
        let Some((parent, name)) = split(path) else {
            return Ok(());
        };
        match self.directory(&parent) {
            Ok(parent) => {
                self.tree.remove_entry(parent, name.as_bytes());
                Ok(())
            }
            Err(RefusalKind::NoParent) => Ok(()),
            Err(kind) => Err(fail(kind)),
        }
    }

    /// Puts what the machine has at `path` there.
    pub(super) fn copy(&mut self, path: &TreePath) -> Result<(), Refusal> {
        let Some((parent_path, name)) = split(path) else {
            return Ok(());
        };
        let Some(source) = self.current.lookup(path) else {
            return Ok(());
        };
        let source_type = self.current.inode(source).kind.node_type();
        if !parent_path.is_root() {
            self.ensure(&parent_path)?;
        }
        let fail = refusal("copy", path);
        let parent = self.directory(&parent_path).map_err(&fail)?;
        if let Some(there) = self.tree.child(parent, name.as_bytes()) {
            if self.tree.inode(there).entries().is_some() {
                return match source_type {
                    NodeType::Directory => Ok(()),
                    _ => Err(fail(RefusalKind::FileOverDirectory)),
                };
            }
            self.tree.remove_entry(parent, name.as_bytes());
        }
        // At the top a special file is passed over; only now, when what it replaced is gone.
        if is_special(source_type) {
            return Ok(());
        }
        self.copy_all(source, parent, name, path)
    }

    fn copy_all(
        &mut self,
        source: InodeId,
        parent: InodeId,
        name: Name,
        path: &TreePath,
    ) -> Result<(), Refusal> {
        let mut stack = vec![(source, parent, name, path.clone())];
        while let Some((source, parent, name, path)) = stack.pop() {
            let inode = self.current.inode(source);
            let kind = match &inode.kind {
                Kind::Directory(_) => Kind::Directory(Default::default()),
                kind if is_special(kind.node_type()) => {
                    return Err(refusal("copy", &path)(RefusalKind::SpecialInDirectory));
                }
                kind => kind.clone(),
            };
            let mut metadata = Metadata::default();
            let above = &self.tree.inode(parent).metadata;
            acl::inherit(above, kind.node_type(), &mut metadata);
            copy_attributes(&inode.metadata, kind.node_type(), &mut metadata);
            let made = Inode { metadata, kind };
            let fail = refusal("copy", &path);
            let made = self.tree.insert(parent, name, made);
            let made = made.map_err(|_| fail(RefusalKind::NotADirectory))?;
            let entries = inode.entries().into_iter().flatten().rev();
            stack.extend(entries.map(|(name, &id)| (id, made, name.clone(), path.join(name))));
        }
        Ok(())
    }

    /// Makes a directory and those above it that are missing, and gives it the attributes that the
    /// machine has for it, also where it exists and also behind a link.
    fn ensure(&mut self, path: &TreePath) -> Result<(), Refusal> {
        let fail = refusal("make the directory", path);
        let Some((parent_path, name)) = split(path) else {
            return Ok(());
        };
        match self.exists(path) {
            Ok(true) => {}
            Ok(false) => self.make(&parent_path, name, path)?,
            Err(RefusalKind::NoParent) if !parent_path.is_root() => {
                self.ensure(&parent_path)?;
                self.make(&parent_path, name, path)?;
            }
            Err(kind) => return Err(fail(kind)),
        }
        let directory = self.directory(path).map_err(fail)?;
        let template = self.current.get(path);
        if let Some(template) = template {
            let metadata = self.tree.metadata_mut(directory);
            copy_attributes(&template.metadata, NodeType::Directory, metadata);
        }
        Ok(())
    }

    fn make(&mut self, parent: &TreePath, name: Name, path: &TreePath) -> Result<(), Refusal> {
        let fail = refusal("make the directory", path);
        let parent = self.directory(parent).map_err(&fail)?;
        let mut metadata = Metadata::with_mode(0o700);
        let above = &self.tree.inode(parent).metadata;
        acl::inherit(above, NodeType::Directory, &mut metadata);
        let made = self.tree.insert(parent, name, Inode::directory(metadata));
        made.map_err(|_| fail(RefusalKind::NotADirectory))?;
        Ok(())
    }

    /// After the merge the stamp goes, whoever made it.
    pub(super) fn remove_stamp(mut self) -> Result<Tree<C>, Refusal> {
        let root = self.tree.root();
        let stamp = self.tree.child(root, STAMP);
        if stamp.is_some_and(|id| self.tree.inode(id).entries().is_some()) {
            let path = TreePath::new(STAMP).expect("a name is a path");
            return Err(refusal("unlink", &path)(RefusalKind::StampIsDirectory));
        }
        self.tree.remove_entry(root, STAMP);
        Ok(self.tree)
    }

    /// The last component is not followed, those before it are.
    fn exists(&self, path: &TreePath) -> Result<bool, RefusalKind> {
        let Some((parent, name)) = split(path) else {
            return Ok(true);
        };
        let parent = self.directory(&parent)?;
        Ok(self.tree.child(parent, name.as_bytes()).is_some())
    }

    /// The directory to which a path leads; all links are followed, as open(2) does.
    fn directory(&self, path: &TreePath) -> Result<InodeId, RefusalKind> {
        let mut rest: VecDeque<Box<[u8]>> = path.components().map(Into::into).collect();
        let mut above = Vec::new();
        let mut at = self.tree.root();
        let mut followed = 0;
        while let Some(component) = rest.pop_front() {
            match &*component {
                b"" | b"." => continue,
                b".." => {
                    at = above.pop().ok_or(RefusalKind::Escape)?;
                    continue;
                }
                _ => {}
            }
            let next = self
                .tree
                .child(at, &component)
                .ok_or(RefusalKind::NoParent)?;
            match &self.tree.inode(next).kind {
                Kind::Directory(_) => {
                    above.push(at);
                    at = next;
                }
                Kind::Symlink(target) => {
                    followed += 1;
                    if followed > MAX_SYMLINKS {
                        return Err(RefusalKind::Loop);
                    }
                    if target.first() == Some(&b'/') {
                        return Err(RefusalKind::Escape);
                    }
                    for component in target.split(|&b| b == b'/').rev() {
                        rest.push_front(component.into());
                    }
                }
                _ => return Err(RefusalKind::NotADirectory),
            }
        }
        Ok(at)
    }
}

/// Owner and mode are set; extended attributes are added, those that are there stay, and those
/// without a value are lost. Then the mode, so that an ACL follows it.
fn copy_attributes(from: &Metadata, node_type: NodeType, to: &mut Metadata) {
    let valued = from.xattrs.iter().filter(|(_, value)| !value.is_empty());
    to.xattrs
        .extend(valued.map(|(name, value)| (name.clone(), value.clone())));
    (to.mode, to.uid, to.gid) = (from.mode, from.uid, from.gid);
    if node_type != NodeType::Directory {
        to.mtime = from.mtime;
    }
    acl::follow_mode(to);
}

fn split(path: &TreePath) -> Option<(TreePath, Name)> {
    Some((path.parent()?, path.file_name()?))
}

fn refusal(operation: &'static str, path: &TreePath) -> impl Fn(RefusalKind) -> Refusal {
    let path = path.clone();
    move |kind| Refusal {
        kind,
        operation,
        path: path.clone(),
    }
}
