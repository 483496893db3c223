//! The directory in `tmp` where objects are written before they are in the repository.
//!
//! A name in it is locked as long as its process lives; what a dead one left is swept by the next.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::Dir;
use pleach_fs_tree::{Metadata, write_all};
use rustix::fs::{
    AtFlags, FlockOperation, Gid, Mode as Permissions, OFlags, Timespec, Timestamps, UTIME_OMIT,
    Uid, XattrFlags,
};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

use super::object::user_meta;
use super::repo::{Mode, make_directory, open_directory};

const PREFIX: &str = "pleach-";
const ACL: &[u8] = b"system.posix_acl_access";
/// libostree gives it to regular files: what is checked out is often a hard link.
const TIMES: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT as _,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    },
};
const NEW: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::CLOEXEC);

/// See the module.
#[derive(Debug)]
pub(super) struct Staging {
    tmp: Dir,
    name: String,
    dir: Dir,
    mode: Mode,
    born: Born,
    next: AtomicU64,
}

/// What new files have before anybody sets anything.
#[derive(Debug)]
struct Born {
    uid: u32,
    gid: u32,
    permissions: u32,
}

impl Staging {
    /// Sweeps what dead processes left, and makes one.
    pub(super) fn new(tmp: &Dir, mode: Mode) -> io::Result<Self> {
        sweep(tmp)?;
        let process = rustix::process::getpid().as_raw_nonzero();
        for number in 0_u32.. {
            let name = format!("{PREFIX}{process}-{number}");
            match rustix::fs::mkdirat(tmp, &*name, Permissions::RWXU) {
                Err(Errno::EXIST) => continue,
                made => made?,
            }
            // Another one's sweep may be faster.
            let dir = match open_directory(tmp, &name) {
                Err(_) if !tmp.try_exists(&name)? => continue,
                dir => dir.map_err(io::Error::other)?,
            };
            match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => continue,
                locked => locked?,
            }
            if !tmp.try_exists(&name)? {
                continue;
            }
            return Ok(Self {
                born: Born::find(&dir)?,
                tmp: tmp.try_clone()?,
                name,
                dir,
                mode,
                next: AtomicU64::new(0),
            });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn make_directory(&self, name: &str) -> io::Result<()> {
        make_directory(&self.dir, name)
    }

    /// A regular file whose content is known.
    pub(super) fn file(&self, name: &str, metadata: &Metadata, bytes: &[u8]) -> io::Result<()> {
        let asked = self.asked(metadata);
        let fd = self.create(name, asked)?;
        write_all(fd.as_fd(), bytes)?;
        self.attributes(&fd, metadata, asked)
    }

    /// A file without a final name, for content that is coming.
    pub(super) fn begin(&self) -> io::Result<(String, OwnedFd)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("new-{number}");
        let fd = self.create(&name, 0o600)?;
        Ok((name, fd))
    }

    /// Its content has come.
    pub(super) fn finish(
        &self,
        (temporary, fd): (&str, &OwnedFd),
        name: &str,
        metadata: &Metadata,
    ) -> io::Result<()> {
        self.attributes(fd, metadata, 0o600)?;
        Ok(rustix::fs::renameat(&self.dir, temporary, &self.dir, name)?)
    }

    /// Metadata objects have nothing that is set.
    pub(super) fn metadata_object(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fd = self.create(name, 0o644)?;
        if self.born.permissions & 0o644 != 0o644 {
            rustix::fs::fchmod(&fd, Permissions::from_raw_mode(0o644))?;
        }
        write_all(fd.as_fd(), bytes)
    }

