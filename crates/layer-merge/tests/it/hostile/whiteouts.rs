//! Whiteouts of what is none of theirs, and in forms that readers differ on.

use serde_json::{Value, json};

use super::{Row, Section, contained, dir, file, refused, symlink, with};

const LOWER: &str = "/d directory 0755, /d/x file 0644, /k file 0644";
const NOTHING: &str = "a whiteout of what is not there does nothing";
const INSIDE: &str = "a whiteout's parent is looked up inside the image";
const ONLY_LOWER: &str = "a whiteout hides what lower layers have, wherever it stands";

fn lower() -> Value {
    json!([dir("d"), file("d/x"), file("k")])
}

fn above(upper: &[Value]) -> [Value; 2] {
    [lower(), json!(upper)]
}

pub(crate) fn section() -> Section {
    Section {
        title: "Whiteouts",
        attacks: "What no image may remove: files outside, through a link or a name that is none; the layer's own files; \
                  and what overlayfs would take for a whiteout.",
        rows: rows(),
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (class, path) in [
        ("whiteout-of-no-name", "d/.wh."),
        ("whiteout-of-no-name-at-root", ".wh."),
        ("whiteout-of-dot", "d/.wh.."),
        ("whiteout-of-dot-at-root", ".wh.."),
        ("whiteout-of-dotdot", "d/.wh..."),
        ("whiteout-of-dotdot-at-root", ".wh..."),
        ("whiteout-name-as-parent", ".wh.d/x"),
        ("whiteout-name-as-parent-of-whiteout", ".wh.d/.wh.x"),
        ("opaque-name-as-parent", "d/.wh..wh..opq/x"),
    ] {
        let row = refused(class, "bad-whiteout", &above(&[file(path)]));
        rows.push(match path {
            "d/.wh..." | ".wh..." if class == "whiteout-of-dotdot-at-root" => row.escapes(),
            _ => row,
        });
    }
    for kind in ["dir", "symlink", "hardlink", "fifo", "char"] {
        for (what, path) in [
            ("name", "d/.wh.x"),
            ("opaque", "d/.wh..wh..opq"),
            ("dot", ".wh.."),
        ] {
            let entry = json!({"path": path, "type": kind, "target": "k", "major": 1, "minor": 3});
            rows.push(refused(
                format!("whiteout-as-{kind}/{what}"),
                "bad-whiteout",
                &above(&[entry]),
            ));
        }
    }
    for (class, path) in [
        ("whiteout-of-a-whiteout", ".wh..wh.foo"),
        ("whiteout-of-an-opaque-marker", "d/.wh..wh..wh..opq"),
        ("opaque-marker-with-more-behind-it", "d/.wh..wh..opqx"),
        ("aufs-metadata", "d/.wh..wh.aufs"),
        ("aufs-links", ".wh..wh.plnk/1.2"),
        ("aufs-orphans", ".wh..wh.orph/x"),
    ] {
        let listing = format!("{LOWER}, note: ");
        rows.push(contained(
            class,
            "it hides a name that cannot be, or nothing: left out, with a note",
            listing,
            &above(&[file(path)]),
        ));
    }
    rows.extend([
        refused("whiteout-with-a-slash", "bad-whiteout", &above(&[file("d/.wh.x/")])),
        contained("whiteout-with-content", "a whiteout's content means nothing", "/d directory 0755, /k file 0644, note: d/.wh.x content", &above(&[with(file("d/.wh.x"), "content", json!("rep:5000:x"))])),
        contained("whiteout-in-capitals", "names are bytes", "/d/.WH.x file 0644, /d/x file", &above(&[file("d/.WH.x")])),
        contained("whiteout-by-pax-path", ONLY_LOWER, "/ directory 0755, /d directory 0755, /k file", &above(&[with(file("q"), "tar", json!({"pax": [["path", "d/.wh.x"]]}))])),
        contained("whiteout-through-escaping-link", NOTHING, "/s symlink", &[json!([symlink("s", "..")]), json!([file("s/.wh.canary")])]).escapes(),
        contained("whiteout-through-absolute-link", NOTHING, "/s symlink", &[json!([symlink("s", "@OUTSIDE@")]), json!([file("s/.wh.canary")])]).escapes(),
        contained("whiteout-through-link-of-its-own-layer", NOTHING, "/s symlink", &above(&[symlink("s", "../dir"), file("s/.wh.inner")])).escapes(),
        contained("whiteout-through-link-inside", INSIDE, "/d directory 0755, /k file 0644, /s symlink", &[lower(), json!([symlink("s", "../../d")]), json!([file("s/.wh.x")])]),
        refused("whiteout-through-a-loop", "parent-not-dir", &[json!([symlink("s", "t"), symlink("t", "s")]), json!([file("s/.wh.x")])]),
        contained("whiteout-through-a-hidden-link", "what is hidden with its parent is not looked for through a link", "/d directory 0755, /d/x file", &[json!([dir("d"), file("d/x"), symlink("s", "d")]), json!([file("s/.wh.x"), file(".wh.s")])]),
        contained("whiteout-of-a-link-not-its-target", "a whiteout hides the name, not what it leads to", "/d directory 0755, /d/x file", &[json!([dir("d"), file("d/x"), symlink("s", "d")]), json!([file(".wh.s")])]),
        contained("whiteout-of-an-escaping-link", "a whiteout hides the name, not what it leads to", "/ directory 0755", &[json!([symlink("s", "../canary")]), json!([file(".wh.s")])]).escapes(),
        contained("whiteout-below-a-file", NOTHING, LOWER, &above(&[file("k/.wh.x")])),
        contained("whiteout-below-nothing", NOTHING, LOWER, &above(&[file("no/such/.wh.x")])),
        contained("whiteout-of-a-parent-of-its-own-layer", ONLY_LOWER, "/d directory 0755, /d/y file 0644, /k", &above(&[file("d/y"), file(".wh.d")])),
        contained("whiteout-before-the-same-name", ONLY_LOWER, "/k file 0600", &above(&[file(".wh.k"), with(file("k"), "mode", json!("0600"))])),
        contained("whiteout-after-the-same-name", ONLY_LOWER, "/k file 0600", &above(&[with(file("k"), "mode", json!("0600")), file(".wh.k")])),
        contained("whiteout-of-the-same-layer-only", ONLY_LOWER, "/n file", &above(&[file("n"), file(".wh.n")])),
        contained("whiteout-of-all-of-usr", "an image may be empty: what it is good for is asked elsewhere", "/ directory 0755", &[json!([file("usr/bin/sh")]), json!([file(".wh.usr")])]),
        contained("whiteout-in-the-lowest-layer", NOTHING, "/a file", &[json!([file(".wh.b"), file("a")])]),
        contained("whiteout-of-a-long-name", "the hidden name may have 255 bytes", "/ directory 0755", &[json!([file(&"n".repeat(255))]), json!([file(&format!(".wh.{}", "n".repeat(255)))])]),
        refused("whiteout-of-a-longer-name", "limit", &above(&[file(&format!(".wh.{}", "n".repeat(256)))])),
        contained("whiteout-in-a-directory-nobody-may-read", "merging asks no file system for permission", "/d directory 0000", &[json!([with(dir("d"), "mode", json!("0000")), file("d/x")]), json!([file("d/.wh.x")])]),
        contained("whiteouts-by-the-thousand", NOTHING, LOWER, &[lower(), Value::Array((0..5000).map(|n| file(&format!("d/.wh.n{n}"))).collect())]),
        contained("opaque-at-root", ONLY_LOWER, "/n file", &above(&[file("n"), file(".wh..wh..opq")])),
        contained("opaque-twice", ONLY_LOWER, "/d directory 0755, /k file", &above(&[file("d/.wh..wh..opq"), file("d/.wh..wh..opq")])),
        contained("opaque-last", ONLY_LOWER, "/d directory 0755, /d/n directory 0755, /d/n/y file 0644, /k", &above(&[file("d/n/y"), file("d/.wh..wh..opq")])),
        contained("opaque-on-a-file", NOTHING, LOWER, &above(&[file("k/.wh..wh..opq")])),
        contained("opaque-on-nothing", NOTHING, LOWER, &above(&[file("no/.wh..wh..opq")])),
        contained("opaque-through-escaping-link", NOTHING, "/s symlink", &[json!([symlink("s", "../dir")]), json!([file("s/.wh..wh..opq")])]).escapes(),
        contained("opaque-through-absolute-link", NOTHING, "/s symlink", &[json!([symlink("s", "@OUTSIDE@/dir")]), json!([file("s/.wh..wh..opq")])]).escapes(),
        contained("opaque-on-a-link-to-the-root", INSIDE, "/ directory 0755", &[json!([file("a"), symlink("s", "..")]), json!([file("s/.wh..wh..opq")])]).escapes(),
        contained("opaque-on-a-directory-that-replaces-a-link", "a directory that replaces a link hides nothing behind it", "/d directory 0755, /d/x file 0644, /s directory", &[json!([dir("d"), file("d/x"), symlink("s", "d")]), json!([dir("s"), file("s/.wh..wh..opq")])]),
        contained("opaque-with-content", "a whiteout's content means nothing", "/d directory 0755, /k file 0644, note: d/.wh..wh..opq content", &above(&[with(file("d/.wh..wh..opq"), "content", json!("y"))])),
        refused("overlay-whiteout-device", "unsupported-type", &[json!([{"path": "n", "type": "char", "major": 0, "minor": 0}])]),
        refused("overlay-whiteout-device-of-v7", "unsupported-type", &[json!([{"path": "n", "type": "char", "major": 1, "minor": 3, "tar": {"magic": "v7"}}])]),
        refused("overlay-whiteout-device-by-pax", "unsupported-type", &[json!([{"path": "n", "type": "char", "major": 1, "minor": 3, "tar": {"pax": [["SCHILY.devmajor", "0"], ["SCHILY.devminor", "0"]]}}])]),
    ]);
    rows
}
