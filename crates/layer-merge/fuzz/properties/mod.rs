//! What holds for any bytes. The fuzz targets ask it of inputs that they make up, `tests/it/fuzz.rs`
//! of those in `corpus/`: what was found once is a test from then on.

pub(crate) mod archive;
mod blob;
mod documents;
mod index;
mod layers;

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Read;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Kind, Tree, dump};
use pleach_layer_merge::{ContentStore, Error, Limits, MergeOptions, Merged, StoreOptions};

/// Panics when something does not hold for the bytes.
pub(crate) type Property = fn(&[u8]);

/// Every target by its name, which is that of its folder in `corpus/`, too.
pub(crate) const TARGETS: [(&str, Property); 5] = [
    ("archive", archive::archive),
    ("layers", layers::layers),
    ("index", index::index),
    ("documents", documents::documents),
    ("blob", blob::blob),
];

/// Small enough that inputs of a few kilobytes reach every one of them.
fn options() -> MergeOptions {
    let limits = Limits {
        entries: 300,
        path: 600,
        depth: 20,
        link_steps: 2000,
        metadata_record: 4096,
        sparse_extents: 50,
        file: 1 << 20,
        metadata: 1 << 16,
        unpacked: 1 << 22,
        trailing: 2048,
        xattrs: 8,
        xattr_value: 300,
        zstd_window_log: 20,
        ..Limits::default()
    };
    MergeOptions {
        limits,
        ..MergeOptions::default()
    }
}

fn open(path: &std::path::Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}

/// A store whose files have no names, so that one folder does for all inputs.
fn store() -> ContentStore {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap());
    let small = StoreOptions {
        small_file: 64,
        memory: 128,
        ..StoreOptions::default()
    };
    FOLDER.with(|folder| ContentStore::new(&open(folder.path()), &small).unwrap())
}

/// An outcome as text: the whole tree with what is noted, or the error.
fn outcome(merged: &Result<Merged<FileContent>, Error>) -> String {
    match merged {
        Ok(merged) => format!("{}{:?}", show(&merged.tree), merged.notes),
        Err(error) => format!("{error:?}"),
    }
}

fn show<C: Debug>(tree: &Tree<C>) -> String {
    dump(tree, |content| format!("{content:?}").into_bytes())
}

/// A tree is one that could lie on a disk, and keeps within the limits.
fn well_formed(tree: &Tree<FileContent>, limits: &Limits) {
    let mut directories = HashSet::new();
    for (count, (path, id)) in tree.walk().enumerate() {
        assert!(count as u64 <= limits.entries, "{count} paths");
        assert!(path.depth() <= limits.depth, "{path}");
        assert!(path.as_bytes().len() <= limits.path, "{path}");
        for name in path.components() {
            assert!(!matches!(name, b"" | b"." | b".."), "{path}");
            assert!(!name.contains(&0) && !name.contains(&b'/'), "{path}");
            assert!(name.len() <= limits.name, "{path}");
        }
        let inode = tree.inode(id);
        let metadata = &inode.metadata;
        assert!(metadata.mode <= 0o7777, "{path}: {metadata:?}");
        assert!(
            metadata.mtime.nanoseconds < 1_000_000_000,
            "{path}: {metadata:?}"
        );
        assert!(
            metadata.uid != u32::MAX && metadata.gid != u32::MAX,
            "{path}: {metadata:?}"
        );
        assert!(
            metadata.xattrs.len() <= limits.xattrs,
            "{path}: {metadata:?}"
        );
        for (name, value) in &metadata.xattrs {
            assert!(
                !name.is_empty() && !name.contains(&0),
                "{path}: {metadata:?}"
            );
            assert!(name.len() <= limits.xattr_name, "{path}: {metadata:?}");
            assert!(value.len() <= limits.xattr_value, "{path}: {metadata:?}");
            let overlay =
                name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
            assert!(
                !overlay && &**name != b"security.selinux",
                "{path}: {metadata:?}"
            );
        }
        match &inode.kind {
            Kind::Directory(_) => assert!(directories.insert(id), "{path} has two names"),
            Kind::File(content) => assert!(content.size <= limits.file, "{path}: {content:?}"),
            Kind::Symlink(target) => {
                assert!(
                    !target.is_empty() && !target.contains(&0),
                    "{path}: {target:?}"
                );
                assert!(target.len() <= limits.link_target, "{path}: {target:?}");
                assert_eq!(metadata.mode, 0o777, "{path}");
            }
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                assert!(
                    device.major < 1 << 12 && device.minor < 1 << 20,
                    "{path}: {device:?}"
                );
                let whiteout = matches!(inode.kind, Kind::CharDevice(_))
                    && (device.major, device.minor) == (0, 0);
                assert!(!whiteout, "{path} is a whiteout of overlayfs");
            }
            Kind::Fifo => {}
            Kind::Socket => panic!("{path}: no archive has sockets"),
        }
    }
}

/// Gives a few bytes at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = (1 + self.0.len() % 13).min(self.0.len()).min(out.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}
