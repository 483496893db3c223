//! The result gets its place: written beside, synced, exchanged.

use std::io;

use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Kinds, Name, Tree, TreePath, diff, materialize};
use rustix::fs::{AtFlags, FileType, Mode, RenameFlags};
use rustix::io::Errno;

use super::ApplyOptions;
use super::read::{DIRECTORY, Located, Source, scan_whole};
use crate::Error;
use crate::inode::SELINUX;

const NEW: &str = ".new";
const PREVIOUS: &str = ".prev";
const SAVED: &str = ".saved";
const SAVED_NEW: &str = ".saved.new";
/// After this fails the target is the result, but a power failure may undo it.
const EXCHANGED: &str = "sync what was exchanged in";

/// Makes the target what `result` says; `true` where it was so already.
///
/// `etc.new` and `etc.saved.new` are never more than leftovers when this begins. `etc.prev` is
/// complete and synced whenever it exists: it gets its name only then, and is exchanged for the
/// target in the next step.
pub(super) fn place(
    deployment: &Dir,
    result: &Tree<Located>,
    saved: Option<&Tree<Located>>,
    source: &mut Source<'_>,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    let [new, previous] = [NEW, PREVIOUS].map(|suffix| options.beside(suffix));
    let [kept, kept_new] = [SAVED, SAVED_NEW].map(|suffix| options.beside(suffix));
    remove(deployment, &new)?;
    remove(deployment, &kept_new)?;
    let exists = file_type(deployment, &options.target)?.is_some();
    if exists && is_result(deployment, result, options)? {
        return Ok(true);
    }
    write(deployment, &new, result, source, options)?;
    if let Some(saved) = saved {
        write(deployment, &kept_new, saved, source, options)?;
    }
    sync(deployment, "sync", options)?;
    remove(deployment, &kept)?;
    if saved.is_some() {
        rename(deployment, &kept_new, &kept, RenameFlags::NOREPLACE)?;
    }
    if exists {
        remove(deployment, &previous)?;
        rename(deployment, &new, &previous, RenameFlags::NOREPLACE)?;
        let exchanged = rename(
            deployment,
            &previous,
            &options.target,
            RenameFlags::EXCHANGE,
        );
        if exchanged.is_err() {
            // It holds the result, not what was there before.
            rename(deployment, &previous, &new, RenameFlags::NOREPLACE)?;
            remove(deployment, &new)?;
        }
        exchanged?;
    } else {
        rename(deployment, &new, &options.target, RenameFlags::NOREPLACE)?;
    }
    sync(deployment, EXCHANGED, options)?;
    Ok(false)
}

/// Exchanges `etc` and `etc.prev` again. Called twice, it changes nothing.
///
/// # Errors
/// When there is no `etc.prev`, or the two cannot be exchanged.
pub fn undo(deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    let previous = options.beside(PREVIOUS);
    rename(
        deployment,
        &previous,
        &options.target,
        RenameFlags::EXCHANGE,
    )?;
    sync(deployment, EXCHANGED, options)
}

/// Removes `etc.prev`, and with it the way back. Where there is none, nothing is done.
///
/// # Errors
/// When it cannot be removed.
pub fn release(deployment: &Dir, options: &ApplyOptions) -> Result<(), Error> {
    remove(deployment, &options.beside(PREVIOUS))
}

fn failed<E: Into<io::Error>>(operation: &'static str, name: &Name) -> impl FnOnce(E) -> Error {
    let path = TreePath::from(name.clone());
    move |error| Error::Io {
        operation,
        path,
        source: error.into(),
    }
}

fn rename(dir: &Dir, from: &Name, to: &Name, flags: RenameFlags) -> Result<(), Error> {
    let operation = match flags {
        RenameFlags::EXCHANGE => "exchange",
        _ => "rename",
    };
    rustix::fs::renameat_with(dir, from.as_bytes(), dir, to.as_bytes(), flags)
        .map_err(failed(operation, to))
}

/// Everything on the file system: the result is many files, and one call is less than each alone.
fn sync(deployment: &Dir, operation: &'static str, options: &ApplyOptions) -> Result<(), Error> {
    if !options.sync {
        return Ok(());
    }
    // A `Dir` may be open as a path alone, which cannot be synced.
    let here = rustix::fs::openat(deployment, ".", DIRECTORY, Mode::empty());
    let synced = here.and_then(rustix::fs::syncfs);
    synced.map_err(|error| Error::Io {
        operation,
        path: TreePath::root(),
        source: error.into(),
    })
}

fn file_type(dir: &Dir, name: &Name) -> Result<Option<FileType>, Error> {
    match rustix::fs::statat(dir, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed("find", name)(error)),
    }
}

fn remove(dir: &Dir, name: &Name) -> Result<(), Error> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::OsStr::from_bytes(name.as_bytes());
    match file_type(dir, name)? {
        None => Ok(()),
        Some(FileType::Directory) => dir.remove_dir_all(path).map_err(failed("remove", name)),
        Some(_) => dir.remove_file(path).map_err(failed("remove", name)),
    }
}

fn open(dir: &Dir, name: &Name) -> Result<Dir, Error> {
    let fd = rustix::fs::openat(dir, name.as_bytes(), DIRECTORY, Mode::empty())
        .map_err(failed("open", name))?;
    Ok(Dir::from_std_file(fd.into()))
}

fn write(
    deployment: &Dir,
    name: &Name,
    tree: &Tree<Located>,
    source: &mut Source<'_>,
    options: &ApplyOptions,
) -> Result<(), Error> {
    rustix::fs::mkdirat(deployment, name.as_bytes(), Mode::RWXU).map_err(failed("make", name))?;
    let target = open(deployment, name)?;
    materialize(tree, &target, source, &options.materialize).map_err(|source| Error::Write {
        name: name.clone(),
        source,
    })
}

/// Times are not compared, and a label that the system gave where the result has none does not count.
fn is_result(
    deployment: &Dir,
    result: &Tree<Located>,
    options: &ApplyOptions,
) -> Result<bool, Error> {
    let name = &options.target;
    let there = scan_whole(&open(deployment, name)?, &name.to_string(), options)?;
    let same = |a: &Located, b: &FileContent| a.content == *b;
    Ok(diff(result, &there, same).into_iter().all(|difference| {
        let Kinds::Both(wanted, _, mut changed) = difference.kinds else {
            return false;
        };
        changed.mtime = false;
        if !result.inode(wanted).metadata.xattrs.contains_key(SELINUX) {
            changed.xattrs.remove(SELINUX);
        }
        changed.uid &= options.materialize.owner;
        changed.gid &= options.materialize.owner;
        if !options.materialize.xattrs {
            changed.xattrs.clear();
        }
        changed.is_empty()
    }))
}
