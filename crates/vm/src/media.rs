//! Brings the files of a boot into the directory of the attempt.

use std::io::{self, Read};

use cap_std::fs::{Dir, File};
use rustix::fs::{Mode, OFlags, ResolveFlags, SeekFrom};

use crate::Error;
use crate::boot::Input;
use crate::error::io_error;
use crate::private;

/// Opens an input without following a symbolic link anywhere on its path.
fn open(input: &Input<'_>) -> Result<File, Error> {
    let shown = input.path.display().to_string();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let fd = rustix::fs::openat2(input.dir, &input.path, flags, Mode::empty(), resolve)
        .map_err(|errno| io_error("open", &shown)(errno.into()))?;
    let file = File::from_std(fd.into());
    let kind = file.metadata().map_err(io_error("stat", &shown))?;
    if !kind.is_file() {
        return Err(Error::Invalid {
            what: "input",
            value: shown,
            rule: "needs to be a regular file",
        });
    }
    Ok(file)
}

/// Makes `name` in `to` a hard link to the input, or a copy where the file systems differ.
///
/// Only for files that are read: both names are one file.
pub(crate) fn link(input: &Input<'_>, to: &Dir, name: &str) -> Result<(), Error> {
    let file = open(input)?;
    if link_same(input, &file, to, name).is_ok() {
        return Ok(());
    }
    copy_file(&file, to, name).map_err(io_error("copy", name))
}

/// As [`link`], but leaves no file where no link can be made.
pub(crate) fn link_only(input: &Input<'_>, to: &Dir, name: &str) -> Result<bool, Error> {
    Ok(link_same(input, &open(input)?, to, name).is_ok())
}

fn link_same(input: &Input<'_>, file: &File, to: &Dir, name: &str) -> io::Result<()> {
    use cap_std::fs::MetadataExt;
    input.dir.hard_link(&input.path, to, name)?;
    let (found, linked) = (file.metadata()?, to.symlink_metadata(name)?);
    if (found.dev(), found.ino()) == (linked.dev(), linked.ino()) {
        return Ok(());
    }
    // The path was resolved twice and meant two files.
    to.remove_file(name)?;
    Err(io::ErrorKind::NotFound.into())
}

/// Makes `name` in `to` a writable copy: a reflink where the file system can, else with the holes kept.
pub(crate) fn copy(input: &Input<'_>, to: &Dir, name: &str) -> Result<(), Error> {
    copy_file(&open(input)?, to, name).map_err(io_error("copy", name))
}

fn copy_file(from: &File, to: &Dir, name: &str) -> io::Result<()> {
    let target = private::create(to, name.as_ref(), private::FILE)?;
    if rustix::fs::ioctl_ficlone(&target, from).is_ok() {
        return Ok(());
    }
    let length = from.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(rustix::io::Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?;
        rustix::fs::seek(from, SeekFrom::Start(start))?;
        rustix::fs::seek(&target, SeekFrom::Start(start))?;
        let copied = io::copy(&mut from.take(end - start), &mut &target)?;
        if copied != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)] // opens a temporary folder
    use std::io::{Seek, Write};
    use std::os::unix::fs::MetadataExt;

    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn copy_keeps_bytes_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let check = |name: &str, pieces: &[(u64, &[u8])], length: u64| {
            let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
            for (at, bytes) in pieces {
                file.seek(io::SeekFrom::Start(*at)).unwrap();
                file.write_all(bytes).unwrap();
            }
            file.set_len(length).unwrap();
            let copied = format!("{name}.copy");
            copy(&Input::new(&dir, name), &dir, &copied).unwrap();
            let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
            assert!(read(name) == read(&copied), "{name}: bytes differ");
            let blocks = |name: &str| {
                std::fs::metadata(folder.path().join(name))
                    .unwrap()
                    .blocks()
            };
            assert!(
                blocks(&copied) <= blocks(name) + 16,
                "{name}: {} blocks of {}",
                blocks(&copied),
                blocks(name)
            );
        };
        check("empty", &[], 0);
        check("hole", &[], 8 << 20);
        check("begin", &[(0, b"begin")], 8 << 20);
        check(
            "middle",
            &[(1 << 20, b"one"), (4 << 20, &[7; 70_000])],
            8 << 20,
        );
        check("end", &[((8 << 20) - 3, b"end")], 8 << 20);
    }

    #[test]
    fn link_is_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        dir.write("a", "x").unwrap();
        link(&Input::new(&dir, "a"), &dir, "b").unwrap();
        let ino = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().ino();
        assert_eq!(ino("a"), ino("b"));
    }

    #[test]
    fn symbolic_links_and_other_types_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        dir.create_dir("d").unwrap();
        dir.write("d/file", "x").unwrap();
        dir.symlink("d", "link").unwrap();
        dir.symlink("d/file", "file").unwrap();
        let check = |path: &str, expect: &str| {
            let found = copy(&Input::new(&dir, path), &dir, "out")
                .unwrap_err()
                .to_string();
            assert!(found.starts_with(expect), "{path}: {found}");
            assert!(!dir.exists("out"), "{path}: left a file");
        };
        check("file", "open file: ");
        check("link/file", "open link/file: ");
        check("../x", "open ../x: ");
        check("missing", "open missing: ");
        check("d", "input \"d\": needs to be a regular file");
        copy(&Input::new(&dir, "d/file"), &dir, "out").unwrap();
        let again = copy(&Input::new(&dir, "d/file"), &dir, "out")
            .unwrap_err()
            .to_string();
        assert!(
            again.starts_with("copy out: "),
            "what is there is kept: {again}"
        );
    }
}
