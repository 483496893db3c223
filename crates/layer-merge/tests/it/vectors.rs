//! The conformance vectors: `fixtures/vectors/layer-merge.json`, or the file that
//! `PLEACH_LAYER_VECTORS` names.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{
    Kind, MaterializeOptions, NodeType, ScanOptions, Tree, TreePath, materialize_parallel, scan,
};
use pleach_layer_merge::{
    ContentRef, ContentStore, Error, Layout, MergeOptions, Merged, StoreOptions, index, merge,
    take_contents,
};
use serde_json::Value;

use crate::archive::{bytes, layer, text_bytes, write_layout};
use crate::{as_root, full};

const DEFAULT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/vectors/layer-merge.json"
);
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/rules.json");

/// The cases of the vectors in the repository.
pub(crate) fn cases() -> Vec<Value> {
    read(DEFAULT, "/outside")
}

fn read(file: &str, outside: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let text = text.replace("@OUTSIDE@", outside);
    let mut document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert_eq!(document["schema"], "layer-vectors/1", "{file}");
    match document["cases"].take() {
        Value::Array(cases) if !cases.is_empty() => cases,
        _ => panic!("{file}: no cases"),
    }
}

#[test]
fn vectors() {
    let file = std::env::var("PLEACH_LAYER_VECTORS").unwrap_or_else(|_| DEFAULT.to_owned());
    check(&file);
}

/// What the vectors leave open and the README says: a row for each rule.
#[test]
fn rules() {
    check(RULES);
}

fn check(file: &str) {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("canary"), "canary").unwrap();
    let before = state(outside.path());
    let cases = read(file, outside.path().to_str().unwrap());
    let mut failed = Vec::new();
    for case in &cases {
        let mut result = run(case);
        let after = state(outside.path());
        if after != before {
            result = Err(format!(
                "something outside the target changed:\n{before}to\n{after}"
            ));
        }
        if let Err(why) = result {
            failed.push(format!("{}: {why}\n", case["name"].as_str().unwrap_or("?")));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases fail:\n\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

/// All that could change in a directory, the time of its last change too.
fn state(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let mut lines = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        let content = fs::read(entry.path()).unwrap_or_default();
        let changed = (meta.ctime(), meta.ctime_nsec(), meta.mode(), meta.nlink());
        lines.push(format!("{:?} {changed:?} {content:?}\n", entry.file_name()));
    }
    let meta = fs::symlink_metadata(path).unwrap();
    lines.push(format!(
        ". {:?}\n",
        (meta.ctime(), meta.ctime_nsec(), meta.mode())
    ));
    lines.sort();
    lines.concat()
}

fn run(case: &Value) -> Result<(), String> {
    let work = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let path = work.path().join(name);
        fs::create_dir(&path).unwrap();
        Dir::open_ambient_dir(&path, ambient_authority()).unwrap()
    };
    let image = dir("image");
    let layers = case["layers"].as_array().expect("layers");
    let blobs = layers.iter().enumerate().map(|(number, entries)| {
        let entries = entries.as_array().expect("entries");
        layer(entries, &case["layer_opts"][number])
    });
    write_layout(&work.path().join("image"), &blobs.collect::<Vec<_>>());

    let outcome = merge_all(&image, &dir("spool"));
    let mut wanted = vec![&case["expected"]];
    wanted.extend(case["acceptable"].as_array().into_iter().flatten());
    let mut reasons = Vec::new();
    for wanted in wanted {
        match agrees(&outcome, wanted) {
            Ok(()) => {
                reasons.clear();
                break;
            }
            Err(why) => reasons.push(why),
        }
    }
    if !reasons.is_empty() {
        return Err(reasons.join("\n  and: "));
    }
    match &outcome {
        Ok(merged) => on_disk(merged, &dir("target")),
        Err(_) => Ok(()),
    }
}

fn merge_all(image: &Dir, spool: &Dir) -> Result<Merged<ContentRef>, Error> {
    let layout = Layout::open(image)?;
    let image = layout.resolve(Some("image"), None)?;
    let options = MergeOptions::default();
    // Small enough that the vectors use the temporary file, too.
    let store = StoreOptions {
        small_file: 64,
        memory: 1024,
        own_file: 512,
        own_files: 2,
    };
    let store = ContentStore::new(spool, &store)?;
    let merged = merge(&layout, &image, &store, &options);
    let indexed = index(&layout, &image, &options);
    match (&merged, &indexed) {
        (Ok(merged), Ok(indexed)) => {
            let same = |a: &ContentRef, b: &_| a.content() == *b;
            let differences = pleach_fs_tree::diff(&merged.tree, &indexed.tree, same);
            assert!(differences.is_empty(), "{differences:?}");
        }
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        _ => panic!("with and without contents: {merged:?} and {indexed:?}"),
    }
    merged
}

