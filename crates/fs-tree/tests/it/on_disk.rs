use std::io::{self, Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{
    ContentSource, Digest, FileContent, MaterializeOptions, ScanOptions, Tree, diff, dump,
    materialize, materialize_parallel, scan, scan_readable, write_all,
};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags, XattrFlags};

use crate::model::any_tree;
use crate::{show, tree};

fn scratch() -> (tempfile::TempDir, Dir) {
    let keep = tempfile::tempdir().expect("a temporary directory");
    let dir = Dir::open_ambient_dir(keep.path(), ambient_authority()).expect("just made");
    (keep, dir)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn options() -> MaterializeOptions {
    MaterializeOptions {
        owner: is_root(),
        devices: is_root(),
        ..Default::default()
    }
}

fn write(tree: &Tree<Vec<u8>>, dir: &Dir) {
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    materialize(tree, dir, &mut source, &options()).unwrap_or_else(|e| panic!("{e:?}"));
}

/// Three threads, whose source gives contents as files without a name, in `spool`, where it can.
fn write_parallel(tree: &Tree<Vec<u8>>, dir: &Dir, spool: &Dir) {
    let options = MaterializeOptions {
        threads: 3,
        ..options()
    };
    let source = || Unnamed(spool);
    materialize_parallel(tree, dir, source, &options).unwrap_or_else(|e| panic!("{e:?}"));
}

struct Unnamed<'a>(&'a Dir);

impl ContentSource<Vec<u8>> for Unnamed<'_> {
    fn open(&mut self, content: &Vec<u8>) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Cursor::new(content.clone())))
    }

    fn take(&mut self, content: &Vec<u8>) -> Option<OwnedFd> {
        // Of those that are left the bytes are asked for.
        let odd = content.len() % 2 == 1;
        odd.then(|| {
            let flags = OFlags::RDWR | OFlags::TMPFILE;
            let fd = rustix::fs::openat(self.0, ".", flags, Mode::RUSR | Mode::WUSR).unwrap();
            write_all(fd.as_fd(), content).unwrap();
            fd
        })
    }
}

#[test]
fn a_scan_reads_what_is_there_and_follows_nothing() {
    let (keep, dir) = scratch();
    dir.create_dir("d").unwrap();
    dir.write("d/f", "hello").unwrap();
    dir.hard_link("d/f", &dir, "g").unwrap();
    std::os::unix::fs::symlink("/etc", keep.path().join("etc")).unwrap();
    rustix::fs::mknodat(&dir, "pipe", rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = UnixListener::bind(keep.path().join("socket")).unwrap();
    let options = ScanOptions::default();
    let names: Vec<_> = scan(&dir, &options)
        .unwrap()
        .walk()
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(names, ["/", "/d", "/d/f", "/etc", "/g", "/pipe", "/socket"]);

    let tree = scan(&dir, &options).unwrap();
    assert_eq!(tree.hard_links().len(), 1);
    let shown = dump(&tree, |c| {
        format!("{} {}", c.size, c.digest.unwrap()).into_bytes()
    });
    let line = shown
        .lines()
        .find(|l| l.starts_with("/d/f file"))
        .expect("the file");
    let digest = Digest::of(b"hello").to_string();
    assert!(line.contains(&digest) && line.contains("5\\x20"), "{line}");
}

#[test]
fn limits_are_errors_that_name_the_place() {
    let (_keep, dir) = scratch();
    dir.create_dir_all("a/b/c").unwrap();
    let check = |options: ScanOptions, expect: &str| {
        let got = scan(&dir, &options)
            .map(|_| "fine".to_owned())
            .unwrap_or_else(|e| e.to_string());
        assert_eq!(got, expect);
    };
    check(
        ScanOptions {
            max_depth: 4,
            max_entries: 4,
            ..Default::default()
        },
        "fine",
    );
    check(
        ScanOptions {
            max_depth: 3,
            ..Default::default()
        },
        "/a/b/c: more than 3 levels of directories",
    );
    check(
        ScanOptions {
            max_entries: 3,
            ..Default::default()
        },
        "/a/b/c: more than 3 entries",
    );
}

#[test]
fn extended_attributes_of_any_size_are_read() {
    let (_keep, dir) = scratch();
    dir.write("f", "").unwrap();
    let file = dir.open("f").unwrap();
    let long = vec![b'x'; 3000];
    rustix::fs::fsetxattr(&file, "user.long", &long, XattrFlags::empty()).unwrap();
    rustix::fs::fsetxattr(&file, "user.empty", b"", XattrFlags::empty()).unwrap();
    let tree = scan(&dir, &ScanOptions::default()).unwrap();
    let (_, id) = tree.walk().nth(1).unwrap();
    let xattrs = &tree.inode(id).metadata.xattrs;
    let sizes: Vec<_> = xattrs
        .iter()
        .map(|(k, v)| (pleach_fs_tree::escape(k), v.len()))
        .collect();
    assert_eq!(
        sizes,
        [("user.empty".to_owned(), 0), ("user.long".to_owned(), 3000)]
    );
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let (_keep, dir) = scratch();
    let (keep_outside, outside) = scratch();
    outside.write("victim", "safe").unwrap();
    std::os::unix::fs::symlink(keep_outside.path(), _keep.path().join("d")).unwrap();
    let tree = tree(
        "/ directory 0755 0:0 0.0
         /d directory 0755 0:0 0.0
         /d/victim file 0644 0:0 0.0 gone",
    );
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    let error = materialize(&tree, &dir, &mut source, &options()).unwrap_err();
    assert_eq!(error.to_string(), "create /d");
    assert_eq!(outside.read("victim").unwrap(), b"safe");
}

#[test]
fn an_inherited_acl_is_removed() {
    let (_keep, dir) = scratch();
    // Version 2; user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::r-x.
    let entry = |tag: u16, perm: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let none = u32::MAX;
    let acl = [
        2u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 7, 1000),
        entry(4, 5, none),
        entry(16, 7, none),
        entry(32, 5, none),
    ]
    .concat();
    let set = rustix::fs::fsetxattr(&dir, "system.posix_acl_default", &acl, XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        panic!("the temporary directory's file system has no ACLs; set TMPDIR to one that has");
    }
    write(
        &tree("/ directory 0755 0:0 0.0\n/f file 0640 0:0 0.0 secret"),
        &dir,
    );
    let shown = scan(
        &dir,
        &ScanOptions {
            digest: false,
            ..Default::default()
        },
    )
    .unwrap();
    assert!(
        shown
            .walk()
            .all(|(_, id)| shown.inode(id).metadata.xattrs.is_empty())
    );
}

