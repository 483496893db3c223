//! What the vectors cannot say: provenance, notes, outputs.

use std::io::Read as _;

use pleach_fs_tree::{FileContent, TreePath};
use pleach_layer_merge::{
    ContentStore, IndexOnly, Layout, MergeOptions, Merged, StoreOptions, index, merge, read_tar,
    write_tree,
};
use serde_json::{Value, json};

use crate::archive::{entry, layer, pax_body, write_layout};
use crate::{bytes, open, show, tree};

fn merged(layers: &[Value]) -> Merged<FileContent> {
    let temporary = tempfile::tempdir().unwrap();
    let blobs: Vec<_> = layers
        .iter()
        .map(|entries| layer(entries.as_array().unwrap(), &Value::Null))
        .collect();
    write_layout(temporary.path(), &blobs);
    let layout = Layout::open(&open(temporary.path())).unwrap();
    let image = layout.resolve(None, None).unwrap();
    index(&layout, &image, &MergeOptions::default()).unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn file(path: &str, content: &str) -> Value {
    json!({"path": path, "type": "file", "content": content})
}

#[test]
fn every_path_knows_where_it_comes_from() {
    let merged = merged(&[
        json!([{"path": ".", "type": "dir"}, {"path": "d", "type": "dir"}, file("d/a", "1"), file("d/b", "1"), file("e/f", "1")]),
        json!([file("d/.wh.b", ""), file("d/a", "2"), {"path": "d/link", "type": "hardlink", "target": "e/f"}]),
        json!([
            file("d/b", "3"),
            file("new/x", "3"),
            file("e/.wh..wh..opq", "")
        ]),
    ]);
    let check = |at: &str, expect: &[(usize, Option<u64>)]| {
        let origin = merged.provenance.origin(&merged.tree, &path(at));
        let chain: Vec<_> = origin.into_iter().flat_map(|o| o.chain()).collect();
        let chain: Vec<_> = chain.iter().map(|o| (o.layer, o.entry)).collect();
        assert_eq!(chain, expect, "{at}");
    };
    check("", &[(0, Some(0))]);
    check("d", &[(0, Some(1))]);
    check("d/a", &[(1, Some(1)), (0, Some(2))]);
    check("d/b", &[(2, Some(0))]);
    check("e", &[(0, None)]);
    check("e/f", &[]);
    check("d/link", &[(1, Some(2))]);
    check("new", &[(2, None)]);
    check("new/x", &[(2, Some(1))]);
    check("nowhere", &[]);
    let removals = merged
        .removals
        .iter()
        .map(|r| (r.layer, r.entry, r.path.to_string(), r.opaque));
    let expect = [
        (1, 0, "/d/b".to_owned(), false),
        (2, 2, "/e".to_owned(), true),
    ];
    assert_eq!(removals.collect::<Vec<_>>(), expect);
}

#[test]
fn a_plain_archive_has_no_whiteouts() {
    let text = "/ directory 0700 1:2 3.4\n/dir directory 0755 0:0 1.0\n/dir/f file 0644 0:0 1.0 f\n/l hardlink /dir/f";
    let wanted = tree(text);
    let mut archive = Vec::new();
    let options = pleach_layer_merge::LayerOptions {
        compression: pleach_layer_merge::Compression::None,
        ..Default::default()
    };
    write_tree(&wanted, &mut bytes(), &mut archive, &options).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let store = ContentStore::new(&open(temporary.path()), &StoreOptions::default()).unwrap();
    let read = read_tar(&mut &*archive, &mut store.sink(), &MergeOptions::default()).unwrap();
    let read = read.tree.map(|content| {
        let mut out = Vec::new();
        content.open().read_to_end(&mut out).unwrap();
        out
    });
    assert_eq!(show(&read), show(&wanted));

    let archive = [entry(&file(".wh.a", "x")), vec![0; 1024]].concat();
    let read = read_tar(&mut &*archive, &mut IndexOnly, &MergeOptions::default()).unwrap();
    assert!(read.tree.get(&path(".wh.a")).is_some());
}

/// A sparse file in each of the formats that writers have used.
#[test]
fn sparse_files_are_expanded() {
    let wanted = [
        vec![0; 1024],
        vec![b'x'; 512],
        vec![0; 100],
        vec![b'y'; 30],
        vec![0; 70],
    ]
    .concat();
    let data = [vec![b'x'; 512], vec![b'y'; 30]].concat();
    let text = |bytes: &[u8]| {
        use std::fmt::Write;
        bytes.iter().fold("hex:".to_owned(), |mut out, b| {
            write!(out, "{b:02x}").unwrap();
            out
        })
    };
    let member = |content: &[u8], pax: Value| json!([{"path": "GNUSparseFile.0/s", "type": "file", "content": text(content), "tar": {"pax": pax}}]);
    let v00 = json!([
        ["GNU.sparse.size", "1736"],
        ["GNU.sparse.numblocks", "3"],
        ["path", "s"],
        ["GNU.sparse.offset", "1024"],
        ["GNU.sparse.numbytes", "512"],
        ["GNU.sparse.offset", "1636"],
        ["GNU.sparse.numbytes", "30"],
        ["GNU.sparse.offset", "1736"],
        ["GNU.sparse.numbytes", "0"],
    ]);
    let v01 = json!([
        ["GNU.sparse.size", "1736"],
        ["GNU.sparse.numblocks", "2"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.map", "1024,512,1636,30"],
    ]);
    let v10 = json!([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.realsize", "1736"],
    ]);
    let mut map = b"2\n1024\n512\n1636\n30\n".to_vec();
    map.resize(512, 0);
    let with_map = [map, data.clone()].concat();
    for (name, entries) in [
        ("0.0", member(&data, v00)),
        ("0.1", member(&data, v01)),
        ("1.0", member(&with_map, v10)),
        ("old", json!([old_gnu_sparse(&data)])),
    ] {
        let found = merged(&[entries]);
        let digest = |at: &str| match &found.tree.get(&path(at)).unwrap().kind {
            pleach_fs_tree::Kind::File(content) => (content.size, content.digest.unwrap()),
            other => panic!("{other:?}"),
        };
        let wanted = (wanted.len() as u64, pleach_fs_tree::Digest::of(&wanted));
        assert_eq!(digest("s"), wanted, "sparse format {name}");
    }
    assert_eq!(pax_body(&[(b"a".to_vec(), b"b".to_vec())]), b"6 a=b\n");
}

/// Two extents, the second in a block of its own.
fn old_gnu_sparse(data: &[u8]) -> Value {
    let mut header = entry(&json!({"path": "s", "type": "file", "tar": {
        "typeflag": "S", "magic": "gnu", "size": data.len(), "nodata": true,
    }}));
    let octal =
        |out: &mut [u8], number: u64| out.copy_from_slice(format!("{number:011o}\0").as_bytes());
    let mut extents = vec![0; 512];
    for (place, (offset, length)) in [(0, (1024, 512)), (1, (1636, 30))] {
        // Four fit into the header; one is there and one continues, to see both.
        let block: &mut [u8] = if place == 0 {
            &mut header[386..]
        } else {
            &mut extents
        };
        octal(&mut block[..12], offset);
        octal(&mut block[12..24], length);
    }
    header[482] = 1;
    octal(&mut header[483..495], 1736);
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = [header, extents, data.to_vec()].concat();
    all.resize(all.len().next_multiple_of(512), 0);
    let hex: String = all.iter().map(|b| format!("{b:02x}")).collect();
    json!({"raw_hex": hex})
}

#[test]
fn contents_outlive_their_store() {
    let temporary = tempfile::tempdir().unwrap();
    let blob = layer(&[file("a", "rep:100000:x"), file("b", "y")], &Value::Null);
    write_layout(temporary.path(), &[blob]);
    let layout = Layout::open(&open(temporary.path())).unwrap();
    let image = layout.resolve(None, None).unwrap();
    let store = ContentStore::new(&open(temporary.path()), &StoreOptions::default()).unwrap();
    let merged = merge(&layout, &image, &store, &MergeOptions::default()).unwrap();
    drop((store, layout));
    let sizes = merged.tree.map(|content| {
        let mut out = Vec::new();
        content.open().read_to_end(&mut out).unwrap();
        assert_eq!(content.digest(), Some(pleach_fs_tree::Digest::of(&out)));
        out.len().to_string().into_bytes()
    });
    insta::assert_snapshot!(show(&sizes), @r"
    / directory 0755 0:0 0.0
    /a file 0644 0:0 1000000000.0 100000
    /b file 0644 0:0 1000000000.0 1
    ");
}
