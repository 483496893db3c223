//! The same random layers, merged by us and unpacked by umoci, give the same tree.

use std::fs;
use std::path::Path;
use std::process::Command;

use pleach_fs_tree::{FileContent, ScanOptions, Tree, diff, scan};
use pleach_layer_merge::{Error, ErrorClass, Layout, MergeOptions, Merged, index};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::archive::{layer, write_layout};
use crate::{as_root, full, open};

const CASES: usize = 50;
/// The latest time that a layer has.
const LATEST: i64 = 1_000_000_000;

/// An entry of a random layer. Names are few, so that layers meet.
fn entry() -> impl Strategy<Value = Value> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d\u{e9}")];
    let path = proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let mode = prop_oneof![
        Just("0644"),
        Just("0755"),
        Just("4711"),
        Just("1777"),
        Just("0600")
    ];
    let numbers = (0..4_u32, 0..3_u32, 0..=LATEST, 0..100_u32);
    (path, mode, numbers, any::<bool>()).prop_map(|(path, mode, (uid, gid, mtime, what), xattr)| {
        let mut entry = json!({"path": path, "mode": mode, "uid": uid, "gid": gid, "mtime": mtime});
        let (parent, name) = path.rsplit_once('/').map_or(("", &*path), |(p, n)| (p, n));
        let sibling = |name: &str| match parent {
            "" => name.to_owned(),
            parent => format!("{parent}/{name}"),
        };
        match what {
            0..30 => entry["type"] = "dir".into(),
            30..60 => {
                entry["type"] = "file".into();
                entry["content"] = format!("rep:{what}:{mtime}").into();
            }
            60..68 => {
                entry["type"] = "symlink".into();
                entry["target"] = "a/b".into();
            }
            68..72 => entry["type"] = "fifo".into(),
            72..78 => {
                entry["type"] = "hardlink".into();
                entry["target"] = ["a", "b", "a/b", "c"][what as usize % 4].into();
            }
            78..92 => entry = json!({"path": sibling(&format!(".wh.{name}")), "type": "file"}),
            _ => entry = json!({"path": sibling(".wh..wh..opq"), "type": "file"}),
        }
        if xattr && matches!(entry["type"].as_str(), Some("dir" | "file")) && what < 60 {
            entry["xattrs"] = json!({"user.k": "v"});
        }
        entry
    })
}

/// Layers without what the specification forbids or leaves open and we refuse: duplicates, entries
/// below what is no directory, links that lead nowhere.
fn stack() -> impl Strategy<Value = Vec<Value>> {
    let layer = proptest::collection::vec(entry(), 0..12).prop_map(|entries| {
        let mut seen = std::collections::BTreeSet::new();
        let mut kept: Vec<Value> = Vec::new();
        for entry in entries {
            let path = entry["path"].as_str().unwrap().to_owned();
            let file_above = kept.iter().any(|other| {
                let other_path = other["path"].as_str().unwrap();
                let below = |a: &str, b: &str| a.starts_with(&format!("{b}/"));
                let blocks = |kind: &Value| kind != "dir";
                (below(&path, other_path) && blocks(&other["type"]))
                    || (below(other_path, &path) && blocks(&entry["type"]))
            });
            if !file_above && seen.insert(path) {
                kept.push(entry);
            }
        }
        Value::Array(kept)
    });
    proptest::collection::vec(layer, 1..4)
}

