//! What lies beside the target says how far a merge came: the journal, what is known, the way back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pleach_etc_merge::{
    Applied, ApplyOptions, Error, Known, Policies, apply, known, plan_dirs, prepare, release, undo,
};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timestamps, UTIME_OMIT};

use crate::disk::{open, write};
use crate::on_disk::{MERGED, Machine, ONE, THREE, TWO, options, shown};
use crate::{itself, show, tree};

fn again() -> ApplyOptions {
    ApplyOptions {
        again: true,
        ..options()
    }
}

fn apply_with(machine: &Machine, options: &ApplyOptions) -> Result<Applied, Error> {
    let policies = Policies::default();
    apply(
        machine.sides(),
        &policies,
        None,
        &machine.deployment,
        options,
    )
}

fn merged() -> Machine {
    let machine = Machine::of([ONE, TWO, THREE]);
    apply_with(&machine, &options()).expect("a merge");
    machine
}

fn check_merged(machine: &Machine, what: &str) {
    assert_eq!(shown(&machine.etc()), show(&tree(MERGED)), "{what}");
}

#[test]
fn a_journal_that_is_none_is_as_good_as_none() {
    let whole = merged().text("etc.journal");
    let mut rows: Vec<_> = (0..whole.len())
        .step_by(7)
        .chain([whole.len() - 1])
        .map(|n| whole[..n].to_owned())
        .collect();
    rows.extend([
        format!("{whole}more\n"),
        whole.replace("journal 1", "journal 2"),
        whole.replace("merged ", "merged 1"),
        whole.replace("merged ", "merged +"),
        whole.replace("merged", "prepared"),
        whole.replace('@', " "),
        "\0".repeat(200),
        "pleach-etc-merge journal 1\nmerging\n".to_owned(),
    ]);
    for journal in rows {
        let machine = merged();
        let what = format!("{journal:?}");
        machine
            .deployment
            .write("etc.journal", &journal)
            .expect("written");
        let applied = apply_with(&machine, &options()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert!(!applied.unchanged, "{what}");
        check_merged(&machine, &what);
        let applied = apply_with(&machine, &options()).expect("a merge");
        assert!(applied.unchanged, "{what}");
    }
}

/// A copy that was prepared is used only as long as it is one.
#[test]
fn a_prepared_copy_may_be_stale() {
    type Change = fn(&Machine);
    let rows: [(&str, &str, Change); 6] = [
        ("it is not", "three", |_| {}),
        ("the new tree changed", "changed", |m| {
            m.new.write("b", "changed").expect("written");
        }),
        ("it is gone", "three", |m| {
            m.deployment.remove_dir_all("etc.new").expect("removed");
        }),
        ("it is another directory", "three", |m| {
            let away = &m.deployment;
            away.rename("etc.new", away, "moved").expect("renamed");
            away.create_dir_all("etc.new/x").expect("a directory");
            away.remove_dir_all("moved").expect("removed");
        }),
        ("what is known of it is gone", "three", |m| {
            m.deployment.remove_file("etc.known.new").expect("removed");
        }),
        ("it is prepared again", "changed", |m| {
            m.new.write("b", "changed").expect("written");
            prepare(&m.new, &m.deployment, &options()).expect("prepared");
        }),
    ];
    for (what, b, change) in rows {
        let machine = Machine::of([ONE, TWO, THREE]);
        prepare(&machine.new, &machine.deployment, &options()).expect("prepared");
        assert_eq!(shown(&machine.etc()), show(&tree(THREE)), "{what}");
        change(&machine);
        apply_with(&machine, &options()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!(machine.text("etc/b"), b, "{what}");
        let expected = ["etc", "etc.journal", "etc.known", "etc.prev", "etc.saved"];
        let names: Vec<_> = machine.names();
        let known_is_gone = names.len() == 4 && !names.contains(&"etc.known".to_owned());
        assert!(names == expected || known_is_gone, "{what}: {names:?}");
    }
}

#[test]
fn a_target_that_is_merged_is_not_merged_again_unasked() {
    let machine = merged();
    machine
        .deployment
        .write("etc/mine", "edited")
        .expect("written");
    assert!(
        apply_with(&machine, &options())
            .expect("the same")
            .unchanged
    );
    machine.current.write("a", "later").expect("written");
    let error = apply_with(&machine, &options()).expect_err("it is merged already");
    assert!(matches!(error, Error::AlreadyMerged { .. }), "{error:?}");
    assert_eq!(machine.text("etc/mine"), "edited");
    prepare(&machine.new, &machine.deployment, &options()).expect("nothing to do");
    let error = apply_with(&machine, &options()).expect_err("it is merged still");
    assert!(matches!(error, Error::AlreadyMerged { .. }), "{error:?}");
    apply_with(&machine, &again()).expect("asked for");
    assert_eq!(machine.text("etc/a"), "later");
    assert_eq!(machine.text("etc.prev/mine"), "edited");
}

#[test]
fn a_merge_that_was_undone_is_made_again() {
    let machine = merged();
    undo(&machine.deployment, &options()).expect("undone");
    let applied = apply_with(&machine, &options()).expect("a merge");
    assert!(!applied.unchanged);
    check_merged(&machine, "after an undo");
    assert_eq!(machine.text("etc.prev/a"), "three");
    release(&machine.deployment, &options()).expect("released");
    release(&machine.deployment, &options()).expect("nothing to do");
    undo(&machine.deployment, &options()).expect_err("no way back");
    check_merged(&machine, "after a release");
}

/// A directory that is made after another was removed often gets its inode number.
#[test]
fn a_target_made_anew_is_merged_again() {
    let machine = merged();
    let path = machine.keep.path().join("deployment/etc");
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("stat"));
    let before = number(&path);
    for _ in 0..50 {
        std::fs::remove_dir_all(&path).expect("removed");
        std::fs::create_dir(&path).expect("a directory");
        if number(&path) == before {
            break;
        }
    }
    write(&tree(THREE), &open(&path)).expect("written");
    let applied = apply_with(&machine, &options()).expect("a merge");
    assert!(!applied.unchanged);
    check_merged(&machine, "made anew");
}

#[test]
fn two_at_once_are_not_possible() {
    let machine = merged();
    let (deployment, options) = (&machine.deployment, options());
    let held = open(&machine.keep.path().join("deployment"));
    let held = held.open_dir(".").expect("open");
    let fd = rustix::fs::openat(
        &held,
        ".",
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    );
    let fd = fd.expect("open");
    rustix::fs::flock(&fd, FlockOperation::LockExclusive).expect("locked");
    let all = [
        ("apply", apply_with(&machine, &options).map(drop)),
        ("prepare", prepare(&machine.new, deployment, &options)),
        ("undo", undo(deployment, &options)),
        ("release", release(deployment, &options)),
    ];
    for (verb, done) in all {
        assert!(matches!(done, Err(Error::Busy)), "{verb}: {done:?}");
    }
    // Looking disturbs nobody.
    known(deployment, &options).expect("known");
    drop(fd);

    for _ in 0..20 {
        let machine = Machine::of([ONE, TWO, THREE]);
        let run = || apply_with(&machine, &again()).map(drop);
        let done = std::thread::scope(|scope| [(); 3].map(|()| scope.spawn(run)).map(|t| t.join()));
        let done = done.map(|d| d.expect("no panic"));
        let fine = |d: &Result<(), Error>| matches!(d, Ok(()) | Err(Error::Busy));
        assert!(
            done.iter().all(fine) && done.iter().any(Result::is_ok),
            "{done:?}"
        );
        check_merged(&machine, "three at once");
        assert_eq!(machine.text("etc.prev/a"), "three");
    }
}

#[test]
fn what_is_known_is_only_a_cache() {
    let machine = merged();
    let whole = machine.deployment.read("etc.known").expect("it is there");
    let read = Known::read(&mut &whole[..]).expect("memory is read");
    let mut again = Vec::new();
    let pairs = read.expect("it is whole");
    pairs.write(&mut again).expect("memory takes all");
    assert!(again == whole);
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    for bytes in [
        Vec::new(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], b"x"].concat(),
        flipped,
        vec![0; 4096],
    ] {
        machine
            .deployment
            .write("etc.known", &bytes)
            .expect("written");
        let known = known(&machine.deployment, &options()).expect("none");
        assert!(known.is_empty());
    }
}

