//! What a layer hides of those below it. That happens first, wherever the whiteouts stand in the
//! layer (OCI image spec, layer.md, "Whiteouts" and "Opaque Whiteout").

use std::collections::HashMap;

use pleach_fs_tree::{Chunks, InodeId, Kind, MAX_SYMLINKS, Name, Tree, TreePath};

use crate::entry::Action;
use crate::read::Entry;
use crate::work::Work;
use crate::{Fault, Limits, MergeOptions};

/// A whiteout that hid something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Number of the entry in the layer, from 0.
    pub entry: u64,
    /// What was hidden: the path, or what was in this directory.
    pub path: TreePath,
    /// Whether it is about what was in a directory.
    pub opaque: bool,
}

/// What the layer itself has at a path, as far as it matters for whiteouts below it.
enum Own<'a> {
    Directory,
    Symlink(&'a [u8]),
    Other,
}

/// What is to be taken out of the lower tree: a directory, and the name in it or everything.
pub(crate) struct Target {
    pub(crate) directory: InodeId,
    pub(crate) name: Option<Name>,
    pub(crate) removal: Removal,
}

/// The removals of a layer, in the order in which they are to be applied: parents first, so that
/// what is hidden with its parent is not looked for through a link that the same layer hides.
pub(crate) struct Removals<'a, C> {
    layer: usize,
    limits: &'a Limits,
    work: &'a Work,
    own: HashMap<&'a [u8], Own<'a>>,
    entries: Vec<&'a Entry<C>>,
}

impl<'a, C> Removals<'a, C> {
    pub(crate) fn new(
        layer: usize,
        entries: &'a Chunks<Entry<C>>,
        options: &'a MergeOptions,
        work: &'a Work,
    ) -> Self {
        let is_removal =
            |entry: &&Entry<C>| matches!(entry.action, Action::Whiteout | Action::Opaque);
        let mut removals: Vec<_> = entries.iter().filter(is_removal).collect();
        removals.sort_by(|a, b| a.path.cmp(&b.path));
        let mut own = HashMap::new();
        // Only whiteouts ask for them, and most layers have none.
        for entry in entries.iter().filter(|_| !removals.is_empty()) {
            let kind = match &entry.action {
                Action::Whiteout | Action::Opaque => continue,
                Action::Link(_) => Own::Other,
                Action::Put(inode) => match &inode.kind {
                    Kind::Directory(_) => Own::Directory,
                    Kind::Symlink(target) => Own::Symlink(target),
                    _ => Own::Other,
                },
            };
            own.insert(entry.path.as_bytes(), kind);
        }
        Self {
            layer,
            limits: &options.limits,
            work,
            own,
            entries: removals,
        }
    }

    /// Calls `remove` for each removal that has something to remove in the tree as it is then.
    pub(crate) fn apply(
        &self,
        tree: &mut Tree<C>,
        mut remove: impl FnMut(&mut Tree<C>, Target),
    ) -> Result<(), (u64, &'a TreePath, Fault)> {
        for entry in &self.entries {
            let opaque = matches!(entry.action, Action::Opaque);
            let parent = entry.path.parent().unwrap_or_default();
            let within = if opaque { &entry.path } else { &parent };
            let found = self.resolve(tree, within);
            let found = found.map_err(|fault| (entry.number, &entry.path, fault))?;
            let Some((directory, path)) = found else {
                continue;
            };
            let name = (!opaque).then(|| entry.path.file_name().expect("it hides a name"));
            let there = match &name {
                Some(name) => tree.child(directory, name.as_bytes()).is_some(),
                None => tree
                    .inode(directory)
                    .entries()
                    .is_some_and(|e| !e.is_empty()),
            };
            if there {
                let removal = Removal {
                    layer: self.layer,
                    entry: entry.number,
                    path: name
                        .as_ref()
                        .map_or_else(|| path.clone(), |name| path.join(name)),
                    opaque,
                };
                remove(
                    tree,
                    Target {
                        directory,
                        name,
                        removal,
                    },
                );
            }
        }
        Ok(())
    }

    /// The directory of the lower tree that a path of this layer means; `None` when there is none.
    /// Symbolic links of the lower tree are followed inside it, unless the layer has something else
    /// in their place: a directory that replaces a link hides nothing behind the link.
    fn resolve(
        &self,
        tree: &Tree<C>,
        path: &TreePath,
    ) -> Result<Option<(InodeId, TreePath)>, Fault> {
        let mut hops = 0;
        let mut done = vec![(tree.root(), TreePath::root())];
        let mut rest: Vec<Box<[u8]>> = path.components().rev().map(Into::into).collect();
        while let Some(component) = rest.pop() {
            if &*component == b".." {
                done.truncate(done.len().saturating_sub(1).max(1));
                continue;
            }
            let (at, here) = done.last().expect("the root stays");
            let Ok(name) = Name::new(&component) else {
                return Ok(None);
            };
            let (below, next) = (tree.child(*at, &component), here.join(&name));
            let link = match (self.own.get(next.as_bytes()), below) {
                (Some(Own::Symlink(target)), _) => *target,
                (Some(Own::Other), _) | (_, None) => return Ok(None),
                (own, Some(below)) => match &tree.inode(below).kind {
                    Kind::Directory(_) => {
                        done.push((below, next));
                        continue;
                    }
                    Kind::Symlink(target) if own.is_none() => target,
                    _ => return Ok(None),
                },
            };
            hops += 1;
            if hops > MAX_SYMLINKS {
                return Err(Fault::ParentNotDirectory {
                    at: next.to_string(),
                    why: "a loop of symbolic links",
                });
            }
            if link.starts_with(b"/") {
                done.truncate(1);
            }
            for part in link.rsplit(|&b| b == b'/') {
                self.work.step(self.limits)?;
                if !part.is_empty() && part != b"." {
                    rest.push(part.into());
                }
            }
        }
        Ok(done.pop())
    }
}
