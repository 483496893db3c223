//! Archives with flipped, lost and doubled bytes: a tree or an error, never a panic, and nothing
//! outside.

use std::cell::Cell;

use pleach_fs_tree::{MaterializeOptions, Tree, materialize};
use pleach_layer_merge::{
    Budget, Compression, ContentRef, ContentSink, ContentStore, Digest, Error, IndexOnly, Layer,
    Limits, MergeOptions, Merged, Merger, StoreOptions, contents, read_layer, read_tar,
};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::json;

use crate::archive::{entry, layer};
use crate::hostile::Scratch;
use crate::properties::archive::repair;
use crate::{as_root, open};

/// A little of everything that an archive can have.
fn archive() -> Vec<u8> {
    let long = "n".repeat(150);
    let entries = [
        json!({"path": ".", "type": "dir"}),
        json!({"path": "d", "type": "dir", "xattrs": {"user.k": "v"}}),
        json!({"path": format!("d/{long}"), "type": "file", "content": "rep:700:x", "uid": 3_000_000}),
        json!({"path": format!("e/{long}"), "type": "file", "content": "y", "tar": {"long": "gnu", "magic": "gnu"}}),
        json!({"path": "s", "type": "symlink", "target": long, "tar": {"longlink": "gnu", "magic": "gnu"}}),
        json!({"path": "s2", "type": "symlink", "target": "d"}),
        json!({"path": "s2/in-d", "type": "hardlink", "target": "s"}),
        json!({"path": "n", "type": "char", "major": 1, "minor": 3, "tar": {"global_pax": [["comment", "c"]]}}),
        json!({"path": "x", "type": "file", "content": "abcd", "tar": {"pax": [
            ["GNU.sparse.size", "5000"], ["GNU.sparse.name", "sp"], ["GNU.sparse.map", "10,2,4000,2"], ["mtime", "-1.5"],
        ]}}),
        json!({"path": "p", "type": "fifo"}),
    ];
    let mut out: Vec<u8> = entries.iter().flat_map(entry).collect();
    out.extend([0; 1024]);
    out
}

#[test]
fn the_archive_is_good() {
    let merged = read_tar(&mut &*archive(), &mut IndexOnly, &MergeOptions::default()).unwrap();
    assert_eq!(merged.tree.walk().count(), 11);
}

/// What is done to the bytes of an archive.
#[derive(Debug)]
struct Mutation {
    base: prop::sample::Index,
    flips: Vec<(prop::sample::Index, u8)>,
    text: Vec<(prop::sample::Index, String)>,
    double: Option<(prop::sample::Index, usize)>,
    cut: Option<prop::sample::Index>,
    right_sums: bool,
    /// Whether it is read as a layer, in which names are whiteouts, above the archive as it was.
    layer: bool,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let flips = proptest::collection::vec((index(), any::<u8>()), 0..6);
    let text = proptest::collection::vec((index(), "[0-9=,\n ./-]{1,3}"), 0..3);
    let double = proptest::option::of((index(), 1..4_usize));
    let cut = proptest::option::weighted(0.1, index());
    let flags = (any::<bool>(), any::<bool>());
    (index(), flips, text, double, cut, flags).prop_map(
        |(base, flips, text, double, cut, (right_sums, layer))| Mutation {
            base,
            flips,
            text,
            double,
            cut,
            right_sums,
            layer,
        },
    )
}

