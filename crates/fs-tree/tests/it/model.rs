use pleach_fs_tree::{
    Device, Inode, Kind, Metadata, Name, Timestamp, Tree, TreePath, diff, dump, escape, parse_dump,
    unescape,
};
use proptest::prelude::*;

use crate::{path, show, tree};

#[test]
fn paths_are_normal_or_refused() {
    let check = |input: &[u8], expect: Result<&str, &str>| {
        let got = TreePath::new(input)
            .map(|p| p.to_string())
            .map_err(|e| e.to_string());
        let expect = expect.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(got, expect, "TreePath::new({:?})", escape(input));
    };
    check(b"", Ok("/"));
    check(b"/", Ok("/"));
    check(b"etc/passwd", Ok("/etc/passwd"));
    check(b"/etc/passwd", Ok("/etc/passwd"));
    check(b"a\xff\n b", Ok("/a\\xff\\n b"));
    check(b"...", Ok("/..."));
    check(b"a//b", Err("empty component in path \"a//b\""));
    check(b"a/", Err("empty component in path \"a/\""));
    check(b"//a", Err("empty component in path \"//a\""));
    let dots = "a path inside a tree has neither . nor ..";
    check(
        b"a/../b",
        Err(&format!("component \"..\" in path \"a/../b\": {dots}")),
    );
    check(
        b"./a",
        Err(&format!("component \".\" in path \"./a\": {dots}")),
    );
    check(b"a\0b", Err("NUL byte in path \"a\\\\x00b\""));
}