/// After a merge, the next one reads less and finds the same; and it is not deceived.
#[test]
fn the_next_merge_need_not_read_what_is_known() {
    if Command::new("strace").arg("--version").output().is_err() {
        return eprintln!("SKIP: needs strace");
    }
    let files = |content: &str| -> String {
        let file = |i| format!("\n/f{i} file 0644 0:0 0.0 {content}");
        (0..20).map(file).collect()
    };
    let (one, two) = (files("one"), files("two"));
    let last = "\n/z directory 0755 0:0 0.0";
    let first = Machine::of(
        [&one, &one, &two]
            .map(|t| format!("{t}{last}"))
            .each_ref()
            .map(|t| &**t),
    );
    std::thread::sleep(Duration::from_millis(2_200));
    let at = first.keep.path();
    // What was copied a moment ago is not known: here copying takes its time.
    let slow = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=getdents64",
    ];
    let slow = [&slow[..], &["-e", "inject=getdents64:delay_enter=150000"]].concat();
    let output = itself::work_at(&slow, &itself::binary(), at, "apply").output();
    itself::told(&output.expect("strace runs")).expect("a merge");

    // The target becomes the current tree, and that image the pristine one.
    std::fs::remove_dir_all(at.join("pristine")).expect("removed");
    std::fs::remove_dir_all(at.join("current")).expect("removed");
    std::fs::rename(at.join("new"), at.join("pristine")).expect("renamed");
    std::fs::create_dir(at.join("new")).expect("a directory");
    let new = two.replacen("two", "new", 3);
    write(&tree(&format!("{new}{last}")), &open(&at.join("new"))).expect("written");
    std::fs::rename(at.join("deployment"), at.join("before")).expect("renamed");
    std::os::unix::fs::symlink("before/etc", at.join("current")).expect("a link");
    std::fs::create_dir(at.join("deployment")).expect("a directory");
    let reads = |verb: &str| {
        let trace = at.join("trace");
        let file = trace.to_str().expect("a plain path");
        let strace = ["strace", "-f", "-qq", "-o", file, "-e", "trace=pread64"];
        let output = itself::work_at(&strace, &itself::binary(), at, verb).output();
        itself::told(&output.expect("strace runs")).expect("a plan");
        std::fs::read_to_string(&trace)
            .expect("a trace")
            .lines()
            .count()
    };
    let (all, fewer) = (reads("plan"), reads("plan-known"));
    assert!(
        fewer + 20 <= all,
        "{fewer} reads with what is known, {all} without"
    );

    let dirs = ["pristine", "current", "new"].map(|name| open(&at.join(name)));
    let sides = pleach_etc_merge::Sides {
        pristine: &dirs[0],
        current: &dirs[1],
        new: &dirs[2],
    };
    let with = ApplyOptions {
        known: known(&open(&at.join("before")), &options()).expect("known"),
        ..options()
    };
    assert!(!with.known.is_empty());
    let plans = || {
        let plan = |options| {
            let planned = plan_dirs(sides, &Policies::default(), options);
            planned.expect("a plan").plan
        };
        let (plain, with) = (plan(&options()), plan(&with));
        assert_eq!(plain, with);
        with
    };
    let before = plans();
    let path = at.join("current/f10");
    let time = path.metadata().expect("stat");
    std::fs::write(&path, "owt").expect("written");
    let mut times = Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
    };
    times.last_modification.tv_sec = std::os::unix::fs::MetadataExt::mtime(&time);
    rustix::fs::utimensat(CWD, &path, &times, AtFlags::empty()).expect("its time");
    let after = plans();
    assert_eq!(after.entries().len(), before.entries().len() + 1, "{after}");
}
