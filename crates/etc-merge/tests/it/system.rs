//! Faults of a real system: a file system that is read-only, full or stacked, what may not be
//! changed, what is mounted, and a user who may not.
//!
//! All but the last run in a mount namespace of their own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::{contents, is_root, open, write};
use crate::on_disk::{MERGED, ONE, THREE, TWO};
use crate::{itself, show, tree};

/// A directory on a file system of its own, with the four directories of a merge in it.
struct Scene {
    at: PathBuf,
}

impl Scene {
    fn path(&self, name: &str) -> String {
        let path = self.at.join(name);
        path.to_str().expect("a plain path").to_owned()
    }

    /// Runs a command in which `@` stands for the scene; its words have no spaces.
    fn run(&self, line: &str) {
        let line = line.replace('@', &self.path(""));
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().expect("a command"));
        let output = command.args(words).output();
        let output = output.unwrap_or_else(|e| panic!("{line}: {e}"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {text}");
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.at.join("deployment")).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|e| e.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn shot(&self) -> String {
        let names = ["pristine", "current", "new", "deployment/etc"];
        let one = |name: &&str| format!("{name}\n{}", show(&contents(&self.at.join(name))));
        names.iter().map(one).collect()
    }
}

/// What is broken and by which lines, what the error then says, and which lines mend it.
struct Row {
    what: &'static str,
    broken: &'static [&'static str],
    error: &'static str,
    /// The same where a copy was prepared; `None`: like the other.
    prepared: Option<&'static str>,
    mended: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        what: "a read-only deployment",
        broken: &[
            "mount --bind @deployment @deployment",
            "mount -o remount,bind,ro @deployment",
        ],
        error: "make /etc.new: Read-only file system (os error 30)",
        prepared: Some("write /etc.journal.new: Read-only file system (os error 30)"),
        mended: &["umount @deployment"],
    },
    Row {
        what: "an immutable deployment",
        broken: &["chattr +i @deployment"],
        error: "make /etc.new: Operation not permitted (os error 1)",
        prepared: Some("write /etc.journal.new: Operation not permitted (os error 1)"),
        mended: &["chattr -i @deployment"],
    },
    Row {
        what: "an immutable file in the place of the result",
        broken: &[
            "rm -rf @deployment/etc.new",
            "touch @deployment/etc.new",
            "chattr +i @deployment/etc.new",
        ],
        error: "remove /etc.new: Operation not permitted (os error 1)",
        prepared: None,
        mended: &["chattr -i @deployment/etc.new"],
    },
    Row {
        what: "an immutable target",
        broken: &["chattr +i @deployment/etc"],
        error: "exchange /etc: Operation not permitted (os error 1)",
        prepared: None,
        mended: &["chattr -i @deployment/etc"],
    },
    Row {
        what: "an immutable way back",
        broken: &[
            "mkdir -p @deployment/etc.prev/d",
            "chattr +i @deployment/etc.prev",
        ],
        error: "rename /etc.gone: Operation not permitted (os error 1)",
        prepared: None,
        mended: &["chattr -i @deployment/etc.prev"],
    },
    Row {
        what: "a target that is a mount point",
        broken: &["mount --bind @deployment/etc @deployment/etc"],
        error: "exchange /etc: Device or resource busy (os error 16)",
        prepared: None,
        mended: &["umount @deployment/etc"],
    },
    Row {
        what: "a mount point that is the result of a merge",
        broken: &[
            "mkdir @deployment/etc.prev @deployment/etc.saved",
            "cp -a @current/a @deployment/etc.prev/marker",
            "cp -a @current/a @deployment/etc.saved/marker",
            "mount --bind @deployment/etc @deployment/etc",
        ],
        error: "exchange /etc: Device or resource busy (os error 16)",
        prepared: None,
        mended: &[
            "umount @deployment/etc",
            "cmp @current/a @deployment/etc.prev/marker",
            "cmp @current/a @deployment/etc.saved/marker",
        ],
    },
    Row {
        what: "something mounted below the last merge's way back",
        broken: &[
            "mkdir -p @deployment/etc.prev/d/m @outside",
            "cp -a @current/a @outside/canary",
            "mount --bind @outside @deployment/etc.prev/d/m",
        ],
        error: "remove /etc.gone: Device or resource busy (os error 16)",
        prepared: None,
        mended: &[
            "umount @deployment/etc.gone/d/m",
            "cmp @current/a @outside/canary",
        ],
    },
    Row {
        what: "something mounted in the new tree",
        broken: &["mkdir @new/m", "mount -t tmpfs none @new/m"],
        error: "/m of the new tree: something is mounted there; unmount it",
        prepared: None,
        mended: &["umount @new/m", "rmdir @new/m", "touch -r @current @new"],
    },
    Row {
        what: "a full file system",
        broken: &["dd if=/dev/zero of=@ballast bs=4k status=none conv=noerror,notrunc"],
        error: "No space left on device (os error 28)",
        prepared: Some("No space left on device (os error 28)"),
        mended: &["rm @ballast"],
    },
];