fn agrees(outcome: &Result<Merged<ContentRef>, Error>, wanted: &Value) -> Result<(), String> {
    match (outcome, wanted["error"].as_str()) {
        (Err(error), Some(class)) if error.class().as_str() == class => Ok(()),
        (Err(error), _) => Err(format!(
            "error {} ({}), expected {}",
            error.class(),
            full(error),
            short(wanted)
        )),
        (Ok(_), Some(_)) => Err(format!("a tree, expected {}", short(wanted))),
        (Ok(merged), None) => same_tree(&merged.tree, &wanted["tree"]),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(300) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

fn same_tree(tree: &Tree<ContentRef>, expected: &Value) -> Result<(), String> {
    let expected = expected.as_object().ok_or("no tree expected")?;
    let mut wanted = BTreeMap::new();
    for (path, node) in expected {
        let path = text_bytes(path);
        let path = if path == b"." { Vec::new() } else { path };
        wanted.insert(TreePath::new(&path).map_err(|e| e.to_string())?, node);
    }
    let mut links = BTreeMap::new();
    let mut found = 0;
    for (path, id) in tree.walk() {
        let Some(node) = wanted.get(&path) else {
            if path.is_root() {
                continue;
            }
            return Err(format!("{path} is there, and should not be"));
        };
        found += 1;
        same_node(tree.inode(id), node).map_err(|why| format!("{path}: {why}"))?;
        // Names of one group are one inode, all others one each.
        let group = match &node["hl"] {
            Value::Null => path.to_string(),
            group => group.to_string(),
        };
        if node["type"] != "dir" && *links.entry(group.clone()).or_insert(id) != id {
            return Err(format!("{path}: not linked to the others of group {group}"));
        }
        let other = links.iter().find(|&(g, &i)| i == id && *g != group);
        if let Some((other, _)) = other {
            return Err(format!("{path}: linked to {other}, and should not be"));
        }
    }
    if found != wanted.len() {
        let missing = wanted.keys().find(|path| tree.lookup(path).is_none());
        return Err(format!("{missing:?} is missing"));
    }
    Ok(())
}

fn same_node(inode: &pleach_fs_tree::Inode<ContentRef>, node: &Value) -> Result<(), String> {
    let metadata = &inode.metadata;
    let (kind, mode) = match node["type"].as_str().unwrap_or_default() {
        "file" => (NodeType::File, 0o644),
        "dir" => (NodeType::Directory, 0o755),
        "symlink" => (NodeType::Symlink, 0o777),
        "char" => (NodeType::CharDevice, 0o644),
        "block" => (NodeType::BlockDevice, 0o644),
        "fifo" => (NodeType::Fifo, 0o644),
        other => return Err(format!("unknown type {other}")),
    };
    let found = inode.kind.node_type();
    if found != kind {
        return Err(format!(
            "a {}, expected a {}",
            found.as_str(),
            kind.as_str()
        ));
    }
    let mode = match node["mode"].as_str() {
        Some(octal) => u16::from_str_radix(octal, 8).map_err(|e| e.to_string())?,
        None => mode,
    };
    let id = |name: &str| node[name].as_u64().unwrap_or(0);
    let owner = (u64::from(metadata.uid), u64::from(metadata.gid));
    if (metadata.mode, owner) != (mode, (id("uid"), id("gid"))) {
        return Err(format!("mode {:o}, owner {owner:?}", metadata.mode));
    }
    let nanoseconds =
        i128::from(metadata.mtime.seconds) * 1_000_000_000 + i128::from(metadata.mtime.nanoseconds);
    if let Some(mtime) = node["mtime_ns"].as_i64()
        && i128::from(mtime) != nanoseconds
    {
        return Err(format!("mtime of {nanoseconds} ns, expected {mtime}"));
    }
    if let Some(mtime) = node["mtime"].as_i64()
        && mtime != metadata.mtime.seconds
    {
        return Err(format!(
            "mtime {}, expected {mtime}",
            metadata.mtime.seconds
        ));
    }
    let xattrs = node["xattrs"].as_object().into_iter().flatten();
    let xattrs: pleach_fs_tree::Xattrs = xattrs
        .map(|(k, v)| (text_bytes(k).into(), bytes(v).into()))
        .collect();
    if metadata.xattrs != xattrs {
        return Err(format!("extended attributes {:?}", metadata.xattrs));
    }
    match &inode.kind {
        Kind::File(content) => {
            let mut read = Vec::new();
            content
                .open()
                .read_to_end(&mut read)
                .map_err(|e| e.to_string())?;
            if read != bytes(&node["content"]) {
                return Err(format!("content of {} bytes differs", read.len()));
            }
        }
        Kind::Symlink(target) if **target != *bytes(&node["target"]) => {
            return Err(format!("target {}", pleach_fs_tree::escape(target)));
        }
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            let device = (u64::from(device.major), u64::from(device.minor));
            if device != (id("major"), id("minor")) {
                return Err(format!("device {device:?}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// What is written is what was merged; owners and devices only where the test may make them.
fn on_disk(merged: &Merged<ContentRef>, target: &Dir) -> Result<(), String> {
    if !as_root() {
        return Ok(());
    }
    let options = MaterializeOptions {
        threads: 3,
        ..Default::default()
    };
    let write = materialize_parallel(&merged.tree, target, take_contents, &options);
    write.map_err(|e| format!("materialize: {}", full(&e)))?;
    let read = scan(target, &ScanOptions::default()).map_err(|e| full(&e))?;
    let same = |a: &ContentRef, b: &_| a.content() == *b;
    let differences = pleach_fs_tree::diff(&merged.tree, &read, same);
    match differences.first() {
        Some(difference) => Err(format!("on disk: {difference:?}")),
        None => Ok(()),
    }
}
