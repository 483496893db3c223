//! P17: a merge that is killed, or whose system calls fail, at every single one of them.
//!
//! The test runs itself under strace, which injects the fault; then the target must be whole, the
//! old tree or the new, and a second run must complete what the first began.

use std::path::{Path, PathBuf};
use std::process::Command;

use pleach_etc_merge::{ApplyOptions, Policies, Sides, apply};

use crate::disk::{self, contents, open, write};
use crate::{Etc, show, tree};

const CHILD: &str = "PLEACH_ETC_MERGE_TEST_FAULTS";

const FAULTS: [&str; 5] = [
    "signal=KILL",
    "error=EIO",
    "error=ENOSPC",
    "error=EROFS",
    "error=EPERM",
];

/// All that writes, and what opens.
const CALLS: &[&str] = &[
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

fn merge(at: &Path) -> Result<(), pleach_etc_merge::Error> {
    let [pristine, current, new, deployment] =
        ["pristine", "current", "new", "deployment"].map(|name| open(&at.join(name)));
    let sides = Sides {
        pristine: &pristine,
        current: &current,
        new: &new,
    };
    let options = ApplyOptions {
        materialize: disk::options(),
        // The calls of several threads would come in any order.
        threads: 1,
        ..ApplyOptions::default()
    };
    apply(sides, &Policies::default(), None, &deployment, &options)?;
    Ok(())
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

/// Memory, where there is such a file system: thousands of syncs are as many seconds elsewhere.
fn scratch() -> tempfile::TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    let made = memory.or_else(|_| tempfile::tempdir());
    made.expect("a temporary directory")
}

#[test]
fn every_fault_leaves_the_old_tree_or_the_new() {
    if let Some(at) = std::env::var_os(CHILD) {
        let merged = merge(&PathBuf::from(at));
        return merged.unwrap_or_else(|e| panic!("{e:?}"));
    }
    if Command::new("strace").arg("--version").output().is_err() {
        return eprintln!("SKIP: needs strace");
    }
    let mut points = 0;
    for fault in FAULTS {
        for call in CALLS {
            // A call that is made often is let through in the end; 400 is more than any is made.
            for nth in 1..400 {
                let scratch = scratch();
                let at = scratch.path();
                make(at);
                let inject = format!("inject={call}:{fault}:when={nth}");
                let (success, injected) = run(at, &inject);
                if !injected {
                    assert!(success, "{inject}: nothing was injected, and it failed");
                    break;
                }
                points += 1;
                check(at, &inject, success);
            }
        }
    }
    eprintln!("{points} faults");
    assert!(points > 100, "only {points} faults could be injected");
}

/// Whether the merge said that it was done, and whether there was such a call.
fn run(at: &Path, inject: &str) -> (bool, bool) {
    let trace = at.join("trace");
    let call = inject.split(['=', ':']).nth(1).expect("a call");
    let mut strace = Command::new("strace");
    strace.args([
        "-qq",
        "-f",
        "-e",
        &format!("trace={call}"),
        "-e",
        inject,
        "-o",
    ]);
    strace
        .arg(&trace)
        .arg(std::env::current_exe().expect("a path"));
    let test = "faults::every_fault_leaves_the_old_tree_or_the_new";
    strace
        .args(["--exact", test, "--test-threads=1"])
        .env(CHILD, at)
        .env("RUST_BACKTRACE", "0");
    let output = strace.output().expect("strace runs");
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
    merge(at).unwrap_or_else(|e| panic!("{inject}: the second run fails: {e:?}"));
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
    let left = std::fs::read_dir(at.join("deployment"))
        .expect("a directory")
        .count();
    // etc, etc.prev, etc.saved, and the books of the merge: etc.journal, etc.known.
    assert_eq!(left, 5, "{inject}: something is left over");
    for (name, text) in [("pristine", PRISTINE), ("current", CURRENT), ("new", NEW)] {
        assert!(same(&at.join(name), text), "{inject}: {name} was changed");
    }
}
