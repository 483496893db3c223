//! Objects and commits are those of `ostree commit`, and what is checked out is what is unpacked.

use std::collections::BTreeMap;
use std::fs;

use pleach_layer_merge::ErrorClass;
use pleach_layer_merge::ostree::{CommitOptions, Error, ImportOptions, Mode, Value as Metadata};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Place, import, needs_root_and_ostree, ostree, real_commit, timeless};

fn check(title: &str, layers: &[Value]) {
    for mode in [Mode::Bare, Mode::BareUser] {
        let at = format!("{title}, {mode:?}");
        let place = Place::new();
        let image = place.image("image", layers);
        let unpacked = place.unpack(&image, "unpacked");
        let repo = place.repo("repo", mode);
        let options = ImportOptions::default();
        let imported = import(&repo, &image, &options, &CommitOptions::default(), "a/b");
        let (_, commit) = imported.unwrap_or_else(|e| panic!("{at}: {}", crate::full(&e)));

        let (ours, real) = (place.path("repo"), place.path("real"));
        let mode = match mode {
            Mode::Bare => "--mode=bare",
            Mode::BareUser => "--mode=bare-user",
        };
        ostree(&real, &["init", mode]).unwrap();
        assert_eq!(commit.checksum(), real_commit(&real, &unpacked), "{at}");
        let objects = |repo: &std::path::Path| timeless(&repo.join("objects"));
        assert_eq!(objects(&ours), objects(&real), "{at}: objects");
        ostree(&ours, &["fsck", "-q"]).unwrap_or_else(|e| panic!("{at}: {e}"));
        let out = place.path("out");
        ostree(&ours, &["checkout", "a/b", out.to_str().unwrap()]).unwrap();
        assert_eq!(timeless(&out), timeless(&unpacked), "{at}: checked out");
        assert_eq!(
            fs::read_dir(ours.join("tmp")).unwrap().count(),
            1,
            "{at}: tmp"
        );
    }
}

fn many(count: usize, content: impl Fn(usize) -> String) -> Value {
    let file = |n| json!({"path": format!("many/{n}"), "type": "file", "content": content(n)});
    (0..count).map(file).collect()
}

/// Name, attributes with the lengths of their values, size, mode and owner, whether a directory.
type RandomFile = (
    String,
    BTreeMap<String, usize>,
    usize,
    (u32, u32, u32),
    bool,
);

#[test]
fn objects_are_those_of_ostree_commit() {
    needs_root_and_ostree!();
    let capability = "hex:0100000200200000000000000000000000000000";
    let rows: [(&str, Value); 12] = [
        ("nothing", json!([])),
        (
            "empty",
            json!([{"path": "f", "type": "file"}, {"path": "d", "type": "dir"}]),
        ),
        (
            "modes",
            json!([
                {"path": ".", "type": "dir", "mode": "0750", "uid": 5, "gid": 6},
                {"path": "setuid", "type": "file", "mode": "4711", "uid": 1, "content": "x"},
                {"path": "setgid", "type": "file", "mode": "2755", "gid": 9, "content": "x"},
                {"path": "sticky", "type": "dir", "mode": "1777"},
                {"path": "none", "type": "file", "mode": "0000", "content": "y"},
                {"path": "wide", "type": "file", "mode": "0666", "content": "y"},
                {"path": "all", "type": "file", "mode": "7777", "uid": 4_000_000_000_u32, "content": "y"}
            ]),
        ),
        (
            "links",
            json!([
                {"path": "d/f", "type": "file", "content": "text"},
                {"path": "hard", "type": "hardlink", "target": "d/f"},
                {"path": "copy", "type": "file", "content": "text"},
                {"path": "soft", "type": "symlink", "target": "d/f"},
                {"path": "owned", "type": "symlink", "target": "/nowhere/\u{e4}", "uid": 7, "gid": 8},
                {"path": "same", "type": "symlink", "target": "d/f"}
            ]),
        ),
        (
            "attributes",
            json!([
                {"path": "cap", "type": "file", "content": "x", "uid": 3, "xattrs": {"security.capability": capability}},
                {"path": "user", "type": "file", "xattrs": {"user.b": "2", "user.a": "1", "trusted.x": "hex:00ff00"}},
                {"path": "long", "type": "file", "xattrs": {"user.long": "rep:700:v"}},
                {"path": "d", "type": "dir", "xattrs": {"user.d": "d", "trusted.t": "t"}},
                {"path": "l", "type": "symlink", "target": "x", "xattrs": {"trusted.l": "link"}}
            ]),
        ),
        (
            "around the size of small files",
            json!([
                {"path": "999", "type": "file", "content": "rep:999:x"},
                {"path": "1000", "type": "file", "content": "rep:1000:x"},
                {"path": "1001", "type": "file", "content": "rep:1001:x", "mode": "4755", "uid": 1},
                {"path": "again", "type": "file", "content": "rep:1001:x", "mode": "4755", "uid": 1},
                {"path": "other owner", "type": "file", "content": "rep:1001:x"},
                {"path": "large", "type": "file", "content": "rep:3000000:abc", "xattrs": {"user.k": "v"}}
            ]),
        ),
        (
            "names",
            json!([
                {"path": "\u{e4}\u{1f600}", "type": "file", "content": "x"},
                {"path": "new\nline", "type": "dir"},
                {"path": "a/b/c/d/e/f/g", "type": "file", "content": "deep"},
                {"path": "Z", "type": "file"}, {"path": "a.b", "type": "file"}, {"path": "a-b", "type": "dir"}
            ]),
        ),
        // Ends of one, two and four bytes.
        ("many", many(4, |n| format!("{n}"))),
        ("more", many(300, |_| "same".to_owned())),
        ("very many", many(1500, |n| format!("{}", n % 7))),
        (
            "directories",
            (0..600)
                .map(|n| json!({"path": format!("d{n}/x"), "type": "dir"}))
                .collect(),
        ),
        (
            "an access control list",
            json!([
                {"path": "acl", "type": "file", "mode": "0664", "content": "x", "xattrs": {"system.posix_acl_access":
                    "hex:0200000001000600ffffffff020006000100000004000400ffffffff10000600ffffffff20000400ffffffff"}}
            ]),
        ),
    ];
    for (title, layer) in rows {
        check(title, &[layer]);
    }
    check(
        "layers",
        &[
            json!([
                {"path": "d/gone", "type": "file", "content": "rep:2000:gone"},
                {"path": "d/stays", "type": "file", "content": "stays"},
                {"path": "f", "type": "file", "content": "old"},
                {"path": "d/old", "type": "symlink", "target": "gone"}
            ]),
            json!([
                {"path": "d/.wh.gone", "type": "file"},
                {"path": "f", "type": "file", "content": "new", "mode": "0600"},
                {"path": "link", "type": "hardlink", "target": "d/stays"}
            ]),
        ],
    );
}

