//! `diff`, `plan`, `apply` and `undo` on directories.

use serde_json::json;

use super::{at, etc, json, machine, shown, write};
use crate::scratch;

/// A shell in a mount namespace of its own, or why there is none.
fn with_mounts(folder: &std::path::Path, script: &str) -> Result<String, String> {
    let flags: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["--mount"],
        false => &["--user", "--map-root-user", "--mount"],
    };
    let run = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(flags).args(["sh", "-ec", script]);
        command.env("PLEACH", env!("CARGO_BIN_EXE_pleach"));
        command
            .current_dir(folder)
            .output()
            .map_err(|e| e.to_string())
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let probe = run("mkdir probe; mount -t tmpfs none probe")?;
    if !probe.status.success() {
        return Err(text(&probe.stderr));
    }
    let output = run(script)?;
    assert!(
        output.status.success(),
        "{script}\n{}",
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

#[test]
fn what_is_mounted_counts_as_untouched() {
    let folder = scratch();
    let tree = "
        /a\\x20b directory 0755 0:0 1.0
        /a\\x20b/x file 0644 0:0 1.0 x
        /file file 0644 0:0 1.0 x
        /hosts file 0644 0:0 1.0 x";
    machine(folder.path(), tree, tree);
    let script = "
        mount -t tmpfs none 'root/etc/a b'
        echo secret > 'root/etc/a b/y'
        echo other > hosts
        mount --bind hosts root/etc/hosts
        $PLEACH etc diff --root root
        $PLEACH etc restore --root root file
        if $PLEACH etc adopt --root root 'a b/y' 2>said; then exit 1; fi
        cat said
        mkdir -p root/etc/local/m && echo mine > root/etc/local/a && mount -t tmpfs none root/etc/local/m
        if $PLEACH etc restore --root root local 2>said; then exit 1; fi
        cat said root/etc/local/a";
    match with_mounts(folder.path(), script) {
        Ok(text) => assert_eq!(
            text,
            "/a b: mounted; what is below counts as untouched\n\
             /hosts: mounted; what is below counts as untouched\n\
             error: /a b is mounted: what is below is not part of /etc; unmount it first\n\
             error: /local/m is mounted, so nothing was done; unmount it first\n\
             mine\n"
        ),
        Err(why) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "{why}");
            eprintln!("SKIP what_is_mounted_counts_as_untouched: {}", why.trim());
        }
    }
}

const ONE: &str = "/a file 0644 0:0 1.0 one\n/b file 0644 0:0 1.0 one";
const TWO: &str = "/a file 0644 0:0 1.0 two\n/b file 0600 0:0 1.0 one\n/n\\xff file 0644 0:0 1.0 x";
const THREE: &str = "/a file 0644 0:0 1.0 three\n/b file 0644 0:0 1.0 three";

#[test]
fn drift_is_told_and_noise_is_counted() {
    let folder = scratch();
    let same = "/motd file 0644 0:0 1.0 hello";
    let noise = format!("{same}\n/machine-id file 0444 0:0 1.0 1");
    machine(folder.path(), same, &noise);
    let (text, _) = etc(folder.path(), &["diff", "--root", "root"], 0);
    assert_eq!(
        text.split(':').next(),
        Some("1 machine-identity (noise)"),
        "{text}"
    );
    std::fs::write(folder.path().join("root/etc/motd"), "mine").expect("written");
    let report = json(folder.path(), &["diff", "--root", "root"], 1);
    assert_eq!(
        at(&report["entries"], "/motd")["changed"],
        json!(["content"])
    );
    assert_eq!(
        at(&report["entries"], "/machine-id")["noise"],
        "machine-identity"
    );
    let (text, _) = etc(folder.path(), &["diff", "--root", "root", "--all"], 1);
    assert!(text.contains("added /machine-id"), "{text}");
}

