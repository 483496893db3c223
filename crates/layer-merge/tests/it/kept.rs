//! What an index keeps of contents, and what layers hide of those below them.

use std::fs;

use pleach_fs_tree::Kind;
use pleach_layer_merge::{Keep, Kept, MergeOptions, Merged, index, index_keeping};
use serde_json::{Value, json};

use crate::cache::image;
use crate::open;

fn file(path: &str, content: &str) -> Value {
    json!({"path": path, "type": "file", "content": content})
}

#[test]
fn contents_are_kept_where_they_are_wanted() {
    let temporary = tempfile::tempdir().unwrap();
    let layers = [json!([
        file("etc/a", "one"),
        file("etc/long", "longer than ten"),
        file("etc/ten", "0123456789"),
        file("usr/a", "two"),
        file("usr/large", "key of 16 bytes."),
        file("usr/larger", "key of 16 bytes."),
        file("usr/key", "key!"),
        file("usr/none", ""),
        {"path": "usr/link", "type": "hardlink", "target": "etc/a"}
    ])];
    let (layout, image) = image(&temporary.path().join("image"), &layers);
    let cache = temporary.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let options = MergeOptions::default();
    let read = |name: &str, cached: bool| {
        let keep = Keep {
            name,
            max: &|path| if path == b"usr/large" { 20 } else { 10 },
            wants: &|path, bytes| path.starts_with(b"etc/") || bytes.starts_with(b"key"),
        };
        let cache = cached.then(|| open(&cache));
        index_keeping(&layout, &image, keep, cache.as_ref(), &options)
    };
    let shown = |merged: &Merged<Kept>| {
        let mut out = String::new();
        for (path, id) in merged.tree.walk() {
            if let Kind::File(kept) = &merged.tree.inode(id).kind {
                let bytes = kept.bytes().map(String::from_utf8_lossy);
                out += &format!("{path} {} {bytes:?}\n", kept.content().size);
            }
        }
        out
    };
    let expect = "\
/etc/a 3 Some(\"one\")
/etc/long 15 None
/etc/ten 10 Some(\"0123456789\")
/usr/a 3 None
/usr/key 4 Some(\"key!\")
/usr/large 16 Some(\"key of 16 bytes.\")
/usr/larger 16 None
/usr/link 3 Some(\"one\")
/usr/none 0 None
";
    assert_eq!(shown(&read("a", false).unwrap()), expect);
    assert_eq!(shown(&read("a", true).unwrap()), expect);
    // All else is as without contents.
    let plain = index(&layout, &image, &options).unwrap().tree;
    let kept = read("a", false).unwrap().tree.map(|kept| kept.content());
    let print = |tree| pleach_fs_tree::dump(tree, |content| format!("{content:?}").into_bytes());
    assert_eq!(print(&plain), print(&kept));

    // Without the layer, only what was kept by that name is there.
    fs::remove_dir_all(temporary.path().join("image/blobs")).unwrap();
    assert_eq!(shown(&read("a", true).unwrap()), expect);
    assert!(read("b", true).is_err());
    // A file that was changed is no index.
    let path = fs::read_dir(&cache)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes
        .windows(4)
        .position(|window| window == b"key!")
        .unwrap();
    bytes[at] = b'K';
    fs::write(&path, bytes).unwrap();
    assert!(read("a", true).is_err());
}

#[test]
fn what_layers_hide_is_known() {
    let lower = json!([
        file("d/f", "1"),
        file("d/g", "2"),
        file("d/stays", "3"),
        file("dir/a/x", "4"),
        file("dir/b", "5"),
        file("opaque/y", "6"),
        file("real/z", "7"),
        {"path": "link", "type": "symlink", "target": "real"},
        {"path": "d/s", "type": "symlink", "target": "f"}
    ]);
    let upper = json!([
        {"path": "d/.wh.f", "type": "file"},
        {"path": "d/.wh.s", "type": "file"},
        file("d/g", "new"),
        file("dir", "a file now"),
        {"path": "opaque/.wh..wh..opq", "type": "file"},
        file("opaque/y", "new"),
        file("link/z", "by way of the link"),
        {"path": "d", "type": "dir", "mode": "0700"}
    ]);
    let top = json!([{"path": ".wh.opaque", "type": "file"}, file("d/g", "newer")]);
    let temporary = tempfile::tempdir().unwrap();
    let (layout, image) = image(&temporary.path().join("image"), &[lower, upper, top]);
    let keep = Keep {
        name: "all",
        max: &|_| 100,
        wants: &|_, _| true,
    };
    let merged = index_keeping(&layout, &image, keep, None, &MergeOptions::default()).unwrap();
    let mut found: Vec<String> = merged
        .hidden
        .iter()
        .map(|hidden| {
            let Kind::File(kept) = &merged.tree.inode(hidden.inode).kind else {
                panic!("{hidden:?}")
            };
            let text = String::from_utf8_lossy(kept.bytes().unwrap()).into_owned();
            format!(
                "{} of {} by {}: {text}",
                hidden.path, hidden.layer, hidden.by
            )
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "/d/f of 0 by 1: 1",
            "/d/g of 0 by 1: 2",
            "/d/g of 1 by 2: new",
            "/dir/a/x of 0 by 1: 4",
            "/dir/b of 0 by 1: 5",
            "/opaque/y of 0 by 1: 6",
            "/opaque/y of 1 by 2: new",
            "/real/z of 0 by 1: 7",
        ]
    );
}