/// The layer vectors, where there is a tree that ostree can hold: all into one repository.
#[test]
fn vectors_are_those_of_ostree_commit() {
    needs_root_and_ostree!();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/vectors/layer-merge.json"
    );
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let place = Place::new();
    let repo = place.repo("repo", Mode::Bare);
    let real = place.path("real");
    ostree(&real, &["init", "--mode=bare"]).unwrap();
    let mut compared = 0;
    for case in document["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let layers = case["layers"].as_array().unwrap();
        let plain = case["layer_opts"]
            .as_array()
            .is_none_or(|all| all.iter().all(|o| o.is_null()));
        if !plain || case["expected"]["tree"].is_null() {
            continue;
        }
        let image = place.image(&format!("image-{name}"), layers);
        let options = ImportOptions::default();
        let imported = import(&repo, &image, &options, &CommitOptions::default(), "vector");
        let commit = match imported {
            Ok((_, commit)) => commit,
            Err(Error::Unstorable { .. } | Error::Name { .. }) => continue,
            // Refused, as some vectors may be.
            Err(Error::Merge(error)) if error.class() != ErrorClass::Io => continue,
            Err(error) => panic!("{name}: {}", crate::full(&error)),
        };
        let unpacked = place.unpack(&image, &format!("unpacked-{name}"));
        assert_eq!(commit.checksum(), real_commit(&real, &unpacked), "{name}");
        compared += 1;
    }
    assert!(compared > 60, "only {compared} vectors");
    ostree(&place.path("repo"), &["fsck", "-q"]).unwrap();
}

/// Any owner, mode, attributes and sizes: ends of all widths, in all combinations.
#[test]
fn random_files_are_those_of_ostree_commit() {
    needs_root_and_ostree!();
    let name = proptest::string::string_regex("[a-zA-Z0-9_.\u{e4}-]{1,60}").unwrap();
    let xattrs =
        proptest::collection::btree_map("(user|trusted)\\.[a-z]{1,90}", 1..400_usize, 0..4);
    let size = prop_oneof![Just(0), 1..3_usize, 900..1100_usize, 250_000..270_000_usize];
    let numbers = (
        0..0o10000_u32,
        0..3_u32,
        any::<u32>().prop_map(|id| id.min(u32::MAX - 1)),
    );
    let file = (name, xattrs, size, numbers, any::<bool>());
    let files = proptest::collection::vec(file, 0..40);
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let files = files.new_tree(&mut runner).unwrap().current();
        let entry = |(at, (name, xattrs, size, (mode, uid, gid), directory)): (
            usize,
            RandomFile,
        )| {
            let xattrs: serde_json::Map<_, _> = xattrs
                .into_iter()
                .map(|(name, length)| (name, format!("rep:{length}:v").into()))
                .collect();
            let mut entry = json!({"path": format!("{}/{at}-{name}", at % 3), "mode": format!("{mode:04o}"), "uid": uid, "gid": gid, "xattrs": xattrs});
            if directory {
                entry["type"] = "dir".into();
            } else {
                entry["type"] = "file".into();
                entry["content"] = format!("rep:{size}:{}", at % 10).into();
            }
            entry
        };
        let layer: Vec<_> = files.into_iter().enumerate().map(entry).collect();
        check("random", &[Value::Array(layer)]);
    }
}

