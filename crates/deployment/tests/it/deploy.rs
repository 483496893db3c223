use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use pleach_deployment::{DeployOptions, Deployment, Error, Origin, Sysroot};

use crate::support::{
    REF, Scratch, can_run, commit, deploy_options, deployed, listing, ostree, ostree_admin, run,
    write,
};

#[test]
fn a_deployment_is_understood_by_ostree() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, deployment) = deployed(&scratch, "root=LABEL=root console=ttyS0");
    let path = scratch.path("sysroot");
    let name = format!("{}.0", deployment.checksum);
    assert_eq!(deployment.stateroot, "os");
    assert_eq!(deployment.serial, 0);
    assert_eq!(
        deployment.path.to_str().unwrap(),
        format!("ostree/deploy/os/deploy/{name}")
    );
    assert_eq!(deployment.origin, Some(Origin::Refspec(REF.into())));
    assert!(!deployment.pinned);
    assert_eq!(
        sysroot.deployments().unwrap(),
        std::slice::from_ref(&deployment)
    );
    assert_eq!(
        Sysroot::open(&scratch.dir("sysroot"))
            .unwrap()
            .deployments()
            .unwrap(),
        std::slice::from_ref(&deployment)
    );

    let status = ostree_admin(&path, &["status"]);
    assert!(
        status.contains(&format!("os {name}")) && status.contains("origin refspec: test/tree"),
        "{status}"
    );
    ostree(&path, &["fsck"]);

    let entry = deployment.boot_entry.clone().expect("boot entry");
    let mut options = entry.options.clone();
    assert_eq!(options.delete_key("ostree"), 1, "{}", entry.options);
    assert_eq!(
        options.to_string(),
        "console=tty0 quiet root=LABEL=root console=ttyS0"
    );
    let title = format!(
        "Test OS 1 (ostree:{}.0)",
        &deployment.checksum.as_str()[..10]
    );
    assert_eq!(entry.title, Some(title));
    assert_eq!(
        sysroot.boot_entries().unwrap(),
        std::slice::from_ref(&entry)
    );
    let read = |boot: &str| fs::read(path.join(boot.trim_start_matches('/'))).unwrap();
    assert_eq!(read(&entry.linux.unwrap()), b"kernel");
    assert_eq!(
        entry.initrd.iter().map(|i| read(i)).collect::<Vec<_>>(),
        [b"initramfs"]
    );
}

