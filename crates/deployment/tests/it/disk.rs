use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cap_std::fs::Dir;
use pleach_deployment::disk::{
    DiskOptions, DiskSize, boot_entries, read_dir, read_file, replay_journal, write_image,
};
use pleach_deployment::{Error, Sysroot};

use crate::support::{
    CAPABILITY, Scratch, TIMESTAMP, can_run, commit, deploy_options, deployed, run, set_xattr,
    write,
};

const TOOLS: [&str; 4] = ["mkfs.ext4", "debugfs", "e2fsck", "dumpe2fs"];
const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn options() -> DiskOptions {
    let mut options = DiskOptions::new(UUID, UUID, TIMESTAMP);
    options.size = DiskSize::Free(64 << 20);
    options.journal_bytes = 8 << 20;
    options
}

fn debugfs(image: &Path, request: &str) -> String {
    run(Command::new("debugfs").args(["-R", request]).arg(image))
}

fn fsck(image: &Path) {
    run(Command::new("e2fsck").arg("-fn").arg(image));
}

/// An image of a small sysroot, and the directory that it is in.
fn image(scratch: &Scratch) -> (Sysroot, Dir) {
    let (sysroot, _) = deployed(scratch, "root=LABEL=root");
    let out = scratch.dir("out");
    write_image(
        &scratch.dir("sysroot"),
        (&out, Path::new("a.img")),
        &options(),
    )
    .unwrap();
    (sysroot, out)
}

#[test]
fn a_sysroot_goes_into_an_image_and_comes_back() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, out) = image(&scratch);
    let path = scratch.path("out/a.img");
    let at = (&out, Path::new("a.img"));
    fsck(&path);
    let header = run(Command::new("dumpe2fs").arg("-h").arg(&path));
    let field = |name: &str| {
        let line = header.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}\n{header}"))
            .trim()
            .to_owned()
    };
    assert_eq!(field("Filesystem volume name:"), "root");
    assert_eq!(field("Filesystem UUID:"), UUID);
    assert_eq!(field("Directory Hash Seed:"), UUID);
    assert_eq!(field("Filesystem created:"), "Thu Jan  1 00:00:00 2026");
    assert!(field("Filesystem features:").contains("verity"));
    assert!(
        field("Free blocks:").parse::<u64>().unwrap() * 4096 >= 64 << 20,
        "{header}"
    );
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.len() < 120 << 20, "{header}");
    assert_eq!(metadata.permissions().mode(), 0o100600);

    let deployment = &sysroot.deployments().unwrap()[0];
    let root = Path::new("/").join(&deployment.path);
    assert_eq!(boot_entries(at).unwrap(), sysroot.boot_entries().unwrap());
    for name in [
        "etc/hostname",
        "usr/bin/su",
        "usr/share/name with space, \u{e9} and \"",
        "usr/share/empty",
    ] {
        let here = fs::read(scratch.path("sysroot").join(&deployment.path).join(name)).unwrap();
        assert_eq!(
            read_file(at, &root.join(name), 1 << 20).unwrap(),
            here,
            "{name}"
        );
    }
    let bin = read_dir(at, &root.join("usr/bin")).unwrap();
    let found: Vec<_> = bin
        .iter()
        .map(|e| (e.name.to_str().unwrap(), e.mode, e.uid, e.gid, e.size))
        .collect();
    let expect = [
        ("absolute", 0o120777, 7, 8, 8),
        ("ping", 0o100755, 0, 0, 4),
        ("relative", 0o120777, 0, 0, 17),
        ("su", 0o104755, 0, 0, 2),
        ("su-again", 0o104755, 0, 0, 2),
        ("wall", 0o102755, 0, 5, 4),
    ];
    assert_eq!(found, expect);
    assert_eq!(bin[3].inode, bin[4].inode, "the hard link");

    let ping = root.join("usr/bin/ping");
    let value = scratch.path("capability");
    let request = format!(
        "ea_get -f {} {} security.capability",
        value.display(),
        ping.display()
    );
    debugfs(&path, &request);
    assert_eq!(fs::read(value).unwrap(), CAPABILITY);
    let stat = debugfs(&path, &format!("stat {}", root.display()));
    assert!(stat.contains("Flags: 0x80010"), "not immutable: {stat}");
}

#[test]
fn the_same_sysroot_gives_the_same_bytes() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (_sysroot, out) = image(&scratch);
    // Reading changes access times, and a link to a file its change time.
    run(Command::new("grep")
        .args(["-r", "kernel"])
        .arg(scratch.path("sysroot")));
    let hostname = scratch.path("sysroot/ostree/repo/config");
    fs::hard_link(&hostname, scratch.path("link")).unwrap();
    fs::remove_file(scratch.path("link")).unwrap();
    write_image(
        &scratch.dir("sysroot"),
        (&out, Path::new("b.img")),
        &options(),
    )
    .unwrap();
    let read = |name: &str| fs::read(scratch.path("out").join(name)).unwrap();
    assert!(read("a.img") == read("b.img"), "images differ");

    let mut other = options();
    other.timestamp += 1;
    write_image(&scratch.dir("sysroot"), (&out, Path::new("b.img")), &other).unwrap();
    assert!(
        read("a.img") != read("b.img"),
        "the timestamp makes no difference"
    );
}

