use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pleach_deployment::{
    CommitMetadata, CommitOptions, Error, ImageMetadata, Sysroot, TreeLimits, UnstorableKind,
};

use crate::support::{
    CAPABILITY, REF, Scratch, TIMESTAMP, can_run, commit, directory, listing, ostree, ostree_admin,
    run, set_xattr, write,
};

#[test]
fn init_is_understood_by_ostree() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let path = scratch.path("sysroot");
    assert_eq!(ostree_admin(&path, &["status"]), "No deployments.\n");
    assert_eq!(ostree(&path, &["config", "get", "core.mode"]), "bare\n");
    assert_eq!(sysroot.stateroots().unwrap(), ["os"]);
    assert_eq!(sysroot.deployments().unwrap(), []);
    assert_eq!(sysroot.boot_entries().unwrap(), []);
    let tree = run(Command::new("find")
        .arg(&path)
        .args(["-maxdepth", "3", "-not", "-path", "*/repo/*"])
        .args(["-printf", "%m %P\\n"]));
    let mut lines: Vec<_> = tree.lines().collect();
    lines.sort_unstable();
    let expect = [
        "755 ",
        "755 boot",
        "755 ostree",
        "755 ostree/deploy",
        "755 ostree/deploy/os",
        "755 ostree/repo",
    ];
    assert_eq!(lines, expect);

    Sysroot::init(&scratch.dir("sysroot")).expect("init again opens it");
    Sysroot::open(&scratch.dir("sysroot")).unwrap();
    let error = Sysroot::open(&scratch.dir("empty"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("open sysroot: "), "{error}");
    let error = sysroot.init_stateroot("os").unwrap_err().to_string();
    assert!(
        error.starts_with("create directory \"ostree/deploy/os\": File exists"),
        "{error}"
    );
}

#[test]
fn stateroot_names() {
    if !can_run(&[]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    for bad in ["", ".", "..", "a/b", "a b", ".a", "\u{e9}", "a\n"] {
        let error = sysroot.init_stateroot(bad).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Invalid {
                    what: "stateroot",
                    ..
                }
            ),
            "{bad:?}: {error}"
        );
    }
    for good in ["default", "a-b_c.9"] {
        sysroot.init_stateroot(good).unwrap();
    }
}

/// `ostree ls -R -X` tells each path's type, mode, owner, size, xattrs and link target.
#[test]
fn all_metadata_is_in_the_commit() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    let before = listing(&scratch.path("tree"));
    commit(&sysroot, &tree);
    assert_eq!(
        listing(&scratch.path("tree")),
        before,
        "the source was changed"
    );

    let list = ostree(&scratch.path("sysroot"), &["ls", "-R", "-X", REF]);
    let capability: String = CAPABILITY.map(|b| format!("0x{b:02x}")).join(", ");
    #[rustfmt::skip]
    let expect = [
        "d00755 0 0      0 { @a(ayay) [] } /".to_owned(),
        "-04755 0 0      2 { @a(ayay) [] } /usr/bin/su".into(),
        "-04755 0 0      2 { @a(ayay) [] } /usr/bin/su-again".into(),
        "-02755 0 5      4 { @a(ayay) [] } /usr/bin/wall".into(),
        format!("-00755 0 0      4 {{ [(b'security.capability', [byte {capability}])] }} /usr/bin/ping"),
        "d00755 0 0      0 { [(b'user.dir', [byte 0x64])] } /usr/share".into(),
        "-00444 1000 1000      0 { [(b'user.note', [byte 0x61, 0x00, 0x62])] } /usr/share/note".into(),
        "-00444 1000 1000      0 { @a(ayay) [] } /usr/share/empty".into(),
        "-00644 0 0      3 { @a(ayay) [] } /usr/share/name with space, \u{e9} and \"".into(),
        "l00777 0 0      0 { @a(ayay) [] } /usr/bin/relative -> ../lib/os-release".into(),
        "l00777 7 8      0 { @a(ayay) [] } /usr/bin/absolute -> /nowhere".into(),
        "-00644 0 0      6 { [(b'user.origin', [byte 0x69, 0x6d, 0x61, 0x67, 0x65])] } /usr/etc/hostname".into(),
        "-00640 0 42      9 { @a(ayay) [] } /usr/etc/shadow".into(),
        "d00750 0 0      0 { @a(ayay) [] } /usr/etc/sudoers.d".into(),
        "l00777 0 0      0 { @a(ayay) [] } /usr/etc/os-release -> ../usr/lib/os-release".into(),
        "d02770 1000 1001      0 { [(b'user.app', [byte 0x31])] } /var/lib/app".into(),
        "d01777 0 0      0 { @a(ayay) [] } /tmp".into(),
        "l00777 0 0      0 { @a(ayay) [] } /ostree -> sysroot/ostree".into(),
    ];
    for line in expect {
        assert!(list.lines().any(|l| l == line), "missing: {line}\n{list}");
    }
    assert!(
        !list
            .lines()
            .any(|l| l.ends_with(" /etc") || l.contains(" /etc/")),
        "/etc is there:\n{list}"
    );
    assert_eq!(list.lines().count(), before.len(), "number of paths");
    ostree(&scratch.path("sysroot"), &["fsck", "--verify-bindings"]);
}