/// What is deployed is what was committed, `/etc` is a copy that can be written to, and the root itself is
/// immutable until it is asked not to be.
#[test]
fn the_deployed_tree() {
    if !can_run(&["find"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, deployment) = deployed(&scratch, "");
    let root = scratch.path("sysroot").join(&deployment.path);
    // Number of links aside, since objects are hard links.
    let shape = |path: &std::path::Path| -> Vec<String> {
        let strip = |l: String| {
            let mut fields: Vec<_> = l.rsplitn(4, ' ').collect();
            fields.remove(2);
            fields.into_iter().rev().collect::<Vec<_>>().join(" ")
        };
        let lines = listing(path).into_iter().filter(|l| !l.contains(" d "));
        lines.map(strip).collect()
    };
    assert_eq!(shape(&root.join("etc")), shape(&scratch.path("tree/etc")));
    assert_eq!(
        shape(&root.join("usr/etc")),
        shape(&scratch.path("tree/etc"))
    );
    assert_eq!(
        shape(&root.join("usr/bin")),
        shape(&scratch.path("tree/usr/bin"))
    );

    let copy = fs::metadata(root.join("etc/hostname")).unwrap();
    let object = fs::metadata(root.join("usr/etc/hostname")).unwrap();
    assert_ne!(
        copy.ino(),
        object.ino(),
        "/etc shares inodes with the repository"
    );
    let etc = sysroot.deployment_etc(&deployment).unwrap();
    etc.write("hostname", "site\n").unwrap();
    assert_eq!(fs::read(root.join("usr/etc/hostname")).unwrap(), b"image\n");
    assert_eq!(
        ostree_admin(&scratch.path("sysroot"), &["status"])
            .lines()
            .count(),
        2
    );

    let dir = sysroot.deployment_root(&deployment).unwrap();
    assert_eq!(dir.read("etc/hostname").unwrap(), b"site\n");
    let flagged =
        rustix::fs::ioctl_getflags(&dir).is_ok_and(|f| f.contains(rustix::fs::IFlags::IMMUTABLE));
    assert_eq!(dir.create_dir("new").is_err(), flagged, "flag: {flagged}");
    sysroot.set_mutable(&deployment, true).unwrap();
    dir.create_dir("new2").unwrap();
    let other = Deployment {
        path: "ostree/deploy/os/deploy/x.0".into(),
        ..deployment
    };
    let error = sysroot.set_mutable(&other, true).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Invalid {
                what: "deployment",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_second_deployment_is_the_default_and_the_first_is_kept() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "one");
    sysroot
        .deployment_etc(&first)
        .unwrap()
        .write("local", "x")
        .unwrap();
    sysroot
        .var("os")
        .unwrap()
        .write("lib/app/state", "grown")
        .unwrap();
    let tree = scratch.dir("tree");
    tree.write("usr/new", "v2").unwrap();
    tree.write("etc/new", "v2").unwrap();
    tree.write("var/lib/app/new", "v2").unwrap();
    tree.remove_file("usr/lib/bootc/kargs.d/10-console.toml")
        .unwrap();
    let two = commit(&sysroot, &tree);
    let second = sysroot.deploy(&deploy_options(&two, "two")).unwrap();

    let kept = sysroot.deployments().unwrap();
    assert_eq!(
        kept.iter().map(|d| &d.path).collect::<Vec<_>>(),
        [&second.path, &first.path]
    );
    let entries = sysroot.boot_entries().unwrap();
    assert_eq!(
        second.boot_entry.as_ref(),
        Some(&entries[0]),
        "the new one is the default"
    );
    assert_eq!(kept[1].boot_entry.as_ref(), Some(&entries[1]));
    let arguments = |d: &Deployment| {
        let mut options = d.boot_entry.as_ref().unwrap().options.clone();
        options.delete_key("ostree");
        options.to_string()
    };
    assert_eq!(
        [arguments(&kept[0]), arguments(&kept[1])],
        ["two", "console=tty0 quiet one"]
    );

    let etc = sysroot.deployment_etc(&second).unwrap();
    assert_eq!(
        (etc.exists("new"), etc.exists("local")),
        (true, false),
        "/etc is the new image's"
    );
    assert!(sysroot.deployment_etc(&first).unwrap().exists("local"));
    let var = sysroot.var("os").unwrap();
    assert_eq!(var.read("lib/app/state").unwrap(), b"grown");
    assert!(!var.exists("lib/app/new"), "/var was filled a second time");

    // The same commit once more is another serial, and the oldest goes.
    let third = sysroot.deploy(&deploy_options(&two, "three")).unwrap();
    assert_eq!((third.serial, &third.checksum), (1, &two.checksum));
    let paths: Vec<_> = sysroot
        .deployments()
        .unwrap()
        .into_iter()
        .map(|d| d.path)
        .collect();
    assert_eq!(paths, [third.path, second.path]);
    assert!(!scratch.path("sysroot").join(&first.path).exists());
    ostree(&scratch.path("sysroot"), &["fsck"]);
    assert_eq!(
        ostree_admin(&scratch.path("sysroot"), &["status"])
            .matches("os ")
            .count(),
        2
    );
}

/// Whoever changes the default, and in whatever order: every entry boots the deployment that ostree lists in
/// its place. libostree leaves entries as they are where only the order changes, and writes the links anew.
#[test]
fn ostree_and_this_crate_take_turns() {
    if !can_run(&["ostree"]) {
        return;
    }
    // Deploy what is not the default, or go back, by this crate or by libostree.
    check_turns("a new one each time", "pPpP");
    check_turns("ostree after us", "pPopo");
    check_turns("ostree goes back", "ppBbBB");
    check_turns("we go back", "oobBbb");
    check_turns("ostree, we, ostree", "opoBbop");
    check_turns("back and forth over new ones", "pobpBoPbB");
    check_turns("many of ostree", "oooBbpbBo");
}

fn check_turns(case: &str, turns: &str) {
    let scratch = Scratch::new();
    let (sysroot, _) = deployed(&scratch, "root=LABEL=root");
    let path = scratch.path("sysroot");
    let tree = scratch.dir("tree");
    let mut commits = vec![sysroot.deployments().unwrap()[0].checksum.clone()];
    tree.write("usr/new", "v2").unwrap();
    commits.push(commit(&sysroot, &tree).checksum);
    for (done, turn) in turns.char_indices() {
        let turns = format!("{case}: {}", &turns[..=done]);
        let before = Sysroot::open(&scratch.dir("sysroot")).unwrap();
        let all = before.deployments().unwrap();
        let next = commits.iter().find(|c| **c != all[0].checksum).unwrap();
        let options = |arguments: &str| {
            let mut options = DeployOptions::new("os", next.clone(), Origin::Refspec(REF.into()));
            options.kargs_d.architecture = "x86_64".into();
            options.kernel_arguments = arguments.parse().unwrap();
            options
        };
        let wanted = match turn {
            'p' => before.deploy(&options("root=LABEL=root")).unwrap().path,
            'P' => before.deploy(&options("root=LABEL=other")).unwrap().path,
            'o' => {
                ostree_admin(&path, &["deploy", "--os=os", next.as_str()]);
                let new = Sysroot::open(&scratch.dir("sysroot")).unwrap();
                let new = new.deployments().unwrap().remove(0);
                assert_eq!(new.checksum, *next, "{turns}");
                new.path
            }
            'b' => {
                before.writer().unwrap().set_default(&all[1]).unwrap();
                all[1].path.clone()
            }
            'B' => {
                let file = ostree_ext::gio::File::for_path(&path);
                let sysroot = ostree_ext::ostree::Sysroot::new(Some(&file));
                sysroot.load(ostree_ext::gio::Cancellable::NONE).unwrap();
                let mut order = sysroot.deployments();
                order.swap(0, 1);
                sysroot
                    .write_deployments(&order, ostree_ext::gio::Cancellable::NONE)
                    .unwrap();
                all[1].path.clone()
            }
            other => panic!("{other}"),
        };

        let after = Sysroot::open(&scratch.dir("sysroot")).unwrap();
        let entries = after.boot_entries().unwrap();
        // What the kernel and the initramfs do: follow the link that the entry names.
        let booted: Vec<_> = entries
            .iter()
            .map(|entry| {
                let link = entry.ostree().unwrap().trim_start_matches('/');
                let root = fs::canonicalize(path.join(link));
                let root = root.unwrap_or_else(|e| panic!("{turns}: {link}: {e}"));
                let kernel = entry.linux.as_ref().unwrap().trim_start_matches('/');
                // As the file system of /boot has it, or as the one that /boot is a directory of.
                let kernel = kernel.strip_prefix("boot/").unwrap_or(kernel);
                let kernel = fs::read(path.join("boot").join(kernel));
                assert_eq!(kernel.unwrap(), b"kernel", "{turns}");
                root.strip_prefix(path.canonicalize().unwrap())
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(booted[0], wanted, "{turns}: the default");
        let status = ostree_admin(&path, &["status"]);
        let listed: Vec<_> = status
            .lines()
            .filter_map(|line| line.trim_start_matches(['*', ' ']).strip_prefix("os "))
            .map(|name| {
                let name = name.split(' ').next().unwrap();
                std::path::PathBuf::from(format!("ostree/deploy/os/deploy/{name}"))
            })
            .collect();
        assert_eq!(booted, listed, "{turns}: {status}");
        let names = |folder: &str| fs::read_dir(path.join(folder)).unwrap().count();
        assert!(
            names("boot/ostree") <= entries.len(),
            "{turns}: kernels of nobody"
        );
    }
}

/// What no deployment needs any more goes with it, and what libostree would remove besides is nothing.
#[test]
fn what_nobody_needs_goes() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let path = scratch.path("sysroot");
    let tree = scratch.dir("tree");
    let next = |content: &str| {
        tree.write("usr/new", content).unwrap();
        let commit = commit(&sysroot, &tree);
        sysroot.deploy(&deploy_options(&commit, "")).unwrap()
    };
    #[track_caller]
    fn check(case: &str, path: &std::path::Path, expect: &[&Deployment]) {
        let refs = ostree(path, &["refs", "--list", "ostree"]);
        let mut refs: Vec<_> = refs
            .lines()
            .map(|name| format!("{name} {}", ostree(path, &["rev-parse", name]).trim()))
            .collect();
        refs.sort();
        let wanted = expect.iter().enumerate();
        let wanted: Vec<_> = wanted
            .map(|(index, deployment)| format!("ostree/0/0/{index} {}", deployment.checksum))
            .collect();
        assert_eq!(refs, wanted, "{case}: refs");
        let rest = ostree(path, &["prune", "--refs-only", "--no-prune"]);
        assert!(rest.contains("No unreachable objects"), "{case}: {rest}");
        ostree(path, &["fsck"]);
        let found = listing(&path.join("ostree/deploy/os/deploy"));
        let found = found.iter().filter(|line| !line.contains('/')).count();
        // Itself, and of each deployment its root, its origin and its record.
        assert_eq!(found, 1 + 3 * expect.len(), "{case}: deployments");
    }
    check("one", &path, &[&first]);
    let second = next("2");
    check("two", &path, &[&second, &first]);
    let third = next("3");
    check("the first has gone", &path, &[&third, &second]);

    // What an interrupted run leaves.
    let deploy = path.join("ostree/deploy/os/deploy");
    let gone = "0".repeat(64);
    fs::create_dir_all(deploy.join(format!("{gone}.0/usr/bin"))).unwrap();
    for file in [".0.origin", ".3.origin", ".0.pleach.json"] {
        fs::write(deploy.join(format!("{gone}{file}")), "x").unwrap();
    }
    fs::create_dir_all(path.join(format!("boot/ostree/os-{gone}"))).unwrap();
    fs::create_dir_all(path.join("ostree/boot.1.1/os")).unwrap();
    ostree(
        &path,
        &["refs", "--create=ostree/0/0/7", second.checksum.as_str()],
    );
    ostree(
        &path,
        &[
            "refs",
            "--create=ostree/container/x",
            second.checksum.as_str(),
        ],
    );
    // What is somebody else's.
    let others = [
        format!("ostree/deploy/os/deploy/{gone}.bak/data"),
        format!("ostree/deploy/os/deploy/{gone}.9"),
        "boot/ostree/initramfs-overlays/1.img".to_owned(),
        "boot/ostree/stray".to_owned(),
    ];
    for other in &others {
        write(&path, other, b"x", 0o644, (0, 0));
    }
    ostree(
        &path,
        &["refs", "--create=ostree/42", second.checksum.as_str()],
    );
    let writer = sysroot.writer().unwrap();
    writer.keep(&[]).unwrap();
    for other in &others {
        assert!(path.join(other).exists(), "{other} is gone");
        fs::remove_file(path.join(other)).unwrap();
    }
    fs::remove_dir(deploy.join(format!("{gone}.bak"))).unwrap();
    fs::remove_dir(path.join("boot/ostree/initramfs-overlays")).unwrap();
    assert!(ostree(&path, &["refs"]).contains("ostree/42"));
    ostree(&path, &["refs", "--delete", "ostree/42"]);
    assert!(
        ostree(&path, &["refs"]).contains("ostree/container/x"),
        "a branch of somebody else's"
    );
    ostree(&path, &["refs", "--delete", "ostree/container"]);
    check("leftovers", &path, &[&third, &second]);
    let names = |folder: &str| fs::read_dir(path.join(folder)).unwrap().count();
    assert_eq!(
        (names("boot/ostree"), path.join("ostree/boot.1.1").exists()),
        (2, false)
    );

    writer.remove(&[second]).unwrap();
    check("one is removed", &path, &[&third]);
    // Without a commit: it waits for the next time, or for who asks.
    let object = path.join("ostree/repo/objects/00");
    fs::create_dir_all(&object).unwrap();
    let object = object.join(format!("{}.file", &gone[2..]));
    fs::write(&object, "x").unwrap();
    writer.keep(&[]).unwrap();
    assert!(object.exists());
    writer.prune().unwrap();
    assert!(!object.exists());
}

#[test]
fn without_entries_nothing_is_removed() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let path = scratch.path("sysroot");
    fs::rename(path.join("boot"), path.join("elsewhere")).unwrap();
    fs::create_dir(path.join("boot")).unwrap();
    let error = sysroot.writer().unwrap().keep(&[]).unwrap_err();
    assert!(error.to_string().contains("is /boot mounted?"), "{error}");
    assert!(path.join(&first.path).join("usr").exists());
    fs::remove_dir_all(path.join("boot")).unwrap();
    fs::rename(path.join("elsewhere"), path.join("boot")).unwrap();
    sysroot.writer().unwrap().keep(&[]).unwrap();
    assert_eq!(sysroot.deployments().unwrap(), [first]);
    ostree(&path, &["fsck"]);
}

/// A rollback to what ostree deployed with a kernel that another deployment has too: only names change.
#[test]
fn a_renamed_kernel_keeps_what_else_is_in_its_entry() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let path = scratch.path("sysroot");
    write(&scratch.path("over"), "lay.img", b"overlay", 0o644, (0, 0));
    let overlay = scratch.path("over/lay.img");
    let overlay = format!("--overlay-initrd={}", overlay.display());
    ostree_admin(
        &path,
        &["deploy", "--os=os", &overlay, first.checksum.as_str()],
    );
    ostree_admin(
        &path,
        &["deploy", "--os=os", "--retain", first.checksum.as_str()],
    );
    drop(sysroot);
    let sysroot = Sysroot::open(&scratch.dir("sysroot")).unwrap();
    let all = sysroot.deployments().unwrap();
    let before = all[1].boot_entry.clone().unwrap();
    assert_eq!(before.initrd.len(), 2, "{before:?}");
    let writer = sysroot.writer().unwrap();
    writer.set_default(&all[1]).unwrap();
    writer.keep(&[]).unwrap();
    let after = &sysroot.boot_entries().unwrap()[0];
    assert_eq!((&after.title, after.initrd.len()), (&before.title, 2));
    for file in after.initrd.iter().chain(&after.linux) {
        let file = file.trim_start_matches('/');
        let file = path
            .join("boot")
            .join(file.strip_prefix("boot/").unwrap_or(file));
        assert!(file.is_file(), "{file:?}");
    }
    assert_ne!(after.ostree(), before.ostree());
}

