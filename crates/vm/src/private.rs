//! Files and directories for their owner alone: what a boot leaves may hold secrets.
//!
//! The mode is given at creation, so nobody else can open them even for a moment; a umask can only take
//! more away.

use std::io;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, File, OpenOptions, OpenOptionsExt};

/// Mode of a file.
pub(crate) const FILE: u32 = 0o600;
/// Mode of a program, and of a directory.
pub(crate) const PROGRAM: u32 = 0o700;

/// Opens a file that is not there yet.
pub(crate) fn create(dir: &Dir, path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    dir.open_with(path, options.write(true).create_new(true).mode(mode))
}

/// Opens a file that may be there already, and empties it.
pub(crate) fn create_or_empty(dir: &Dir, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE);
    dir.open_with(path, &options)
}

/// Makes a directory that is not there yet.
pub(crate) fn create_dir(dir: &Dir, path: &Path) -> io::Result<Dir> {
    dir.create_dir_with(path, DirBuilder::new().mode(PROGRAM))?;
    dir.open_dir(path)
}

/// Makes what is not there of a path of directories.
pub(crate) fn create_dir_all(dir: &Dir, path: &Path) -> io::Result<()> {
    dir.create_dir_with(path, DirBuilder::new().recursive(true).mode(PROGRAM))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)] // opens a temporary folder
    use cap_std::ambient_authority;
    use cap_std::fs::MetadataExt;

    use super::*;

    #[test]
    fn widest_umask_gives_nobody_else_access() {
        rustix::process::umask(rustix::fs::Mode::empty());
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        create(&dir, "file".as_ref(), FILE).unwrap();
        create(&dir, "program".as_ref(), PROGRAM).unwrap();
        create_or_empty(&dir, "probe".as_ref()).unwrap();
        create_dir(&dir, "dir".as_ref()).unwrap();
        create_dir_all(&dir, "a/b".as_ref()).unwrap();
        create_dir_all(&dir, "a/c".as_ref()).unwrap();
        create_dir_all(&dir, "".as_ref()).unwrap();
        let names = ["file", "program", "probe", "dir", "a", "a/b", "a/c"];
        let mode = |name| dir.metadata(name).unwrap().mode();
        let found = names.map(|name| format!("{name} {:o}\n", mode(name)));
        insta::assert_snapshot!(found.concat(), @"
        file 100600
        program 100700
        probe 100600
        dir 40700
        a 40700
        a/b 40700
        a/c 40700
        ");
    }
}
