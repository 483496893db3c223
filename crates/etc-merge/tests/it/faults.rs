//! P17: a merge that is killed, or whose system calls fail, at every single one of them.
//!
//! The test runs itself under strace, which injects the fault; then the target must be whole, the
//! old tree or the new, and a second run must complete what the first began.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::disk::{contents, open, scratch, write};
use crate::{Etc, itself, show, tree};

/// All that writes, and what opens.
const WRITING: &[&str] = &[
    "openat",
    "mkdirat",
    "write",
    "symlinkat",
    "fchownat",
    "fchmod",
    "fsetxattr",
    "setxattr",
    "fremovexattr",
    "utimensat",
    "unlinkat",
    "renameat2",
    "fsync",
    "syncfs",
];

const READING: &[&str] = &[
    "statx",
    "getdents64",
    "pread64",
    "readlinkat",
    "flistxattr",
    "fgetxattr",
    "listxattr",
    "flock",
];

/// What is done, which fault it meets, and at which calls.
const ROWS: &[(&str, &str, &[&str])] = &[
    ("apply", "signal=KILL", WRITING),
    ("apply", "error=EIO", WRITING),
    ("apply", "error=EIO", READING),
    ("apply", "error=ENOSPC", WRITING),
    ("apply", "error=EROFS", WRITING),
    ("apply", "error=EPERM", WRITING),
    ("prepare,apply", "signal=KILL", WRITING),
    ("prepare,apply", "error=EIO", WRITING),
    ("prepare,apply", "error=EIO", READING),
    ("undo", "signal=KILL", WRITING),
    ("undo", "error=EIO", WRITING),
    ("release", "signal=KILL", WRITING),
    ("release", "error=EIO", WRITING),
];

const PRISTINE: &str = "
    /d directory 0755 0:0 0.0
    /d/x file 0644 0:0 0.0 one user.n=1
    /f file 0644 0:0 0.0 one
    /l symlink 0777 0:0 0.0 a";
const CURRENT: &str = "
    /d directory 0700 0:0 0.0
    /d/x file 0644 0:0 0.0 two user.n=2
    /f file 0600 0:0 0.0 one
    /l symlink 0777 0:0 0.0 b";
const NEW: &str = "
    /d directory 0755 0:0 0.0
    /d/x file 0644 0:0 0.0 three user.n=1
    /f file 0644 0:0 0.0 three
    /l symlink 0777 0:0 0.0 a";
const MERGED: &str = "
    /d directory 0700 0:0 0.0
    /d/x file 0644 0:0 0.0 two user.n=2
    /f file 0600 0:0 0.0 three
    /l symlink 0777 0:0 0.0 b";

fn make(at: &Path) {
    let sides = [("pristine", PRISTINE), ("current", CURRENT), ("new", NEW)];
    for (name, text) in sides.into_iter().chain([("deployment/etc", NEW)]) {
        let path = at.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        write(&tree(text), &open(&path)).expect("written");
    }
}

/// Only contents, types, modes and attributes: an owner is the same on all sides here.
fn same(path: &Path, expected: &str) -> bool {
    let owned = |tree: Etc| {
        let mut tree = tree;
        let all: Vec<_> = tree.walk().map(|(_, id)| id).collect();
        for id in all {
            let metadata = tree.metadata_mut(id);
            (metadata.uid, metadata.gid) = (0, 0);
        }
        show(&tree)
    };
    path.exists() && owned(contents(path)) == show(&tree(expected))
}

#[test]
fn every_fault_leaves_the_old_tree_or_the_new() {
    if Command::new("strace").arg("--version").output().is_err() {
        return eprintln!("SKIP: needs strace");
    }
    let (mut points, mut told) = (0, String::new());
    let mut counts = BTreeMap::new();
    for (verbs, fault, calls) in ROWS {
        let mut here = 0;
        for call in *calls {
            // A call that is made often is let through in the end; 1000 is more than any is made.
            for nth in 1..1000 {
                let scratch = scratch();
                let at = scratch.path();
                make(at);
                let backwards = matches!(*verbs, "undo" | "release");
                if backwards {
                    itself::do_verb(at, "apply").expect("a merge");
                }
                let inject = format!("inject={call}:{fault}:when={nth}");
                let (success, injected) = run(at, verbs, &inject);
                let inject = format!("{verbs}: {inject}");
                if !injected {
                    assert!(success, "{inject}: nothing was injected, and it failed");
                    break;
                }
                here += 1;
                match backwards {
                    true => check_back(at, &inject, verbs, success),
                    // Somebody may go back first: then there is nothing of the merge in the target.
                    false if nth % 3 == 0 && fault.starts_with("signal") => {
                        let back = itself::do_verb(at, "undo");
                        let old = same(&at.join("deployment/etc"), NEW);
                        assert!(old, "{inject}: undo gives another tree: {back:?}");
                    }
                    false => check(at, &inject, success),
                }
            }
        }
        told.push_str(&format!("\n{here} {verbs}, {fault}"));
        points += here;
        // No call was left out: each fault found as many.
        let before = *counts.entry((verbs, calls)).or_insert(here);
        assert_eq!(here, before, "{verbs}, {fault}");
    }
    eprintln!("{points} faults:{told}");
    assert!(points > 500, "only {points} faults could be injected");
}