    pub(super) fn symlink(&self, name: &str, metadata: &Metadata, target: &[u8]) -> io::Result<()> {
        if self.mode == Mode::BareUser {
            let fd = self.create(name, 0o644)?;
            // libostree has the zero byte at its end there, too.
            write_all(fd.as_fd(), &[target, b"\0"].concat())?;
            return self.user_attributes(&fd, metadata, 0o644, true);
        }
        rustix::fs::symlinkat(target, &self.dir, name)?;
        if (metadata.uid, metadata.gid) != (self.born.uid, self.born.gid) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&self.dir, name, Some(uid), Some(gid), flags)?;
        }
        if metadata.xattrs.values().any(|value| !value.is_empty()) {
            // There is no call for an entry of a directory.
            let path = format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd());
            for (name, value) in held(metadata) {
                rustix::fs::lsetxattr(&*path, name, value, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())?)
    }

    /// All is out of it that shall stay.
    pub(super) fn close(&self) -> io::Result<()> {
        self.tmp.remove_dir_all(&self.name)
    }

    fn create(&self, name: &str, mode: u32) -> io::Result<OwnedFd> {
        let mode = Permissions::from_raw_mode(mode);
        Ok(rustix::fs::openat(&self.dir, name, NEW, mode)?)
    }

    /// The mode that a file is made with: special bits would go when the owner changes, and nobody
    /// but root can give attributes to a file that is not writable.
    fn asked(&self, metadata: &Metadata) -> u32 {
        match self.mode {
            Mode::Bare => u32::from(metadata.mode) & 0o777,
            Mode::BareUser => content_mode(metadata) | 0o200,
        }
    }

    fn attributes(&self, fd: &OwnedFd, metadata: &Metadata, asked: u32) -> io::Result<()> {
        if self.mode == Mode::BareUser {
            return self.user_attributes(fd, metadata, asked, false);
        }
        if (metadata.uid, metadata.gid) != (self.born.uid, self.born.gid) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            rustix::fs::fchown(fd, Some(uid), Some(gid))?;
        }
        self.chmod(fd, asked, u32::from(metadata.mode))?;
        for (name, value) in held(metadata) {
            rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?;
        }
        // The kernel makes one of the two fit the other, and then the object's name is wrong.
        if let Some(acl) = metadata.xattrs.get(ACL).filter(|acl| !acl.is_empty()) {
            let mut has = vec![0; acl.len() + 1];
            let length = rustix::fs::fgetxattr(fd, ACL, &mut has[..]).unwrap_or(0);
            let mode = rustix::fs::fstat(fd)?.st_mode & 0o7777;
            if has[..length] != **acl || mode != u32::from(metadata.mode) {
                let what = "the file system does not keep the access control list with that mode";
                return Err(io::Error::other(what));
            }
        }
        Ok(rustix::fs::futimens(fd, &TIMES)?)
    }

    fn user_attributes(
        &self,
        fd: &OwnedFd,
        metadata: &Metadata,
        asked: u32,
        is_symlink: bool,
    ) -> io::Result<()> {
        let wanted = match is_symlink {
            true => 0o644,
            false => content_mode(metadata),
        };
        let meta = user_meta(metadata, is_symlink);
        rustix::fs::fsetxattr(fd, "user.ostreemeta", &meta, XattrFlags::empty())?;
        self.chmod(fd, asked, wanted)?;
        Ok(rustix::fs::futimens(fd, &TIMES)?)
    }

    fn chmod(&self, fd: &OwnedFd, asked: u32, wanted: u32) -> io::Result<()> {
        match asked & self.born.permissions == wanted {
            true => Ok(()),
            false => Ok(rustix::fs::fchmod(fd, Permissions::from_raw_mode(wanted))?),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already, or of something that failed; otherwise the next one sweeps it.
        let _ = self.close();
    }
}

/// What the content of a file gets in a `bare-user` repository: the caller must be able to read it.
fn content_mode(metadata: &Metadata) -> u32 {
    u32::from(metadata.mode) & 0o775 | 0o400
}

fn held(metadata: &Metadata) -> impl Iterator<Item = (&[u8], &[u8])> {
    let all = metadata
        .xattrs
        .iter()
        .map(|(name, value)| (&**name, &**value));
    all.filter(|(_, value)| !value.is_empty())
}

impl Born {
    fn find(dir: &Dir) -> io::Result<Self> {
        let fd = rustix::fs::openat(dir, "probe", NEW, Permissions::from_raw_mode(0o777))?;
        let stat = rustix::fs::fstat(&fd)?;
        rustix::fs::unlinkat(dir, "probe", AtFlags::empty())?;
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            permissions: stat.st_mode & 0o777,
        })
    }
}

fn sweep(tmp: &Dir) -> io::Result<()> {
    for entry in tmp.entries()? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let Ok(dir) = open_directory(tmp, name) else {
            continue;
        };
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {}
            locked => {
                locked?;
                match tmp.remove_dir_all(name) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
                }
            }
        }
    }
    Ok(())
}
