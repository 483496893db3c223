//! Paths: rules, links, limits; and a deployment that does not run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pleach_booted_state::model::{PathEntry, PathType};
use pleach_booted_state::{
    CaptureOptions, Look, PathRule, Section, SectionName, Snapshot, Status, compare, static_view,
};

use crate::fake::Root;

fn rule(path: &str, look: Look) -> PathRule {
    PathRule {
        path: path.to_owned(),
        look,
        reason: "test".to_owned(),
    }
}

fn options(rules: &[PathRule]) -> CaptureOptions {
    CaptureOptions {
        path_rules: rules.to_vec(),
        ..CaptureOptions::default()
    }
}

/// The view of a root in which nothing is mounted elsewhere.
fn view(root: &Root, rules: &[PathRule]) -> Snapshot {
    root.directory("etc", 0o755);
    root.directory("var", 0o755);
    static_view(
        &root.dir("."),
        &root.dir("etc"),
        &root.dir("var"),
        &options(rules),
    )
    .expect("a view")
}

fn line((path, entry): (&String, &PathEntry)) -> String {
    let mut words = vec![
        path.clone(),
        format!("{:?}", entry.path_type),
        entry.mode.to_string(),
    ];
    words.extend(entry.size.map(|size| format!("size={size}")));
    words.extend(entry.digest.as_ref().map(|digest| digest[..11].to_owned()));
    words.extend(entry.target.as_ref().map(|target| format!("-> {target}")));
    words.extend(entry.hard_link.as_ref().map(|other| format!("= {other}")));
    words.extend(entry.unlisted.map(|why| format!("{why:?}")));
    words.join(" ")
}

fn lines(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .paths
        .entries()
        .expect("paths")
        .iter()
        .map(line)
        .collect()
}

#[test]
fn looks() {
    let root = Root::new();
    root.file("etc/a/file", "x", 0o640);
    let check = |look: Look, expect: &[&str]| {
        let found = lines(&view(&root, &[rule("/etc/a", look)]));
        assert_eq!(found, expect, "{look:?}");
    };
    let directory = "/etc/a Directory 0755";
    check(
        Look::Digest,
        &[directory, "/etc/a/file File 0640 size=1 sha256:2d71"],
    );
    check(Look::Size, &[directory, "/etc/a/file File 0640 size=1"]);
    check(Look::Metadata, &[directory, "/etc/a/file File 0640"]);
    check(Look::Entries, &[directory, "/etc/a/file File 0640"]);
    check(Look::Node, &[]);
    let found = lines(&view(
        &root,
        &[rule("/etc", Look::Digest), rule("/etc/a", Look::Node)],
    ));
    assert_eq!(found, ["/etc Directory 0755", "/etc/a Directory 0755 Rule"]);
}

