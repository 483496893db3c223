//! The tree as it is after the changes so far.

use std::collections::BTreeMap;

use super::view::{join, lossy, split};
use super::{Action, BaseView, Change, Kind, LowerError, LowerErrorKind, LowerErrors, Node};
use crate::model::Origin;

/// What a change left at a path.
struct Made {
    node: Node,
    /// None: no file, or one that cannot be read.
    contents: Option<Vec<u8>>,
    /// What the base has below is hidden.
    opaque: bool,
}

/// The changes so far, laid over the base.
pub(super) struct Work<'a> {
    base: &'a dyn BaseView,
    /// `None`: removed.
    over: BTreeMap<Vec<u8>, Option<Made>>,
    changes: Vec<Change>,
    errors: Vec<LowerError>,
}

impl<'a> Work<'a> {
    pub(super) fn new(base: &'a dyn BaseView) -> Self {
        Self {
            base,
            over: BTreeMap::new(),
            changes: Vec::new(),
            errors: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Result<Vec<Change>, LowerErrors> {
        if self.errors.is_empty() {
            Ok(self.changes)
        } else {
            Err(LowerErrors(self.errors))
        }
    }

    pub(super) fn error(&mut self, origin: &Origin, kind: LowerErrorKind) {
        self.errors.push(LowerError {
            origin: origin.clone(),
            kind,
        });
    }

    /// Resolves a path's parent, reporting what is wrong.
    pub(super) fn parent_resolved(&mut self, path: &str, origin: &Origin) -> Option<Vec<u8>> {
        self.resolved(path, origin, Self::resolve_parent)
    }

    /// Resolves a whole path, reporting what is wrong.
    pub(super) fn fully_resolved(&mut self, path: &str, origin: &Origin) -> Option<Vec<u8>> {
        self.resolved(path, origin, Self::resolve)
    }

    fn resolved(
        &mut self,
        path: &str,
        origin: &Origin,
        how: fn(&Self, &[u8]) -> Result<Vec<u8>, super::ResolveError>,
    ) -> Option<Vec<u8>> {
        match how(self, path.as_bytes()) {
            Ok(resolved) => Some(resolved),
            Err(source) => {
                self.error(
                    origin,
                    LowerErrorKind::Resolve {
                        path: path.into(),
                        source,
                    },
                );
                None
            }
        }
    }

    /// The bytes of a file that is known to be there.
    pub(super) fn bytes(&mut self, path: &[u8], origin: &Origin) -> Option<Vec<u8>> {
        let bytes = self.read_file(path);
        if bytes.is_none() {
            self.error(origin, LowerErrorKind::Unreadable { path: lossy(path) });
        }
        bytes
    }

    /// Whether the base's children of a path are still there.
    fn base_shows(&self, path: &[u8]) -> bool {
        let mut here = path;
        loop {
            match self.over.get(here) {
                None => {}
                Some(None) => return false,
                Some(Some(made)) if made.opaque || made.node.kind != Kind::Directory => {
                    return false;
                }
                Some(Some(_)) => {}
            }
            if here == b"/" {
                return true;
            }
            here = split(here).0;
        }
    }

    /// Records a change at a resolved path, and makes missing parents first.
    pub(super) fn change(&mut self, path: &[u8], action: Action, origin: &Origin) {
        if action != Action::Remove {
            self.parents(path, origin);
        }
        self.lay_over(path, &action);
        self.changes.push(Change {
            path: path.to_vec(),
            action,
            origin: origin.clone(),
        });
    }

    fn parents(&mut self, path: &[u8], origin: &Origin) {
        let parent = split(path).0.to_vec();
        match self.node(&parent).map(|node| node.kind) {
            Some(Kind::Directory) => {}
            None => self.change(
                &parent,
                Action::Mkdir {
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                },
                origin,
            ),
            Some(_) => {
                let source = super::ResolveError::NotADirectory(lossy(&parent));
                self.error(
                    origin,
                    LowerErrorKind::Resolve {
                        path: lossy(path),
                        source,
                    },
                );
            }
        }
    }

    fn lay_over(&mut self, path: &[u8], action: &Action) {
        let made = |kind, mode, uid, gid| Made {
            node: Node {
                kind,
                mode,
                uid,
                gid,
            },
            contents: None,
            opaque: true,
        };
        let before = self.node(path);
        let entry = match action {
            Action::Write {
                contents,
                mode,
                uid,
                gid,
            } => {
                let file = made(Kind::File, *mode, *uid, *gid);
                Some(Made {
                    contents: Some(contents.clone()),
                    ..file
                })
            }
            Action::Mkdir { mode, uid, gid } => {
                let kept = before.is_some_and(|node| node.kind == Kind::Directory);
                let opaque = !kept
                    || self
                        .over
                        .get(path)
                        .is_some_and(|entry| entry.as_ref().is_none_or(|made| made.opaque));
                Some(Made {
                    opaque,
                    ..made(Kind::Directory, *mode, *uid, *gid)
                })
            }
            Action::Symlink { target, uid, gid } => {
                Some(made(Kind::Symlink(target.clone()), 0o777, *uid, *gid))
            }
            Action::HardLink { target } => {
                let node = self.node(target);
                let contents = self.read_file(target);
                node.map(|node| Made {
                    node,
                    contents,
                    opaque: true,
                })
            }
            Action::SetMeta { mode, uid, gid } => {
                let contents = self.read_file(path);
                Some(Made {
                    contents,
                    ..made(Kind::File, *mode, *uid, *gid)
                })
            }
            Action::Remove => {
                let below = join(path, b"");
                self.over.retain(|other, _| !other.starts_with(&below));
                None
            }
        };
        self.over.insert(path.to_vec(), entry);
    }
}

impl BaseView for Work<'_> {
    fn node(&self, path: &[u8]) -> Option<Node> {
        if let Some(entry) = self.over.get(path) {
            return entry.as_ref().map(|made| made.node.clone());
        }
        if path == b"/" {
            return self.base.node(path);
        }
        self.base_shows(split(path).0)
            .then(|| self.base.node(path))
            .flatten()
    }

    fn read_file(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(entry) = self.over.get(path) {
            let file = entry.as_ref().filter(|made| made.node.kind == Kind::File);
            return file.and_then(|made| made.contents.clone());
        }
        self.base_shows(split(path).0)
            .then(|| self.base.read_file(path))
            .flatten()
    }

    fn names(&self, dir: &[u8]) -> Vec<Vec<u8>> {
        let mut names = if self.base_shows(dir) {
            self.base.names(dir)
        } else {
            Vec::new()
        };
        names.retain(|name| !matches!(self.over.get(&join(dir, name)), Some(None)));
        let made = self.over.iter().filter(|(_, entry)| entry.is_some());
        let children = made
            .map(|(path, _)| split(path))
            .filter(|(parent, name)| *parent == dir && !name.is_empty());
        names.extend(children.map(|(_, name)| name.to_vec()));
        names.sort();
        names.dedup();
        names
    }
}
