//! Directories, files and links.

use std::collections::HashMap;

use super::view::{components, lossy};
use super::work::Work;
use super::{Action, BaseView, Kind, LowerErrorKind, Node};
use crate::accounts::AccountPlan;
use crate::model::{Contents, Customization, Directory, File, Link, Origin, Owner};

#[derive(Clone, Copy)]
enum Item<'c> {
    Directory(&'c Directory),
    File(&'c File),
    Link(&'c Link),
}

impl<'c> Item<'c> {
    fn path(self) -> &'c str {
        match self {
            Self::Directory(item) => &item.path,
            Self::File(item) => &item.path,
            Self::Link(item) => &item.path,
        }
    }

    fn origin(self) -> &'c Origin {
        match self {
            Self::Directory(item) => &item.origin,
            Self::File(item) => &item.origin,
            Self::Link(item) => &item.origin,
        }
    }

    fn is_hard(self) -> bool {
        matches!(self, Self::Link(link) if link.hard == Some(true))
    }
}

pub(super) fn lower(work: &mut Work<'_>, c: &Customization, accounts: &AccountPlan) {
    let directories = c.directories.iter().map(Item::Directory);
    let files = c.files.iter().map(Item::File);
    let links = c.links.iter().map(Item::Link);
    let mut items: Vec<(Vec<u8>, Item<'_>)> = Vec::new();
    let mut places: HashMap<Vec<u8>, String> = HashMap::new();
    for item in directories.chain(files).chain(links) {
        let Some(resolved) = work.parent_resolved(item.path(), item.origin()) else {
            continue;
        };
        if let Some(other) = places.get(&resolved) {
            let kind = LowerErrorKind::SamePlace {
                path: item.path().into(),
                resolved: lossy(&resolved),
                other: other.clone(),
            };
            work.error(item.origin(), kind);
            continue;
        }
        places.insert(resolved.clone(), item.path().into());
        items.push((resolved, item));
    }
    // Parents before children, and hard links when everything that they could name is there.
    items.sort_by_key(|(path, item)| (item.is_hard(), components(path).count()));
    for (path, item) in items {
        let mut lowering = Lowering {
            work,
            accounts,
            path,
            origin: item.origin(),
        };
        match item {
            Item::Directory(directory) => lowering.directory(directory),
            Item::File(file) => lowering.file(file),
            Item::Link(link) => lowering.link(link),
        }
    }
}

struct Lowering<'l, 'b> {
    work: &'l mut Work<'b>,
    accounts: &'l AccountPlan,
    /// Resolved.
    path: Vec<u8>,
    origin: &'l Origin,
}

impl Lowering<'_, '_> {
    fn change(&mut self, action: Action) {
        self.work.change(&self.path, action, self.origin);
    }

    fn exists(&mut self, found: &'static str) {
        let kind = LowerErrorKind::Exists {
            path: lossy(&self.path),
            found,
        };
        self.work.error(self.origin, kind);
    }

    /// What is there; with `overwrite`, nothing is. A directory must be removed for that, while a file or
    /// link gives way to what comes.
    fn present(&mut self, overwrite: Option<bool>) -> Option<Node> {
        let node = self.work.node(&self.path)?;
        if overwrite != Some(true) {
            return Some(node);
        }
        if node.kind == Kind::Directory {
            self.change(Action::Remove);
        }
        None
    }

    fn owner(&mut self, owner: Option<&Owner>, what: &'static str, default: u32) -> Option<u32> {
        let name = match owner {
            None => return Some(default),
            Some(Owner::Id(id)) => return Some(*id),
            Some(Owner::Name(name)) => name,
        };
        let ids = if what == "user" {
            &self.accounts.uids
        } else {
            &self.accounts.gids
        };
        let id = ids.get(name).copied();
        if id.is_none() {
            let kind = LowerErrorKind::UnknownOwner {
                what,
                name: name.clone(),
            };
            self.work.error(self.origin, kind);
        }
        id
    }

    /// User and group, where what is not asked for stays as it is, or is root's.
    fn owners(
        &mut self,
        user: Option<&Owner>,
        group: Option<&Owner>,
        now: Option<&Node>,
    ) -> Option<(u32, u32)> {
        let uid = self.owner(user, "user", now.map_or(0, |node| node.uid));
        let gid = self.owner(group, "group", now.map_or(0, |node| node.gid));
        Some((uid?, gid?))
    }

    fn directory(&mut self, item: &Directory) {
        // A directory gives way to a new one only as a whole; a file or link must go first.
        let now = self.present(item.overwrite);
        match now.as_ref().map(|node| &node.kind) {
            None | Some(Kind::Directory) => {}
            Some(_) => return self.exists("something that is no directory"),
        }
        let owners = self.owners(item.user.as_ref(), item.group.as_ref(), now.as_ref());
        let Some((uid, gid)) = owners else { return };
        let mode = item
            .mode
            .unwrap_or_else(|| now.as_ref().map_or(0o755, |node| node.mode));
        let same = now.is_some_and(|node| (node.mode, node.uid, node.gid) == (mode, uid, gid));
        if same {
            return;
        }
        let file_in_the_way = self
            .work
            .node(&self.path)
            .is_some_and(|node| node.kind != Kind::Directory);
        if file_in_the_way {
            self.change(Action::Remove);
        }
        self.change(Action::Mkdir { mode, uid, gid });
    }

    fn file(&mut self, item: &File) {
        let now = self.present(item.overwrite);
        match now.as_ref().map(|node| &node.kind) {
            None => {}
            Some(Kind::File) if item.contents.is_none() => {}
            Some(Kind::File) => return self.exists("a file"),
            Some(_) => return self.exists("something that is no regular file"),
        }
        let owners = self.owners(item.user.as_ref(), item.group.as_ref(), now.as_ref());
        let Some((uid, gid)) = owners else { return };
        let mode = item
            .mode
            .unwrap_or_else(|| now.as_ref().map_or(0o644, |node| node.mode));
        if let Some(node) = &now
            && item.append.is_empty()
        {
            if (node.mode, node.uid, node.gid) != (mode, uid, gid) {
                self.change(Action::SetMeta { mode, uid, gid });
            }
            return;
        }
        let mut contents = match (&item.contents, now) {
            (Some(contents), _) => match self.bytes(contents) {
                Some(bytes) => bytes.to_vec(),
                None => return,
            },
            (None, Some(_)) => match self.work.bytes(&self.path, self.origin) {
                Some(contents) => contents,
                None => return,
            },
            (None, None) => Vec::new(),
        };
        for fragment in &item.append {
            match self.bytes(fragment) {
                Some(bytes) => contents.extend_from_slice(bytes),
                None => return,
            }
        }
        self.change(Action::Write {
            contents,
            mode,
            uid,
            gid,
        });
    }

    /// Bytes that are here: what Ignition fetches cannot be written.
    fn bytes<'c>(&mut self, contents: &'c Contents) -> Option<&'c [u8]> {
        if let Some(remote) = contents.remote() {
            let (path, url) = (lossy(&self.path), remote.to_string());
            let kind = LowerErrorKind::Remote { path, url };
            self.work.error(&contents.origin, kind);
        }
        contents.bytes()
    }

    fn link(&mut self, item: &Link) {
        if item.hard == Some(true) {
            return self.hard_link(item);
        }
        match self.present(item.overwrite).map(|node| node.kind) {
            None => {}
            Some(Kind::Symlink(target)) if clean(&target) == clean(item.target.as_bytes()) => {
                return;
            }
            Some(Kind::Symlink(_)) => return self.exists("a link to something else"),
            Some(_) => return self.exists("something that is no link"),
        }
        let Some((uid, gid)) = self.owners(item.user.as_ref(), item.group.as_ref(), None) else {
            return;
        };
        self.change(Action::Symlink {
            target: item.target.clone().into_bytes(),
            uid,
            gid,
        });
    }

    fn hard_link(&mut self, item: &Link) {
        let Some(target) = self.work.parent_resolved(&item.target, self.origin) else {
            return;
        };
        let is_file = self
            .work
            .node(&target)
            .is_some_and(|node| node.kind == Kind::File);
        if !is_file || target == self.path {
            let kind = LowerErrorKind::HardLinkTarget {
                path: item.path.clone(),
                target: item.target.clone(),
            };
            return self.work.error(self.origin, kind);
        }
        if self.present(item.overwrite).is_some() {
            return self.exists("something");
        }
        self.change(Action::HardLink { target });
    }
}

/// A target without empty components and `.`, for comparing.
fn clean(target: &[u8]) -> (bool, Vec<&[u8]>) {
    (target.first() == Some(&b'/'), components(target).collect())
}
