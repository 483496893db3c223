//! A plan from a capture and an image, far from the machine.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use pleach_booted_state::{CaptureOptions, Snapshot, static_view};
use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_layer_merge::{History, LayerOptions, Layout, NewImage, write_tree};
use serde_json::{Value, json};

use super::{at, etc, json, machine, open, tree, write};
use crate::scratch;

const PRISTINE: &str = "
    /account directory 0755 0:0 1.0
    /account/old file 0644 0:0 1.0 old
    /cron.d directory 0755 0:0 1.0
    /gone file 0644 0:0 1.0 gone
    /link symlink 0777 0:0 1.0 a
    /motd file 0644 0:0 1.0 hello
    /passwd file 0644 0:0 1.0 root
    /same file 0644 0:0 1.0 same
    /sshd file 0600 0:0 1.0 one";
const CURRENT: &str = "
    /account directory 0700 0:0 1.0
    /account/old file 0644 0:0 1.0 old
    /cron.d file 0644 0:0 1.0 a-file
    /link symlink 0777 0:0 1.0 b
    /machine-id file 0444 0:0 1.0 1
    /motd file 0600 0:0 1.0 hello user.pleach=v\\xff
    /n\\xff\\x20n file 0644 0:0 1.0 -
    /passwd file 0644 0:0 1.0 root,me
    /pipe fifo 0644 0:0 1.0
    /same file 0644 0:0 7.0 same
    /sshd file 0600 0:0 1.0 two";
const NEW: &str = "
    /account directory 0755 0:0 1.0
    /added directory 0755 0:0 1.0
    /added/x file 0644 0:0 1.0 x
    /cron.d directory 0755 0:0 1.0
    /cron.d/job file 0644 0:0 1.0 job
    /gone file 0644 0:0 1.0 changed
    /link symlink 0777 0:0 1.0 c
    /machine-id file 0444 0:0 1.0 baked
    /motd file 0644 0:0 1.0 welcome
    /passwd file 0644 0:0 1.0 root,daemon
    /same file 0644 0:0 1.0 same
    /sshd file 0600 0:0 1.0 three";

/// An image with a tree at a path, in the layout `images`.
fn image(folder: &Path, tag: &str, at: &[&str], text: &str) {
    let folder = folder.join("images");
    std::fs::create_dir_all(&folder).expect("made");
    let dir = open(&folder);
    let layout = Layout::open(&dir)
        .or_else(|_| Layout::create(&dir))
        .expect("a layout");
    let mut whole = Tree::new(Metadata::with_mode(0o755));
    for at in at {
        let (at, part) = (TreePath::new(at).expect("a path"), tree(text));
        for (path, id) in part.walk() {
            let inode = match part.inode(id) {
                inode if inode.entries().is_some() => Inode::directory(inode.metadata.clone()),
                inode => inode.clone(),
            };
            let put = whole.put_with_parents(&at.concat(&path), inode, &Metadata::with_mode(0o755));
            put.expect("put");
        }
    }
    let mut blob = layout.write_blob().expect("a blob");
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    let options = LayerOptions::default();
    let layer = write_tree(&whole, &mut source, &mut blob, &options).expect("written");
    blob.finish().expect("finished");
    let config = json!({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z"});
    let image = NewImage::scratch(config, &[(layer, History::default())], &BTreeMap::new());
    layout
        .put_image(&image.expect("an image"), Some(tag))
        .expect("tagged");
}

/// A capture of the machine in `root`.
fn capture(folder: &Path, etc_defaults: bool) -> Snapshot {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("var")).expect("made");
    let options = CaptureOptions {
        etc_defaults,
        ..CaptureOptions::default()
    };
    let [etc, var] = ["etc", "var"].map(|name| open(&root.join(name)));
    static_view(&open(&root), &etc, &var, &options).expect("a capture")
}

fn save(folder: &Path, capture: &Snapshot) {
    std::fs::write(folder.join("capture.json"), capture.to_json()).expect("written");
}

const FAR: [&str; 5] = [
    "plan",
    "--image",
    "oci:images:new",
    "--machine",
    "capture.json",
];

/// The plan without what hangs on contents, and without the digest of how the trees were read.
fn plan(mut report: Value) -> Value {
    report["plan"]["inputs"] = json!(null);
    let entries = report["plan"]["entries"].as_array_mut().expect("a list");
    entries.retain(|entry| entry["path"] != "/passwd");
    report["plan"].take()
}

#[test]
fn the_plan_from_afar_is_the_plan_on_the_machine() {
    let folder = scratch();
    machine(folder.path(), PRISTINE, CURRENT);
    write(&folder.path().join("new"), NEW);
    image(folder.path(), "new", &["usr/etc"], NEW);
    image(folder.path(), "old", &["etc"], PRISTINE);
    save(folder.path(), &capture(folder.path(), true));
    let here = json(
        folder.path(),
        &["plan", "--root", "root", "--new", "new"],
        1,
    );
    let entries = here["plan"]["entries"].as_array().expect("a list").len();
    assert!(entries >= 14, "{here:#}");
    let here = plan(here);
    // The defaults from the capture, and from the image that the machine runs.
    assert_eq!(plan(json(folder.path(), &FAR, 1)), here);
    save(folder.path(), &capture(folder.path(), false));
    let from = [&FAR[..], &["--from", "oci:images:old"]].concat();
    assert_eq!(plan(json(folder.path(), &from, 1)), here);
    // The machine's own directories against an image that it does not have.
    let image = ["plan", "--root", "root", "--image", "oci:images:new"];
    assert_eq!(plan(json(folder.path(), &image, 1)), here);
}

#[test]
fn what_hangs_on_contents_says_so() {
    let folder = scratch();
    machine(folder.path(), PRISTINE, CURRENT);
    image(folder.path(), "new", &["usr/etc"], NEW);
    save(folder.path(), &capture(folder.path(), true));
    let report = json(folder.path(), &FAR, 1);
    let entries = report["plan"]["entries"].as_array().expect("a list");
    let needs = entries
        .iter()
        .filter(|entry| entry["needs_contents"] == true);
    let needs: Vec<_> = needs
        .map(|entry| entry["path"].as_str().expect("text"))
        .collect();
    assert_eq!(needs, ["/passwd"]);
    let (text, _) = etc(folder.path(), &FAR, 1);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("needs-contents"))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
}

