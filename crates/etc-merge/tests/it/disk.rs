//! Trees written to disk and read back.

use std::io::Cursor;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{
    Inode, Kind, MaterializeError, MaterializeOptions, Metadata, ScanOptions, TreePath,
    materialize, scan,
};

use crate::Etc;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Memory, where there is a file system of it that has what a test needs: thousands of syncs are as
/// many seconds elsewhere.
pub(crate) fn scratch() -> tempfile::TempDir {
    let usable = |made: &tempfile::TempDir| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(made.path(), "user.n", b"1", flags).is_ok()
            && rustix::fs::removexattr(made.path(), "user.n").is_ok()
    };
    let memory = tempfile::tempdir_in("/dev/shm").ok().filter(usable);
    let made = memory.map_or_else(tempfile::tempdir, Ok);
    made.expect("a temporary directory")
}

/// Not everybody can set owners and make devices.
pub(crate) fn options() -> MaterializeOptions {
    MaterializeOptions {
        owner: is_root(),
        devices: is_root(),
        ..MaterializeOptions::default()
    }
}

pub(crate) fn open(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

pub(crate) fn write(tree: &Etc, dir: &Dir) -> Result<(), MaterializeError> {
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    materialize(tree, dir, &mut source, &options())
}

/// What is on disk, times and contents too.
pub(crate) fn contents(path: &Path) -> Etc {
    let dir = open(path);
    let scanned = scan(&dir, &ScanOptions::default()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut out = Etc::new(Metadata::default());
    for (at, id) in scanned.walk() {
        let inode = scanned.inode(id);
        let kind = match &inode.kind {
            Kind::Directory(_) => Kind::Directory(Default::default()),
            Kind::File(_) => Kind::File(content(&dir, &at)),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            Kind::Fifo => Kind::Fifo,
            Kind::Socket => Kind::Socket,
            Kind::CharDevice(device) => Kind::CharDevice(*device),
            Kind::BlockDevice(device) => Kind::BlockDevice(*device),
        };
        let metadata = inode.metadata.clone();
        out.put(&at, Inode { metadata, kind })
            .expect("parents come first");
    }
    out
}

/// Opened step by step: a path may be longer than a system call takes.
fn content(dir: &Dir, path: &TreePath) -> Vec<u8> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut at = dir.try_clone().expect("a descriptor");
    let parent = path.parent().expect("a file is not the root");
    for name in parent.components() {
        at = at
            .open_dir(OsStr::from_bytes(name))
            .unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    let name = path.file_name().expect("a file is not the root");
    let read = at.read(OsStr::from_bytes(name.as_bytes()));
    read.unwrap_or_else(|e| panic!("{path}: {e}"))
}
