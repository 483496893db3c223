//! Documents in parts: `plan`, `split`, remainders, and the Containerfile.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, ScanOptions, Timestamp, Tree, diff, scan};

use crate::images::{has, is_root, prepare, run};
use crate::{pleach, scratch};

const SITE: &str = "\
variant: fcos
version: 1.5.0
passwd: { users: [{ name: alice, password_hash: $y$canary }] }
storage:
  files:
    - { path: /etc/motd, overwrite: true, contents: { inline: derived } }
    - { path: /usr/bin/new, mode: 04755, contents: { inline: new } }
    - { path: /etc/hers, contents: { inline: x }, user: { name: alice } }
  links: [{ path: /etc/link, target: motd }]
kernel_arguments: { should_exist: [site=one] }
";

#[test]
fn a_plan_is_a_table_with_reasons() {
    let folder = scratch();
    std::fs::write(folder.path().join("site.bu"), SITE).expect("written");
    let plan = |more: &[&str]| {
        let arguments = [&["plan", "--config", "site.bu"], more].concat();
        pleach(folder.path(), &arguments)
    };
    let (code, text, stderr) = plan(&["--route", "derive,etc"]);
    assert_eq!(code, Some(0), "{stderr}");
    let head = "                           derive   etc\n";
    let expect = "\
file /etc/motd             yes      yes
file /usr/bin/new          yes      no 1
file /etc/hers             yes      yes
link /etc/link             yes      yes
user alice                 other 2  yes
password of user alice     no 3     yes
kernel argument site=one   other 4  other 5
left to Ignition by split  3        1

  1  it belongs to the image and is read-only on the machine; derive it, or use a place in /etc, /var or /usr/local
  2  by sysusers.d, with home and keys by tmpfiles.d: a machine that changed /etc/passwd keeps its own and never sees the image's
  3  everybody who pulls the image could read it; inject it
  4  as a file in /usr/lib/bootc/kargs.d: an image has no boot entry of its own
  5  in the deployment's boot entry: kernel arguments are no files of /etc
";
    assert_eq!(text, format!("{head}{expect}"));
    // An item that none of the routes carries is a finding.
    assert_eq!(plan(&["--route", "etc"]).0, Some(1));
    assert_eq!(plan(&[]).0, Some(0));
    assert_eq!(plan(&["--route", "magic"]).0, Some(2));
    let (_, json, _) = plan(&["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["format_version"], 1);
    let item = &json["items"][5];
    assert_eq!(item["item"], "password of user alice");
    assert_eq!(item["line"], 3);
    assert_eq!(item["routes"]["derive"]["verdict"], "refused");
    assert_eq!(item["routes"]["cloud-init"]["verdict"], "carried");
    assert_eq!(
        item["routes"].as_object().map(serde_json::Map::len),
        Some(7)
    );
    assert_eq!(json["left"]["derive"], 3);
}

#[test]
fn a_split_gives_an_image_and_a_private_document() {
    let folder = scratch();
    prepare(folder.path());
    std::fs::write(folder.path().join("site.bu"), SITE).expect("written");
    let arguments = [
        "split",
        "--base=oci:base:v1",
        "--config=site.bu",
        "--output=oci:out:site",
        "--remainder=rest.ign",
    ];
    // What was there, readable by all, does not lend its mode.
    std::fs::write(folder.path().join("rest.ign"), "old").expect("written");
    let (code, stdout, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("oci:out:site@sha256:"), "{stdout}");
    assert!(
        !stderr.contains("canary") && stderr.contains("left: site.bu:3:19"),
        "{stderr}"
    );
    let file = folder.path().join("rest.ign");
    let mode = std::fs::metadata(&file)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let rest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    assert_eq!(rest["passwd"]["users"][0]["passwordHash"], "$y$canary");
    assert_eq!(rest["storage"]["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["kernelArguments"], serde_json::Value::Null);

    std::fs::write(
        folder.path().join("site.bu"),
        SITE.replace(", password_hash: $y$canary", ""),
    )
    .expect("written");
    let (code, _, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("nothing is left"), "{stderr}");
    let rest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    assert_eq!(
        rest,
        serde_json::json!({ "ignition": { "version": "3.0.0" } })
    );

    // Neither can do it: nothing is written.
    let lost = "variant: fcos\nversion: 1.5.0\nstorage: { files: [{ path: /run/x }] }\n";
    std::fs::write(folder.path().join("site.bu"), lost).expect("written");
    std::fs::remove_file(&file).expect("removed");
    let (code, _, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        stderr.contains("neither the route nor Ignition") && stderr.contains("file /run/x"),
        "{stderr}"
    );
    assert!(!file.exists());
}

#[test]
fn a_remainder_is_allowed_or_an_error() {
    let folder = scratch();
    std::fs::write(folder.path().join("site.bu"), SITE).expect("written");
    let check = |route: &str, item: &str| {
        let arguments = ["inject", route, "--config=site.bu", "--output=made"];
        let (code, _, stderr) = pleach(folder.path(), &arguments);
        assert_eq!(code, Some(3), "{route}: {stderr}");
        assert!(stderr.contains(item), "{route}: {stderr}");
        assert!(
            !folder.path().join("made").exists(),
            "{route} wrote something"
        );
        let arguments = [
            &arguments[..],
            &["--allow-remainder", "--remainder=rest.ign"],
        ]
        .concat();
        let (code, _, stderr) = pleach(folder.path(), &arguments);
        assert_eq!(code, Some(0), "{route}: {stderr}");
        let left = stderr
            .lines()
            .any(|line| line.starts_with("• left: site.bu:") && line.contains(item));
        assert!(left, "{route}: {stderr}");
        assert!(
            stderr.contains("lost, for Ignition cannot do it either: site.bu:7:7"),
            "{route}: {stderr}"
        );
        let rest = std::fs::read_to_string(folder.path().join("rest.ign")).expect("written");
        assert!(
            rest.contains("shouldExist") == (item == "kernel argument site=one"),
            "{route}: {rest}"
        );
        assert!(!rest.contains("/usr/bin/new"), "{route}: {rest}");
        std::fs::remove_dir_all(folder.path().join("made")).expect("made");
    };
    check("cloud-init", "kernel argument site=one");
    check("credentials", "kernel argument site=one");
    check("confext", "kernel argument site=one");
    check("kickstart", "file /usr/bin/new");
}

#[test]
fn buildah_builds_the_same_tree_from_the_containerfile() {
    let test = "buildah_builds_the_same_tree_from_the_containerfile";
    if !has(test, "buildah") || !is_root(test) {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    std::fs::write(
        folder.path().join("site.bu"),
        SITE.replace(", password_hash: $y$canary", ""),
    )
    .expect("written");
    let arguments = [
        "derive",
        "--base=oci:base:v1",
        "--config=site.bu",
        "--output=oci:ours:site",
        "--containerfile=context",
    ];
    let (code, _, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    let storage = [
        "--root=storage",
        "--runroot=storage-run",
        "--storage-driver=vfs",
    ];
    let bud = [
        "bud",
        "--isolation=chroot",
        "--layers=false",
        "--build-arg=BASE=oci:base:v1",
        "--tag=oci:theirs:site",
        "context",
    ];
    run(folder.path(), "buildah", &[&storage[..], &bud].concat());
    let read = |image: &str, to: &str| {
        let (code, _, stderr) = pleach(folder.path(), &["unpack", image, to]);
        assert_eq!(code, Some(0), "{stderr}");
        let dir = Dir::open_ambient_dir(folder.path().join(to), ambient_authority()).expect(to);
        scan(&dir, &ScanOptions::default()).expect(to)
    };
    let (ours, theirs) = (read("oci:ours:site", "a/"), read("oci:theirs:site", "b/"));
    let different = diff(&ours, &theirs, |a, b| a == b);
    assert!(different.is_empty(), "{different:#?}");
    let new = std::fs::metadata(folder.path().join("b/usr/bin/new")).expect("there");
    assert_eq!((new.mode() & 0o7777, new.mtime()), (0o4755, 1_767_225_600));
    assert!(Path::new(&folder.path().join("context/layer.tar")).exists());
}

/// A tree below a folder, without times: they are of the moment at which something is injected.
pub(crate) fn timeless(folder: &Path) -> Tree<FileContent> {
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).expect("opened");
    let mut tree = scan(&dir, &ScanOptions::default()).expect("scanned");
    let ids: Vec<_> = tree.walk().map(|(_, id)| id).collect();
    for id in ids {
        tree.metadata_mut(id).mtime = Timestamp::default();
    }
    tree
}

#[test]
fn the_parts_of_a_split_come_to_the_whole() {
    let test = "the_parts_of_a_split_come_to_the_whole";
    if !is_root(test) {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    let site = "\
variant: fcos
version: 1.5.0
passwd: { users: [{ name: alice, password_hash: $y$canary }, { name: bob }], groups: [{ name: ops }] }
storage:
  directories: [{ path: /etc/ops, mode: 0750, group: { name: ops } }]
  files:
    - { path: /etc/motd, overwrite: true, contents: { inline: derived } }
    - { path: /etc/ops/conf, mode: 0640, contents: { inline: x } }
    - { path: /etc/hers, contents: { inline: x }, user: { name: alice } }
  links: [{ path: /etc/link, target: motd }]
systemd:
  units:
    - { name: a.service, enabled: true, contents: \"[Install]\\nWantedBy=multi-user.target\\n\" }
    - { name: b.service, mask: true }
";
    std::fs::write(folder.path().join("site.bu"), site).expect("written");
    let steps: &[&[&str]] = &[
        &["unpack", "oci:base:v1", "whole/"],
        &["inject", "etc", "--config=site.bu", "--deployment=whole"],
        &[
            "split",
            "--base=oci:base:v1",
            "--config=site.bu",
            "--output=oci:out:site",
            "--remainder=rest.ign",
        ],
        &["unpack", "oci:out:site", "parts/"],
        &["inject", "etc", "--config=rest.ign", "--deployment=parts"],
    ];
    for step in steps {
        let (code, _, stderr) = pleach(folder.path(), step);
        assert_eq!(code, Some(0), "{step:?}: {stderr}");
    }
    for name in ["etc", "var", "usr"] {
        let read = |top: &str| timeless(&folder.path().join(top).join(name));
        let different = diff(&read("whole"), &read("parts"), |a, b| a == b);
        assert!(different.is_empty(), "/{name}: {different:#?}");
    }
    // Each part did something, and the secret is in the second alone.
    let rest = std::fs::read_to_string(folder.path().join("rest.ign")).expect("read");
    assert!(
        rest.contains("canary") && !rest.contains("a.service"),
        "{rest}"
    );
}
