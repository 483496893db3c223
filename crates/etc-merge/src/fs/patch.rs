//! A copy of the new tree becomes the planned result.

use std::os::fd::AsFd;

use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, Kind, Metadata, Name, NodeType, Tree, TreePath};
use rustix::fs::Mode;

use super::ApplyOptions;
use super::checkout::copy_error;
use super::copy::{Copier, Place};
use super::open::Opener;
use super::origin::{Located, Origin};
use super::remove::remove;
use super::stat::Stat;
use crate::inode::without_overlayfs;
use crate::plan::Composed;
use crate::{Entry, Error, MergePlan, Resolution, Side, Sides};

/// Carries out what of the plan is not in the new tree already. `target` is an exact copy of it.
pub(super) fn patch(
    plan: &MergePlan,
    trees: &Sides<Tree<Located>>,
    sides: Sides<&Dir>,
    target: &Dir,
    target_name: &Name,
    options: &ApplyOptions,
) -> Result<(), Error> {
    let mut patch = Patch {
        trees,
        sources: sides.map(Opener::new),
        target: Opener::new(target),
        target_name,
        copier: Copier::new(&options.materialize),
        gone: None,
        touched: Vec::new(),
    };
    for entry in plan.entries() {
        patch.leave(&entry.path)?;
        patch.entry(entry)?;
    }
    patch.leave_all()
}

struct Patch<'a> {
    trees: &'a Sides<Tree<Located>>,
    sources: Sides<Opener<'a>>,
    target: Opener<'a>,
    target_name: &'a Name,
    copier: Copier<'a>,
    /// Below this nothing is left.
    gone: Option<TreePath>,
    /// Directories on the way to where we are that get their attributes when all in them is done.
    touched: Vec<(TreePath, Metadata)>,
}

enum Source<'a> {
    Side(Side),
    Composed(&'a Composed),
}