/// Whether it said that it was done, and whether there was such a call.
fn run(at: &Path, verbs: &str, inject: &str) -> (bool, bool) {
    let trace = at.join("trace");
    let call = inject.split(['=', ':']).nth(1).expect("a call");
    let only = format!("trace={call}");
    let file = trace.to_str().expect("a plain path");
    // It stops only at the calls in question; but strace 6.1 then sends no signal at a later one.
    let fast: &[&str] = match inject.contains("signal=") {
        true => &[],
        false => &["--seccomp-bpf"],
    };
    let strace = ["-qq", "-f", "-e", &only, "-e", inject, "-o", file];
    let strace = [&["strace"], fast, &strace].concat();
    let output = itself::work_at(&strace, &itself::binary(), at, verbs).output();
    let output = output.expect("strace runs");
    let trace = std::fs::read(trace).expect("a trace");
    let trace = String::from_utf8_lossy(&trace);
    let injected = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
    (output.status.success(), injected)
}

fn check(at: &Path, inject: &str, success: bool) {
    let etc = at.join("deployment/etc");
    let (old, new) = (same(&etc, NEW), same(&etc, MERGED));
    assert!(
        old || new,
        "{inject}: the target is neither the old tree nor the new"
    );
    // The harness may have written its verdict before a call of its own failed.
    assert!(
        new || !success,
        "{inject}: it says that it is done, and it is not"
    );
    itself::do_verb(at, "apply").unwrap_or_else(|e| panic!("{inject}: the second run: {e:?}"));
    assert!(
        same(&etc, MERGED),
        "{inject}: the second run does not complete the first"
    );
    assert!(
        same(&at.join("deployment/etc.prev"), NEW),
        "{inject}: no way back"
    );
    let saved = std::fs::read(at.join("deployment/etc.saved/image/d/x"));
    assert_eq!(
        saved.expect("the image's side is saved"),
        b"three",
        "{inject}"
    );
    // etc, etc.prev, etc.saved, and etc.journal. Without etc.known only time is lost.
    let known = at.join("deployment/etc.known").exists();
    assert_eq!(
        left(at) - usize::from(known),
        4,
        "{inject}: something is left over"
    );
    for (name, text) in [("pristine", PRISTINE), ("current", CURRENT), ("new", NEW)] {
        assert!(same(&at.join(name), text), "{inject}: {name} was changed");
    }
}

/// `undo` and `release` of a merge: what there is under a name is whole, and the second run ends it.
fn check_back(at: &Path, inject: &str, verb: &str, success: bool) {
    let (etc, previous) = (at.join("deployment/etc"), at.join("deployment/etc.prev"));
    let is = |first: &str, second: &str| same(&etc, first) && same(&previous, second);
    let (merged, undone) = (is(MERGED, NEW), is(NEW, MERGED));
    let released = same(&etc, MERGED) && !previous.exists();
    let (done, begun) = match verb {
        "undo" => (undone, merged),
        _ => (released, merged),
    };
    assert!(done || begun, "{inject}: a tree is not whole");
    assert!(
        done || !success,
        "{inject}: it says that it is done, and it is not"
    );
    if verb == "release" {
        itself::do_verb(at, verb).unwrap_or_else(|e| panic!("{inject}: the second run: {e:?}"));
        assert!(same(&etc, MERGED), "{inject}");
        assert_eq!(left(at), 4, "{inject}: something is left over");
    }
}

fn left(at: &Path) -> usize {
    let entries = std::fs::read_dir(at.join("deployment"));
    entries.expect("a directory").count()
}
