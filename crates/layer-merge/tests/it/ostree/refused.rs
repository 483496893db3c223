//! What is refused, and how it is said.

use std::fs;

use pleach_fs_tree::{Digest, Metadata as TreeMetadata, Tree};
use pleach_layer_merge::ostree::{CommitOptions, ImportOptions, Mode, Repo, Value as Metadata};
use serde_json::{Value, json};

use super::{Place, import, leave_out};
use crate::full;

#[test]
fn what_ostree_cannot_hold() {
    let check = |layer: Value, options: &CommitOptions, expected: Result<&[&str], &str>| {
        let place = Place::new();
        let image = place.image("image", std::slice::from_ref(&layer));
        let repo = place.repo("repo", Mode::BareUser);
        let done = import(&repo, &image, &ImportOptions::default(), options, "x");
        let done = done.map(|(_, commit)| {
            let left_out = commit.left_out.iter();
            left_out.map(|left| left.to_string()).collect::<Vec<_>>()
        });
        match (done, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{layer}"),
            (Err(error), Err(expected)) => assert_eq!(full(&error), expected, "{layer}"),
            (done, _) => panic!("{layer}: {done:?}, expected {expected:?}"),
        }
        let refs = fs::read_dir(place.path("repo/refs/heads")).unwrap().count();
        assert_eq!(refs, usize::from(expected.is_ok()), "{layer}: refs");
        let tmp = fs::read_dir(place.path("repo/tmp")).unwrap().count();
        assert_eq!(tmp, 1, "{layer}: something is left in tmp");
    };
    let special = json!([
        {"path": "c", "type": "char", "major": 5, "minor": 1},
        {"path": "b", "type": "block", "major": 8, "minor": 0},
        {"path": "d/p", "type": "fifo"},
        {"path": "f", "type": "file", "xattrs": {"user.none": "", "user.one": "1"}}
    ]);
    let list = [
        "/b: a block device",
        "/c: a character device",
        "/d/p: a fifo",
        "/f: extended attribute user.none without a value",
    ];
    let refuse = CommitOptions::default();
    let text = format!("ostree cannot hold {}", list.join("; "));
    check(special.clone(), &refuse, Err(&text));
    check(special, &leave_out(), Ok(&list));
    let file = |path: &str| json!([{"path": path, "type": "file"}]);
    let name = "/d/\\xff: the name is not UTF-8, which ostree asks for";
    check(file("hex:642fff"), &leave_out(), Err(name));
    let link = json!([{"path": "l", "type": "symlink", "target": "hex:ff"}]);
    let target = "/l: the link's target is not UTF-8, which ostree asks for";
    check(link, &leave_out(), Err(target));
    let whiteout = "/d/.ostree-wh.x: ostree would turn a file of this name into a whiteout";
    check(file("d/.ostree-wh.x"), &refuse, Err(whiteout));

    let move_etc = CommitOptions {
        move_etc: true,
        ..CommitOptions::default()
    };
    let etc = |paths: &[&str]| {
        paths
            .iter()
            .map(|p| json!({"path": p, "type": "dir"}))
            .collect()
    };
    let no = |why| format!("/etc cannot become /usr/etc: {why}");
    check(
        etc(&["etc"]),
        &move_etc,
        Err(&no("there is no directory /usr")),
    );
    check(
        etc(&["usr"]),
        &move_etc,
        Err(&no("there is no directory /etc")),
    );
    check(
        etc(&["etc", "usr/etc"]),
        &move_etc,
        Err(&no("both are there")),
    );
    check(etc(&["usr/etc"]), &move_etc, Ok(&[]));
    check(etc(&["etc", "usr"]), &move_etc, Ok(&[]));
    let nul = CommitOptions {
        metadata: [("k".to_owned(), Metadata::Text("a\0".to_owned()))].into(),
        ..CommitOptions::default()
    };
    let why = "metadata value of \"k\": it has a NUL character";
    check(json!([]), &nul, Err(why));
}

#[test]
fn repositories() {
    let check = |config: &str, expected: Result<Mode, &str>| {
        let place = Place::new();
        fs::create_dir_all(place.path("repo/objects")).unwrap();
        fs::write(place.path("repo/config"), config).unwrap();
        let opened = Repo::open(&place.dir("repo"));
        let opened = opened.map(|repo| repo.mode()).map_err(|e| full(&e));
        assert_eq!(opened, expected.map_err(str::to_owned), "{config}");
    };
    check("[core]\nrepo_version=1\nmode=bare\n", Ok(Mode::Bare));
    check("[core]\nrepo_version=1\n", Ok(Mode::Bare));
    check(
        "[core]\n repo_version = 1\nmode = bare-user\n[remote \"x\"]\nmode=archive\n",
        Ok(Mode::BareUser),
    );
    for mode in ["archive-z2", "bare-user-only", "bare-split-xattrs"] {
        let config = format!("[core]\nrepo_version=1\nmode={mode}\n");
        let why = format!("repository: its mode is {mode}; bare and bare-user are written");
        check(&config, Err(&why));
    }
    let version = "repository: its version is 2, not 1";
    check("[core]\nrepo_version=2\nmode=bare\n", Err(version));
    check("", Err("repository: its version is none, not 1"));
    let verity = "[core]\nrepo_version=1\n[ex-integrity]\nfsverity=yes\n";
    let why = "repository: it asks for fs-verity, which is not written here";
    check(verity, Err(why));

    // Made again, or after it was half made, it is what it was.
    let place = Place::new();
    place.repo("repo", Mode::BareUser);
    fs::remove_dir(place.path("repo/objects")).unwrap();
    assert!(Repo::open(&place.dir("repo")).is_err());
    // What somebody has beside it is not touched.
    fs::write(place.path("repo/new"), "mine").unwrap();
    let opened = Repo::open_or_create(&place.dir("repo"), Mode::Bare).unwrap();
    assert_eq!(opened.mode(), Mode::BareUser);
    assert_eq!(fs::read_to_string(place.path("repo/new")).unwrap(), "mine");
    let error = Repo::create(&place.dir("repo"), Mode::Bare).unwrap_err();
    let why = "repository: its mode is bare-user, not bare";
    assert_eq!(full(&error), why);
}

#[test]
fn refs() {
    let check = |name: &str, good: bool| {
        let place = Place::new();
        let repo = place.repo("repo", Mode::BareUser);
        let mut transaction = repo.transaction(super::transaction_options()).unwrap();
        let tree = Tree::new(TreeMetadata::with_mode(0o755));
        let commit = transaction.commit(&tree, &CommitOptions::default());
        let commit = commit.unwrap().name;
        let set = transaction.finish(&[(name, commit)]);
        assert_eq!(set.is_ok(), good, "{name:?}: {set:?}");
        match good {
            true => assert_eq!(repo.resolve(name).unwrap(), Some(commit), "{name}"),
            false => assert!(repo.resolve(name).is_err(), "{name}"),
        }
    };
    for name in ["x", "a/b", "a/b/c", "_", "fedora/39/x86_64", "a.b-c", "9"] {
        check(name, true);
    }
    for name in [
        "", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "-a", "a b", "r:x", "\u{e4}", "a\n",
    ] {
        check(name, false);
    }

    // To nothing there is no ref.
    let place = Place::new();
    let repo = place.repo("repo", Mode::BareUser);
    let transaction = repo.transaction(super::transaction_options()).unwrap();
    let error = transaction.finish(&[("x", Digest([7; 32]))]).unwrap_err();
    assert_eq!(
        full(&error),
        "ref \"x\": its commit is not in the repository"
    );
    assert_eq!(repo.resolve("x").unwrap(), None);
}