#[test]
fn a_plan_names_paths_whatever_bytes_they_have() {
    let folder = scratch();
    machine(folder.path(), ONE, TWO);
    write(&folder.path().join("new"), THREE);
    let report = json(
        folder.path(),
        &["plan", "--root", "root", "--new", "new"],
        1,
    );
    let entries = &report["plan"]["entries"];
    assert_eq!(at(entries, "/n\\xff")["resolution"], "local");
    assert_eq!(at(entries, "/a")["conflicts"], json!(["both-modified"]));
    assert_eq!(at(entries, "/a")["saved"], "image");
    let merged = &at(entries, "/b")["merged"];
    assert_eq!(
        (&merged["content"], &merged["mode"]),
        (&json!("image"), &json!("0600"))
    );
    // Nothing to tell about.
    etc(
        folder.path(),
        &["plan", "--root", "root", "--new", "root/usr/etc"],
        0,
    );
}

#[test]
fn what_is_applied_can_be_undone() {
    let folder = scratch();
    machine(folder.path(), ONE, TWO);
    write(&folder.path().join("new"), THREE);
    write(&folder.path().join("deployment/etc"), THREE);
    let before = shown(&folder.path().join("deployment"));
    let apply = |more: &[&str]| {
        let all = [
            "apply",
            "--root",
            "root",
            "--new",
            "new",
            "--deployment",
            "deployment",
        ];
        json(folder.path(), &[&all, more].concat(), 1)
    };
    let dry = apply(&["--dry-run"]);
    assert_eq!(shown(&folder.path().join("deployment")), before);
    let done = apply(&[]);
    assert_eq!(dry["plan"], done["plan"]);
    assert_eq!(
        (&dry["dry_run"], &done["dry_run"]),
        (&json!(true), &json!(false))
    );
    let read = |path: &str| std::fs::read_to_string(folder.path().join(path)).expect(path);
    assert_eq!(read("deployment/etc/a"), "two");
    assert_eq!(read("deployment/etc/b"), "three");
    assert_eq!(read("deployment/etc.saved/image/a"), "three");
    assert_eq!(apply(&[])["unchanged"], true);
    let undo = |more: &[&str]| {
        let all = [&["undo", "--deployment", "deployment"], more].concat();
        let report = json(folder.path(), &all, 0);
        (report["dry_run"].clone(), report["discarded"].clone())
    };
    assert_eq!(undo(&["--dry-run"]), (true.into(), false.into()));
    assert_eq!(read("deployment/etc/a"), "two");
    assert_eq!(undo(&[]), (false.into(), false.into()));
    assert_eq!(read("deployment/etc/a"), "three");
    assert_eq!(undo(&["--discard"]), (false.into(), true.into()));
    assert!(!folder.path().join("deployment/etc.prev").exists());
    for more in [&[][..], &["--discard"], &["--dry-run"]] {
        let undo = [&["undo", "--deployment", "deployment"], more].concat();
        let (said, error) = etc(folder.path(), &undo, 3);
        let expect = "there is no etc.prev in deployment: nothing to go back to";
        assert!(error.contains(expect), "{error}");
        assert_eq!(said, "");
    }
}

#[test]
fn the_etc_that_is_in_use_is_no_target() {
    let folder = scratch();
    machine(folder.path(), ONE, TWO);
    write(&folder.path().join("new"), THREE);
    let apply = [
        "apply",
        "--root",
        "root",
        "--new",
        "new",
        "--deployment",
        "root",
    ];
    let (_, error) = etc(folder.path(), &apply, 3);
    assert!(
        error.contains("root/etc is the /etc that the machine has now"),
        "{error}"
    );
    assert!(!folder.path().join("root/etc.prev").exists());
}

#[test]
fn wrong_words_and_missing_directories() {
    let folder = scratch();
    etc(folder.path(), &["plan"], 2);
    etc(
        folder.path(),
        &["plan", "--new", "a", "--image", "oci:b"],
        2,
    );
    etc(folder.path(), &["release"], 2);
    let (_, error) = etc(folder.path(), &["diff", "--root", "."], 3);
    assert!(error.contains("--pristine"), "{error}");
    machine(folder.path(), ONE, ONE);
    let (_, error) = etc(folder.path(), &["why", "/var/a", "--root", "root"], 3);
    assert!(error.contains("/var/a is not below /etc"), "{error}");
}