/// Two stateroots are two machines in one: each has its `/var`, and deploying one leaves the other.
#[test]
fn stateroots_are_apart() {
    if !can_run(&[]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    sysroot.init_stateroot("other").unwrap();
    let mut options = deploy_options(&commit(&sysroot, &scratch.dir("tree")), "");
    options.stateroot = "other".into();
    let second = sysroot.deploy(&options).unwrap();
    let all: Vec<_> = sysroot
        .deployments()
        .unwrap()
        .into_iter()
        .map(|d| d.path)
        .collect();
    assert_eq!(all, [second.path, first.path]);
    assert!(sysroot.var("other").unwrap().exists("lib/app/state"));
}

#[test]
fn the_first_deployment_fills_var() {
    if !can_run(&["find", "ostree"]) {
        return;
    }
    #[track_caller]
    fn check(name: &str, before: fn(&Scratch), expect: &[&str]) {
        let scratch = Scratch::new();
        let sysroot = Sysroot::init(&scratch.dir("sysroot"))
            .unwrap()
            .without_fsync();
        let tree = scratch.tree("tree");
        fs::create_dir_all(scratch.path("sysroot/ostree/deploy/os")).unwrap();
        before(&scratch);
        if sysroot.var("os").is_err() {
            fs::create_dir(scratch.path("sysroot/ostree/deploy/os/var")).unwrap();
        }
        let commit = commit(&sysroot, &tree);
        sysroot.deploy(&deploy_options(&commit, "")).unwrap();
        let var = scratch.path("sysroot/ostree/deploy/os/var");
        let found = run(Command::new("find")
            .arg(var)
            .args(["-mindepth", "1", "-not", "-name", ".ostree-selabeled"])
            .args(["-printf", "%P %y %m %U:%G %l\\n"]));
        let mut lines: Vec<_> = found.lines().map(str::trim_end).collect();
        lines.sort_unstable();
        assert_eq!(lines, expect, "{name}");
    }
    let seeded = [
        "lib d 755 0:0",
        "lib/app d 2770 1000:1001",
        "lib/app/state f 600 1000:1001",
        "tmp d 1777 0:0",
    ];
    check("empty", |_| {}, &seeded);
    check(
        "as the ostree program makes it",
        |s| {
            fs::remove_dir(s.path("sysroot/ostree/deploy/os")).unwrap();
            let made = ostree_admin(&s.path("sysroot"), &["os-init", "os"]);
            assert!(made.contains("initialized"), "{made}");
        },
        &seeded,
    );
    check(
        "somebody's",
        |s| {
            write(
                &s.path("sysroot/ostree/deploy/os/var"),
                "mine",
                b"",
                0o644,
                (0, 0),
            )
        },
        &["mine f 644 0:0"],
    );
    check(
        "a file in what the ostree program makes",
        |s| {
            write(
                &s.path("sysroot/ostree/deploy/os/var"),
                "log/x",
                b"",
                0o644,
                (0, 0),
            )
        },
        &["log d 755 0:0", "log/x f 644 0:0"],
    );
    check(
        "an image without tmpfiles.d",
        |s| fs::remove_dir_all(s.path("tree/usr/lib/tmpfiles.d")).unwrap(),
        &[
            "lib d 755 0:0",
            "lib/app d 2770 1000:1001",
            "lib/app/state f 600 1000:1001",
            "lock l 777 0:0 ../run/lock",
            "log d 755 0:0",
            "run l 777 0:0 ../run",
            "tmp d 1777 0:0",
        ],
    );
    check(
        "an image without /var",
        |s| fs::remove_dir_all(s.path("tree/var")).unwrap(),
        &[],
    );
}

/// The seeded files are the machine's: writing to them leaves the repository whole, and they carry xattrs.
#[test]
fn var_is_a_copy() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, _) = deployed(&scratch, "");
    sysroot
        .var("os")
        .unwrap()
        .write("lib/app/state", "changed")
        .unwrap();
    let path = scratch.path("sysroot/ostree/deploy/os/var/lib/app");
    let mut value = [0; 8];
    let length = rustix::fs::lgetxattr(&path, "user.app", &mut value).unwrap();
    assert_eq!(&value[..length], b"1");
    ostree(&scratch.path("sysroot"), &["fsck"]);
}

