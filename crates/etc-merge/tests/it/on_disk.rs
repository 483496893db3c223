//! The merge on real directories.

use std::process::Command;

use cap_std::fs::Dir;
use pleach_etc_merge::{
    Action, Applied, ApplyOptions, Error, Policies, Rule, Sides, apply, plan_dirs, release, undo,
};
use pleach_fs_tree::{Kind, MaterializeError, Metadata};

use crate::disk::{self, contents, is_root, open, write};
use crate::vector_file::read;
use crate::{Etc, show, tree};

/// A deployment with its three trees and the target, all below one temporary directory.
pub(crate) struct Machine {
    pub(crate) keep: tempfile::TempDir,
    pub(crate) pristine: Dir,
    pub(crate) current: Dir,
    pub(crate) new: Dir,
    pub(crate) deployment: Dir,
}

pub(crate) fn options() -> ApplyOptions {
    ApplyOptions {
        materialize: disk::options(),
        ..ApplyOptions::default()
    }
}

impl Machine {
    /// The target begins as a copy of the new tree, as a fresh deployment's does.
    pub(crate) fn new(sides: &Sides<Etc>) -> Result<Self, MaterializeError> {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let make = |name: &str, tree: &Etc| -> Result<Dir, MaterializeError> {
            let path = keep.path().join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            let dir = open(&path);
            write(tree, &dir)?;
            Ok(dir)
        };
        Ok(Self {
            pristine: make("pristine", &sides.pristine)?,
            current: make("current", &sides.current)?,
            new: make("new", &sides.new)?,
            deployment: {
                make("deployment/etc", &sides.new)?;
                open(&keep.path().join("deployment"))
            },
            keep,
        })
    }

    pub(crate) fn of(sides: [&str; 3]) -> Self {
        let [pristine, current, new] = sides.map(tree);
        let sides = Sides {
            pristine,
            current,
            new,
        };
        Self::new(&sides).unwrap_or_else(|e| panic!("{e:?}"))
    }

    pub(crate) fn sides(&self) -> Sides<&Dir> {
        Sides {
            pristine: &self.pristine,
            current: &self.current,
            new: &self.new,
        }
    }

    pub(crate) fn apply(&self, policies: &Policies) -> Result<Applied, Error> {
        apply(self.sides(), policies, None, &self.deployment, &options())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.deployment.entries().expect("a directory");
        let name = |e: std::io::Result<cap_std::fs::DirEntry>| e.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|e| name(e).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let text = self.deployment.read_to_string(path);
        text.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub(crate) fn etc(&self) -> Etc {
        contents(&self.keep.path().join("deployment/etc"))
    }
}

pub(crate) const ONE: &str = "/a file 0644 0:0 0.0 one\n/b file 0644 0:0 0.0 one";
pub(crate) const TWO: &str = "/a file 0644 0:0 0.0 two\n/b file 0600 0:0 0.0 one";
pub(crate) const THREE: &str = "/a file 0644 0:0 0.0 three\n/b file 0644 0:0 0.0 three";
pub(crate) const MERGED: &str = "/a file 0644 0:0 0.0 two\n/b file 0600 0:0 0.0 three";

/// The target, the books of the merge, and these.
pub(crate) fn with_books<'a>(others: &[&'a str]) -> Vec<&'a str> {
    [&["etc", "etc.journal", "etc.known"], others].concat()
}