/// Two sysroots made from two copies of a tree, without privilege to set the immutable flag in one of them.
#[test]
fn the_same_tree_gives_the_same_bytes() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let out = scratch.dir("out");
    for name in ["a", "b"] {
        let sysroot = scratch.sysroot(name);
        let commit = commit(&sysroot, &scratch.tree(&format!("{name}-tree")));
        let deployment = sysroot.deploy(&deploy_options(&commit, "x")).unwrap();
        sysroot.set_mutable(&deployment, name == "b").unwrap();
        let mode = if name == "b" { "0700" } else { "0755" };
        run(Command::new("chmod").arg(mode).arg(scratch.path(name)));
        write_image(&scratch.dir(name), (&out, Path::new(name)), &options()).unwrap();
    }
    let read = |name: &str| fs::read(scratch.path("out").join(name)).unwrap();
    assert!(read("a") == read("b"), "images differ");
    let root = debugfs(&scratch.path("out/b"), "stat /");
    assert!(root.contains("Mode:  0755"), "{root}");
}

/// Times up to the timestamp are kept, later ones become it.
#[test]
fn times() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    for (name, time) in [
        ("old", "@1000000000"),
        ("exact", "@1767225600"),
        ("new", "@1800000000"),
        ("a \"b\"", "@1800000000"),
    ] {
        write(&scratch.path("tree"), name, b"", 0o644, (0, 0));
        run(Command::new("touch")
            .args(["-d", time])
            .arg(scratch.path("tree").join(name)));
    }
    let out = scratch.dir("out");
    write_image(&tree, (&out, Path::new("a.img")), &options()).unwrap();
    fsck(&scratch.path("out/a.img"));
    for (name, expect) in [
        ("old", 1_000_000_000),
        ("exact", TIMESTAMP),
        ("new", TIMESTAMP),
        ("a \"b\"", TIMESTAMP),
    ] {
        let stat = debugfs(
            &scratch.path("out/a.img"),
            &format!("stat \"/{}\"", name.replace('"', "\"\"")),
        );
        for (field, expect) in [
            ("mtime", expect),
            ("atime", TIMESTAMP),
            ("ctime", TIMESTAMP),
        ] {
            assert!(
                stat.contains(&format!("{field}: 0x{expect:08x}:00000000")),
                "{name} {field}: {stat}"
            );
        }
    }
}

/// Many files, many links, long names, large directories and extended attributes fit into the computed size.
#[test]
fn the_computed_size_is_enough() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    let root = scratch.path("tree");
    for i in 0..800 {
        let name = format!("many/{}{i}", "n".repeat(200));
        write(&root, &name, b"x", 0o644, (0, 0));
        set_xattr(&root.join(&name), "user.big", &[7; 300]);
    }
    write(&root, "large", &vec![1; 40 << 20], 0o644, (0, 0));
    let out = scratch.dir("out");
    for free in [0, 1 << 30] {
        let mut options = options();
        options.size = DiskSize::Free(free);
        write_image(&tree, (&out, Path::new("a.img")), &options)
            .unwrap_or_else(|e| panic!("{free}: {e}"));
        fsck(&scratch.path("out/a.img"));
    }
    let entries = read_dir((&out, Path::new("a.img")), Path::new("/many")).unwrap();
    assert_eq!(entries.len(), 800);
}

/// What a guest changes in its entry is seen, and two deployments come in boot order.
#[test]
fn entries_are_read_by_content() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, _) = deployed(&scratch, "one");
    let again = commit(&sysroot, &scratch.dir("tree"));
    sysroot.deploy(&deploy_options(&again, "two")).unwrap();
    let out = scratch.dir("out");
    let at = (&out, Path::new("a.img"));
    write_image(&scratch.dir("sysroot"), at, &options()).unwrap();
    let words = |entries: &[pleach_deployment::BootEntry]| -> Vec<bool> {
        entries
            .iter()
            .map(|e| e.options.contains(&"two".parse().unwrap()))
            .collect()
    };
    assert_eq!(words(&boot_entries(at).unwrap()), [true, false]);

    let entry = "title Other\nversion 10\noptions changed ostree=/ostree/boot.0/os/x/0\n";
    fs::write(scratch.path("entry"), entry).unwrap();
    let write = format!(
        "write {} /boot/loader/entries/zz.conf",
        scratch.path("entry").display()
    );
    run(Command::new("debugfs")
        .args(["-w", "-R", &write])
        .arg(scratch.path("out/a.img")));
    let entries = boot_entries(at).unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].title.as_deref(), Some("Other"), "10 is above 2");
    assert_eq!(
        entries[0].options.to_string(),
        "changed ostree=/ostree/boot.0/os/x/0"
    );
}