#[test]
fn a_walk_is_sorted_like_paths() {
    let tree = tree(
        "/ directory 0755 0:0 0.0
         /a directory 0755 0:0 0.0
         /a-b file 0644 0:0 0.0 -
         /a/b file 0644 0:0 0.0 -
         /b hardlink /a/b",
    );
    let paths: Vec<_> = tree.walk().map(|(path, _)| path).collect();
    let mut sorted = paths.clone();
    sorted.sort();
    assert_eq!(paths, sorted);
    assert_eq!(format!("{paths:?}"), r#"["/", "/a", "/a/b", "/a-b", "/b"]"#);
    assert_eq!(
        format!("{:?}", tree.hard_links().values()),
        r#"[["/a/b", "/b"]]"#
    );
}

#[test]
fn links_are_resolved_inside_the_tree() {
    let tree = tree(
        "/ directory 0755 0:0 0.0
         /abs symlink 0777 0:0 0.0 /usr/lib
         /bin symlink 0777 0:0 0.0 usr/bin
         /broken symlink 0777 0:0 0.0 nowhere/at/all
         /file file 0644 0:0 0.0 -
         /home symlink 0777 0:0 0.0 var/home
         /loop symlink 0777 0:0 0.0 loop2
         /loop2 symlink 0777 0:0 0.0 loop
         /out symlink 0777 0:0 0.0 ../../../usr
         /usr directory 0755 0:0 0.0
         /usr/bin directory 0755 0:0 0.0
         /usr/bin/sh symlink 0777 0:0 0.0 dash
         /usr/local symlink 0777 0:0 0.0 ../var/usrlocal
         /var directory 0755 0:0 0.0
         /via-file symlink 0777 0:0 0.0 file/x",
    );
    let check = |input: &str, follow_last: bool, expect: &str| {
        let got = match tree.resolve(&path(input), follow_last) {
            Ok(path) => path.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect, "resolve({input:?}, {follow_last})");
    };
    check("/bin/sh", false, "/usr/bin/sh");
    check("/bin/sh", true, "/usr/bin/dash");
    check("/home", false, "/home");
    check("/home", true, "/var/home");
    check(
        "/home/alice/.ssh/authorized_keys",
        false,
        "/var/home/alice/.ssh/authorized_keys",
    );
    check("/usr/local/bin/x", false, "/var/usrlocal/bin/x");
    check("/abs/x", false, "/usr/lib/x");
    check("/out/bin", false, "/usr/bin");
    check("/broken/x", true, "/nowhere/at/all/x");
    check("/loop", false, "/loop");
    check("/loop", true, "/loop: more than 40 symbolic links");
    check("/loop/x", false, "/loop/x: more than 40 symbolic links");
    check("/file/x", false, "/file/x: /file is not a directory");
    check("/via-file", true, "/via-file: /file is not a directory");
    check("/", true, "/");
}

#[test]
fn changes_that_cannot_be_made_say_where() {
    let file = || Inode::file(Metadata::with_mode(0o644), Vec::new());
    let check = |at: &str, expect: &str| {
        let mut tree = tree(
            "/ directory 0755 0:0 0.0
             /d directory 0755 0:0 0.0
             /f file 0644 0:0 0.0 x",
        );
        let got = tree
            .put(&path(at), file())
            .map(|_| show(&tree))
            .unwrap_or_else(|e| e.to_string());
        assert_eq!(got.lines().last(), Some(expect), "put a file at {at}");
    };
    check("/f", "/f file 0644 0:0 0.0 -");
    check("/d", "/f file 0644 0:0 0.0 x");
    check("/g", "/g file 0644 0:0 0.0 -");
    check("/f/x", "/f: not a directory");
    check("/no/x", "/no: no such directory in the tree");
    check("/", "/: the root is a directory");
}

#[test]
fn a_difference_names_each_attribute() {
    let base = "/ directory 0755 0:0 0.0
                /d directory 0755 0:0 0.0
                /d/f file 0644 0:0 1.0 x user.a=1
                /l symlink 0777 0:0 0.0 t";
    let check = |other: &str, expect: &str| {
        let (a, b) = (tree(base), tree(other));
        let lines: Vec<_> = diff(&a, &b, |x, y| x == y)
            .into_iter()
            .map(|d| match d.kinds {
                pleach_fs_tree::Kinds::OnlyLeft(_) => format!("-{}", d.path),
                pleach_fs_tree::Kinds::OnlyRight(_) => format!("+{}", d.path),
                pleach_fs_tree::Kinds::Both(_, _, c) => {
                    let flags = [
                        (c.node_type, "type"),
                        (c.content, "content"),
                        (c.mode, "mode"),
                        (c.uid, "uid"),
                        (c.gid, "gid"),
                        (c.mtime, "mtime"),
                        (!c.xattrs.is_empty(), "xattrs"),
                        (c.hard_links, "links"),
                    ];
                    let on = flags.iter().filter(|f| f.0).map(|f| f.1);
                    format!("{}:{}", d.path, on.collect::<Vec<_>>().join(","))
                }
            })
            .collect();
        assert_eq!(lines.join(" "), expect, "against\n{other}");
    };
    check(base, "");
    check(
        &base.replace("0644", "0600").replace(" x ", " y "),
        "/d/f:content,mode",
    );
    check(&base.replace("user.a=1", "user.a=2"), "/d/f:xattrs");
    check(&base.replace("user.a=1", ""), "/d/f:xattrs");
    check(&base.replace("1.0", "1.1"), "/d/f:mtime");
    check(&base.replace("0:0 1.0", "1:2 1.0"), "/d/f:uid,gid");
    check(&base.replace("0.0 t", "0.0 u"), "/l:content");
    check(
        "/ directory 0755 0:0 0.0\n/l symlink 0777 0:0 0.0 t",
        "-/d -/d/f",
    );
    check(&format!("{base}\n/m hardlink /d/f"), "/d/f:links +/m");
    check(
        &base.replace("/l symlink 0777 0:0 0.0 t", "/l fifo 0777 0:0 0.0"),
        "/l:type",
    );
}

/// Any small tree, with names that sort badly and bytes that print badly.
pub(crate) fn any_tree() -> impl Strategy<Value = Tree<Vec<u8>>> {
    let name = prop::sample::select(vec![
        b"a".to_vec(),
        b"a-b".to_vec(),
        b"b".to_vec(),
        b"c d".to_vec(),
        b"\xff".to_vec(),
        b"-".to_vec(),
        b"x\\n=\n".to_vec(),
    ]);
    let bytes = || prop::collection::vec(any::<u8>(), 0..8);
    let target = prop::collection::vec(1u8..=255, 1..8);
    let metadata = (
        0u16..0o10000,
        0u32..70000,
        0u32..70000,
        -5i64..5_000_000_000,
        0u32..1_000_000_000,
        prop::option::of(bytes()),
    );
    let metadata = metadata.prop_map(|(mode, uid, gid, seconds, nanoseconds, xattr)| Metadata {
        mode,
        uid,
        gid,
        mtime: Timestamp {
            seconds,
            nanoseconds,
        },
        xattrs: xattr
            .into_iter()
            .map(|v| (b"user.k".as_slice().into(), v.into()))
            .collect(),
    });
    let kind = prop_oneof![
        3 => bytes().prop_map(Kind::File),
        2 => Just(Kind::Directory(Default::default())),
        1 => target.prop_map(|t| Kind::Symlink(t.into())),
        1 => Just(Kind::Fifo),
        1 => (1u32..200, 0u32..200).prop_map(|(major, minor)| Kind::CharDevice(Device { major, minor })),
    ];
    let entry = (
        prop::collection::vec(name, 1..4),
        metadata,
        kind,
        any::<bool>(),
    );
    prop::collection::vec(entry, 0..12).prop_map(|entries| {
        let mut tree = Tree::new(Metadata::with_mode(0o755));
        let mut last = None;
        for (path, metadata, kind, link) in entries {
            let path = TreePath::new(path.join(&b'/')).expect("plain names");
            let parent = path.parent().unwrap_or_default();
            let Ok(parent) = tree.make_directories(&parent, &Metadata::with_mode(0o700)) else {
                continue;
            };
            let name = path.file_name().expect("not the root");
            if tree.child(parent, name.as_bytes()).is_some() {
                continue;
            }
            match last {
                Some(target) if link => tree.link(target, parent, name).expect("a file"),
                _ => {
                    // A symbolic link cannot carry user.* attributes (xattr(7)), nor can a device.
                    let plain = matches!(kind, Kind::File(_) | Kind::Directory(_));
                    let mut inode = Inode { metadata, kind };
                    if !plain {
                        inode.metadata.xattrs.clear();
                    }
                    if matches!(inode.kind, Kind::Symlink(_)) {
                        inode.metadata.mode = 0o777;
                    }
                    let is_directory = inode.entries().is_some();
                    let id = tree.insert(parent, name, inode).expect("a directory");
                    last = (!is_directory).then_some(id);
                }
            }
        }
        tree
    })
}

proptest! {
    #[test]
    fn escaping_is_reversible_and_printable(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let text = escape(&bytes);
        prop_assert!(!text.chars().any(char::is_control));
        prop_assert_eq!(unescape(&text).unwrap(), bytes);
    }

    #[test]
    fn reading_a_dump_gives_the_tree(tree in any_tree()) {
        let text = show(&tree);
        let again = parse_dump(&text, Some).unwrap();
        prop_assert_eq!(show(&again), text);
        prop_assert_eq!(diff(&tree, &again, |a, b| a == b), vec![]);
    }

    #[test]
    fn unreadable_dumps_are_errors_not_panics(text in "[/a-z0-9 .:\\\\=\n]{0,60}") {
        let _ = parse_dump(&text, Some);
    }

    #[test]
    fn a_resolved_path_has_no_link_left(tree in any_tree()) {
        for (path, _) in tree.walk() {
            if let Ok(resolved) = tree.resolve(&path, true) {
                let mut here = TreePath::root();
                for component in resolved.components() {
                    here = here.join(&Name::new(component).unwrap());
                    let link = matches!(tree.get(&here).map(|i| &i.kind), Some(Kind::Symlink(_)));
                    prop_assert!(!link, "{} in {}", here, dump(&tree, Clone::clone));
                }
            }
        }
    }
}