/// Owners cannot be set by everybody, so the tests write 0:0 and compare what is there.
pub(crate) fn shown(tree: &Etc) -> String {
    let text = show(tree);
    if is_root() {
        return text;
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    text.replace(&format!(" {}:{} ", uid.as_raw(), gid.as_raw()), " 0:0 ")
}

fn needs_root(tree: &Etc) -> bool {
    tree.walk().any(|(_, id)| {
        let inode = tree.inode(id);
        let Metadata { mode, uid, gid, .. } = inode.metadata;
        let readable = match inode.kind {
            Kind::Directory(_) => 0o500,
            _ => 0o400,
        };
        let device = matches!(inode.kind, Kind::CharDevice(_) | Kind::BlockDevice(_));
        (uid, gid) != (0, 0) || mode & readable != readable || device
    })
}

/// P13, P14 and P18: what is on disk is what the plan says, and the inputs stay as they are.
#[test]
fn the_vectors_on_disk() {
    let (mut ran, mut skipped, mut failed) = (0, Vec::new(), Vec::new());
    for vector in read() {
        let [pristine, current, new] = ["base", "current", "new"].map(|field| vector.tree(field));
        let sides = Sides {
            pristine,
            current,
            new,
        };
        let all = [&sides.pristine, &sides.current, &sides.new];
        if !is_root() && all.into_iter().any(needs_root) {
            skipped.push(format!(
                "{}: owners, devices, or what only root can read",
                vector.name
            ));
            continue;
        }
        let machine = match Machine::new(&sides) {
            Ok(machine) => machine,
            // This file system, or this user, cannot have the attributes of the case.
            Err(error) => {
                skipped.push(format!("{}: {error:?}", vector.name));
                continue;
            }
        };
        let inputs = ["pristine", "current", "new"].map(|name| machine.keep.path().join(name));
        let before = inputs.each_ref().map(|path| show(&contents(path)));
        let options = ApplyOptions {
            sync: false,
            ..options()
        };
        let policies = Policies::default();
        let applied = apply(
            machine.sides(),
            &policies,
            None,
            &machine.deployment,
            &options,
        );
        if let Err(error) = applied {
            failed.push(format!("{}: {error:?}", vector.name));
            continue;
        }
        let (expected, found) = (show(&vector.proposed()), shown(&machine.etc()));
        if expected != found {
            failed.push(format!(
                "{}:\nexpected\n{expected}found\n{found}",
                vector.name
            ));
        }
        if inputs.each_ref().map(|path| show(&contents(path))) != before {
            failed.push(format!("{}: an input was changed", vector.name));
        }
        ran += 1;
    }
    assert!(
        failed.is_empty(),
        "{}\n{} failed",
        failed.join("\n"),
        failed.len()
    );
    eprintln!(
        "{ran} ran, {} skipped:\n{}",
        skipped.len(),
        skipped.join("\n")
    );
    assert!(
        ran > skipped.len(),
        "most vectors can be had on any file system"
    );
}

#[test]
fn a_merge_is_exchanged_and_can_be_undone() {
    let machine = Machine::of([ONE, TWO, THREE]);
    let applied = machine.apply(&Policies::default()).expect("a merge");
    assert!(!applied.unchanged);
    assert_eq!(shown(&machine.etc()), show(&tree(MERGED)));
    assert_eq!(machine.names(), with_books(&["etc.prev", "etc.saved"]));
    assert_eq!(machine.text("etc.saved/image/a"), "three");

    let again = machine.apply(&Policies::default()).expect("a second merge");
    assert!(again.unchanged);
    assert_eq!(again.plan, applied.plan);

    undo(&machine.deployment, &options()).expect("there is a way back");
    assert_eq!(shown(&machine.etc()), show(&tree(THREE)));
    undo(&machine.deployment, &options()).expect("and forth");
    assert_eq!(shown(&machine.etc()), show(&tree(MERGED)));
    release(&machine.deployment, &options()).expect("released");
    assert_eq!(machine.names(), with_books(&["etc.saved"]));
    undo(&machine.deployment, &options()).expect_err("there is no way back any more");
}

#[test]
fn a_target_that_is_missing_is_made() {
    let machine = Machine::of([ONE, TWO, THREE]);
    machine
        .deployment
        .remove_dir_all("etc")
        .expect("it was there");
    machine.apply(&Policies::default()).expect("a merge");
    assert_eq!(shown(&machine.etc()), show(&tree(MERGED)));
    assert_eq!(machine.names(), with_books(&["etc.saved"]));
}

/// What an interrupted merge may leave.
#[test]
fn leftovers_do_not_matter() {
    type Leave = fn(&Machine);
    let leftovers: [(&str, Leave); 4] = [
        ("a half written result", |m| {
            m.deployment
                .create_dir_all("etc.new/x/y")
                .expect("a directory");
            m.deployment
                .create_dir_all("etc.saved.new/image")
                .expect("a directory");
        }),
        ("a result that was not exchanged", |m| {
            m.deployment.create_dir("etc.prev").expect("a directory");
            let prev = open(&m.keep.path().join("deployment/etc.prev"));
            write(&tree(MERGED), &prev).expect("written");
        }),
        ("what was saved for another plan", |m| {
            m.deployment
                .create_dir_all("etc.saved/image/other")
                .expect("a directory");
        }),
        ("links where nobody expects any", |m| {
            m.deployment.symlink("../new", "etc.new").expect("a link");
            m.deployment.symlink("../new", "etc.saved").expect("a link");
            m.deployment.symlink("../new", "etc.prev").expect("a link");
        }),
    ];
    for (what, leave) in leftovers {
        let machine = Machine::of([ONE, TWO, THREE]);
        leave(&machine);
        machine
            .apply(&Policies::default())
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!(shown(&machine.etc()), show(&tree(MERGED)), "{what}");
        let expected = with_books(&["etc.prev", "etc.saved"]);
        assert_eq!(machine.names(), expected, "{what}");
        assert_eq!(machine.text("etc.prev/a"), "three", "{what}");
        assert_eq!(machine.text("etc.saved/image/a"), "three", "{what}");
        assert!(
            !machine.deployment.exists("etc.saved/image/other"),
            "{what}"
        );
        assert_eq!(
            contents(&machine.keep.path().join("new")).walk().count(),
            3,
            "{what}"
        );
    }
}

#[test]
fn a_refused_merge_touches_nothing() {
    let machine = Machine::of([ONE, TWO, THREE]);
    let fail = Rule::new("a", Action::Fail, "test").expect("a rule");
    let policies = Policies {
        rules: vec![fail],
        ..Policies::default()
    };
    let error = machine.apply(&policies).expect_err("refused");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(machine.names(), ["etc"]);
    assert_eq!(shown(&machine.etc()), show(&tree(THREE)));
}

#[test]
fn what_changed_since_the_preview_is_planned_anew() {
    let machine = Machine::of([ONE, TWO, THREE]);
    let (policies, options) = (Policies::default(), options());
    let planned = plan_dirs(machine.sides(), &policies, &options).expect("a plan");
    let preview = planned.plan;
    assert_eq!(machine.names(), ["etc"], "a preview writes nothing");
    machine.current.write("b", "four").expect("written");
    let applied = apply(
        machine.sides(),
        &policies,
        Some(&preview),
        &machine.deployment,
        &options,
    );
    let replanned = applied.expect("a merge").replanned;
    assert_eq!(
        replanned
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["/b"]
    );
    assert_eq!(machine.text("etc/b"), "four");
}

/// P7: links in all three trees lead to a canary, and to each other; nobody follows them.
#[test]
fn no_link_is_followed() {
    let canary = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(canary.path().join("x"), "victim").expect("written");
    let before = show(&contents(canary.path()));
    let outside = canary
        .path()
        .to_str()
        .expect("a plain path")
        .replace('-', "\\x2d");
    let links = |d: &str| {
        format!(
            "/absolute symlink 0777 0:0 0.0 {outside}
             /d {d}
             /file symlink 0777 0:0 0.0 {outside}/x
             /loop symlink 0777 0:0 0.0 loop
             /relative symlink 0777 0:0 0.0 ../../../../../../../..{outside}"
        )
    };
    let directory = |content: &str| {
        format!(
            "directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 {content}\n/d/y file 0644 0:0 0.0 y"
        )
    };
    let link = format!("symlink 0777 0:0 0.0 {outside}");
    let (one, two) = (links(&directory("one")), links(&directory("two")));
    let linked = links(&link);
    for sides in [
        [&one, &two, &linked],
        [&one, &linked, &two],
        [&linked, &one, &two],
        [&one, &linked, &one],
        [&linked, &two, &linked],
    ] {
        let machine = Machine::of(sides.map(|side| side.as_str()));
        machine.apply(&Policies::default()).expect("a merge");
        assert_eq!(show(&contents(canary.path())), before);
    }
}

/// Runs itself in a mount namespace of its own.
#[test]
fn mount_points_count_as_untouched() {
    const INSIDE: &str = "PLEACH_ETC_MERGE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return mounted();
    }
    let this = std::env::current_exe().expect("a path");
    let test = "on_disk::mount_points_count_as_untouched";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--map-root-user", "--"])
        .arg(&this);
    if is_root() {
        unshare = Command::new("unshare");
        unshare.args(["--mount", "--"]).arg(&this);
    }
    let run = unshare
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let output = run.expect("unshare of util-linux runs");
    let text = String::from_utf8_lossy(&output.stderr);
    if text.starts_with("unshare:") {
        return eprintln!("SKIP {test}: no mount namespace can be had here: {text}");
    }
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{text}"
    );
}

