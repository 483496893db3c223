//! The directories and links of a tree become objects; its files are objects already.

use std::collections::{BTreeMap, HashSet};

use pleach_fs_tree::{Digest, InodeId, Kind, Metadata, Name, NodeType, Tree, TreePath, escape};

use super::error::{Error, LeftOut, io};
use super::object::{Child, MAX_METADATA, Object, ObjectType, dirmeta, dirtree, symlink};
use super::store::Store;

/// The root of a tree that is written.
pub(super) struct Written {
    pub(super) tree: Digest,
    pub(super) meta: Digest,
    pub(super) left_out: Vec<LeftOut>,
}

/// Writes what is not a file; the names of all objects of the tree go to `keep`.
pub(super) fn write_tree(
    store: &Store,
    tree: &Tree<Object>,
    move_etc: bool,
    keep: &mut HashSet<Digest>,
) -> Result<Written, Error> {
    let root = tree.root();
    let moved = move_etc.then(|| etc(tree)).transpose()?.flatten();
    let mut writer = Writer {
        store,
        tree,
        moved,
        keep,
        path: TreePath::root(),
        left_out: Vec::new(),
    };
    let (tree, meta) = writer.directory(root)?;
    Ok(Written {
        tree,
        meta,
        left_out: writer.left_out,
    })
}

/// Where `/etc` is to be moved to, and what: `None` where `/usr/etc` is there in its place.
fn etc(tree: &Tree<Object>) -> Result<Option<(InodeId, InodeId)>, Error> {
    let directory = |parent, name: &str| {
        let id = tree.child(parent, name.as_bytes())?;
        tree.inode(id).entries().is_some().then_some(id)
    };
    let root = tree.root();
    let usr = directory(root, "usr").ok_or(Error::Etc("there is no directory /usr"))?;
    let usr_etc = tree.child(usr, b"etc");
    match (directory(root, "etc"), usr_etc) {
        (Some(_), Some(_)) => Err(Error::Etc("both are there")),
        (Some(etc), None) => Ok(Some((usr, etc))),
        (None, Some(_)) => Ok(None),
        (None, None) => Err(Error::Etc("there is no directory /etc")),
    }
}

struct Writer<'a> {
    store: &'a Store,
    tree: &'a Tree<Object>,
    /// The directory that gets it as `etc`, and the one that the root has under that name.
    moved: Option<(InodeId, InodeId)>,
    keep: &'a mut HashSet<Digest>,
    path: TreePath,
    left_out: Vec<LeftOut>,
}

impl Writer<'_> {
    fn directory(&mut self, id: InodeId) -> Result<(Digest, Digest), Error> {
        let inode = self.tree.inode(id);
        self.check_xattrs(&inode.metadata);
        let meta = self.metadata(ObjectType::DirMeta, &dirmeta(&inode.metadata))?;
        let mut entries: BTreeMap<&Name, InodeId> = inode
            .entries()
            .into_iter()
            .flatten()
            .map(|(name, &id)| (name, id))
            .collect();
        let etc = Name::new(b"etc").expect("a name");
        if let Some((usr, moved)) = self.moved {
            if id == self.tree.root() {
                entries.remove(&etc);
            } else if id == usr {
                entries.insert(&etc, moved);
            }
        }
        let mut children = BTreeMap::new();
        let here = self.path.clone();
        for (name, id) in entries {
            self.path = here.join(name);
            if let Some(child) = self.child(name, id)? {
                children.insert(name.as_bytes(), child);
            }
        }
        self.path = here;
        Ok((
            self.metadata(ObjectType::DirTree, &dirtree(&children))?,
            meta,
        ))
    }

    fn child(&mut self, name: &Name, id: InodeId) -> Result<Option<Child>, Error> {
        self.check_name(name)?;
        let inode = self.tree.inode(id);
        Ok(match &inode.kind {
            Kind::Directory(_) => {
                let (tree, meta) = self.directory(id)?;
                Some(Child::Directory { tree, meta })
            }
            Kind::File(object) => {
                self.check_xattrs(&inode.metadata);
                let has = self.store.has(&object.name);
                if !has.map_err(io("look up", self.path.to_string()))? {
                    return Err(Error::Missing {
                        path: self.path.clone(),
                        name: object.name,
                    });
                }
                self.keep.insert(object.name);
                Some(Child::File(object.name))
            }
            Kind::Symlink(target) => {
                self.check_xattrs(&inode.metadata);
                if std::str::from_utf8(target).is_err() {
                    return Err(self.bad("the link's target is not UTF-8, which ostree asks for"));
                }
                let name = Digest::of(&symlink(&inode.metadata, target));
                let written = self.store.symlink(&name, &inode.metadata, target);
                written.map_err(io("write", self.path.to_string()))?;
                self.keep.insert(name);
                Some(Child::File(name))
            }
            other => {
                let what = match other.node_type() {
                    NodeType::CharDevice => "a character device",
                    NodeType::BlockDevice => "a block device",
                    NodeType::Fifo => "a fifo",
                    _ => "a socket",
                };
                self.leave_out(what.to_owned());
                None
            }
        })
    }

    fn metadata(&mut self, of: ObjectType, bytes: &[u8]) -> Result<Digest, Error> {
        check_size(&self.path, bytes)?;
        let written = self.store.metadata(of, bytes);
        let name = written.map_err(io("write", self.path.to_string()))?;
        self.keep.insert(name);
        Ok(name)
    }

    fn leave_out(&mut self, what: String) {
        let path = self.path.clone();
        self.left_out.push(LeftOut { path, what });
    }

    fn check_xattrs(&mut self, metadata: &Metadata) {
        for (name, value) in &metadata.xattrs {
            if value.is_empty() {
                self.leave_out(format!(
                    "extended attribute {} without a value",
                    escape(name)
                ));
            }
        }
    }

    /// Directory objects hold names as UTF-8, and on checkout `.ostree-wh.NAME` can become a
    /// whiteout.
    fn check_name(&self, name: &Name) -> Result<(), Error> {
        match std::str::from_utf8(name.as_bytes()) {
            Err(_) => Err(self.bad("the name is not UTF-8, which ostree asks for")),
            Ok(name) if name.starts_with(".ostree-wh.") => {
                Err(self.bad("ostree would turn a file of this name into a whiteout"))
            }
            Ok(_) => Ok(()),
        }
    }

    fn bad(&self, why: &'static str) -> Error {
        let path = self.path.clone();
        Error::Name { path, why }
    }
}

pub(super) fn check_size(path: &TreePath, bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > MAX_METADATA {
        return Err(Error::TooLarge {
            path: path.clone(),
            size: bytes.len(),
            limit: MAX_METADATA,
        });
    }
    Ok(())
}