#[test]
fn what_a_capture_cannot_say_is_said() {
    let folder = scratch();
    machine(folder.path(), PRISTINE, CURRENT);
    image(folder.path(), "new", &["usr/etc"], NEW);
    image(folder.path(), "both", &["usr/etc", "etc"], NEW);
    let drop_in = folder.path().join("root/etc/pleach/etc-merge.d");
    std::fs::create_dir_all(&drop_in).expect("made");
    std::fs::write(drop_in.join("a.toml"), "").expect("written");
    save(folder.path(), &capture(folder.path(), false));
    let (_, error) = etc(folder.path(), &FAR, 3);
    assert!(error.contains("--etc-defaults"), "{error}");

    let mut with = capture(folder.path(), true);
    save(folder.path(), &with);
    let report = json(folder.path(), &FAR, 1);
    let notes = report["notes"].to_string();
    assert!(notes.contains("/etc/pleach/etc-merge.d/a.toml"), "{notes}");
    let both = [
        "plan",
        "--image",
        "oci:images:both",
        "--machine",
        "capture.json",
    ];
    let (_, error) = etc(folder.path(), &both, 3);
    assert!(error.contains("both /usr/etc and /etc"), "{error}");

    // Labels of the machine, of which the image has none.
    let entry = with
        .paths
        .entries_mut()
        .expect("entries")
        .get_mut("/etc/same");
    let xattrs = &mut entry.expect("there").xattrs;
    xattrs.insert("security.selinux".to_owned(), "etc_t\\x00".to_owned());
    save(folder.path(), &with);
    let labelled = json(folder.path(), &FAR, 1);
    assert_eq!(labelled["plan"]["entries"], report["plan"]["entries"]);
    let notes = labelled["notes"].to_string();
    assert!(notes.contains("pristine and new has none"), "{notes}");

    // A mount point counts as untouched.
    let mounted = with.paths.entries_mut().expect("entries");
    let account = mounted.get_mut("/etc/account").expect("there");
    account.unlisted = Some(pleach_booted_state::model::Unlisted::OtherFileSystem);
    mounted.remove("/etc/account/old");
    save(folder.path(), &with);
    let report = json(folder.path(), &FAR, 1);
    assert_eq!(report["plan"]["mounts"], json!(["/account"]));
    let old = at(&report["plan"]["entries"], "/account/old");
    assert_eq!(old["state"], "image-removed");

    let entry = with
        .paths
        .entries_mut()
        .expect("entries")
        .get_mut("/etc/motd");
    entry.expect("there").digest = None;
    save(folder.path(), &with);
    let (_, error) = etc(folder.path(), &FAR, 3);
    assert!(error.contains("/etc/motd in the capture"), "{error}");
}