impl Patch<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let path = &entry.path;
        if self
            .gone
            .as_ref()
            .is_some_and(|gone| path.starts_with(gone))
        {
            return Ok(());
        }
        let (source, metadata) = match &entry.resolution {
            Resolution::Image => {
                let image = self.trees.new.get(path);
                let directory = image.is_some_and(|inode| inode.entries().is_some());
                self.gone = (!directory).then(|| path.clone());
                return Ok(());
            }
            Resolution::Absent => {
                self.gone = Some(path.clone());
                return self.remove(path);
            }
            Resolution::Local => (Source::Side(Side::Local), None),
            Resolution::Merged { content, metadata } => (Source::Side(*content), Some(metadata)),
            Resolution::Composed { content, metadata } => {
                (Source::Composed(content), Some(metadata))
            }
        };
        let metadata = metadata.map(|metadata| &**metadata);
        let other = || Error::OtherTrees { path: path.clone() };
        let side = match source {
            Source::Composed(content) => {
                self.gone = Some(path.clone());
                let metadata = metadata.ok_or_else(other)?;
                self.remove(path)?;
                let name = path.file_name().ok_or_else(other)?;
                let directory =
                    self.target
                        .parent(path)
                        .map_err(writing("open", self.target_name, path))?;
                let to = Place {
                    directory,
                    name: name.as_bytes(),
                };
                let made = self.copier.bytes(&content.0, to, metadata);
                return made.map_err(|e| copy_error(Origin::Current, self.target_name, path, e));
            }
            Source::Side(side) => side,
        };
        let tree = match side {
            Side::Local => &self.trees.current,
            Side::Image => &self.trees.new,
        };
        let inode = tree.get(path).ok_or_else(other)?;
        let metadata = match metadata {
            Some(metadata) => metadata.clone(),
            None => without_overlayfs(inode.metadata.clone()),
        };
        let kind = &inode.kind;
        self.gone = (kind.node_type() != NodeType::Directory).then(|| path.clone());
        match kind {
            Kind::Directory(_) => self.directory(path, metadata),
            Kind::File(located) => {
                let located = located.clone();
                self.remove(path)?;
                self.file(path, &located, &metadata)
            }
            kind => {
                let kind = match kind {
                    Kind::Symlink(target) => Kind::Symlink(target.clone()),
                    Kind::CharDevice(device) => Kind::CharDevice(*device),
                    Kind::BlockDevice(device) => Kind::BlockDevice(*device),
                    Kind::Fifo => Kind::Fifo,
                    _ => Kind::Socket,
                };
                self.remove(path)?;
                self.special(path, &Inode::<()> { metadata, kind })
            }
        }
    }

    fn file(
        &mut self,
        path: &TreePath,
        located: &Located,
        metadata: &Metadata,
    ) -> Result<(), Error> {
        let other = || Error::OtherTrees { path: path.clone() };
        let name = path.file_name().ok_or_else(other)?;
        let name = name.as_bytes();
        let origin = located.origin;
        let source = origin.of_mut(&mut self.sources).parent(path);
        let source = source.map_err(super::failed(origin, "open", path))?;
        let target = self.target.parent(path);
        let target = target.map_err(writing("open", self.target_name, path))?;
        let from = Place {
            directory: source,
            name,
        };
        let to = Place {
            directory: target,
            name,
        };
        let copied = self.copier.file(from, &located.stat, to, Some(metadata));
        copied.map_err(|e| copy_error(origin, self.target_name, path, e))?;
        Ok(())
    }

    fn special(&mut self, path: &TreePath, inode: &Inode<()>) -> Result<(), Error> {
        let other = || Error::OtherTrees { path: path.clone() };
        let name = path.file_name().ok_or_else(other)?;
        let directory = self.target.parent(path);
        let to = Place {
            directory: directory.map_err(writing("open", self.target_name, path))?,
            name: name.as_bytes(),
        };
        let made = self.copier.special(inode, to);
        made.map_err(|e| copy_error(Origin::Current, self.target_name, path, e))?;
        Ok(())
    }

    fn directory(&mut self, path: &TreePath, metadata: Metadata) -> Result<(), Error> {
        if let Some(name) = path.file_name() {
            let fail = writing("create", self.target_name, path);
            let parent =
                self.target
                    .parent(path)
                    .map_err(writing("open", self.target_name, path))?;
            let there = Stat::find(parent, name.as_bytes()).map_err(fail)?;
            if !there.is_some_and(|stat| stat.is_directory()) {
                self.remove(path)?;
                let fail = writing("create", self.target_name, path);
                let parent =
                    self.target
                        .parent(path)
                        .map_err(writing("open", self.target_name, path))?;
                rustix::fs::mkdirat(parent, name.as_bytes(), Mode::RWXU).map_err(fail)?;
            }
        }
        // Its own attributes come when all that is in it is there.
        self.touched.retain(|(touched, _)| touched != path);
        self.touched.push((path.clone(), metadata));
        Ok(())
    }

    /// Removes what is at a path of the copy, if anything is.
    fn remove(&mut self, path: &TreePath) -> Result<(), Error> {
        let Some(name) = path.file_name() else {
            return Ok(());
        };
        let above = path.parent().unwrap_or_default();
        self.touch(&above)?;
        let parent = self
            .target
            .parent(path)
            .map_err(writing("open", self.target_name, path))?;
        remove(parent, name.as_bytes()).map_err(writing("remove", self.target_name, path))
    }

    /// Remembers the attributes of a directory that is about to be changed: its time is one of them.
    fn touch(&mut self, path: &TreePath) -> Result<(), Error> {
        if self.touched.iter().any(|(touched, _)| touched == path) {
            return Ok(());
        }
        let directory = self.target.directory(path);
        let directory = directory.map_err(writing("open", self.target_name, path))?;
        let read = Stat::at(directory, b"").and_then(|stat| {
            let xattrs = pleach_fs_tree::read_xattrs(directory, NodeType::Directory)?;
            Ok(stat.metadata(xattrs))
        });
        let metadata = read.map_err(writing("read the attributes of", self.target_name, path))?;
        self.touched.push((path.clone(), metadata));
        Ok(())
    }

    /// Finishes the directories that `next` is not in.
    fn leave(&mut self, next: &TreePath) -> Result<(), Error> {
        let (stay, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.touched)
            .into_iter()
            .partition(|(path, _)| next.starts_with(path));
        self.touched = stay;
        // The innermost first: setting its attributes may need those of the ones above it as they are.
        let mut done = done;
        done.sort_by(|a, b| b.0.cmp(&a.0));
        done.into_iter()
            .try_for_each(|(path, metadata)| self.finish(&path, &metadata))
    }

    fn leave_all(&mut self) -> Result<(), Error> {
        let mut done = std::mem::take(&mut self.touched);
        done.sort_by(|a, b| b.0.cmp(&a.0));
        done.into_iter()
            .try_for_each(|(path, metadata)| self.finish(&path, &metadata))
    }

    fn finish(&mut self, path: &TreePath, metadata: &Metadata) -> Result<(), Error> {
        let directory = self.target.directory(path);
        let directory = directory.map_err(writing("open", self.target_name, path))?;
        let set = self
            .copier
            .attributes(directory.as_fd(), NodeType::Directory, metadata);
        set.map_err(|e| copy_error(Origin::Current, self.target_name, path, e))
    }
}

fn writing<E: Into<std::io::Error>>(
    operation: &'static str,
    name: &Name,
    path: &TreePath,
) -> impl FnOnce(E) -> Error + use<E> {
    let (name, path) = (name.clone(), path.clone());
    move |error| Error::Write {
        name,
        operation,
        path,
        source: error.into(),
    }
}
