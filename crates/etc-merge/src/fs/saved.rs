//! The sides that were not taken, kept beside the target.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use pleach_fs_tree::{Kind, Name, NodeType, TreePath};
use rustix::fs::Mode;
use rustix::io::Errno;

use super::checkout::{copy_error, copy_tree};
use super::copy::{Copier, CopyError, Place, read_special};
use super::deployment::{Beside, Deployment};
use super::open::Opener;
use super::origin::Origin;
use super::stat::{Stat, open_directory};
use super::walk::Walked;
use super::{ApplyOptions, failed};
use crate::{Error, MergePlan, Side, Sides};

/// Copies what the plan saves to `etc.saved.new`: `image/PATH` and `local/PATH`, each with all that
/// is below.
pub(super) fn save(
    deployment: &Deployment<'_>,
    plan: &MergePlan,
    sides: Sides<&Dir>,
    walked: &Walked,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    deployment.remove(Beside::SavedNew)?;
    let mut openers = sides.map(Opener::new);
    let mut top: Option<(Dir, Name)> = None;
    let mut outer = [None::<&TreePath>; 2];
    for (path, side) in plan.saved() {
        // Two conflicts one below the other: the outer one has saved the inner one too.
        let outer = &mut outer[usize::from(side == Side::Image)];
        if outer.is_some_and(|above| path.starts_with(above)) {
            continue;
        }
        *outer = Some(path);
        if top.is_none() {
            let made = Dir::from_std_file(deployment.make(Beside::SavedNew)?.into());
            top = Some((made, deployment.name(Beside::SavedNew)));
        }
        let Some((top, name)) = &top else {
            continue;
        };
        let origin = match side {
            Side::Local => Origin::Current,
            Side::Image => Origin::New,
        };
        let tree = origin.of(&walked.trees);
        let seen = tree
            .get(path)
            .ok_or_else(|| Error::OtherTrees { path: path.clone() })?;
        let inside = TreePath::new(side.to_string())
            .unwrap_or_default()
            .concat(path);
        let target = directories(top, &inside, name)?;
        let other = || Error::OtherTrees { path: path.clone() };
        let last_name = path.file_name().ok_or_else(other)?;
        let writing = |operation, source| Error::Write {
            name: name.clone(),
            operation,
            path: inside.clone(),
            source,
        };
        let opener = origin.of_mut(&mut openers);
        if seen.kind.node_type() == NodeType::Directory {
            let from = opener
                .directory(path)
                .and_then(|fd| fd.try_clone_to_owned());
            let from = from.map_err(failed(origin, "open", path))?;
            let from = Dir::from_std_file(from.into());
            let created = rustix::fs::mkdirat(&target, last_name.as_bytes(), Mode::RWXU);
            created.map_err(|e| writing("create", e.into()))?;
            let to = open_directory(&target, last_name.as_bytes());
            let to = to.map_err(|e| writing("open", e))?;
            copy_tree(&from, origin, &to, name, options)?;
            continue;
        }
        let from = opener.parent(path).map_err(failed(origin, "open", path))?;
        let from = Place {
            directory: from,
            name: last_name.as_bytes(),
        };
        let to = Place {
            directory: target.as_fd(),
            name: last_name.as_bytes(),
        };
        let mut copier = Copier::new(&options.materialize);
        let copied = match &seen.kind {
            Kind::File(located) => copier.file(from, &located.stat, to, None).map(drop),
            _ => Stat::at(from.directory, from.name)
                .map_err(CopyError::reading("stat"))
                .and_then(|stat| read_special(from, &stat))
                .and_then(|inode| copier.special(&inode, to))
                .map(drop),
        };
        copied.map_err(|e| copy_error(origin, name, &inside, e))?;
    }
    Ok(top.is_some())
}

/// Makes the directories above a path, for root alone, and opens the last one.
fn directories(top: &Dir, path: &TreePath, name: &Name) -> Result<OwnedFd, Error> {
    let above = path.parent().unwrap_or_default();
    let make = || -> io::Result<OwnedFd> {
        let mut at = open_directory(top, b".")?;
        for component in above.components() {
            match rustix::fs::mkdirat(&at, component, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = open_directory(&at, component)?;
        }
        Ok(at)
    };
    make().map_err(|source| Error::Write {
        name: name.clone(),
        operation: "create",
        path: above.clone(),
        source,
    })
}