/// What a target passes on to new inodes is set again where the tree says something else.
#[test]
fn what_a_target_passes_on_is_not_kept() {
    if !is_root() {
        eprintln!("SKIP what_a_target_passes_on_is_not_kept: needs root, to set owners");
        return;
    }
    let wanted = tree(
        "/ directory 0755 0:0 0.0
         /d directory 0755 0:0 1.0
         /d/s directory 2755 0:7 1.0
         /d/s/f file 4711 3:7 1.0 f
         /f file 0666 0:0 1.0 x
         /l symlink 0777 0:0 1.0 f
         /m symlink 0777 4:7 1.0 f
         /o file 0644 0:7 1.0 x",
    );
    let (_keep, dir) = scratch();
    rustix::fs::chownat(
        &dir,
        "",
        None,
        Some(rustix::fs::Gid::from_raw(7)),
        rustix::fs::AtFlags::EMPTY_PATH,
    )
    .unwrap();
    rustix::fs::chmodat(
        &dir,
        ".",
        Mode::from_raw_mode(0o2777),
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();
    write(&wanted, &dir);
    let read = scan(&dir, &ScanOptions::default()).unwrap();
    let different = diff(&wanted, &read, |a, b| b.size == a.len() as u64);
    assert!(different.is_empty(), "{different:?}");
}

/// A source that panics ends all workers.
#[test]
fn no_worker_waits_for_one_that_is_gone() {
    let (_keep, dir) = scratch();
    let text = "/ directory 0755 0:0 0.0\n/a directory 0755 0:0 0.0\n/a/f file 0644 0:0 0.0 f";
    let tree = tree(text);
    let options = MaterializeOptions {
        threads: 3,
        ..options()
    };
    let source = || |_: &Vec<u8>| -> io::Result<Cursor<Vec<u8>>> { panic!("on purpose") };
    let write = || materialize_parallel(&tree, &dir, source, &options);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
    assert!(result.is_err(), "the panic is not hidden");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_back(tree in any_tree()) {
        if !is_root() {
            eprintln!("SKIP what_was_written_is_read_back: needs root, to set owners");
            return Ok(());
        }
        let same = |a: &Vec<u8>, b: &FileContent| {
            b.size == a.len() as u64 && b.digest == Some(Digest::of(a))
        };
        for threads in [1, 3] {
            let (_keep, dir) = scratch();
            let (_keep_spool, spool) = scratch();
            match threads {
                1 => write(&tree, &dir),
                _ => write_parallel(&tree, &dir, &spool),
            }
            let again = scan(&dir, &ScanOptions::default()).unwrap();
            let different = diff(&tree, &again, same);
            prop_assert!(different.is_empty(), "{threads} threads: {different:?}\n{}", show(&tree));
        }
    }
}

/// What may be read is read; what may not, others are asked about (`pleach lint` as nobody).
#[test]
fn a_readable_directory_is_scanned_whole() {
    let (_keep, dir) = scratch();
    dir.create_dir_all("a/b").expect("made");
    dir.write("a/b/f", "x").expect("written");
    dir.symlink("b", "a/l").expect("linked");
    let options = ScanOptions {
        digest: false,
        xattrs: false,
        ..ScanOptions::default()
    };
    let (found, skipped) = scan_readable(&dir, &options).expect("scanned");
    assert!(skipped.is_empty(), "{skipped:?}");
    let show = |tree: &Tree<FileContent>| dump(tree, |content| format!("{content:?}").into_bytes());
    assert_eq!(show(&found), show(&scan(&dir, &options).expect("scanned")));
}