#[test]
fn a_fault_of_the_system_is_named_and_harmless() {
    let test = "system::in_a_mount_namespace";
    let unshare: &[&str] = match is_root() {
        true => &["unshare", "--mount", "--"],
        false => &["unshare", "--user", "--map-root-user", "--mount", "--"],
    };
    let output = itself::command(unshare, &itself::binary(), test).output();
    let output = output.expect("unshare of util-linux runs");
    let text = String::from_utf8_lossy(&output.stderr);
    if text.starts_with("unshare:") {
        return eprintln!("SKIP {test}: no mount namespace can be had here: {text}");
    }
    let told = itself::told(&output).unwrap_or_else(|e| panic!("{e}"));
    told.lines()
        .filter(|line| line.starts_with("SKIP"))
        .for_each(|line| eprintln!("{line}"));
}

#[test]
#[ignore = "run by system::a_fault_of_the_system_is_named_and_harmless"]
fn in_a_mount_namespace() {
    let keep = tempfile::tempdir().expect("a temporary directory");
    for row in ROWS {
        for prepared in [false, true] {
            let scene = scene(keep.path());
            check(row, prepared, &scene);
            scene.run("umount -R @");
        }
    }
    stacked(&scene(keep.path()));
}

/// A file system in memory, small enough to be filled.
fn scene(at: &Path) -> Scene {
    let scene = Scene { at: at.to_owned() };
    scene.run("mount -t tmpfs -o size=2m none @");
    for (name, text) in [
        ("pristine", ONE),
        ("current", TWO),
        ("new", THREE),
        ("deployment/etc", THREE),
    ] {
        let path = at.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        write(&tree(text), &open(&path)).unwrap_or_else(|e| panic!("{e:?}"));
    }
    scene
}

fn check(row: &Row, prepared: bool, scene: &Scene) {
    let what = format!("{}, prepared: {prepared}", row.what);
    if prepared {
        itself::do_verb(&scene.at, "prepare").expect("prepared");
    }
    for line in row.broken {
        match line.starts_with("dd ") {
            // It ends when nothing is left.
            true => fill(scene),
            false => scene.run(line),
        }
    }
    let before = scene.shot();
    let error = itself::do_verb(&scene.at, "apply").expect_err(&what);
    let said = itself::chain(&error);
    let expected = row.prepared.filter(|_| prepared).unwrap_or(row.error);
    assert!(said.ends_with(expected), "{what}: {said}");
    // What stands in the way of the last merge's way back is met when the result is exchanged in.
    let exchanged = row.what.contains("way back");
    match exchanged {
        true => assert_eq!(
            show(&contents(&scene.at.join("deployment/etc"))),
            show(&tree(MERGED))
        ),
        false => assert_eq!(scene.shot(), before, "{what}"),
    }
    let new_is_left = scene.names().contains(&"etc.new".to_owned());
    let allowed = prepared || exchanged || row.what.contains("in the place of the result");
    assert!(
        allowed || !new_is_left,
        "{what}: a half-made etc.new is left"
    );

    row.mended.iter().for_each(|line| scene.run(line));
    itself::do_verb(&scene.at, "apply").unwrap_or_else(|e| panic!("{what}: then: {e:?}"));
    let etc = |name: &str| show(&contents(&scene.at.join("deployment").join(name)));
    assert_eq!(etc("etc"), show(&tree(MERGED)), "{what}");
    assert_eq!(etc("etc.prev"), show(&tree(THREE)), "{what}");
    let expected = ["etc", "etc.journal", "etc.known", "etc.prev", "etc.saved"];
    assert_eq!(scene.names(), expected, "{what}");
}

fn fill(scene: &Scene) {
    let ballast = open(&scene.at).create("ballast");
    let mut ballast = ballast.expect("made");
    while std::io::Write::write_all(&mut ballast, &[0; 4096]).is_ok() {}
}

/// A target in the lower layer of overlayfs.
fn stacked(scene: &Scene) {
    scene.run("mkdir @upper @work @stacked");
    let options = "lowerdir=@deployment,upperdir=@upper,workdir=@work";
    let options = options.replace('@', &scene.path(""));
    let mounted = Command::new("mount")
        .args([
            "-t",
            "overlay",
            "-o",
            &options,
            "none",
            &scene.path("stacked"),
        ])
        .output()
        .expect("mount runs");
    if !mounted.status.success() {
        return eprintln!("SKIP system::stacked: no overlayfs can be mounted here");
    }
    scene.run("mount --move @stacked @deployment");
    let before = scene.shot();
    let error = itself::do_verb(&scene.at, "apply").expect_err("it is in the lower layer");
    let said = itself::chain(&error);
    assert_eq!(
        said,
        "exchange /etc: Invalid cross-device link (os error 18)"
    );
    assert_eq!(scene.shot(), before);
    assert!(!scene.names().contains(&"etc.new".to_owned()));
    // A copy is in the upper one.
    scene.run("cp -a @deployment/etc @deployment/copy");
    scene.run("rm -r @deployment/etc");
    scene.run("mv @deployment/copy @deployment/etc");
    itself::do_verb(&scene.at, "apply").expect("a merge");
    let etc = contents(&scene.at.join("deployment/etc"));
    assert_eq!(show(&etc), show(&tree(MERGED)));
}

