use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{ScanOptions, Tree, diff, parse_dump, scan};
use pleach_layer_merge::{
    Changes, Compression, History, LayerOptions, Layout, NewImage, write_layer, write_tree,
};

use crate::{pleach, scratch};

const BASE: &str = "\
/ directory 0755 0:0 1000000000.0
/etc directory 0755 0:0 1000000000.0
/etc/group file 0644 0:0 1000000000.0 root:x:0:\\n
/etc/login.defs file 0644 0:0 1000000000.0 USERGROUPS_ENAB\\x20yes\\n
/etc/motd file 0644 0:0 1000000000.0 default
/etc/passwd file 0644 0:0 1000000000.0 root:x:0:0:root:/root:/bin/bash\\n
/home symlink 0777 0:0 1000000000.0 var/home
/usr directory 0755 0:0 1000000000.0
/usr/bin directory 0755 0:0 1000000000.0
/usr/bin/tool file 4755 0:0 1000000000.0 x
/var directory 0755 0:0 1000000000.0
";

const SITE: &str = "\
variant: fcos
version: 1.5.0
passwd: { users: [{ name: alice, uid: 1001 }] }
storage:
  files:
    - { path: /etc/motd, overwrite: true, contents: { inline: derived } }
    - { path: /usr/bin/new, mode: 0755, contents: { inline: new } }
kernel_arguments: { should_exist: [site=one] }
";

/// An image of one layer, not compressed, that holds the tree.
pub(crate) fn put_scratch_image(
    layout: &Layout,
    tree: Tree<Vec<u8>>,
    config: serde_json::Value,
    tag: &str,
) {
    let options = LayerOptions {
        compression: Compression::None,
        ..LayerOptions::default()
    };
    let mut blob = layout.write_blob().expect("a blob");
    let mut source = |content: &Vec<u8>| Ok(Cursor::new(content.clone()));
    let layer = write_layer(&Changes::whole(tree), &mut source, &mut blob, &options);
    let layer = layer.expect("a layer");
    blob.finish().expect("finished");
    let image = NewImage::scratch(config, &[(layer, History::default())], &BTreeMap::new());
    layout
        .put_image(&image.expect("an image"), Some(tag))
        .expect("put");
}

/// A layout `base` with the tag `v1`, and the document `site.bu`.
pub(crate) fn prepare(folder: &Path) {
    std::fs::write(folder.join("site.bu"), SITE).expect("written");
    std::fs::create_dir(folder.join("base")).expect("made");
    let dir = Dir::open_ambient_dir(folder.join("base"), ambient_authority()).expect("opened");
    let layout = Layout::create(&dir).expect("a layout");
    let tree = parse_dump(BASE, Some).expect("a dump");
    let mut blob = layout.write_blob().expect("a blob");
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    let layer =
        write_tree(&tree, &mut source, &mut blob, &LayerOptions::default()).expect("written");
    blob.finish().expect("finished");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": { "Labels": { "containers.bootc": "1" } },
    });
    let history = History {
        created_by: Some("a test".to_owned()),
        ..History::default()
    };
    let image = NewImage::scratch(config, &[(layer, history)], &BTreeMap::new()).expect("an image");
    layout.put_image(&image, Some("v1")).expect("tagged");
}

fn derive(folder: &Path, output: &str) -> String {
    let arguments = [
        "derive",
        "--base",
        "oci:base:v1",
        "--config",
        "site.bu",
        "--output",
        output,
    ];
    let (code, stdout, stderr) = pleach(folder, &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
        .trim()
        .rsplit_once('@')
        .expect("a digest")
        .1
        .to_owned()
}

/// Whether a program is there; where `CI=true` it must be.
pub(crate) fn has(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(found || !ci, "{program} is missing");
    if !found {
        eprintln!("SKIP {test}: {program} is missing");
    }
    found
}

/// Whether owners can be set; where `CI=true` they must.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(root || !ci, "needs root");
    if !root {
        eprintln!("SKIP {test}: needs root, to set owners");
    }
    root
}

pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn deriving_twice_gives_the_same_image() {
    let folder = scratch();
    prepare(folder.path());
    let first = derive(folder.path(), "oci:one:site");
    assert_eq!(derive(folder.path(), "oci:two:site"), first);
    assert_eq!(derive(folder.path(), "oci:one:again"), first);
}

#[test]
fn skopeo_reads_the_derived_image() {
    if !has("skopeo_reads_the_derived_image", "skopeo") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    let digest = derive(folder.path(), "oci:derived:site");
    let json = run(folder.path(), "skopeo", &["inspect", "oci:derived:site"]);
    let seen: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(seen["Digest"], *digest);
    assert_eq!(seen["Labels"]["containers.bootc"], "1");
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(2));
    // Copying makes skopeo read and verify every blob.
    run(
        folder.path(),
        "skopeo",
        &["--insecure-policy", "copy", "oci:derived:site", "dir:copy"],
    );
}

