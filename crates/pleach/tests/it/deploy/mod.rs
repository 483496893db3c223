//! `pleach deploy` on a sysroot in a folder: from one deployment to the next, and back.

mod images;
mod install;
mod printed;
mod shards;
mod staged;
mod time;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use images::{Image, Scratch};
use pleach_deployment::{BootEntry, DeployOptions, Deployment, Origin, Sysroot};
use serde_json::Value;

use crate::images::{has, is_root};

/// What is common to the tests: run a verb, look at what came of it.
struct Test {
    scratch: Scratch,
}

impl Test {
    /// A machine that runs v1; `None`, said, where it cannot be made.
    fn new(name: &str) -> Option<Self> {
        if !is_root(name) || !has(name, "ostree") {
            return None;
        }
        let test = Self {
            scratch: Scratch::new(),
        };
        test.install();
        Some(test)
    }

    fn install(&self) {
        let path = self.scratch.path("sysroot");
        fs::create_dir_all(&path).expect("made");
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).expect("opened");
        let sysroot = Sysroot::init(&dir).expect("a sysroot");
        sysroot.init_stateroot("default").expect("a stateroot");
        let repo = "--ostree-repo=sysroot/ostree/repo";
        let (code, commit, stderr) = self.run(&["unpack", "oci:images:v1", repo]);
        assert_eq!(code, Some(0), "{stderr}");
        let commit = commit.trim().parse().expect("a checksum");
        let origin = Origin::ContainerImage("ostree-unverified-image:oci:images:v1".to_owned());
        let mut options = DeployOptions::new("default", commit, origin);
        options.kernel_arguments = "root=LABEL=root rw".parse().expect("arguments");
        sysroot.deploy(&options).expect("deployed");
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        crate::pleach(&self.scratch.path(""), arguments)
    }

    /// Runs `pleach deploy VERB --sysroot sysroot …`.
    fn verb(&self, verb: &[&str]) -> (Option<i32>, String, String) {
        self.run(&[&["deploy", verb[0], "--sysroot=sysroot"], &verb[1..]].concat())
    }

    #[track_caller]
    fn ok(&self, verb: &[&str]) -> String {
        let (code, stdout, stderr) = self.verb(verb);
        assert_eq!(code, Some(0), "{verb:?}: {stdout}{stderr}");
        stdout
    }

    #[track_caller]
    fn refused(&self, verb: &[&str], why: &str) {
        let before = self.state();
        let (code, _, stderr) = self.verb(verb);
        assert_eq!(code, Some(3), "{verb:?}: {stderr}");
        assert!(stderr.contains(why), "{verb:?}: {stderr}");
        assert_eq!(
            self.state(),
            before,
            "{verb:?} changed what the machine boots"
        );
    }

    fn sysroot(&self) -> Sysroot {
        let path = self.scratch.path("sysroot");
        Sysroot::open(&Dir::open_ambient_dir(path, ambient_authority()).expect("opened"))
            .expect("a sysroot")
    }

    fn deployments(&self) -> Vec<Deployment> {
        self.sysroot().deployments().expect("deployments")
    }

    /// The root of the deployment of this number.
    fn root(&self, number: usize) -> PathBuf {
        self.scratch
            .path("sysroot")
            .join(&self.deployments()[number].path)
    }

    fn read(&self, number: usize, path: &str) -> String {
        let path = self.root(number).join(path);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Which image each deployment is of.
    fn numbers(&self) -> Vec<String> {
        let all = 0..self.deployments().len();
        all.map(|n| self.read(n, "usr/share/number").trim().to_owned())
            .collect()
    }

    /// Kernel arguments of the deployment of this number, without ostree=.
    fn arguments(&self, number: usize) -> String {
        let mut entry = self.entry(number);
        entry.options.delete_key("ostree");
        entry.options.to_string()
    }

    fn entry(&self, number: usize) -> BootEntry {
        let deployment = self.deployments().remove(number);
        deployment.boot_entry.expect("a boot entry")
    }

    /// All entries, names and bytes.
    fn state(&self) -> Vec<(String, String)> {
        let folder = self.scratch.path("sysroot/boot/loader/entries");
        let entries = fs::read_dir(&folder).expect("entries").flatten();
        let read = |path: PathBuf| fs::read_to_string(path).expect("read");
        let mut all: Vec<_> = entries
            .map(|e| (e.file_name().display().to_string(), read(e.path())))
            .collect();
        all.sort();
        all
    }

    fn status(&self) -> Value {
        let text = self.ok(&["status", "--format=json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// ostree understands what is there: as many deployments, and no object that is not whole.
    #[track_caller]
    fn ostree_agrees(&self) {
        let sysroot = self.scratch.path("sysroot");
        let run = |arguments: &[&str]| {
            let output = Command::new("ostree")
                .args(arguments)
                .output()
                .expect("ostree");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{arguments:?}: {text}{error}");
            text
        };
        let status = run(&[
            "admin",
            "status",
            &format!("--sysroot={}", sysroot.display()),
        ]);
        for deployment in self.deployments() {
            let name = format!("{}.{}", deployment.checksum, deployment.serial);
            assert!(status.contains(&name), "{name} is not in\n{status}");
        }
        run(&[
            "fsck",
            &format!("--repo={}", sysroot.join("ostree/repo").display()),
        ]);
    }
}

#[test]
fn an_upgrade_merges_etc_and_keeps_a_way_back() {
    let Some(test) = Test::new("an_upgrade_merges_etc_and_keeps_a_way_back") else {
        return;
    };
    let etc = test.root(0).join("etc");
    fs::write(etc.join("hosts"), "127.0.0.1 here\n").expect("written");
    fs::write(etc.join("local"), "mine\n").expect("written");
    fs::remove_file(etc.join("conf.d/a")).expect("removed");
    symlink("hosts", etc.join("link")).expect("linked");
    let var = test.scratch.path("sysroot/ostree/deploy/default/var/lib");
    fs::write(var.join("data"), "kept\n").expect("written");

    let before = test.state();
    test.ok(&["switch", "oci:images:v2"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    assert_eq!(test.state()[..1], before[..], "an old entry was rewritten");
    assert_eq!(test.read(0, "etc/motd"), "welcome to 2\n");
    assert_eq!(test.read(0, "etc/hosts"), "127.0.0.1 here\n");
    assert_eq!(test.read(0, "etc/local"), "mine\n");
    assert_eq!(
        fs::read_link(test.root(0).join("etc/link")).expect("a link"),
        PathBuf::from("hosts")
    );
    assert!(
        !test.root(0).join("etc/conf.d/a").exists(),
        "removed by the machine, changed by the image"
    );
    assert_eq!(test.read(1, "etc/motd"), "welcome to 1\n");
    assert_eq!(
        fs::read_to_string(var.join("data")).expect("kept"),
        "kept\n"
    );
    assert_eq!(fs::read_to_string(var.join("seed")).expect("kept"), "1\n");
    assert_eq!(test.arguments(0), "quiet v=2 root=LABEL=root rw");
    assert_eq!(test.arguments(1), "quiet v=1 root=LABEL=root rw");
    let boot = |path: &str| {
        fs::read_to_string(
            test.scratch
                .path("sysroot")
                .join(path.trim_start_matches('/')),
        )
        .unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let entry = test.entry(0);
    assert_eq!(
        boot(entry.linux.as_deref().expect("a kernel")),
        "kernel 2\n"
    );
    assert_eq!(boot(&entry.initrd[0]), "initramfs 2\n");
    test.ostree_agrees();

    let status = test.status();
    let image = &status["deployments"][0]["image"];
    assert_eq!(image["version"], "2.0");
    let reference = image["reference"].as_str().expect("a reference");
    assert!(
        reference.starts_with("oci:/") && reference.ends_with("/images:v2"),
        "{reference}"
    );
    assert!(
        image["digest"]
            .as_str()
            .is_some_and(|d| d.starts_with("sha256:"))
    );
    let entries = status["deployments"][0]["etc"]["entries"]
        .as_array()
        .expect("a plan");
    let conflicts: Vec<_> = entries
        .iter()
        .filter(|e| e["conflicts"].as_array().is_some_and(|c| !c.is_empty()))
        .map(|e| e["path"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(conflicts, ["/conf.d/a"]);

    // The same again is nothing to do.
    let before = test.state();
    let text = test.ok(&["upgrade"]);
    assert!(text.contains("is deployed already"), "{text}");
    assert_eq!(test.state(), before);

    // The third: the first goes, with all that only it needed.
    test.ok(&["switch", "oci:images:v3"]);
    assert_eq!(test.numbers(), ["3", "2"]);
    assert_eq!(test.read(0, "etc/hosts"), "127.0.0.1 here\n");
    let kernels = fs::read_dir(test.scratch.path("sysroot/boot/ostree")).expect("kernels");
    assert_eq!(kernels.count(), 2);
    test.ostree_agrees();
}

#[test]
fn a_rollback_is_the_old_deployment_as_it_was_left() {
    let Some(test) = Test::new("a_rollback_is_the_old_deployment_as_it_was_left") else {
        return;
    };
    test.refused(&["rollback"], "there is no deployment before");
    fs::write(test.root(0).join("etc/local"), "one\n").expect("written");
    test.ok(&["switch", "oci:images:v2"]);
    fs::write(test.root(0).join("etc/local"), "two\n").expect("written");
    test.ok(&["rollback"]);
    assert_eq!(test.numbers(), ["1", "2"]);
    assert_eq!(test.read(0, "etc/local"), "one\n");
    assert_eq!(test.read(1, "etc/local"), "two\n");
    test.ostree_agrees();
    test.ok(&["rollback"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    // Downwards is refused, unless the machine holds it, or one insists.
    test.ok(&["switch", "oci:images:v3"]);
    assert_eq!(test.numbers(), ["3", "2"]);
    test.refused(
        &["switch", "oci:images:v1"],
        "is a downgrade: its version is 1.0, and 3.0 is deployed",
    );
    test.ok(&["switch", "oci:images:v2"]);
    assert_eq!(test.numbers()[0], "2");
    test.ok(&["switch", "oci:images:v1", "--allow-downgrade"]);
    assert_eq!(test.numbers()[0], "1");
    test.ostree_agrees();
}

#[test]
fn kernel_arguments_have_owners() {
    let Some(test) = Test::new("kernel_arguments_have_owners") else {
        return;
    };
    let text = test.ok(&["kargs"]);
    assert_eq!(
        text,
        "image          quiet\nimage          v=1\nmachine        root=LABEL=root\nmachine        rw\n"
    );
    test.ok(&["kargs", "--append=site=one", "--delete=quiet"]);
    assert_eq!(test.arguments(0), "v=1 root=LABEL=root rw site=one");
    assert_eq!(test.arguments(1), "quiet v=1 root=LABEL=root rw");
    test.ok(&["switch", "oci:images:v2"]);
    assert_eq!(test.arguments(0), "v=2 root=LABEL=root rw site=one");
    let text = test.ok(&["kargs", "--append=quiet", "--append=site=one"]);
    assert!(!text.contains("removed"), "{text}");
    assert_eq!(test.arguments(0), "quiet v=2 root=LABEL=root rw site=one");
    let before = test.state();
    assert_eq!(test.ok(&["kargs", "--append=quiet"]), "nothing to change\n");
    assert_eq!(test.state(), before);
    test.refused(
        &["kargs", "--delete=none"],
        "none is not one of the kernel arguments",
    );
    test.refused(
        &["kargs", "--append=ostree=x"],
        "ostree= says which deployment boots",
    );
    test.refused(&["kargs", "--append=a=\"b"], "a double quote is not closed");
    test.ostree_agrees();
}

#[test]
fn what_is_pinned_stays() {
    let Some(test) = Test::new("what_is_pinned_stays") else {
        return;
    };
    test.ok(&["pin", "0"]);
    test.refused(
        &["pin", "7"],
        "there is no deployment 7; there are 1, from 0",
    );
    test.ok(&["switch", "oci:images:v2"]);
    test.ok(&["switch", "oci:images:v3"]);
    assert_eq!(test.numbers(), ["3", "2", "1"]);
    assert_eq!(test.status()["deployments"][2]["pinned"], true);
    test.ok(&["unpin", "2"]);
    test.ok(&["cleanup"]);
    assert_eq!(test.numbers(), ["3", "2"]);
    test.ostree_agrees();
}

#[test]
fn a_factory_reset_is_the_image_as_it_was_shipped() {
    let Some(test) = Test::new("a_factory_reset_is_the_image_as_it_was_shipped") else {
        return;
    };
    fs::write(test.root(0).join("etc/local"), "mine\n").expect("written");
    test.ok(&["kargs", "--append=site=one"]);
    let var = test.scratch.path("sysroot/ostree/deploy/default/var");
    fs::write(var.join("lib/data"), "mine\n").expect("written");
    test.ok(&["factory-reset"]);
    assert_eq!(test.deployments()[0].stateroot, "default-2");
    assert!(!test.root(0).join("etc/local").exists());
    assert_eq!(test.arguments(0), "quiet v=1 root=LABEL=root rw");
    let new = test.scratch.path("sysroot/ostree/deploy/default-2/var/lib");
    assert!(new.join("seed").exists() && !new.join("data").exists());
    assert!(var.join("lib/data").exists(), "lost before anybody said so");
    test.refused(
        &["cleanup", "--stateroot=default-2"],
        "is the stateroot that the machine runs",
    );
    test.ok(&["cleanup", "--stateroot=default"]);
    assert!(!var.exists());
    assert_eq!(test.numbers(), ["1"]);
    test.ostree_agrees();
}

#[test]
fn what_is_staged_is_merged_at_the_end() {
    let Some(test) = Test::new("what_is_staged_is_merged_at_the_end") else {
        return;
    };
    assert_eq!(test.ok(&["finalize"]), "nothing is staged\n");
    let before = test.state();
    test.ok(&["switch", "oci:images:v2", "--stage"]);
    assert_eq!(
        test.state(),
        before,
        "staging changed what the machine boots"
    );
    assert_eq!(test.status()["staged"]["image"]["version"], "2.0");
    test.refused(&["cleanup"], "an upgrade is staged");
    // What changes between staging and shutdown is merged too.
    fs::write(test.root(0).join("etc/late"), "late\n").expect("written");
    test.refused(&["kargs", "--append=late=1"], "an upgrade is staged");
    // Another program takes it for garbage.
    let sysroot = format!("--sysroot={}", test.scratch.path("sysroot").display());
    let cleanup = Command::new("ostree")
        .args(["admin", "cleanup", &sysroot])
        .status();
    assert!(cleanup.expect("ostree").success());
    let (code, _, stderr) = test.verb(&["finalize"]);
    assert_eq!(code, Some(3), "{stderr}");
    let status = test.status();
    let failed = status["staged"]["failed"].as_str().expect("told");
    assert!(failed.contains("is gone"), "{failed}");
    let text = test.ok(&["status"]);
    assert!(text.contains("NOT DEPLOYED at the last shutdown"), "{text}");
    test.ok(&["kargs", "--append=late=1"]);
    assert_eq!(test.numbers(), ["1", "1"]);

    test.ok(&["switch", "oci:images:v2", "--stage"]);
    fs::write(test.root(0).join("etc/late"), "later\n").expect("written");
    test.ok(&["finalize"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    assert_eq!(test.read(0, "etc/late"), "later\n");
    assert_eq!(test.arguments(0), "quiet v=2 root=LABEL=root rw late=1");
    assert_eq!(test.status()["staged"], Value::Null);
    test.ostree_agrees();
}

/// As after a power cut between the two, and then a day of work on the old deployment.
#[test]
fn what_was_merged_and_not_committed_is_merged_again() {
    let Some(test) = Test::new("what_was_merged_and_not_committed_is_merged_again") else {
        return;
    };
    test.ok(&["switch", "oci:images:v2", "--stage"]);
    let entries = test.scratch.path("sysroot/boot/loader/entries");
    let entries = entries.canonicalize().expect("there");
    let immutable = |flag: &str| {
        let status = Command::new("chattr").arg(flag).arg(&entries).status();
        assert!(status.expect("chattr").success(), "{flag} {entries:?}");
    };
    immutable("+i");
    let (code, _, stderr) = test.verb(&["finalize"]);
    immutable("-i");
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(test.numbers(), ["1"]);
    fs::write(test.root(0).join("etc/late"), "later\n").expect("written");
    test.ok(&["finalize"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    assert_eq!(test.read(0, "etc/late"), "later\n");
    test.ostree_agrees();
}

#[test]
fn what_ostree_deploys_is_understood() {
    let Some(test) = Test::new("what_ostree_deploys_is_understood") else {
        return;
    };
    let sysroot = format!("--sysroot={}", test.scratch.path("sysroot").display());
    let admin = |arguments: &[&str]| {
        let mut command = Command::new("ostree");
        command
            .args(["admin", arguments[0], &sysroot])
            .args(&arguments[1..]);
        let output = command.output().expect("ostree");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
    };
    fs::write(test.root(0).join("etc/local"), "mine\n").expect("written");
    admin(&[
        "deploy",
        "--os=default",
        "--karg-append=theirs",
        "pleach/image",
    ]);
    assert_eq!(test.numbers(), ["1", "1"]);
    assert_eq!(test.read(0, "etc/local"), "mine\n");
    test.ok(&["switch", "oci:images:v2"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    assert_eq!(test.arguments(0), "quiet v=2 root=LABEL=root rw theirs");
    assert_eq!(test.read(0, "etc/local"), "mine\n");
    test.ostree_agrees();
    admin(&["undeploy", "1"]);
    assert_eq!(test.numbers(), ["2"]);
    test.ok(&["switch", "oci:images:v3"]);
    assert_eq!(test.numbers(), ["3", "2"]);
    test.ostree_agrees();
}

#[test]
fn what_does_not_fit_or_is_no_image_changes_nothing() {
    let Some(test) = Test::new("what_does_not_fit_or_is_no_image_changes_nothing") else {
        return;
    };
    test.refused(&["switch", "oci:images:none"], "none");
    test.refused(&["switch", "nowhere"], "nowhere");
    let no_kernel = Image {
        files: vec![("etc/motd".into(), "x".into())],
        ..Image::number(4)
    };
    no_kernel.write(&test.scratch.path("images"), "no-kernel");
    test.refused(&["switch", "oci:images:no-kernel"], "kernel");
    Image::number(5)
        .with("usr/lib/bootc/kargs.d/10.toml", "kargs = 1\n")
        .write(&test.scratch.path("images"), "bad-kargs");
    test.refused(
        &["switch", "oci:images:bad-kargs"],
        "usr/lib/bootc/kargs.d/10.toml",
    );
    // A conflict that a policy of the machine refuses.
    let etc = test.root(0).join("etc");
    fs::create_dir_all(etc.join("pleach/etc-merge.d")).expect("made");
    let rule = "[[rule]]\npaths = [\"motd\"]\naction = \"fail\"\nreason = \"ask me\"\n";
    fs::write(etc.join("pleach/etc-merge.d/50.toml"), rule).expect("written");
    fs::write(etc.join("motd"), "mine\n").expect("written");
    test.refused(&["switch", "oci:images:v2"], "motd");
    fs::write(etc.join("motd"), "welcome to 1\n").expect("written");
    test.ok(&["switch", "oci:images:v2"]);
    assert_eq!(test.numbers(), ["2", "1"]);
    test.ostree_agrees();
}

/// The guide has every verb, and no other.
#[test]
fn the_guide_says_what_is_so() {
    const GUIDE: &str = include_str!("../../../../../docs/deploy.md");
    let folder = crate::scratch();
    let help = |verb: &[&str]| {
        let (code, text, stderr) =
            crate::pleach(folder.path(), &[&["deploy"], verb, &["--help"]].concat());
        assert_eq!(code, Some(0), "{verb:?}: {stderr}");
        text
    };
    let verbs: BTreeSet<_> = GUIDE
        .split("`pleach deploy ")
        .skip(1)
        .map(|rest| rest.split([' ', '`']).next().expect("a verb"))
        .collect();
    let text = help(&[]);
    let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed: BTreeSet<_> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_ascii_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert_eq!(verbs, listed);
    for verb in verbs {
        help(&[verb]);
    }
}

/// systemd-boot reads the ESP alone: what the root has is there, whole, and what it has no longer is gone.
#[test]
fn the_esp_follows_the_root() {
    let Some(test) = Test::new("the_esp_follows_the_root") else {
        return;
    };
    let esp = test.scratch.path("esp");
    fs::create_dir_all(esp.join("loader/entries")).expect("made");
    fs::write(esp.join("loader/entries/other.conf"), "title Other\n").expect("written");
    let there = || {
        let entries = fs::read_dir(esp.join("loader/entries"))
            .expect("entries")
            .flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.file_name().display().to_string())
            .collect();
        names.sort();
        names
    };
    let kernels = || {
        let folders = fs::read_dir(esp.join("ostree")).expect("kernels").flatten();
        let read = |folder: fs::DirEntry| fs::read_to_string(folder.path().join("vmlinuz-6.1"));
        let mut all: Vec<_> = folders
            .map(|folder| read(folder).expect("a kernel"))
            .collect();
        all.sort();
        all
    };
    test.ok(&["switch", "oci:images:v2", "--esp=esp"]);
    assert_eq!(
        there(),
        [
            "ostree-1-default.conf",
            "ostree-2-default.conf",
            "other.conf"
        ]
    );
    assert_eq!(kernels(), ["kernel 1\n", "kernel 2\n"]);
    let text = fs::read_to_string(esp.join("loader/entries/ostree-2-default.conf")).expect("read");
    assert!(text.contains("linux /ostree/default-"), "{text}");
    test.ok(&["switch", "oci:images:v3", "--esp=esp"]);
    assert_eq!(
        there(),
        [
            "ostree-2-default.conf",
            "ostree-3-default.conf",
            "other.conf"
        ]
    );
    assert_eq!(kernels(), ["kernel 2\n", "kernel 3\n"]);
    test.ok(&["rollback", "--esp=esp"]);
    assert_eq!(
        there(),
        [
            "ostree-3-default.conf",
            "ostree-4-default.conf",
            "other.conf"
        ]
    );

    // An image that says when it has come up gets a counter, and status tells how that ended.
    Image::number(4)
        .with(
            "usr/lib/systemd/system/systemd-bless-boot.service",
            "[Service]\n",
        )
        .write(&test.scratch.path("images"), "v4");
    test.ok(&["switch", "oci:images:v4", "--esp=esp"]);
    let counted = "ostree-5-default+3.conf";
    assert!(there().contains(&counted.to_owned()), "{:?}", there());
    let entries = esp.join("loader/entries");
    fs::rename(
        entries.join(counted),
        entries.join("ostree-5-default+0-3.conf"),
    )
    .expect("counted");
    let text = test.ok(&["status", "--esp=esp"]);
    assert!(
        text.contains("FAILED as often as it may be tried"),
        "{text}"
    );

    // What cannot be written is said, and done by the next run.
    let before = there();
    fs::rename(&esp, test.scratch.path("away")).expect("renamed");
    fs::create_dir(&esp).expect("made");
    fs::write(esp.join("loader"), "in the way").expect("written");
    let (code, _, stderr) = test.verb(&["kargs", "--append=site=one", "--esp=esp"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        stderr.contains("the machine boots what it booted"),
        "{stderr}"
    );
    fs::remove_file(esp.join("loader")).expect("removed");
    fs::remove_dir(&esp).expect("removed");
    fs::rename(test.scratch.path("away"), &esp).expect("renamed");
    assert_eq!(there(), before);
    test.ok(&["cleanup", "--esp=esp"]);
    assert!(
        there()
            .iter()
            .any(|name| name.starts_with("ostree-6-default")),
        "{:?}",
        there()
    );
}