#[test]
fn random_stacks() {
    if !as_root() || Command::new("umoci").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "umoci and root are needed"
        );
        eprintln!(
            "SKIP umoci::random_stacks: {} cases, umoci and root are needed",
            cases()
        );
        return;
    }
    let cases = cases();
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut refused, mut failed) = (0, 0, Vec::new());
    while compared < cases {
        let stack = stack().new_tree(&mut runner).unwrap().current();
        match compare(&stack) {
            Ok(true) => compared += 1,
            Ok(false) => refused += 1,
            Err(why) => {
                compared += 1;
                failed.push(format!("{why}\n{}\n", json!(stack)));
            }
        }
        assert!(
            refused < 20 * cases,
            "nearly every stack is refused: {compared} compared"
        );
    }
    eprintln!("{compared} stacks compared with umoci, {refused} refused by both or by us alone");
    assert!(
        failed.is_empty(),
        "{} of {compared} differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// How many stacks are compared; `PLEACH_LAYER_STACKS` says another number.
fn cases() -> usize {
    let given = std::env::var("PLEACH_LAYER_STACKS").ok();
    given.map_or(CASES, |text| {
        text.parse().expect("PLEACH_LAYER_STACKS is a number")
    })
}

/// False where both refuse, or we do for a reason that is in the README: a link that leads nowhere
/// as a parent, and a hard link to what the same layer hides.
fn compare(stack: &[Value]) -> Result<bool, String> {
    let work = tempfile::tempdir().unwrap();
    let ours = index_of(&work.path().join("as-it-is"), stack);
    // umoci applies entries one by one, so a whiteout of what the same layer has a parent of comes
    // too late for it; to us it must not matter where the whiteouts stand.
    let image = work.path().join("image");
    let sorted = index_of(&image, &whiteouts_first(stack));
    match (&ours, &sorted) {
        (Ok(a), Ok(b)) => {
            if let Some(first) = diff(&a.tree, &b.tree, |a, b| a == b).first() {
                return Err(format!("the place of the whiteouts matters: {first:?}"));
            }
        }
        (Err(a), Err(b)) if a.class() == b.class() => {}
        (a, b) => {
            return Err(format!(
                "the place of the whiteouts matters: {a:?} and {b:?}"
            ));
        }
    }
    let theirs = unpack(work.path());
    use ErrorClass::{BadLink, ParentNotDirectory};
    match (ours, theirs) {
        (Err(error), _) if matches!(error.class(), ParentNotDirectory | BadLink) => Ok(false),
        (Err(error), Ok(_)) => Err(format!("only we refuse: {}", full(&error))),
        (Err(_), Err(_)) => Ok(false),
        // A file of a lower layer as parent: they refuse, we make the directory.
        (Ok(_), Err(text)) if text.contains("not a directory") => Ok(false),
        (Ok(_), Err(text)) => Err(format!("only umoci refuses: {text}")),
        (Ok(ours), Ok(theirs)) => match difference(&ours.tree, &theirs) {
            None => Ok(true),
            Some(text) => Err(text),
        },
    }
}

fn index_of(image: &Path, stack: &[Value]) -> Result<Merged<FileContent>, Error> {
    let entries = stack.iter().map(|entries| entries.as_array().unwrap());
    let blobs: Vec<_> = entries
        .map(|entries| layer(entries, &Value::Null))
        .collect();
    write_layout(image, &blobs);
    let layout = Layout::open(&open(image)).unwrap();
    index(
        &layout,
        &layout.resolve(None, None).unwrap(),
        &MergeOptions::default(),
    )
}

fn whiteouts_first(stack: &[Value]) -> Vec<Value> {
    let is_whiteout = |entry: &Value| {
        let path = entry["path"].as_str().unwrap();
        path.rsplit('/').next().unwrap().starts_with(".wh.")
    };
    let sort = |entries: &Value| {
        let mut entries = entries.as_array().unwrap().clone();
        entries.sort_by_key(|entry| !is_whiteout(entry));
        Value::Array(entries)
    };
    stack.iter().map(sort).collect()
}

fn unpack(work: &Path) -> Result<Tree<FileContent>, String> {
    let output = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:image", work.join("image").display()))
        .arg(work.join("bundle"))
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let tree = scan(&open(&work.join("bundle/rootfs")), &ScanOptions::default()).unwrap();
    fs::remove_dir_all(work.join("bundle")).unwrap();
    Ok(tree)
}

/// The first difference that is none of those that are known.
fn difference(ours: &Tree<FileContent>, theirs: &Tree<FileContent>) -> Option<String> {
    use pleach_fs_tree::Kinds;
    diff(ours, theirs, |a, b| a == b)
        .into_iter()
        .find_map(|difference| {
            let mut kinds = difference.kinds;
            if let Kinds::Both(_, id, changed) = &mut kinds {
                // A directory that it changed after it set the time, or that no layer names, has the
                // time of unpacking there. No layer has a time as late as that.
                let inode = theirs.inode(*id);
                if inode.entries().is_some() && inode.metadata.mtime.seconds > LATEST {
                    changed.mtime = false;
                }
                if changed.is_empty() {
                    return None;
                }
            }
            Some(format!("{}: {kinds:?}", difference.path))
        })
}
