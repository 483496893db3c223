//! An image that nobody else can open, and that has no name of its own until it is whole.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use cap_std::fs::{Dir, File};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;

const MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);
/// Names that are tried before giving up: what killed processes left may be in the way.
const NAMES: u32 = 1000;

/// A new file, which goes away with this unless it is [`finish`](Self::finish)ed.
pub(super) struct Unfinished<'d> {
    dir: &'d Dir,
    file: File,
    name: Option<String>,
}

impl<'d> Unfinished<'d> {
    /// Without a name where the filesystem can do that (`O_TMPFILE`), so that a process that is killed
    /// leaves nothing behind.
    pub(super) fn new(dir: &'d Dir) -> std::io::Result<Self> {
        match openat(dir, ".", OFlags::TMPFILE | FLAGS, MODE) {
            // What open(2) says of kernels and filesystems that cannot.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Self::named(dir),
            fd => Ok(Self::of(dir, fd?, None)),
        }
    }

    fn named(dir: &'d Dir) -> std::io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | FLAGS;
        let (fd, name) = with_free_name(|name| openat(dir, name, flags, MODE))?;
        Ok(Self::of(dir, fd, Some(name)))
    }

    fn of(dir: &'d Dir, fd: OwnedFd, name: Option<String>) -> Self {
        let file = File::from_std(fd.into());
        Self { dir, file, name }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in place of a file that has that.
    pub(super) fn finish(mut self, name: &Path) -> std::io::Result<()> {
        let link = |to: &str| {
            let fd = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            linkat(CWD, fd, self.dir, to, AtFlags::SYMLINK_FOLLOW)
        };
        // No call links over a file that is there; rename does.
        let own = match self.name.take() {
            Some(own) => own,
            None => with_free_name(link)?.1,
        };
        let own = self.name.insert(own);
        self.dir.rename(own, self.dir, name)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = self.dir.remove_file(name);
        }
    }
}

fn with_free_name<T>(make: impl Fn(&str) -> Result<T, Errno>) -> Result<(T, String), Errno> {
    for number in 0..NAMES {
        let name = format!(".pleach-{}-{number}", std::process::id());
        match make(&name) {
            Err(Errno::EXIST) => {}
            made => return made.map(|made| (made, name)),
        }
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests open ambient paths")]
    use cap_std::ambient_authority;
    use cap_std::fs::MetadataExt;

    use super::*;

    /// Both ways of beginning, whichever this filesystem has.
    #[test]
    fn is_private_from_its_first_moment_and_whole_or_nothing() {
        rustix::process::umask(Mode::empty());
        for way in ["new", "named"] {
            let scratch = tempfile::tempdir().unwrap();
            let dir = Dir::open_ambient_dir(scratch.path(), ambient_authority()).unwrap();
            let count = || dir.entries().unwrap().count();
            dir.write("a", "old").unwrap();
            dir.create_dir("d").unwrap();
            let make = || {
                let made = match way {
                    "new" => Unfinished::new(&dir),
                    _ => Unfinished::named(&dir),
                }
                .unwrap();
                assert_eq!(made.file().metadata().unwrap().mode(), 0o100600, "{way}");
                made
            };
            drop(make());
            assert_eq!(count(), 2, "{way}: left behind when dropped");
            make().finish(Path::new("d")).unwrap_err();
            assert_eq!(count(), 2, "{way}: left behind when it cannot be named");
            let (one, two) = (make(), make());
            one.file().set_len(1).unwrap();
            one.finish(Path::new("a")).unwrap();
            two.finish(Path::new("b")).unwrap();
            assert_eq!(count(), 3, "{way}");
            let found = dir.metadata("a").unwrap();
            assert_eq!((found.len(), found.mode()), (1, 0o100600), "{way}");
        }
    }
}