#[test]
fn umoci_and_pleach_unpack_the_derived_image_alike() {
    let test = "umoci_and_pleach_unpack_the_derived_image_alike";
    if !has(test, "umoci") {
        return;
    }
    if !is_root(test) {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    derive(folder.path(), "oci:derived:site");
    let (code, _, stderr) = pleach(folder.path(), &["unpack", "oci:derived:site", "ours/"]);
    assert_eq!(code, Some(0), "{stderr}");
    run(
        folder.path(),
        "umoci",
        &["raw", "unpack", "--image", "derived:site", "theirs"],
    );
    let read = |name: &str| {
        let dir = Dir::open_ambient_dir(folder.path().join(name), ambient_authority()).expect(name);
        scan(&dir, &ScanOptions::default()).expect(name)
    };
    let different = diff(&read("ours"), &read("theirs"), |a, b| a == b);
    assert!(different.is_empty(), "{different:#?}");
    let motd = std::fs::read_to_string(folder.path().join("ours/etc/motd")).expect("there");
    assert_eq!(motd, "derived");
}

#[test]
fn an_image_is_merged_while_it_is_fetched_and_collected_later() {
    let test = "an_image_is_merged_while_it_is_fetched_and_collected_later";
    if !has(test, "skopeo") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    derive(folder.path(), "oci:derived:site");
    for (from, to) in [
        ("oci:derived:site", "site.tar"),
        ("oci:base:v1", "base.tar"),
    ] {
        let archive = format!("oci-archive:{to}");
        let copy = ["--insecure-policy", "copy", "-q", from, &archive];
        run(folder.path(), "skopeo", &copy);
    }
    let from_store = ["--store=store", "--insecure-policy"];
    let check = |arguments: &[&str], expect: i32, says: &str| {
        let (code, out, stderr) = pleach(folder.path(), arguments);
        assert_eq!(code, Some(expect), "{arguments:?}: {stderr}");
        let said = out + &stderr;
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    let unpack = |image: &str, to: &str| {
        let arguments = [&["unpack", "--no-owners", image, to], &from_store[..]].concat();
        check(&arguments, 0, "");
    };
    unpack("oci-archive:site.tar", "fetched");
    unpack("oci:derived:site", "read");
    let read = |name: &str| {
        let dir = Dir::open_ambient_dir(folder.path().join(name), ambient_authority()).expect(name);
        scan(&dir, &ScanOptions::default()).expect(name)
    };
    let different = diff(&read("fetched"), &read("read"), |a, b| a == b);
    assert!(different.is_empty(), "{different:#?}");

    // The name moves on, and what only the first image needs goes: its manifest, config and layer.
    let fetch = [
        "fetch",
        "oci-archive:base.tar",
        "--tag=site.tar",
        "--store=store",
    ];
    check(
        &[&fetch[..], &["--insecure-policy"]].concat(),
        0,
        "insecureAcceptAnything",
    );
    let collect = ["gc", "--store=store", "--min-age=0"];
    check(&[&collect[..], &["--dry-run"]].concat(), 0, "3 blobs");
    check(&collect, 0, "3 blobs");
    check(&collect, 0, "0 blobs");
    check(&["inspect", "oci:store:site.tar"], 0, "layer");

    let enforced = [&fetch[..], &["--policy=accept.json", "--enforce-sigpolicy"]].concat();
    let accept = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    std::fs::write(folder.path().join("accept.json"), accept).expect("written");
    check(&enforced, 3, "signatures are to be enforced");
    let reject = [&fetch[..], &["--policy=reject.json"]].concat();
    let document = r#"{"default":[{"type":"reject"}]}"#;
    std::fs::write(folder.path().join("reject.json"), document).expect("written");
    check(&reject, 3, "the signature policy refuses it");
    check(&["gc", "--store=fetched"], 3, "no OCI image layout");
}

#[test]
fn an_image_becomes_an_ostree_commit() {
    let test = "an_image_becomes_an_ostree_commit";
    if !has(test, "ostree") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    derive(folder.path(), "oci:derived:site");
    let import = |name: &str, more: &[&str]| {
        let arguments = [
            "unpack",
            name,
            "--ostree-repo=repo",
            "--no-owners",
            "--cache=kept",
        ];
        pleach(folder.path(), &[&arguments, more].concat())
    };
    let (code, commit, stderr) = import("oci:derived:site", &["--ref=a/site"]);
    assert_eq!(code, Some(0), "{stderr}");
    let again = import("oci:derived:site", &["--ref=a/site"]);
    assert_eq!(again, (Some(0), commit.clone(), stderr));
    let found = run(
        folder.path(),
        "ostree",
        &["rev-parse", "--repo=repo", "a/site"],
    );
    assert_eq!(found.trim(), commit.trim());
    run(folder.path(), "ostree", &["fsck", "--repo=repo", "-q"]);
    let motd = ["cat", "--repo=repo", "a/site", "/usr/etc/motd"];
    assert_eq!(run(folder.path(), "ostree", &motd), "derived");
}

#[test]
fn a_path_says_which_layer_it_is_from() {
    let folder = scratch();
    prepare(folder.path());
    derive(folder.path(), "oci:derived:site");
    let arguments = [
        "inspect",
        "oci:derived:site",
        "--path",
        "/etc/motd",
        "--format",
        "json",
    ];
    let (code, stdout, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    let value: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let layers: Vec<_> = value["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|l| l["digest"].clone())
        .collect();
    let origins = value["path"]["origins"].as_array().expect("origins");
    assert_eq!(origins[0]["layer"], layers[1]);
    assert_eq!(origins[1]["layer"], layers[0], "what it hides");
}
