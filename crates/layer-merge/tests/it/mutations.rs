//! Archives with flipped, lost and doubled bytes: a tree or an error, never a panic, and nothing
//! outside.

use pleach_layer_merge::{ContentStore, IndexOnly, Limits, MergeOptions, StoreOptions, read_tar};
use proptest::prelude::*;
use serde_json::json;

use crate::archive::entry;
use crate::open;

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

/// Makes every header's checksum right again, so that what is behind it is reached.
fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn the_archive_is_good() {
    let merged = read_tar(&mut &*archive(), &mut IndexOnly, &MergeOptions::default()).unwrap();
    assert_eq!(merged.tree.walk().count(), 11);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_mutation_panics(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        text in proptest::collection::vec((any::<prop::sample::Index>(), "[0-9=,\n ./-]{1,3}"), 0..3),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        double in proptest::option::of((any::<prop::sample::Index>(), 1..4_usize)),
        right_sums in any::<bool>(),
    ) {
        let mut bytes = archive();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for (at, text) in text {
            let at = at.index(bytes.len() - 3);
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        if let Some((at, blocks)) = double {
            let at = at.index(bytes.len() / 512) * 512;
            let end = (at + blocks * 512).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        if right_sums {
            repair(&mut bytes);
        }
        let limits = Limits { file: 1 << 20, unpacked: 1 << 22, ..Limits::default() };
        let options = MergeOptions { limits, ..MergeOptions::default() };
        let temporary = tempfile::tempdir().unwrap();
        let small = StoreOptions { small_file: 64, memory: 128, ..StoreOptions::default() };
        let store = ContentStore::new(&open(temporary.path()), &small).unwrap();
        let kept = read_tar(&mut &*bytes, &mut store.sink(), &options);
        let indexed = read_tar(&mut &*bytes, &mut IndexOnly, &options);
        match (kept, indexed) {
            (Ok(kept), Ok(indexed)) => {
                let same = |a: &pleach_layer_merge::ContentRef, b: &_| a.content() == *b;
                prop_assert_eq!(pleach_fs_tree::diff(&kept.tree, &indexed.tree, same), vec![]);
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{:?}\n{:?}", a, b),
        }
    }
}