/// `/etc` becomes `/usr/etc` without any other object, and all of a commit is as ostree writes it.
#[test]
fn commits_are_those_of_ostree_commit() {
    needs_root_and_ostree!();
    let place = Place::new();
    let image = place.image(
        "image",
        &[json!([
            {"path": "etc/passwd", "type": "file", "content": "root"},
            {"path": "etc", "type": "dir", "mode": "0711", "mtime": 5},
            {"path": "usr/bin/x", "type": "file", "content": "x", "mode": "0755"},
            {"path": "usr/zz", "type": "symlink", "target": "bin"}
        ])],
    );
    let unpacked = place.unpack(&image, "unpacked");
    fs::rename(unpacked.join("etc"), unpacked.join("usr/etc")).unwrap();
    // One that ostree made.
    ostree(&place.path("repo"), &["init", "--mode=bare"]).unwrap();
    let repo = pleach_layer_merge::ostree::Repo::open(&place.dir("repo")).unwrap();
    let (ours, real) = (place.path("repo"), place.path("real"));
    ostree(&real, &["init", "--mode=bare"]).unwrap();
    let tree = format!("--tree=dir={}", unpacked.display());
    let commit = |timestamp: &str, more: &[&str]| {
        let time = format!("--timestamp=@{timestamp}");
        let arguments = [
            "commit",
            "-b",
            "deep/er/r_e-f.1",
            &tree,
            &time,
            "-s",
            "Subject \u{e4}",
        ];
        ostree(&real, &[&arguments, more].concat()).unwrap()
    };
    let binding = Metadata::List(vec!["deep/er/r_e-f.1".to_owned()]);
    let mut options = CommitOptions {
        subject: "Subject \u{e4}".to_owned(),
        timestamp: 1_767_225_600,
        metadata: BTreeMap::from([("ostree.ref-binding".to_owned(), binding)]),
        move_etc: true,
        ..CommitOptions::default()
    };
    let reference = "deep/er/r_e-f.1";
    let write = |options: &CommitOptions| {
        let imports = ImportOptions::default();
        import(&repo, &image, &imports, options, reference)
            .unwrap()
            .1
    };
    let first = write(&options);
    assert_eq!(first.checksum(), commit("1767225600", &[]));
    assert_eq!(repo.resolve(reference).unwrap(), Some(first.name));

    let long = "l".repeat(70_000);
    let body = "Body\nof two lines";
    options.body = body.to_owned();
    options.timestamp += 1;
    options.parent = Some(first.name);
    // ostree puts its own key behind those that it was given.
    let texts = [("a", "b".to_owned()), ("o", long), ("f", String::new())];
    let texts = texts.map(|(key, text)| (key.to_owned(), Metadata::Text(text)));
    options.metadata.extend(texts.clone());
    let keys: Vec<_> = options
        .metadata
        .iter()
        .filter_map(|(key, value)| match value {
            Metadata::Text(text) => Some(format!("--add-metadata-string={key}={text}")),
            _ => None,
        })
        .collect();
    let body_argument = format!("--body={body}");
    let mut more: Vec<&str> = keys.iter().map(String::as_str).collect();
    more.push(&body_argument);
    let wanted = commit("1767225601", &more);
    let second = write(&options);
    assert_eq!(
        ostree(&ours, &["rev-parse", reference]).unwrap(),
        second.checksum()
    );
    let shown = |repo, commit: &str| ostree(repo, &["show", commit]).unwrap();
    let after = |text: String| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(
        after(shown(&ours, &second.checksum())),
        after(shown(&real, &wanted))
    );
    for key in ["a", "o", "f", "ostree.ref-binding"] {
        let print = format!("--print-metadata-key={key}");
        let value = |repo, commit: &str| ostree(repo, &["show", &print, commit]).unwrap();
        assert_eq!(
            value(&ours, &second.checksum()),
            value(&real, &wanted),
            "{key}"
        );
    }
    ostree(&ours, &["fsck", "-q"]).unwrap();
    let objects = ostree(&ours, &["log", reference]).unwrap();
    assert!(objects.contains(&first.checksum()), "{objects}");
}
