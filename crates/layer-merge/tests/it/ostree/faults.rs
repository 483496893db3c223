//! An import that is killed, or whose system calls fail, at many of them.
//!
//! The test runs itself under strace, which injects the fault; then the repository must be valid, its
//! ref the old commit or the new, and a second run must complete what the first began.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use pleach_layer_merge::ostree::{CommitOptions, ImportOptions, Mode, Repo, TransactionOptions};
use pleach_layer_merge::{Layout, MergeOptions};
use serde_json::{Value, json};

use super::{Place, needs_root_and_ostree, ostree};
use crate::{full, open};

const AT: &str = "PLEACH_LAYER_MERGE_TEST_OSTREE";
const USER: &str = "PLEACH_LAYER_MERGE_TEST_OSTREE_USER";

/// All that writes.
const CALLS: &[&str] = &[
    "openat",
    "mkdirat",
    "mkdir",
    "write",
    "symlinkat",
    "fchownat",
    "fchown",
    "fchmod",
    "fsetxattr",
    "lsetxattr",
    "utimensat",
    "ftruncate",
    "renameat",
    "renameat2",
    "unlinkat",
    "unlink",
    "rmdir",
    "fsync",
    "syncfs",
    "flock",
    "fcntl",
];

fn image(version: &str) -> Vec<Value> {
    vec![
        json!([
            {"path": "usr/small", "type": "file", "content": "small", "uid": 5, "mode": "4755"},
            {"path": "usr/large", "type": "file", "content": "rep:3000:x", "xattrs": {"user.k": "v"}},
            {"path": "usr/link", "type": "symlink", "target": "small", "uid": 1, "xattrs": {"trusted.l": "l"}},
            {"path": "usr/hidden", "type": "file", "content": "hidden"}
        ]),
        json!([
            {"path": "usr/hidden", "type": "file", "content": "seen", "mode": "0000"},
            {"path": "usr/version", "type": "file", "content": version}
        ]),
    ]
}

/// Imports the image `image` into the repository `repo`, which is made if it is not there.
fn work(at: &Path, mode: Mode) -> Result<(), pleach_layer_merge::ostree::Error> {
    let layout = Layout::open(&open(&at.join("image")))?;
    let image = layout.resolve(None, None)?;
    let repo = Repo::create(&open(&at.join("repo")), mode)?;
    let options = TransactionOptions {
        small_file: 1000,
        ..TransactionOptions::default()
    };
    let mut transaction = repo.transaction(options)?;
    let cache = open(&at.join("cache"));
    let options = ImportOptions {
        merge: MergeOptions {
            // The calls of several threads would come in any order.
            threads: 1,
            ..MergeOptions::default()
        },
        cache: Some(&cache),
    };
    let imported = transaction.import(&layout, &image, &options)?;
    let commit = transaction.commit(&imported.merged.tree, &CommitOptions::default())?;
    transaction.finish(&[("a/image", commit.name)])
}

#[test]
#[ignore = "run by another test"]
fn itself() {
    let Some(at) = std::env::var_os(AT) else {
        return;
    };
    let mode = match std::env::var_os(USER) {
        Some(_) => Mode::BareUser,
        None => Mode::Bare,
    };
    work(Path::new(&at), mode).unwrap_or_else(|error| panic!("{}", full(&error)));
}

/// Whether it said that it was done, and whether there was such a call.
fn run(at: &Path, inject: &str) -> (bool, bool) {
    let trace = at.join("trace");
    let call = inject.split(['=', ':']).nth(1).expect("a call");
    let mut command = Command::new("strace");
    command.args([
        "-qq",
        "-f",
        "-e",
        &format!("trace={call}"),
        "-e",
        inject,
        "-o",
    ]);
    command.arg(&trace).arg(std::env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        "ostree::faults::itself",
        "--test-threads=1",
    ]);
    let output = command.env(AT, at).output().expect("strace runs");
    let trace = fs::read(trace).expect("a trace");
    let trace = String::from_utf8_lossy(&trace);
    let injected = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
    (output.status.success(), injected)
}