/// This binary where everybody may run it.
fn for_everybody(keep: &Path) -> PathBuf {
    let everybody = |path: &Path| {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("its mode");
    };
    let binary = keep.join("it");
    std::fs::copy(itself::binary(), &binary).expect("copied");
    everybody(&binary);
    everybody(keep);
    binary
}

const NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--",
];

#[test]
fn a_user_who_may_not_is_told_so() {
    if !is_root() {
        return eprintln!("SKIP system::a_user_who_may_not: needs root to be somebody else");
    }
    let keep = tempfile::tempdir().expect("a temporary directory");
    let binary = for_everybody(keep.path());
    type Change = fn(&Path);
    let rows: [(&str, Change, &str); 3] = [
        (
            "the deployment is somebody else's",
            |_| {},
            "make /etc.new: Permission denied (os error 13)",
        ),
        (
            "a file cannot be read",
            |at| {
                let mode = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(at.join("current/a"), mode).expect("its mode");
            },
            "read /a of the current tree: Permission denied (os error 13)",
        ),
        (
            "a tree cannot be entered",
            |at| {
                let mode = std::fs::Permissions::from_mode(0o711);
                std::fs::set_permissions(at.join("new"), mode).expect("its mode");
            },
            "open / of the new tree: Permission denied (os error 13)",
        ),
    ];
    for (i, (what, change, expected)) in rows.into_iter().enumerate() {
        let at = keep.path().join(i.to_string());
        let text = |text: &str| text.replace("0600", "0644");
        for (name, text) in [
            ("pristine", text(ONE)),
            ("current", text(TWO)),
            ("new", text(THREE)),
            ("deployment/etc", text(THREE)),
        ] {
            let path = at.join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            write(&tree(&text), &open(&path)).expect("written");
        }
        change(&at);
        let run = || {
            let output = itself::work_at(&NOBODY, &binary, &at, "apply").output();
            itself::told(&output.expect("setpriv of util-linux runs"))
        };
        let before = show(&contents(&at));
        let said = run().expect_err(what);
        assert!(said.contains(expected), "{what}: {said}");
        assert_eq!(show(&contents(&at)), before, "{what}");
        for path in ["deployment", "deployment/etc", "current/a"] {
            chown(at.join(path), Some(65534), Some(65534)).expect("its owner");
        }
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(at.join("new"), mode).expect("its mode");
        run().unwrap_or_else(|e| panic!("{what}: then: {e}"));
        let etc = std::fs::read(at.join("deployment/etc/a")).expect("merged");
        assert_eq!(etc, b"two", "{what}");
    }
}

/// The vectors, and more, as root of a user namespace that is nobody outside.
#[test]
fn a_user_namespace_is_enough() {
    let keep = tempfile::tempdir().expect("a temporary directory");
    let binary = for_everybody(keep.path());
    let vectors = keep.path().join("vectors.json");
    let ours = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/vectors/etc-merge.json"
    );
    let from = std::env::var_os("PLEACH_ETC_VECTORS").unwrap_or_else(|| ours.into());
    std::fs::copy(from, &vectors).expect("copied");
    let unshare = ["unshare", "--user", "--map-root-user", "--mount", "--"];
    let tool = match is_root() {
        true => [&NOBODY[..], &unshare].concat(),
        false => unshare.to_vec(),
    };
    let tests = [
        "on_disk::the_vectors_on_disk",
        "on_disk::a_merge_is_exchanged_and_can_be_undone",
        "hostile::p07_no_link_in_a_tree_is_followed",
        "hostile::p07_nothing_beside_the_target_is_followed",
        "books::a_prepared_copy_may_be_stale",
    ];
    let mut words = tool.iter();
    let mut command = Command::new(words.next().expect("a tool"));
    command.args(words).arg(&binary).arg("--exact").args(tests);
    command.arg("--nocapture").current_dir(keep.path());
    let output = command.env("PLEACH_ETC_VECTORS", &vectors).output();
    let output = output.expect("unshare of util-linux runs");
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if text.contains("unshare:") || text.contains("setpriv:") {
        return eprintln!("SKIP system::a_user_namespace: none can be had here: {text}");
    }
    let passed = format!("{} passed", tests.len());
    assert!(output.status.success() && text.contains(&passed), "{text}");
    let ran = text.lines().find(|line| line.contains(" ran, "));
    eprintln!("in a user namespace: {}", ran.unwrap_or("nothing"));
}