#[test]
fn the_default_rules() {
    let root = Root::new();
    for file in [
        "etc/passwd",
        "var/home/alice/.bashrc",
        "var/roothome/.profile",
        "var/usrlocal/bin/tool",
        "var/log/messages",
        "var/log/journal/id/system.journal",
        "var/tmp/random",
        "var/lib/containers/storage/layer",
        "var/lib/app/state",
        "usr/bin/su",
        "usr/etc/passwd",
        "boot/vmlinuz",
    ] {
        root.file(file, "x", 0o644);
    }
    root.link("home", "var/home");
    root.link("root", "/var/roothome");
    root.link("usr/local", "../var/usrlocal");
    let snapshot = view(&root, &PathRule::paths());
    let text = |lines: Vec<String>| lines.join("\n").replace(" 0755", "").replace(" 0644", "");
    insta::assert_snapshot!(text(lines(&snapshot)), @r##"
    / Directory
    /boot Directory Rule
    /etc Directory
    /etc/passwd File size=1 sha256:2d71
    /home Symlink 0777 -> var/home
    /root Symlink 0777 -> /var/roothome
    /usr Directory Rule
    /var Directory
    /var/home Directory
    /var/home/alice Directory
    /var/home/alice/.bashrc File size=1 sha256:2d71
    /var/lib Directory
    /var/lib/app Directory
    /var/lib/app/state File size=1 sha256:2d71
    /var/lib/containers Directory Rule
    /var/log Directory
    /var/log/journal Directory Rule
    /var/log/messages File
    /var/roothome Directory
    /var/roothome/.profile File size=1 sha256:2d71
    /var/tmp Directory Rule
    /var/usrlocal Directory
    /var/usrlocal/bin Directory
    /var/usrlocal/bin/tool File size=1 sha256:2d71
    "##);
    let usr: Vec<String> = snapshot
        .usr
        .entries()
        .expect("usr")
        .iter()
        .map(line)
        .collect();
    insta::assert_snapshot!(text(usr), @r##"
    /usr Directory
    /usr/bin Directory
    /usr/bin/su File size=1
    /usr/etc Directory Rule
    /usr/local Symlink 0777 -> ../var/usrlocal
    "##);
}

#[test]
fn a_directory_where_others_have_a_link() {
    let root = Root::new();
    root.file("usr/local/bin/tool", "x", 0o755);
    let found = lines(&view(&root, &PathRule::paths()));
    assert!(
        found.contains(&"/usr/local/bin/tool File 0755 size=1 sha256:2d71".to_owned()),
        "{found:#?}"
    );
}

#[test]
fn links_are_read_and_not_followed() {
    let root = Root::new();
    root.link("etc/out", "/../../../../etc/passwd");
    root.link("etc/loop", "loop");
    root.link("etc/dir", "/usr");
    root.file("usr/x", "x", 0o644);
    let found = lines(&view(&root, &[rule("/etc", Look::Digest)]));
    assert_eq!(
        found,
        [
            "/etc Directory 0755",
            "/etc/dir Symlink 0777 -> /usr",
            "/etc/loop Symlink 0777 -> loop",
            "/etc/out Symlink 0777 -> /../../../../etc/passwd",
        ]
    );
}

#[test]
fn a_rule_behind_a_link_stays_inside() {
    let root = Root::new();
    root.link("home", "../../../../../../../../var/home");
    root.file("var/home/a", "x", 0o644);
    let found = lines(&view(&root, &[rule("/home", Look::Digest)]));
    assert_eq!(
        found,
        [
            "/var/home Directory 0755",
            "/var/home/a File 0644 size=1 sha256:2d71"
        ]
    );
    root.link("loop", "loop");
    let error = static_view(
        &root.dir("."),
        &root.dir("etc"),
        &root.dir("var"),
        &options(&[rule("/loop", Look::Digest)]),
    )
    .expect_err("a loop");
    assert_eq!(error.to_string(), "resolve /loop");
}

#[test]
fn all_kinds_of_inodes() {
    let root = Root::new();
    root.file("etc/a", "x", 0o4755);
    std::fs::hard_link(root.path("etc/a"), root.path("etc/b")).expect("a hard link");
    std::fs::hard_link(root.path("etc/a"), root.path("etc/c")).expect("a hard link");
    root.file("var/d", "x", 0o644);
    std::fs::hard_link(root.path("var/d"), root.path("outside")).expect("a hard link");
    let name = OsStr::from_bytes(b"bad\xff\n");
    std::fs::write(root.path("etc").join(name), "").expect("a file");
    let fifo = Command::new("mkfifo")
        .arg(root.path("etc/fifo"))
        .status()
        .expect("mkfifo");
    assert!(fifo.success());
    let socket = std::os::unix::net::UnixListener::bind(root.path("etc/socket"));
    socket.expect("a socket");
    let rules = [rule("/etc", Look::Digest), rule("/var", Look::Digest)];
    let snapshot = view(&root, &rules);
    let found = lines(&snapshot);
    let kinds: Vec<&str> = found
        .iter()
        .filter(|line| !line.contains("Directory"))
        .map(|line| line.split(" 0").next().unwrap_or_default())
        .collect();
    assert_eq!(
        kinds,
        [
            "/etc/a File 4755 size=1 sha256:2d71 = /etc/b",
            "/etc/b File 4755 size=1 sha256:2d71 = /etc/a",
            "/etc/bad\\xff\\n File",
            "/etc/c File 4755 size=1 sha256:2d71 = /etc/a",
            "/etc/fifo Fifo",
            "/etc/socket Socket",
            "/var/d File",
        ]
    );
    let entry = snapshot.paths.get("/var/d").expect("a path");
    assert_eq!(
        entry.hard_link, None,
        "its other name is nowhere that is looked at"
    );
    assert_eq!((entry.uid, entry.gid), (root.uid(), root.gid()));
    assert_eq!(entry.path_type, PathType::File);
}

#[test]
fn extended_attributes_of_files_directories_and_none() {
    let root = Root::new();
    root.file("etc/a", "x", 0o644);
    let long = vec![b'v'; 1000];
    for (path, value) in [("etc/a", &b"\0\xffx"[..]), ("etc", &long)] {
        rustix::fs::setxattr(
            root.path(path),
            "user.note",
            value,
            rustix::fs::XattrFlags::empty(),
        )
        .expect("the file system of the temporary directory has user attributes");
    }
    root.link("etc/link", "a");
    let snapshot = view(&root, &[rule("/etc", Look::Digest)]);
    let note = |path: &str| {
        let entry = snapshot.paths.get(path).expect(path);
        entry.xattrs.get("user.note").map(String::as_str)
    };
    assert_eq!(note("/etc/a"), Some("\\x00\\xffx"));
    assert_eq!(note("/etc").map(str::len), Some(1000));
    assert_eq!(note("/etc/link"), None);
}

#[test]
fn limits_are_errors() {
    let root = Root::new();
    root.file("etc/a/b/c/d", "x", 0o644);
    root.directory("var", 0o755);
    let check = |change: fn(&mut CaptureOptions), expect: &str| {
        let mut options = options(&[rule("/etc", Look::Digest)]);
        change(&mut options);
        let view = static_view(&root.dir("."), &root.dir("etc"), &root.dir("var"), &options);
        assert_eq!(view.expect_err(expect).to_string(), expect);
    };
    check(|o| o.max_entries = 3, "/etc/a/b/c: more than 3 entries");
    check(
        |o| o.max_depth = 2,
        "/etc/a/b: more than 2 levels of directories",
    );
}

#[test]
fn a_deployment_that_does_not_run() {
    let (deployment, state) = (Root::new(), Root::new());
    deployment.file("usr/bin/su", "x", 0o4755);
    deployment.file("etc/not-this-one", "x", 0o644);
    deployment.directory("var", 0o755);
    deployment.link("root", "var/roothome");
    state.file("etc/passwd", "x", 0o644);
    state.file("var/roothome/.profile", "x", 0o644);
    let mut options = CaptureOptions {
        usr_rules: PathRule::usr_with_digests(),
        ..CaptureOptions::default()
    };
    let view = |options: &CaptureOptions| {
        static_view(
            &deployment.dir("."),
            &state.dir("etc"),
            &state.dir("var"),
            options,
        )
        .expect("a view")
    };
    let with_digests = view(&options);
    let paths: Vec<&String> = with_digests
        .paths
        .entries()
        .expect("paths")
        .keys()
        .collect();
    assert_eq!(
        paths,
        [
            "/",
            "/etc",
            "/etc/passwd",
            "/root",
            "/usr",
            "/var",
            "/var/roothome",
            "/var/roothome/.profile",
        ]
    );
    for (name, status) in with_digests.statuses() {
        let captured = matches!(name, SectionName::Paths | SectionName::Usr);
        assert_eq!(status != Status::NotCaptured, captured, "{name}");
    }
    assert_eq!(compare(&with_digests, &view(&options)), []);

    // A guest has no digests of /usr; the host's count only for what is otherwise the same.
    options.usr_rules = PathRule::usr();
    let mut guest = view(&options);
    assert_eq!(compare(&guest, &with_digests).len(), 1);
    assert_eq!(guest.take_usr_digests(&with_digests), 1);
    assert_eq!(compare(&guest, &with_digests), []);
    let mut other = view(&options);
    for entry in other.usr.entries_mut().expect("usr").values_mut() {
        entry.mode.0 = 0o755;
    }
    assert_eq!(other.take_usr_digests(&with_digests), 0);
}

#[test]
fn the_defaults_of_etc_are_captured_where_asked_for() {
    let (deployment, state) = (Root::new(), Root::new());
    deployment.file("usr/etc/passwd", "root", 0o644);
    state.directory("etc", 0o755);
    state.directory("var", 0o755);
    let view = |etc_defaults| {
        let options = CaptureOptions {
            etc_defaults,
            ..CaptureOptions::default()
        };
        let (etc, var) = (state.dir("etc"), state.dir("var"));
        static_view(&deployment.dir("."), &etc, &var, &options).expect("a view")
    };
    assert_eq!(view(false).etc_defaults, Section::NotCaptured);
    let with = view(true);
    let entries = with.etc_defaults.entries().expect("entries");
    let paths: Vec<&String> = entries.keys().collect();
    assert_eq!(paths, ["/usr/etc", "/usr/etc/passwd"]);
    assert!(entries["/usr/etc/passwd"].digest.is_some());
    // A capture from before there was such a section.
    let json = String::from_utf8(with.to_json()).expect("text");
    let mut value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    value
        .as_object_mut()
        .expect("an object")
        .remove("etc_defaults");
    let old = Snapshot::from_json(value.to_string().as_bytes()).expect("a snapshot");
    assert_eq!(old.etc_defaults, Section::NotCaptured);
    assert_eq!(old.paths, with.paths);
}