/// Somebody who is not root gets the same commit, and can read all of it.
#[test]
fn nobody_imports_the_same() {
    needs_root_and_ostree!();
    let place = Place::new();
    place.image("image", &image("1"));
    for name in ["", "repo", "cache"] {
        place.dir(name);
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let run = |words: &[&std::ffi::OsStr]| {
        let mut command = Command::new("setpriv");
        command.args(nobody).args(words).env(AT, place.0.path());
        let output = command.env(USER, "").output().expect("setpriv runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{words:?}: {text}");
    };
    // A copy, where nobody can read it.
    let binary = place.path("binary");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let test = ["--ignored", "--exact", "ostree::faults::itself"].map(std::ffi::OsStr::new);
    run(&[&[binary.as_os_str()], &test[..]].concat());
    let repo = place.path("repo");
    let ours = ostree(&repo, &["rev-parse", "a/image"]).unwrap();
    let fsck = ["ostree", "fsck", "-q", "--repo"].map(std::ffi::OsStr::new);
    run(&[&fsck[..], &[repo.as_os_str()]].concat());

    let root = Place::new();
    root.dir("repo");
    root.dir("cache");
    root.image("image", &image("1"));
    work(root.0.path(), Mode::Bare).unwrap();
    assert_eq!(
        ostree(&root.path("repo"), &["rev-parse", "a/image"]),
        Ok(ours)
    );
}

#[test]
fn every_fault_leaves_the_old_commit_or_the_new() {
    needs_root_and_ostree!();
    if Command::new("strace").arg("--version").output().is_err() {
        return super::skip("needs strace");
    }
    // The repository as the first image leaves it, and the two commits.
    let before = Place::new();
    before.dir("repo");
    before.dir("cache");
    before.image("image", &image("1"));
    work(before.0.path(), Mode::Bare).unwrap();
    let old = ostree(&before.path("repo"), &["rev-parse", "a/image"]).unwrap();
    let after = Place::new();
    after.dir("repo");
    after.dir("cache");
    after.image("image", &image("2"));
    work(after.0.path(), Mode::Bare).unwrap();
    let new = ostree(&after.path("repo"), &["rev-parse", "a/image"]).unwrap();

    let mut points = 0;
    let rows = [
        (true, "signal=KILL"),
        (false, "signal=KILL"),
        (false, "error=EIO"),
    ];
    for (fresh, fault) in rows {
        for call in CALLS {
            // Of a call that is made often, not each: those before the work are the harness's.
            let mut nth = 1;
            loop {
                let place = Place::new();
                let at = place.0.path();
                place.image("image", &image("2"));
                place.dir("repo");
                place.dir("cache");
                if !fresh {
                    copy(&before.path("repo"), &place.path("repo"));
                }
                let inject = format!("inject={call}:{fault}:when={nth}");
                let (success, injected) = run(at, &inject);
                let row = format!("{inject}, fresh: {fresh}");
                if !injected {
                    assert!(success, "{row}: nothing was injected, and it failed");
                    break;
                }
                check(&place, &row, success, [&old, &new], fresh);
                points += 1;
                nth += 1 + nth / 2;
            }
        }
    }
    eprintln!("{points} faults");
    assert!(points > 100, "only {points} faults could be injected");
}

fn check(place: &Place, row: &str, success: bool, [old, new]: [&str; 2], fresh: bool) {
    let repo = place.path("repo");
    let made = repo.join("objects").exists();
    let commit = || ostree(&repo, &["rev-parse", "a/image"]);
    if made {
        ostree(&repo, &["fsck", "-q"]).unwrap_or_else(|e| panic!("{row}: {e}"));
    }
    match made.then(commit) {
        Some(Ok(commit)) if commit == new => {}
        Some(Ok(commit)) if commit == old && !fresh && !success => {}
        Some(Err(_)) | None if fresh && !success => {}
        other => panic!("{row}: succeeded: {success}, but {other:?}"),
    }
    work(place.0.path(), Mode::Bare)
        .unwrap_or_else(|e| panic!("{row}: the second run: {}", full(&e)));
    assert_eq!(commit().as_deref(), Ok(new), "{row}: the second run");
    ostree(&repo, &["fsck", "-q"]).unwrap_or_else(|e| panic!("{row}: the second run: {e}"));
    let left = fs::read_dir(repo.join("tmp")).unwrap().count();
    assert_eq!(left, 1, "{row}: something is left in tmp");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-aT").args([from, to]).status();
    assert!(status.expect("cp runs").success());
}