impl Mutation {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (at, value) in &self.flips {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        for (at, text) in &self.text {
            let at = at.index(bytes.len() - 3);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        if let Some((at, blocks)) = self.double {
            let at = at.index(bytes.len() / 512) * 512;
            let end = (at + blocks * 512).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        if let Some(at) = self.cut {
            bytes.truncate(at.index(bytes.len()));
        }
        if self.right_sums {
            repair(&mut bytes);
        }
        bytes
    }
}

/// The archive with everything, and those of the conformance vectors.
fn bases() -> Vec<Vec<u8>> {
    let mut bases = vec![archive(); 20];
    for case in crate::vectors::cases() {
        for entries in case["layers"].as_array().unwrap() {
            let plain = json!({"compression": "none"});
            let bytes = layer(entries.as_array().unwrap(), &plain).bytes;
            if (1024..16_384).contains(&bytes.len()) {
                bases.push(bytes);
            }
        }
    }
    bases
}

/// How many; `PLEACH_MUTATIONS` says another number.
fn cases() -> u32 {
    let given = std::env::var("PLEACH_MUTATIONS").ok();
    given.map_or(10_000, |text| {
        text.parse().expect("PLEACH_MUTATIONS is a number")
    })
}

#[test]
fn no_mutation_panics_or_leaves_the_target() {
    let (bases, scratch) = (bases(), Scratch::new());
    let before = scratch.outside();
    let config = ProptestConfig {
        cases: cases(),
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let (taken, number) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&mutation(), |mutation| {
        let base = mutation.base.get(&bases);
        number.set(number.get() + 1);
        if let Some(tree) = merged(&mutation, base, &scratch)? {
            taken.set(taken.get() + 1);
            write(&tree, &scratch)?;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!(
        "mutations: {} archives, {} taken",
        number.get(),
        taken.get()
    );
    assert_eq!(scratch.outside(), before, "something outside changed");
    assert!(taken.get() > 0 && taken.get() < number.get());
}

/// The tree, the same with and without contents; `None` is an error, the same too.
fn merged(
    mutation: &Mutation,
    base: &[u8],
    scratch: &Scratch,
) -> Result<Option<Tree<ContentRef>>, TestCaseError> {
    let bytes = mutation.apply(base.to_vec());
    let limits = Limits {
        file: 1 << 20,
        unpacked: 1 << 22,
        ..Limits::default()
    };
    let options = MergeOptions {
        limits,
        ..MergeOptions::default()
    };
    let small = StoreOptions {
        small_file: 64,
        memory: 128,
        ..StoreOptions::default()
    };
    let store = ContentStore::new(&open(&scratch.spool()), &small).unwrap();
    let mut layers = vec![&*bytes];
    if mutation.layer {
        layers.insert(0, base);
    }
    let kept = read(&layers, mutation.layer, &options, || store.sink());
    let indexed = read(&layers, mutation.layer, &options, || IndexOnly);
    match (kept, indexed) {
        (Ok(kept), Ok(indexed)) => {
            let same = |a: &ContentRef, b: &_| a.content() == *b;
            prop_assert_eq!(
                pleach_fs_tree::diff(&kept.tree, &indexed.tree, same),
                vec![]
            );
            Ok(Some(kept.tree))
        }
        (Err(a), Err(b)) => {
            prop_assert_eq!(a.to_string(), b.to_string());
            Ok(None)
        }
        (a, b) => {
            prop_assert!(false, "{:?}\n{:?}", a, b);
            Ok(None)
        }
    }
}

fn read<S: ContentSink>(
    archives: &[&[u8]],
    as_layers: bool,
    options: &MergeOptions,
    sink: impl Fn() -> S,
) -> Result<Merged<S::Content>, Error> {
    if !as_layers {
        return read_tar(&mut &*archives[0], &mut sink(), options);
    }
    let budget = Budget::default();
    let mut merger = Merger::new(options);
    for (index, bytes) in archives.iter().enumerate() {
        let layer = Layer {
            media_type: Compression::None.media_type(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            diff_id: Digest::of(bytes),
        };
        merger.apply(read_layer(
            *bytes,
            index,
            &layer,
            options,
            &budget,
            &mut sink(),
        )?)?;
    }
    Ok(merger.finish())
}

fn write(tree: &Tree<ContentRef>, scratch: &Scratch) -> Result<(), TestCaseError> {
    let root = as_root();
    let options = MaterializeOptions {
        owner: root,
        xattrs: root,
        devices: root,
        ..MaterializeOptions::default()
    };
    let target = scratch.target().join("one");
    std::fs::create_dir(&target).unwrap();
    let written = materialize(tree, &open(&target), &mut contents(), &options);
    std::fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let removed = std::fs::remove_dir_all(&target);
    prop_assert!(removed.is_ok() || !root, "{:?}", removed);
    // Times that the file system does not have, or ids that nobody may give, are its own errors.
    if let Err(error) = written {
        let text = crate::full(&error);
        prop_assert!(text.contains("argument") || !root, "{}", text);
    }
    Ok(())
}