/// The same tree, made twice in different order and with other times, gives the same checksum in two
/// repositories, and the one that the `ostree` program gives.
#[test]
fn the_same_tree_has_the_same_checksum() {
    if !can_run(&["ostree", "cp"]) {
        return;
    }
    let scratch = Scratch::new();
    let (one, two) = (scratch.sysroot("one"), scratch.sysroot("two"));
    let first = commit(&one, &scratch.tree("tree"));
    let copy = scratch.dir("copy");
    // Copied without its times, and with what was last made first.
    for name in [
        "var", "usr", "tmp", "sysroot", "etc", "boot", "dev", "proc", "sys", "run", "ostree",
        "home", "root",
    ] {
        let from = scratch.path("tree").join(name);
        run(Command::new("cp")
            .args(["-R", "-P", "--preserve=mode,ownership,links,xattr"])
            .arg(from)
            .arg(scratch.path("copy")));
    }
    assert_eq!(
        commit(&two, &copy).checksum,
        first.checksum,
        "from a copy, in another repository"
    );
    assert_eq!(
        commit(&one, &copy).checksum,
        first.checksum,
        "in the same repository"
    );

    fs::rename(scratch.path("copy/etc"), scratch.path("copy/usr/etc")).unwrap();
    assert_eq!(
        commit(&two, &copy).checksum,
        first.checksum,
        "with /usr/etc in place of /etc"
    );
    let tree = format!("--tree=dir={}", scratch.path("copy").display());
    ostree(
        &scratch.path("two"),
        &["commit", "-b", "cli", &tree, "-s", ""],
    );
    let root = |r: &str| ostree(&scratch.path("two"), &["ls", "-d", "-C", r, "/"]);
    assert_eq!(
        root("cli"),
        root(REF),
        "directory checksums of the ostree program"
    );
}

/// Labels are those of the final paths (`/etc`, not `/usr/etc`), and what the `ostree` program gives.
#[test]
fn labels_come_from_the_policy_of_the_tree() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    let path = scratch.path("tree");
    let policy = "/.* system_u:object_r:default_t:s0\n\
                  /etc(/.*)? system_u:object_r:etc_t:s0\n\
                  /usr/bin/su -- system_u:object_r:su_exec_t:s0\n";
    let own = (0, 0);
    let contexts = "etc/selinux/small/contexts/files/file_contexts";
    write(&path, contexts, policy.as_bytes(), 0o644, own);
    write(
        &path,
        "etc/selinux/small/policy/policy.33",
        b"x",
        0o644,
        own,
    );
    write(
        &path,
        "etc/selinux/config",
        b"SELINUX=enforcing\nSELINUXTYPE=small\n",
        0o644,
        own,
    );
    set_xattr(
        &path.join("usr/bin/su"),
        "security.selinux",
        b"of another machine\0",
    );
    let first = commit(&sysroot, &tree);
    let label = |name: &str| {
        let list = ostree(&scratch.path("sysroot"), &["ls", "-d", "-X", REF, name]);
        let at = list
            .find("object_r:")
            .unwrap_or_else(|| panic!("no label: {list}"));
        list[at + 9..].split(':').next().unwrap().to_owned()
    };
    for (name, expect) in [
        ("/", "default_t"),
        ("/usr/bin/su", "su_exec_t"),
        ("/usr/bin/su-again", "default_t"),
        ("/usr/bin/wall", "default_t"),
        ("/usr/etc", "etc_t"),
        ("/usr/etc/hostname", "etc_t"),
        ("/usr/etc/os-release", "etc_t"),
    ] {
        assert_eq!(label(name), expect, "{name}");
    }
    fs::rename(path.join("etc"), path.join("usr/etc")).unwrap();
    let again = commit(&sysroot, &tree);
    assert_eq!(
        again.checksum, first.checksum,
        "with /usr/etc in place of /etc"
    );

    let tree = format!("--tree=dir={}", path.display());
    let policy = format!("--selinux-policy={}", path.display());
    let arguments = ["commit", "-b", "cli", &tree, &policy, "-s", ""];
    ostree(&scratch.path("sysroot"), &arguments);
    let list = |r: &str| ostree(&scratch.path("sysroot"), &["ls", "-R", "-X", r]);
    let (ours, theirs) = (list(REF), list("cli"));
    // The program takes `/usr/etc` for a place of its own, and puts a directory's label behind its other
    // attributes, where ours are sorted; all else is the same.
    let exempt = |l: &str| l.contains(" /usr/etc") || l.starts_with('d') && l.contains("b'user.");
    let pairs = ours.lines().zip(theirs.lines());
    let differ: Vec<_> = pairs.filter(|(a, b)| a != b && !exempt(a)).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn each_option_is_in_the_checksum() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    let mut seen = std::collections::BTreeSet::new();
    let edits: [fn(&mut CommitOptions); 6] = [
        |_| {},
        |o| o.timestamp += 1,
        |o| o.subject = "subject".into(),
        |o| o.metadata.version = Some("1".into()),
        |o| o.metadata.image = Some(image()),
        |o| drop(o.metadata.other.insert("key".into(), "value".into())),
    ];
    for edit in edits {
        let mut options = CommitOptions::new(REF, TIMESTAMP);
        edit(&mut options);
        let write = || sysroot.commit_tree(&tree, &options).unwrap().checksum;
        assert_eq!(write(), write(), "{options:?}");
        assert!(seen.insert(write()), "makes no difference: {options:?}");
    }
}

