//! A commit's tree becomes the root of a deployment: hard links to the objects, by several threads.
//!
//! What libostree's `deploy_tree` does, which does it on one. One thread reads the directories of the
//! commit and makes them; the others link what is in each and then give it its metadata. A directory's
//! subdirectories are there before that, so nothing changes its time any more.

mod fill;
mod objects;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use ostree_ext::ostree;
use rustix::fs::Mode;

use crate::error::{Result, io};
use crate::walk::{open_at, open_dir};
use fill::{Job, Jobs};
use objects::{Child, Directory, Metadata};

/// Whether a commit is one that libostree has to deploy: its labels come from a policy of its own, its `/etc`
/// is where none should be, or the repository has no files to link to.
pub(crate) fn is_for_libostree(repo: &ostree::Repo, commit: &str) -> Result<bool> {
    if repo.mode() != ostree::RepoMode::Bare {
        return Ok(true);
    }
    let root = Directory::read(repo, &objects::root(repo, commit)?.tree)?;
    if root.child("etc").is_some() {
        return Ok(true);
    }
    let Some(etc) = usr_etc(repo, &root)? else {
        return Ok(true);
    };
    match Directory::read(repo, &etc.tree)?.child("selinux") {
        Some(selinux) => Ok(!Directory::read(repo, &selinux.tree)?.directories.is_empty()),
        None => Ok(false),
    }
}

fn usr_etc(repo: &ostree::Repo, root: &Directory) -> Result<Option<Child>> {
    let Some(usr) = root.child("usr") else {
        return Ok(None);
    };
    Ok(Directory::read(repo, &usr.tree)?.child("etc").cloned())
}

/// Writes a commit's tree into a directory that is made for it, with a copy of its `/usr/etc` as `/etc`.
/// Where it finds that libostree has to do it, nothing is left: `false`.
pub(crate) fn check_out(
    repo: &ostree::Repo,
    repo_dir: &Dir,
    commit: &str,
    parent: &Dir,
    name: &str,
) -> Result<bool> {
    let objects = open_dir(repo_dir, "objects")?;
    let root = objects::root(repo, commit)?;
    let tree = Directory::read(repo, &root.tree)?;
    let etc = usr_etc(repo, &tree)?;
    let made = fill::with_workers(&objects, |jobs| {
        let mut path = PathBuf::from(name);
        let fd = make(parent.as_fd(), name, &path)?;
        let made = rustix::fs::fstat(&fd).map_err(io("stat", &path))?;
        let mut walk = Walk {
            repo,
            jobs,
            owner: (made.st_uid, made.st_gid),
            known: BTreeMap::new(),
        };
        let etc = etc.map(|etc| Child {
            name: "etc".into(),
            ..etc
        });
        if let Some(etc) = &etc {
            rustix::fs::mkdirat(&fd, &*etc.name, NEW).map_err(io("create directory", &path))?;
        }
        walk.directory(fd.clone(), &mut path, tree, &root.meta, false)?;
        match &etc {
            Some(etc) => walk.child(&fd, &mut path, etc, true),
            None => Ok(()),
        }
    })?;
    if !made {
        parent.remove_dir_all(name).map_err(io("remove", name))?;
    }
    Ok(made)
}

/// Nobody else's until it has its metadata.
const NEW: Mode = Mode::RWXU;

fn make(parent: impl AsFd, name: &str, path: &Path) -> Result<Arc<OwnedFd>> {
    rustix::fs::mkdirat(&parent, name, NEW).map_err(io("create directory", path))?;
    open(parent, name, path)
}

fn open(parent: impl AsFd, name: &str, path: &Path) -> Result<Arc<OwnedFd>> {
    open_at(parent, name.as_ref(), path).map(Arc::new)
}

struct Walk<'a> {
    repo: &'a ostree::Repo,
    jobs: &'a mut Jobs,
    /// User and group of a directory that is made, as long as nobody changes it.
    owner: (u32, u32),
    /// Metadata by checksum: there are few that differ.
    known: BTreeMap<String, Arc<Metadata>>,
}

impl Walk<'_> {
    /// A directory that is there and empty. With `copy`, files are not linked: they are to be changed.
    fn directory(
        &mut self,
        fd: Arc<OwnedFd>,
        path: &mut PathBuf,
        tree: Directory,
        meta: &str,
        copy: bool,
    ) -> Result<()> {
        for child in &tree.directories {
            rustix::fs::mkdirat(&fd, &*child.name, NEW)
                .map_err(io("create directory", path.join(&child.name)))?;
        }
        let metadata = self.metadata(meta)?;
        let job = Job {
            fd: fd.clone(),
            path: path.clone(),
            files: tree.files,
            is_owned: (metadata.uid, metadata.gid) == self.owner,
            metadata,
            copy,
        };
        if self.jobs.add(job).is_err() {
            return Ok(());
        }
        for child in &tree.directories {
            self.child(&fd, path, child, copy)?;
        }
        Ok(())
    }

    fn metadata(&mut self, checksum: &str) -> Result<Arc<Metadata>> {
        if let Some(known) = self.known.get(checksum) {
            return Ok(known.clone());
        }
        let read = Arc::new(Metadata::read(self.repo, checksum)?);
        self.known.insert(checksum.to_owned(), read.clone());
        Ok(read)
    }

    fn child(
        &mut self,
        fd: &Arc<OwnedFd>,
        path: &mut PathBuf,
        child: &Child,
        copy: bool,
    ) -> Result<()> {
        path.push(&child.name);
        let fd = open(fd, &child.name, path)?;
        let tree = Directory::read(self.repo, &child.tree)?;
        self.directory(fd, path, tree, &child.meta, copy)?;
        path.pop();
        Ok(())
    }
}