#[test]
fn reading_says_what_is_wrong() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (_sysroot, out) = image(&scratch);
    let at = (&out, Path::new("a.img"));
    #[track_caller]
    fn check<T: std::fmt::Debug>(result: Result<T, Error>, expect: &str) {
        assert_eq!(result.unwrap_err().to_string(), expect);
    }
    let file = |path: &str| read_file(at, Path::new(path), 1 << 20);
    check(file("/none"), "\"/none\" in the image: no such file");
    check(
        file("/none/none"),
        "\"/none\" in the image: no such directory",
    );
    check(
        file("/boot"),
        "\"/boot\" in the image: is not a regular file",
    );
    check(
        file("/boot/loader"),
        "\"/boot/loader\" in the image: is not a regular file",
    );
    check(file("/"), "\"/\" in the image: is no file");
    check(
        read_file(at, Path::new("/ostree/repo/config"), 3),
        "\"/ostree/repo/config\": more than max_bytes = 3",
    );
    check(
        file("/a\nb/c"),
        "\"/a\\nb\": cannot be said to debugfs: not UTF-8, or a line break in it",
    );
    fs::write(scratch.path("out/text"), vec![0; 4096]).unwrap();
    check(
        boot_entries((&out, Path::new("text"))),
        "\"text\" is not an image of an ext4 filesystem",
    );
    fs::write(scratch.path("out/short"), "x").unwrap();
    check(
        boot_entries((&out, Path::new("short"))),
        "\"short\" is not an image of an ext4 filesystem",
    );
    std::os::unix::fs::symlink("a.img", scratch.path("out/link")).unwrap();
    let error = boot_entries((&out, Path::new("link")))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("open \"link\": "), "{error}");
}

/// The image of a machine that was switched off holds the newest state in its journal only.
#[test]
fn an_unclean_image_is_refused_until_its_journal_is_replayed() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, out) = image(&scratch);
    let at = (&out, Path::new("a.img"));
    let path = scratch.path("out/a.img");
    // A block of the file's data in the journal, not yet in its place.
    fs::write(scratch.path("block"), [b'#'; 4096]).unwrap();
    let config = "/ostree/repo/config";
    let blocks = debugfs(&path, &format!("blocks {config}"));
    let script = format!(
        "jo\njw -b {} {}\njc\n",
        blocks.trim(),
        scratch.path("block").display()
    );
    fs::write(scratch.path("script"), script).unwrap();
    run(Command::new("debugfs")
        .args(["-w", "-f"])
        .arg(scratch.path("script"))
        .arg(&path));

    let error = boot_entries(at).unwrap_err();
    assert!(matches!(error, Error::NeedsRecovery { .. }), "{error}");
    replay_journal(at, Path::new("e2fsck")).unwrap();
    assert_eq!(boot_entries(at).unwrap(), sysroot.boot_entries().unwrap());
    let text = read_file(at, Path::new(config), 1 << 20).unwrap();
    assert!(
        !text.is_empty() && text.iter().all(|b| *b == b'#'),
        "{text:?}"
    );
    replay_journal(at, Path::new("e2fsck")).expect("a clean one is left alone");
}

#[test]
fn a_failure_leaves_no_image() {
    if !can_run(&TOOLS) {
        return;
    }
    let scratch = Scratch::new();
    let (_sysroot, _) = deployed(&scratch, "");
    #[track_caller]
    fn check(scratch: &Scratch, edit: fn(&mut DiskOptions), expect: &str) {
        let mut options = options();
        edit(&mut options);
        let out = scratch.dir("out");
        let error = write_image(
            &scratch.dir("sysroot"),
            (&out, Path::new("a.img")),
            &options,
        )
        .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expect), "{text}");
        assert_eq!(out.entries().unwrap().count(), 0, "{text}");
    }
    check(
        &scratch,
        |o| o.mkfs = "mkfs.nowhere".into(),
        "mkfs.nowhere is not installed (Debian package e2fsprogs)",
    );
    check(
        &scratch,
        |o| o.debugfs = "debugfs.nowhere".into(),
        "debugfs.nowhere is not installed",
    );
    check(
        &scratch,
        |o| o.mkfs = "false".into(),
        "false failed (exit status: 1)",
    );
    check(
        &scratch,
        |o| o.size = DiskSize::Bytes(9 << 20),
        "the target is too small: ",
    );
    check(
        &scratch,
        |o| o.journal_bytes = 1 << 40,
        "mkfs.ext4 failed (exit status: 1): ",
    );
    check(
        &scratch,
        |o| o.uuid = "x".into(),
        "uuid \"x\": is not a UUID",
    );
    check(
        &scratch,
        |o| o.hash_seed = "x".into(),
        "hash_seed \"x\": is not a UUID",
    );
    check(
        &scratch,
        |o| o.label = "12345678901234567".into(),
        "is over 16 bytes",
    );
    check(&scratch, |o| o.timestamp = 1 << 31, "is not below 2^31");
}