fn image() -> ImageMetadata {
    ImageMetadata {
        manifest_digest: "sha256:00".into(),
        manifest: "{}".into(),
        config: "{\"a\":1}".into(),
    }
}

#[test]
fn metadata_is_where_ostree_ext_looks() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let mut options = CommitOptions::new(REF, TIMESTAMP);
    options.metadata = CommitMetadata {
        version: Some("42".into()),
        image: Some(image()),
        other: [("x.y".into(), "z".into())].into(),
    };
    sysroot
        .commit_tree(&scratch.tree("tree"), &options)
        .unwrap();
    let path = scratch.path("sysroot");
    for (key, value) in [
        ("version", "'42'"),
        ("ostree.manifest-digest", "'sha256:00'"),
        ("ostree.manifest", "'{}'"),
        ("ostree.container.image-config", "'{\"a\":1}'"),
        ("ostree.bootable", "true"),
        ("ostree.linux", "'9.9.9'"),
        ("ostree.ref-binding", "['test/tree']"),
        ("x.y", "'z'"),
    ] {
        let shown = ostree(
            &path,
            &["show", &format!("--print-metadata-key={key}"), REF],
        );
        assert_eq!(shown.trim_end(), value, "{key}");
    }
    let shown = ostree(&path, &["show", REF]);
    assert!(
        shown.contains("Date:  2026-01-01 00:00:00 +0000"),
        "{shown}"
    );

    options
        .metadata
        .other
        .insert("ostree.linux".into(), "mine".into());
    let error = sysroot
        .commit_tree(&scratch.dir("tree"), &options)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "metadata key",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn what_ostree_cannot_store_is_listed_and_refused_or_left_out() {
    if !can_run(&["ostree", "mknod"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    let path = scratch.path("tree");
    for (name, kind, numbers) in [
        ("usr/fifo", "p", &[][..]),
        ("dev/null", "c", &["1", "3"]),
        ("etc/block", "b", &["7", "0"]),
    ] {
        run(Command::new("mknod")
            .arg(path.join(name))
            .arg(kind)
            .args(numbers));
    }
    let socket = std::os::unix::net::UnixListener::bind(path.join("run/socket")).unwrap();
    drop(socket);
    set_xattr(&path.join("usr/bin"), "user.none", b"");
    set_xattr(&path.join("usr/bin/ping"), "user.none", b"");
    let empty = || UnstorableKind::EmptyXattr("user.none".into());
    let expect = [
        ("dev/null", UnstorableKind::CharacterDevice),
        ("etc/block", UnstorableKind::BlockDevice),
        ("run/socket", UnstorableKind::Socket),
        ("usr/bin", empty()),
        ("usr/bin/ping", empty()),
        ("usr/fifo", UnstorableKind::Fifo),
    ];
    let mut options = CommitOptions::new(REF, TIMESTAMP);
    let error = sysroot.commit_tree(&tree, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "6 thing(s) that ostree cannot store, first \"dev/null\" (CharacterDevice)"
    );
    let Error::Unstorable { found: files } = error else {
        panic!("{error}")
    };
    let listed: Vec<_> = files
        .iter()
        .map(|f| (f.path.to_str().unwrap(), f.kind.clone()))
        .collect();
    assert_eq!(listed, expect);

    options.skip_unstorable = true;
    let commit = sysroot.commit_tree(&tree, &options).unwrap();
    assert_eq!(commit.skipped, files);
    let list = ostree(&scratch.path("sysroot"), &["ls", "-R", REF]);
    for name in ["/dev/null", "/usr/etc/block", "/run/socket", "/usr/fifo"] {
        assert!(!list.contains(name), "{name} is in the commit");
    }
    // As if they had never been there.
    let clean = scratch.tree("clean");
    let without = sysroot.commit_tree(&clean, &options).unwrap();
    assert_eq!(without.checksum, commit.checksum);
}

#[test]
fn trees_that_cannot_be_deployed_are_refused() {
    if !can_run(&[]) {
        return;
    }
    #[track_caller]
    fn check(shape: fn(&std::path::Path), expect: &str) {
        let scratch = Scratch::new();
        let sysroot = scratch.sysroot("sysroot");
        let tree = scratch.dir("tree");
        shape(&scratch.path("tree"));
        let mut options = CommitOptions::new(REF, TIMESTAMP);
        options.limits = TreeLimits {
            max_entries: 50,
            max_depth: 5,
        };
        let error = sysroot.commit_tree(&tree, &options).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    fn base(tree: &std::path::Path) {
        directory(tree, "usr", 0o755, (0, 0));
        directory(tree, "etc", 0o755, (0, 0));
    }
    check(|_| {}, "the tree has no directory \"usr\"");
    check(
        |t| directory(t, "usr", 0o755, (0, 0)),
        "the tree has no directory \"etc\"",
    );
    check(
        |t| {
            directory(t, "usr", 0o755, (0, 0));
            write(t, "etc", b"a file", 0o644, (0, 0));
        },
        "the tree has no directory \"etc\"",
    );
    check(
        |t| {
            directory(t, "usr", 0o755, (0, 0));
            directory(t, "elsewhere", 0o755, (0, 0));
            std::os::unix::fs::symlink("elsewhere", t.join("etc")).unwrap();
        },
        "the tree has no directory \"etc\"",
    );
    check(
        |t| {
            base(t);
            directory(t, "usr/etc", 0o755, (0, 0));
        },
        "the tree has both /etc and /usr/etc",
    );
    check(
        |t| {
            base(t);
            fs::write(t.join(OsStr::from_bytes(b"etc/a\xff")), "").unwrap();
        },
        "\"etc/a\\xFF\": the name is not UTF-8, which ostree asks for",
    );
    check(
        |t| {
            base(t);
            std::os::unix::fs::symlink(OsStr::from_bytes(b"a\xff"), t.join("etc/a")).unwrap();
        },
        "\"etc/a\": the link's target is not UTF-8, which ostree asks for",
    );
    check(
        |t| {
            base(t);
            write(t, "usr/.ostree-wh.a", b"", 0o644, (0, 0));
        },
        "\"usr/.ostree-wh.a\": ostree would turn a file of this name into a whiteout",
    );
    check(
        |t| {
            base(t);
            directory(t, "a/a/a/a/a/a/a", 0o755, (0, 0));
        },
        "\"a/a/a/a/a/a\": more than max_depth = 5",
    );
    check(
        |t| {
            base(t);
            (0..49).for_each(|i| directory(t, &format!("usr/d{i}"), 0o755, (0, 0)));
        },
        "\"usr\": more than max_entries = 50",
    );
}

/// A commit that fails leaves the branch as it was, and nothing half-written for fsck to find.
#[test]
fn a_failed_commit_leaves_the_branch() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    let first = commit(&sysroot, &tree);
    tree.write("usr/new", "x").unwrap();
    tree.create_dir("zz").unwrap();
    tree.write("zz/.ostree-wh.a", "x").unwrap();
    let options = CommitOptions::new(REF, TIMESTAMP);
    sysroot.commit_tree(&tree, &options).unwrap_err();
    let path = scratch.path("sysroot");
    assert_eq!(
        ostree(&path, &["rev-parse", REF]).trim_end(),
        first.checksum.as_str()
    );
    ostree(&path, &["fsck"]);
    tree.remove_dir_all("zz").unwrap();
    let second = commit(&sysroot, &tree);
    assert_ne!(first.checksum, second.checksum);
}

/// Another user cannot store owners; the error says what to do.
#[test]
fn without_root() {
    if !can_run(&["setpriv", "cp"]) {
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.path("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    run(Command::new("chmod").arg("755").arg(scratch.path(".")));
    let output = run(Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "--ignored", "--nocapture", "commit::as_nobody"]));
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
#[ignore = "run by `without_root` as another user"]
fn as_nobody() {
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let options = CommitOptions::new(REF, TIMESTAMP);
    let error = sysroot
        .commit_tree(&scratch.dir("tree"), &options)
        .unwrap_err();
    assert!(matches!(error, Error::NotRoot { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("unshare --user --map-auto --map-root-user"),
        "{error}"
    );
}
