//! Indexes that are kept, and layers that are read at the same time.

use std::fs;
use std::path::Path;

use pleach_fs_tree::{FileContent, dump};
use pleach_layer_merge::{
    ErrorClass, Image, Layout, Limits, MergeOptions, Merged, index, index_cached,
};
use serde_json::{Value, json};

use crate::archive::{layer, write_layout};
use crate::{full, open};

/// Three layers with one of everything that an index holds.
fn layers() -> Vec<Value> {
    let lower = json!([
        {"path": "d", "type": "dir", "mode": "1777", "mtime": -5},
        {"path": "d/f", "type": "file", "content": "text", "uid": 1, "gid": 2, "xattrs": {"user.k": "v", "user.empty": ""}},
        {"path": "d/gone", "type": "file", "content": "x"},
        {"path": "e/x", "type": "file", "content": "x"},
        {"path": "l", "type": "symlink", "target": "d/f"},
        {"path": "tty", "type": "char", "major": 5, "minor": 1},
        {"path": "disk", "type": "block", "major": 8, "minor": 0},
        {"path": "fifo", "type": "fifo"},
        {"path": "labelled", "type": "file", "content": "", "xattrs": {"security.selinux": "label"}}
    ]);
    let upper = json!([
        {"path": "d/.wh.gone", "type": "file"},
        {"path": "e/.wh..wh..opq", "type": "file"},
        {"path": "again", "type": "hardlink", "target": "d/f"}
    ]);
    let top = json!([{"path": "d/f", "type": "file", "content": "other"}]);
    vec![lower, upper, top]
}

pub(crate) fn image(path: &Path, layers: &[Value]) -> (Layout, Image) {
    let layers = layers.iter().map(|entries| entries.as_array().unwrap());
    let blobs: Vec<_> = layers.map(|entries| layer(entries, &Value::Null)).collect();
    write_layout(path, &blobs);
    let layout = Layout::open(&open(path)).unwrap();
    let image = layout.resolve(None, None).unwrap();
    (layout, image)
}

fn print(merged: &Merged<FileContent>) -> String {
    let tree = dump(&merged.tree, |content| format!("{content:?}").into_bytes());
    let removals = &merged.removals;
    let origins = merged.tree.walk().map(|(path, _)| {
        let origin = merged.provenance.origin(&merged.tree, &path);
        format!("{path}: {origin:?}\n")
    });
    let origins: String = origins.collect();
    format!("{tree}\n{origins}\n{removals:?}\n{:?}", merged.notes)
}

#[test]
fn a_kept_index_says_the_same_without_the_layers() {
    let temporary = tempfile::tempdir().unwrap();
    let (layout, image) = image(&temporary.path().join("image"), &layers());
    let cache = temporary.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let options = MergeOptions::default();
    let wanted = print(&index(&layout, &image, &options).unwrap());
    let cached = || index_cached(&layout, &image, &open(&cache), &options);
    assert_eq!(print(&cached().unwrap()), wanted);
    assert!(wanted.contains("security.selinux"), "a note is kept");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        names
    };
    let files = names();
    assert_eq!(files.len(), 3, "one for each layer: {files:?}");

    // Whatever is done to a file, it is made again.
    let blob = |index: usize| {
        let digest = image.layers()[index].digest.to_string();
        let name = digest.trim_start_matches("sha256:").to_owned();
        temporary.path().join("image/blobs/sha256").join(name)
    };
    for file in &files {
        let whole = fs::read(file).unwrap();
        let damaged = |bytes: Vec<u8>, what: String| {
            fs::write(file, bytes).unwrap();
            assert_eq!(print(&cached().unwrap()), wanted, "{what}");
            assert_eq!(fs::read(file).unwrap(), whole, "{what}");
        };
        damaged(Vec::new(), "an empty file".to_owned());
        damaged(b"#!/bin/sh\n".repeat(100), "a foreign file".to_owned());
        let steps = (0..whole.len()).step_by(whole.len() / 40 + 1);
        for at in steps {
            damaged(whole[..at].to_vec(), format!("cut off at {at}"));
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            damaged(flipped, format!("flipped at {at}"));
        }
        // Whole, but of another layer.
        for other in &files {
            damaged(fs::read(other).unwrap(), format!("the index of {other:?}"));
        }
    }

    let kept: Vec<_> = (0..3).map(|index| fs::read(blob(index)).unwrap()).collect();
    (0..3).for_each(|index| fs::remove_file(blob(index)).unwrap());
    assert_eq!(print(&cached().unwrap()), wanted, "no blob is opened");
    // Other options are another index.
    let other = MergeOptions {
        file_digests: false,
        ..options.clone()
    };
    let error = index_cached(&layout, &image, &open(&cache), &other).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Io, "{}", full(&error));
    // What all layers together may have is counted as if they were read.
    (0..3).for_each(|index| fs::write(blob(index), &kept[index]).unwrap());
    let few = |change: fn(&mut Limits)| {
        let mut options = options.clone();
        change(&mut options.limits);
        for _ in 0..2 {
            let error = index_cached(&layout, &image, &open(&cache), &options).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Limit, "{}", full(&error));
        }
    };
    few(|limits| limits.entries = 12);
    few(|limits| limits.metadata = 100);
}

/// With any number of threads the tree is the same, and of several refused layers the lowest one is
/// named.
#[test]
fn threads_change_nothing() {
    let good = layers();
    let bad = |name: &str| json!([{"path": name, "type": "file", "content": "x"}]);
    let large = |name: &str| json!([{"path": name, "type": "file", "content": "rep:3000000:x"}]);
    let stacks = [
        good.clone(),
        vec![],
        vec![good[0].clone()],
        vec![
            large("a"),
            bad("b"),
            large("a"),
            large("../c"),
            bad("../d"),
            large("e"),
        ],
        vec![bad("f"), bad("f/x"), large("../a")],
        vec![bad("../a"), large("b"), large("c"), large("d")],
    ];
    for stack in stacks {
        let temporary = tempfile::tempdir().unwrap();
        let (layout, image) = image(temporary.path(), &stack);
        let outcome = |threads| {
            let options = MergeOptions {
                threads,
                ..MergeOptions::default()
            };
            let merged = index(&layout, &image, &options);
            merged
                .map(|merged| print(&merged))
                .map_err(|error| full(&error))
        };
        let wanted = outcome(1);
        for threads in [0, 2, 4, 16] {
            assert_eq!(outcome(threads), wanted, "{threads} threads: {stack:?}");
        }
    }
}
