//! A plan is carried out in the `/etc` and the `/var` of a deployment.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use pleach_customization::lower::Action;
use pleach_fs_tree::escape;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::{ApplyError, EtcPlan};

/// The name that a file has until it is whole; one at a time is in a directory.
const TEMPORARY: &[u8] = b".pleach-inject.tmp";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Carries a plan out. Paths were resolved when it was made, so no symbolic link is followed: one
/// that has since taken a directory's place is an error. Each file appears whole under its name
/// (written beside it, then renamed); killed anywhere and run again it ends the same.
///
/// Both file systems are synced at the end.
///
/// # Errors
/// With the path and what was tried; what was done until then stays.
pub fn apply(plan: &EtcPlan, etc: &Dir, var: &Dir) -> Result<(), ApplyError> {
    for change in &plan.changes {
        let place = Place::find(&change.path, etc, var)?;
        act(&place, &change.action, etc, var).map_err(|(operation, source)| {
            let path = escape(&change.path);
            ApplyError::Io {
                operation,
                path,
                source,
            }
        })?;
    }
    for file in &plan.accounts {
        let path = file.path.as_bytes();
        let place = Place::find(path, etc, var)?;
        let owner = Owner {
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
        };
        place
            .write(&file.contents, &owner)
            .map_err(|(operation, source)| {
                let path = escape(path);
                ApplyError::Io {
                    operation,
                    path,
                    source,
                }
            })?;
    }
    for (dir, path) in [(etc, "/etc"), (var, "/var")] {
        // A `Dir` may be no more than a place (O_PATH), which cannot be synced.
        rustix::fs::openat(dir, ".", DIRECTORY, Mode::empty())
            .and_then(rustix::fs::syncfs)
            .map_err(|error| ApplyError::Io {
                operation: "sync",
                path: path.to_owned(),
                source: error.into(),
            })?;
    }
    Ok(())
}

type Failure = (&'static str, io::Error);

fn failed<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| (operation, error.into())
}

struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owner {
    /// The owner first: changing it clears setuid and setgid.
    fn set(&self, fd: impl AsFd) -> Result<(), Failure> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::fs::fchown(&fd, Some(uid), Some(gid)).map_err(failed("change the owner of"))?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(self.mode))
            .map_err(failed("change the mode of"))
    }
}

/// An open parent directory and a name in it.
struct Place {
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Place {
    fn find(path: &[u8], etc: &Dir, var: &Dir) -> Result<Self, ApplyError> {
        let (top, rest) = if let Some(rest) = path.strip_prefix(b"/etc/") {
            (etc, rest)
        } else if let Some(rest) = path.strip_prefix(b"/var/") {
            (var, rest)
        } else {
            return Err(ApplyError::Outside { path: escape(path) });
        };
        let io = |error: Errno| ApplyError::Io {
            operation: "open the parent of",
            path: escape(path),
            source: error.into(),
        };
        let mut parent = rustix::fs::openat(top, ".", DIRECTORY, Mode::empty()).map_err(io)?;
        let mut components: Vec<_> = rest.split(|&b| b == b'/').collect();
        let name = components.pop().unwrap_or_default().to_vec();
        for component in components {
            parent =
                rustix::fs::openat(&parent, component, DIRECTORY, Mode::empty()).map_err(io)?;
        }
        Ok(Self { parent, name })
    }

    fn write(&self, contents: &[u8], owner: &Owner) -> Result<(), Failure> {
        self.clear_temporary()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.parent, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("create"))?;
        let mut file = cap_std::fs::File::from_std(fd.into());
        file.write_all(contents).map_err(failed("write"))?;
        owner.set(&file)?;
        file.sync_all().map_err(failed("sync"))?;
        self.take_place()
    }

    fn clear_temporary(&self) -> Result<(), Failure> {
        match rustix::fs::unlinkat(&self.parent, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(("remove what an earlier run left beside", error.into())),
        }
    }

    fn take_place(&self) -> Result<(), Failure> {
        rustix::fs::renameat(&self.parent, TEMPORARY, &self.parent, &self.name[..])
            .map_err(failed("replace"))?;
        // Two names of one file: the kernel then leaves both where they are (rename(2)).
        self.clear_temporary()
    }
}

fn act(place: &Place, action: &Action, etc: &Dir, var: &Dir) -> Result<(), Failure> {
    let name = &place.name[..];
    match action {
        Action::Write {
            contents,
            mode,
            uid,
            gid,
        } => place.write(
            contents,
            &Owner {
                mode: *mode,
                uid: *uid,
                gid: *gid,
            },
        ),
        Action::Mkdir { mode, uid, gid } => {
            match rustix::fs::mkdirat(&place.parent, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(("create", error.into())),
            }
            let fd = rustix::fs::openat(&place.parent, name, DIRECTORY, Mode::empty())
                .map_err(failed("open"))?;
            Owner {
                mode: *mode,
                uid: *uid,
                gid: *gid,
            }
            .set(fd)
        }
        Action::Symlink { target, uid, gid } => {
            place.clear_temporary()?;
            rustix::fs::symlinkat(&target[..], &place.parent, TEMPORARY)
                .map_err(failed("create"))?;
            let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
            rustix::fs::chownat(
                &place.parent,
                TEMPORARY,
                uid,
                gid,
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(failed("change the owner of"))?;
            place.take_place()
        }
        Action::HardLink { target } => {
            let from = Place::find(target, etc, var)
                .map_err(|e| ("find the target of", io::Error::other(e.to_string())))?;
            place.clear_temporary()?;
            rustix::fs::linkat(
                &from.parent,
                &from.name[..],
                &place.parent,
                TEMPORARY,
                AtFlags::empty(),
            )
            .map_err(failed("link"))?;
            place.take_place()
        }
        Action::SetMeta { mode, uid, gid } => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&place.parent, name, flags, Mode::empty())
                .map_err(failed("open"))?;
            Owner {
                mode: *mode,
                uid: *uid,
                gid: *gid,
            }
            .set(fd)
        }
        Action::Remove => remove(place),
        _ => Err((
            "carry out an unknown change of",
            io::Error::from(io::ErrorKind::Unsupported),
        )),
    }
}

fn remove(place: &Place) -> Result<(), Failure> {
    match rustix::fs::unlinkat(&place.parent, &place.name[..], AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            use std::os::unix::ffi::OsStrExt as _;
            let parent = place
                .parent
                .try_clone()
                .map_err(failed("open the parent of"))?;
            // Removal of a tree follows no link either.
            Dir::from_std_file(parent.into())
                .remove_dir_all(std::ffi::OsStr::from_bytes(&place.name))
                .map_err(failed("remove"))
        }
        Err(error) => Err(("remove", error.into())),
    }
}
