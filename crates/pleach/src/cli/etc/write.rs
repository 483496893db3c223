//! Carries out, on the machine's own `/etc`, what a way back to the default has planned.
//!
//! Step by step, each in one system call that is seen: `/etc` is in use, and often a mount point, so it
//! cannot be exchanged as a whole. What is put is written beside, synced, and renamed.

use std::io;

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use pleach_etc_merge::{Step, StepAction};
use pleach_fs_tree::{
    Digest, Inode, Kind, MaterializeOptions, Metadata, Name, NodeType, Tree, TreePath, materialize,
};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::beneath;

/// The directory in which an inode is made before it gets its name.
const BESIDE: &[u8] = b".pleach.new";
const INSIDE: &[u8] = b"inode";

/// Performs the steps, in order. `tree` is what `pristine` holds.
pub(super) fn carry_out(
    steps: &[Step],
    pristine: &Dir,
    tree: &Tree<Digest>,
    current: &Dir,
) -> Result<()> {
    for Step { path, action } in steps {
        step(path, *action, pristine, tree, current)
            .with_context(|| format!("{} {path}", action.as_str()))?;
    }
    if !steps.is_empty() {
        let synced = beneath::open_dir(current, &TreePath::root())
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.context("syncing /etc")?;
    }
    Ok(())
}

fn step(
    path: &TreePath,
    action: StepAction,
    pristine: &Dir,
    tree: &Tree<Digest>,
    current: &Dir,
) -> Result<()> {
    let wanted = || tree.get(path).context("the image does not have it");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(attributes(
            &beneath::open_dir(current, path)?,
            &wanted()?.metadata,
        )?);
    };
    let parent = beneath::open_dir(current, &parent)?;
    match action {
        StepAction::Remove => remove(&parent, name.as_bytes())?,
        StepAction::Put => put(path, wanted()?, pristine, &parent, &name)?,
        StepAction::Attributes => {
            let dir = beneath::open_dir(&parent, &TreePath::from(name))?;
            attributes(&dir, &wanted()?.metadata)?;
        }
    }
    Ok(())
}

/// Only an empty directory goes: whatever came into it since stays, and is an error.
fn remove(parent: &Dir, name: &[u8]) -> io::Result<()> {
    let flags = match beneath::file_type(parent, name)? {
        None => return Ok(()),
        Some(FileType::Directory) => AtFlags::REMOVEDIR,
        Some(_) => AtFlags::empty(),
    };
    Ok(rustix::fs::unlinkat(parent, name, flags)?)
}

fn put(
    path: &TreePath,
    wanted: &Inode<Digest>,
    pristine: &Dir,
    parent: &Dir,
    name: &Name,
) -> Result<()> {
    clean(parent)?;
    rustix::fs::mkdirat(parent, BESIDE, Mode::RWXU)?;
    let beside = beneath::open_dir(parent, &TreePath::new(BESIDE)?)?;
    let made = make(path, wanted, pristine, &beside).and_then(|()| {
        rustix::fs::renameat(&beside, INSIDE, parent, name.as_bytes())?;
        Ok(())
    });
    let cleaned = clean(parent);
    made?;
    Ok(cleaned?)
}

/// What an interrupted run left, and what a finished one leaves.
fn clean(parent: &Dir) -> io::Result<()> {
    match beneath::file_type(parent, BESIDE)? {
        None => Ok(()),
        Some(_) => parent.remove_dir_all(beneath::os(BESIDE)),
    }
}

fn make(path: &TreePath, wanted: &Inode<Digest>, pristine: &Dir, beside: &Dir) -> Result<()> {
    let kind = match &wanted.kind {
        Kind::Directory(_) => Kind::Directory(Default::default()),
        Kind::File(_) => Kind::File(path.clone()),
        Kind::Symlink(target) => Kind::Symlink(target.clone()),
        Kind::CharDevice(device) => Kind::CharDevice(*device),
        Kind::BlockDevice(device) => Kind::BlockDevice(*device),
        Kind::Fifo => Kind::Fifo,
        Kind::Socket => Kind::Socket,
    };
    let is_file = kind.node_type() == NodeType::File;
    let mut one = Tree::new(Metadata::with_mode(0o700));
    let metadata = wanted.metadata.clone();
    one.put(&TreePath::new(INSIDE)?, Inode { metadata, kind })?;
    let mut source = |path: &TreePath| -> io::Result<std::fs::File> {
        let (parent, name) = (path.parent(), path.file_name());
        let parent = beneath::open_dir(pristine, &parent.unwrap_or_default())?;
        let name = name.ok_or(Errno::ISDIR)?;
        beneath::open_file(&parent, name.as_bytes())
    };
    // The directory beside belongs to whoever runs this, and loses its name right away.
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let root = one.root();
    let metadata = one.metadata_mut(root);
    (metadata.uid, metadata.gid) = (uid.as_raw(), gid.as_raw());
    materialize(&one, beside, &mut source, &MaterializeOptions::default())?;
    if is_file {
        // Not the file alone: who has no right to read it could not open it for that.
        rustix::fs::syncfs(beside)?;
    }
    Ok(())
}

/// Owner before mode: the kernel clears bits when an owner changes.
fn attributes(dir: &Dir, wanted: &Metadata) -> io::Result<()> {
    let owner = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
    rustix::fs::fchown(dir, Some(owner.0), Some(owner.1))?;
    for name in xattr_names(dir)? {
        if !wanted.xattrs.contains_key(&*name) && !is_the_systems(&name) {
            rustix::fs::fremovexattr(dir, &*name)?;
        }
    }
    for (name, value) in &wanted.xattrs {
        rustix::fs::fsetxattr(dir, &**name, value, XattrFlags::empty())?;
    }
    rustix::fs::fchmod(dir, Mode::from_raw_mode(wanted.mode.into()))?;
    Ok(())
}

/// A label that the image does not know comes from the policy; overlayfs keeps its own books.
fn is_the_systems(name: &[u8]) -> bool {
    name == b"security.selinux"
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
}

fn xattr_names(dir: &Dir) -> io::Result<Vec<Box<[u8]>>> {
    let mut list = vec![0; 1024];
    let length = loop {
        match rustix::fs::flistxattr(dir, &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(error) => return Err(error.into()),
        }
    };
    let names = list[..length].split(|&b| b == 0);
    Ok(names.filter(|n| !n.is_empty()).map(Into::into).collect())
}