fn mounted() {
    let sides = "
        /f file 0644 0:0 0.0 shipped
        /in directory 0755 0:0 0.0
        /in/x file 0644 0:0 0.0 shipped
        /same directory 0755 0:0 0.0
        /same/x file 0644 0:0 0.0 shipped";
    let local = format!(
        "{sides}\n/mine directory 0755 0:0 0.0\n/other directory 0755 0:0 0.0\n/other/secret file 0644 0:0 0.0 s"
    );
    let machine = Machine::of([sides, &local, sides]);
    let at = |name: &str| machine.keep.path().join("current").join(name);
    let mount = |args: &[&std::ffi::OsStr]| {
        let status = Command::new("mount")
            .args(args)
            .status()
            .expect("mount runs");
        assert!(status.success(), "mount {args:?}");
    };
    for name in ["in", "mine"] {
        mount(
            &["-t", "tmpfs", "none"]
                .map(std::ffi::OsStr::new)
                .iter()
                .copied()
                .chain([at(name).as_os_str()])
                .collect::<Vec<_>>(),
        );
        std::fs::write(at(name).join("secret"), "s").expect("written");
    }
    // The same file system, and a single file.
    mount(&[
        "--bind".as_ref(),
        at("other").as_os_str(),
        at("same").as_os_str(),
    ]);
    mount(&[
        "--bind".as_ref(),
        at("other/secret").as_os_str(),
        at("f").as_os_str(),
    ]);

    let applied = machine.apply(&Policies::default()).expect("a merge");
    let mounts: Vec<_> = applied.mounts.iter().map(ToString::to_string).collect();
    assert_eq!(mounts, ["/f", "/in", "/mine", "/same"]);
    assert_eq!(machine.text("etc/f"), "shipped");
    assert_eq!(machine.text("etc/in/x"), "shipped");
    assert_eq!(machine.text("etc/same/x"), "shipped");
    assert_eq!(machine.text("etc/other/secret"), "s");
    assert!(!machine.deployment.exists("etc/in/secret"));
    assert!(!machine.deployment.exists("etc/mine/secret"));
    assert!(
        machine.deployment.exists("etc/mine"),
        "it is there to be mounted on"
    );
}