#[test]
fn origins() {
    if !can_run(&["ostree"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let reference = "ostree-unverified-image:oci:/images/base";
    let origin = Origin::ContainerImage(reference.into());
    let mut options = DeployOptions::new("os", first.checksum.clone(), origin.clone());
    let deployment = sysroot.deploy(&options).unwrap();
    assert_eq!(deployment.origin, Some(origin));
    let file = scratch
        .path("sysroot")
        .join(format!("{}.origin", deployment.path.display()));
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        format!("[origin]\ncontainer-image-reference={reference}\n")
    );
    for bad in [
        "",
        "base",
        "docker://base",
        "ostree-unverified-image:nowhere:x",
    ] {
        options.origin = Origin::ContainerImage(bad.into());
        let error = sysroot.deploy(&options).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid { value, .. } if value == bad),
            "{bad:?}: {error}"
        );
    }
}

#[test]
fn what_cannot_be_deployed_leaves_nothing() {
    if !can_run(&["find"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let tree = scratch.dir("tree");
    tree.write("usr/lib/bootc/kargs.d/99.toml", "kargs = 1\n")
        .unwrap();
    let bad_kargs = commit(&sysroot, &tree);
    tree.remove_file("usr/lib/bootc/kargs.d/99.toml").unwrap();
    tree.remove_file("usr/lib/modules/9.9.9/vmlinuz").unwrap();
    let no_kernel = commit(&sysroot, &tree);
    let deployments = || {
        let dir = scratch.path("sysroot/ostree/deploy/os/deploy");
        run(Command::new("find")
            .arg(dir)
            .args(["-mindepth", "1", "-maxdepth", "1"]))
    };
    let before = deployments();
    #[track_caller]
    fn check(sysroot: &Sysroot, options: &DeployOptions, expect: &str) {
        let error = sysroot.deploy(options).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
    }
    let error = "\"usr/lib/bootc/kargs.d/99.toml\" line 1: ";
    check(&sysroot, &deploy_options(&bad_kargs, ""), error);
    let error = "\"usr/lib/modules\": no kernel (VERSION/vmlinuz) to boot";
    check(&sysroot, &deploy_options(&no_kernel, ""), error);
    let mut options = deploy_options(&bad_kargs, "");
    options.commit = "0".repeat(64).parse().unwrap();
    check(
        &sysroot,
        &options,
        "read object: No such metadata object 000",
    );
    options.commit = first.checksum.clone();
    options.kernel_arguments = "a ostree=/x".parse().unwrap();
    check(
        &sysroot,
        &options,
        "kernel argument \"ostree=/x\" belongs to ostree",
    );
    options.kernel_arguments = "a".parse().unwrap();
    options.stateroot = "none".into();
    check(&sysroot, &options, "no stateroot \"none\"");
    assert_eq!(deployments(), before);
    assert_eq!(sysroot.deployments().unwrap(), [first]);
}

#[test]
fn checksums_are_checked() {
    for bad in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
        assert!(
            bad.parse::<pleach_deployment::Checksum>().is_err(),
            "{bad:?}"
        );
    }
}

/// libostree's lock is one of fcntl's for open files; another process holds it here.
#[test]
fn a_locked_sysroot_is_refused() {
    if !can_run(&["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, first) = deployed(&scratch, "");
    let hold = "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint(flush=True)\nsys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", hold])
        .arg(scratch.path("sysroot/ostree/lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0];
    holder
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut line)
        .expect("the lock is taken");
    let options = DeployOptions::new("os", first.checksum, Origin::Refspec(REF.into()));
    let error = sysroot.deploy(&options).unwrap_err();
    assert!(matches!(error, Error::Locked), "{error}");
    let error = sysroot.init_stateroot("new").unwrap_err();
    assert!(matches!(error, Error::Locked), "{error}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    sysroot.deploy(&options).expect("the lock is free again");
    let other = Sysroot::open(&scratch.dir("sysroot")).unwrap();
    other.deploy(&options).expect("deploy kept the lock");
}

/// libostree's own cleanup prints what it freed; a caller's standard output is the caller's.
#[test]
fn nothing_is_printed() {
    if !can_run(&["ostree"]) {
        return;
    }
    let test = "deploy::a_second_deployment_is_the_default_and_the_first_is_kept";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = run(command.args(["--exact", "--nocapture", test]));
    let ours = |l: &&str| !l.is_empty() && !l.starts_with("running ") && !l.starts_with("test ");
    let lines: Vec<_> = output.lines().filter(ours).collect();
    assert!(output.contains("1 passed") && lines.is_empty(), "{output}");
}
