//! Carries out, on the machine's own `/etc`, what a way back to the default has planned.
//!
//! Step by step, each in one system call that is seen: `/etc` is in use, and often a mount point, so it
//! cannot be exchanged as a whole. What is put is written beside, synced, and renamed.

use std::collections::BTreeSet;
use std::io::{self, Read as _};

use anyhow::{Context as _, Result, bail};
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

/// What a way back is made from, and where it goes.
pub(super) struct Ground<'a> {
    pub(super) pristine: &'a Dir,
    /// What `pristine` holds.
    pub(super) tree: &'a Tree<Digest>,
    pub(super) current: &'a Dir,
    /// What `current` held when the steps were planned.
    pub(super) seen: &'a Tree<Digest>,
    pub(super) mounts: &'a [TreePath],
}

/// Performs the steps, in order. Nothing is done where something is mounted at or below one of the
/// paths, and a path that changed since it was looked at is left as it is.
pub(super) fn carry_out(steps: &[Step], ground: &Ground<'_>) -> Result<()> {
    for Step { path, action } in steps {
        let below = |mount: &&TreePath| mount.starts_with(path);
        if let (StepAction::Put | StepAction::Remove, Some(mount)) =
            (action, ground.mounts.iter().find(below))
        {
            bail!("{mount} is mounted, so nothing was done; unmount it first");
        }
    }
    let mut done = BTreeSet::new();
    let performed = steps
        .iter()
        .enumerate()
        .try_for_each(|(count, Step { path, action })| {
            let told = || match count {
                0 => format!("{} {path}; nothing was done", action.as_str()),
                _ => format!(
                    "{} {path}; {count} of {} steps were done before it",
                    action.as_str(),
                    steps.len()
                ),
            };
            // What an earlier step made is not what was seen.
            if *action != StepAction::Attributes && done.insert(path) {
                unchanged(path, ground).with_context(told)?;
            }
            step(path, *action, ground).with_context(told)
        });
    if !steps.is_empty() {
        let synced = beneath::open_dir(ground.current, &TreePath::root())
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        performed?;
        synced.context("syncing /etc")?;
    }
    Ok(())
}

/// Whether a path is what was seen of it: whoever changed it since shall not lose that.
fn unchanged(path: &TreePath, ground: &Ground<'_>) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let parent = beneath::find_dir(ground.current, &parent)?;
    let now = match &parent {
        None => None,
        Some(parent) => {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            match rustix::fs::statat(parent, name.as_bytes(), flags) {
                Err(Errno::NOENT) => None,
                found => Some(found?),
            }
        }
    };
    let changed =
        || anyhow::anyhow!("it changed since it was looked at; it is left as it is, try again");
    let (now, seen) = match (now, ground.seen.get(path)) {
        (None, None) => return Ok(()),
        (Some(now), Some(seen)) => (now, seen),
        _ => return Err(changed()),
    };
    let metadata = &seen.metadata;
    let mode = u32::from(metadata.mode);
    let same = (now.st_mode & 0o7777, now.st_uid, now.st_gid) == (mode, metadata.uid, metadata.gid)
        && match (&seen.kind, &parent) {
            (Kind::Directory(_), _) => FileType::from_raw_mode(now.st_mode) == FileType::Directory,
            (Kind::File(digest), Some(parent)) => {
                let mut bytes = Vec::new();
                beneath::open_file(parent, name.as_bytes())?.read_to_end(&mut bytes)?;
                Digest::of(&bytes) == *digest
            }
            (Kind::Symlink(target), Some(parent)) => {
                let link = rustix::fs::readlinkat(parent, name.as_bytes(), Vec::new());
                link.is_ok_and(|link| *link.as_bytes() == **target)
            }
            (kind, _) => kind.node_type() == node_type(now.st_mode),
        };
    if same { Ok(()) } else { Err(changed()) }
}

fn node_type(mode: u32) -> NodeType {
    match FileType::from_raw_mode(mode) {
        FileType::CharacterDevice => NodeType::CharDevice,
        FileType::BlockDevice => NodeType::BlockDevice,
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::Symlink => NodeType::Symlink,
        FileType::Directory => NodeType::Directory,
        _ => NodeType::File,
    }
}

fn step(path: &TreePath, action: StepAction, ground: &Ground<'_>) -> Result<()> {
    let Ground {
        pristine,
        tree,
        current,
        ..
    } = *ground;
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
    let mut metadata = wanted.metadata.clone();
    metadata.xattrs.retain(|name, _| !is_overlayfs(name));
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
    let wanted_here = wanted.xattrs.iter();
    for (name, value) in wanted_here.filter(|(name, _)| !is_overlayfs(name)) {
        rustix::fs::fsetxattr(dir, &**name, value, XattrFlags::empty())?;
    }
    rustix::fs::fchmod(dir, Mode::from_raw_mode(wanted.mode.into()))?;
    Ok(())
}

/// A label that the image does not know comes from the policy; overlayfs keeps its own books.
fn is_the_systems(name: &[u8]) -> bool {
    name == b"security.selinux" || is_overlayfs(name)
}

fn is_overlayfs(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
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
