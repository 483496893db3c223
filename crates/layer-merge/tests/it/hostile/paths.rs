//! Names that lead away, are none, or are too many, and parents that are links.

use serde_json::{Value, json};

use super::{Row, Section, contained, dir, file, hard_link, refused, symlink, tar, with};

const IN_IMAGE: &str =
    "a link as a parent is followed inside the image, where .. and / end at its root";
const NO_PARENT: &str = "parent-not-dir";

/// An entry whose path only its PAX header says.
fn by_pax(path: &str) -> Value {
    tar(json!({"pax": [["path", path]]}))
}

fn names() -> Vec<Row> {
    let mut rows = vec![
        refused(
            "dotdot-leading",
            "path-escape",
            &[json!([file("../canary")])],
        )
        .escapes(),
        refused(
            "dotdot-leading-far",
            "path-escape",
            &[json!([file("../../../../canary")])],
        )
        .escapes(),
        refused(
            "dotdot-after-absolute",
            "path-escape",
            &[json!([file("/../canary")])],
        ),
        refused(
            "dotdot-middle",
            "path-escape",
            &[json!([dir("a"), file("a/../../canary")])],
        )
        .escapes(),
        refused(
            "dotdot-middle-stays-inside",
            "path-escape",
            &[json!([dir("a"), file("a/../b")])],
        ),
        refused(
            "dotdot-behind-dots-and-slashes",
            "path-escape",
            &[json!([file(".//./../canary")])],
        )
        .escapes(),
        refused("dotdot-last", "path-escape", &[json!([dir("a/..")])]),
        refused(
            "dotdot-directory-changes-mode-of-parent",
            "path-escape",
            &[json!([with(dir(".."), "mode", json!("0777"))])],
        )
        .escapes(),
        refused(
            "dotdot-directory-far",
            "path-escape",
            &[json!([with(dir("../.."), "mode", json!("0777"))])],
        )
        .escapes(),
        refused(
            "dotdot-symlink",
            "path-escape",
            &[json!([symlink("../planted", "x")])],
        )
        .escapes(),
        refused(
            "dotdot-fifo",
            "path-escape",
            &[json!([{"path": "../planted", "type": "fifo"}])],
        ),
        refused(
            "dotdot-device",
            "path-escape",
            &[json!([{"path": "../planted", "type": "char", "major": 1, "minor": 3}])],
        ),
        refused(
            "dotdot-hard-link",
            "path-escape",
            &[json!([file("a"), hard_link("../planted", "a")])],
        )
        .escapes(),
        refused(
            "dotdot-whiteout",
            "path-escape",
            &[json!([file("../.wh.canary")])],
        )
        .escapes(),
        refused(
            "dotdot-opaque",
            "path-escape",
            &[json!([file("../.wh..wh..opq")])],
        )
        .escapes(),
        refused(
            "dotdot-by-pax",
            "path-escape",
            &[json!([by_pax("../canary")])],
        )
        .escapes(),
        refused(
            "dotdot-by-gnu-long-name",
            "path-escape",
            &[json!([with(
                file(&("../".repeat(40) + "canary")),
                "tar",
                json!({"long": "gnu", "magic": "gnu"})
            )])],
        ),
        refused(
            "dotdot-by-prefix-field",
            "path-escape",
            &[json!([with(
                file(&("./".repeat(50) + "../canary")),
                "tar",
                json!({"long": "prefix"})
            )])],
        )
        .escapes(),
        refused(
            "dotdot-by-sparse-name",
            "path-escape",
            &[json!([tar(
                json!({"pax": [["GNU.sparse.name", "../canary"], ["GNU.sparse.size", "1"], ["GNU.sparse.map", "0,1"]]})
            )])],
        ),
        refused(
            "dotdot-in-a-higher-layer",
            "path-escape",
            &[json!([dir("a")]), json!([file("a/../../canary")])],
        )
        .escapes(),
        contained(
            "dotdot-lookalikes",
            "only the exact component .. leaves a directory",
            "/... file 0644, /..a file 0644, /a.. file 0644",
            &[json!([file("..."), file("..a"), file("a..")])],
        ),
        contained(
            "backslash-dotdot",
            "a backslash is a byte of a name",
            r"/..\\..\\canary file",
            &[json!([file(r"..\..\canary")])],
        ),
        contained(
            "absolute-name",
            "a leading slash means the image's root",
            "file 0644",
            &[json!([file("@OUTSIDE@/canary")])],
        )
        .escapes(),
        contained(
            "absolute-name-with-two-slashes",
            "leading slashes mean the image's root",
            "/etc/shadow file 0644",
            &[json!([file("//etc/shadow")])],
        ),
        contained(
            "absolute-name-by-pax",
            "a leading slash means the image's root",
            "file 0644",
            &[json!([by_pax("@OUTSIDE@/canary")])],
        )
        .escapes(),
        contained(
            "absolute-directory-changes-mode",
            "a leading slash means the image's root",
            "directory 0777",
            &[json!([with(dir("@OUTSIDE@/dir"), "mode", json!("0777"))])],
        )
        .escapes(),
        contained(
            "absolute-whiteout",
            "a leading slash means the image's root, and a whiteout of nothing does nothing",
            "/ directory 0755",
            &[json!([file("@OUTSIDE@/.wh.canary")])],
        )
        .escapes(),
        refused("empty-name", "bad-path", &[json!([file("")])]),
        contained(
            "empty-name-by-pax",
            "an empty PAX record takes itself back",
            "/a file",
            &[json!([by_pax("")])],
        ),
        refused(
            "empty-name-by-gnu-long-name",
            "bad-path",
            &[json!([with(
                file(""),
                "tar",
                json!({"long": "gnu", "magic": "gnu"})
            )])],
        ),
        refused(
            "empty-name-of-a-directory",
            "bad-path",
            &[json!([with(dir(""), "tar", json!({"no_slash": true}))])],
        ),
        refused(
            "nul-in-pax-path",
            "bad-path",
            &[json!([by_pax("canary\u{0}.png")])],
        ),
        refused(
            "nul-in-gnu-long-name",
            "bad-path",
            &[json!([with(
                file(&format!("a\u{0}{}", "b".repeat(120))),
                "tar",
                json!({"long": "gnu", "magic": "gnu"})
            )])],
        ),
        contained(
            "newline-and-controls-in-a-name",
            "names are bytes, and are shown escaped",
            r"/a\nb\x1b[2J file",
            &[json!([file("a\nb\u{1b}[2J")])],
        ),
        contained(
            "name-that-is-no-utf8",
            "names are bytes",
            r"/\xff\xfe file",
            &[json!([file("hex:fffe")])],
        ),
        contained(
            "overlong-utf8-slash",
            "names are bytes: no decoding makes a separator of them",
            r"/..\xc0\xaf..\xc0\xafcanary file",
            &[json!([file("hex:2e2ec0af2e2ec0af63616e617279")])],
        ),
        contained(
            "names-that-differ-by-case",
            "names are bytes",
            "/A file 0644, /a file 0644",
            &[json!([file("a"), file("A")])],
        ),
        contained(
            "names-that-differ-by-normalization",
            "names are bytes",
            "file 0644, /\u{e9} file 0644",
            &[json!([file("\u{e9}"), file("e\u{301}")])],
        ),
        contained(
            "name-like-a-device-of-another-system",
            "names are bytes",
            "/C:\\\\Windows\\\\x file 0644, /NUL file 0644",
            &[json!([file("NUL"), file("C:\\Windows\\x")])],
        ),
        refused(
            "file-with-a-slash-at-its-end",
            "bad-path",
            &[json!([file("a/")])],
        ),
        refused(
            "file-with-a-dot-at-its-end",
            "bad-path",
            &[json!([dir("a"), file("a/.")])],
        ),
        contained(
            "v7-file-with-a-slash",
            "before POSIX a slash at the end was all that told a directory",
            "/a directory",
            &[json!([{"path": "a/", "type": "oldfile"}])],
        ),
        refused("name-of-256-bytes", "limit", &[json!([file("rep:256:n")])]),
        contained(
            "name-of-255-bytes",
            "a name has at most 255 bytes",
            "n file 0644",
            &[json!([file("rep:255:n")])],
        ),
        refused("path-of-16-kib", "limit", &[json!([file("rep:8200:a/")])]),
        refused(
            "depth-256",
            "limit",
            &[json!([file(&("a/".repeat(255) + "f"))])],
        ),
        contained(
            "depth-255",
            "a path has at most 255 components",
            "f file 0644",
            &[json!([file(&("a/".repeat(254) + "f"))])],
        ),
        refused(
            "depth-of-a-million",
            "limit",
            &[json!([dir("rep:500000:a/")])],
        ),
        refused(
            "depth-over-several-layers",
            "limit",
            &[
                json!([dir("rep:200:a/")]),
                json!([symlink("s", &"a/".repeat(200))]),
                json!([dir("rep:100:s/")]),
            ],
        ),
        refused(
            "depth-through-links",
            "limit",
            &[json!([
                dir("rep:200:d/"),
                symlink("s", &"d/".repeat(200)),
                dir(&format!("s/{}", "d/".repeat(200)))
            ])],
        ),
    ];
    for kind in ["symlink", "hardlink", "fifo", "file"] {
        for (what, path) in [
            ("dot", "."),
            ("slash", "/"),
            ("dot-slash-dot", "./."),
            ("slashes", "//"),
        ] {
            let entry = json!({"path": path, "type": kind, "target": "x"});
            rows.push(refused(
                format!("root-as-{kind}/{what}"),
                "root-type",
                &[json!([entry])],
            ));
        }
    }
    let device = json!({"path": ".", "type": "char", "major": 1, "minor": 3});
    rows.push(refused("root-as-device", "root-type", &[json!([device])]));
    rows.push(refused(
        "root-replaced-in-a-higher-layer",
        "root-type",
        &[json!([file("a")]), json!([symlink("./", "../..")])],
    ));
    rows.push(refused(
        "root-as-link-by-pax",
        "root-type",
        &[json!([with(
            symlink("a", "../.."),
            "tar",
            json!({"pax": [["path", "./"]]})
        )])],
    ));
    rows.push(contained(
        "root-with-all-rights",
        "the root entry sets the root's own attributes",
        "/ directory 7777",
        &[json!([with(dir("."), "mode", json!("7777"))])],
    ));
    rows
}

fn parents() -> Vec<Row> {
    let escaped = |target: &str| [json!([symlink("s", target), file("s/canary")])];
    let layered = |target: &str| [json!([symlink("s", target)]), json!([file("s/canary")])];
    let is_dir = |target: &str| {
        [json!([
            dir("dir"),
            symlink("s", target),
            with(file("s/inner"), "content", json!("new"))
        ])]
    };
    let swap = json!([
        dir("e"),
        dir("d"),
        file("d/x"),
        symlink("d", "../dir"),
        file("d/inner")
    ]);
    let mut rows = vec![
        refused(
            "link-as-parent-absolute",
            NO_PARENT,
            &escaped("@OUTSIDE@/dir"),
        )
        .escapes(),
        refused("link-as-parent-to-host-etc", NO_PARENT, &escaped("/etc")),
        refused(
            "link-as-parent-to-proc",
            NO_PARENT,
            &escaped("/proc/self/root/etc"),
        ),
        refused("link-as-parent-dotdot", NO_PARENT, &escaped("../dir")).escapes(),
        refused(
            "link-as-parent-dotdot-far",
            NO_PARENT,
            &escaped("../../../../dir"),
        )
        .escapes(),
        refused(
            "link-as-parent-of-lower-layer-absolute",
            NO_PARENT,
            &layered("@OUTSIDE@/dir"),
        )
        .escapes(),
        refused(
            "link-as-parent-of-lower-layer-dotdot",
            NO_PARENT,
            &layered("../dir"),
        )
        .escapes(),
        contained(
            "link-as-parent-dotdot-means-root",
            IN_IMAGE,
            "/dir/inner file",
            &is_dir("../../../../dir"),
        )
        .escapes(),
        contained(
            "link-as-parent-slash-means-root",
            IN_IMAGE,
            "/dir/inner file",
            &is_dir("/dir"),
        ),
        contained(
            "link-to-dotdot-as-parent",
            IN_IMAGE,
            "/canary file 0644, /s symlink",
            &escaped(".."),
        )
        .escapes(),
        contained(
            "link-to-slash-as-parent",
            IN_IMAGE,
            "/canary file 0644, /s symlink",
            &escaped("/"),
        ),
        contained(
            "link-to-dot-as-parent",
            IN_IMAGE,
            "/canary file 0644, /s symlink",
            &escaped("."),
        ),
        contained(
            "link-chain-as-parent",
            IN_IMAGE,
            "/canary file 0644, /s1 symlink 0777, /s2 symlink 0777, /s3 symlink",
            &[json!([
                symlink("s1", "../.."),
                symlink("s2", "s1"),
                symlink("s3", "s2/.."),
                file("s3/canary")
            ])],
        ),
        refused(
            "link-chain-as-parent-escapes",
            NO_PARENT,
            &[json!([
                symlink("s1", ".."),
                symlink("s2", "s1/dir"),
                file("s2/canary")
            ])],
        )
        .escapes(),
        refused(
            "link-chain-over-three-layers",
            NO_PARENT,
            &[
                json!([symlink("s1", "..")]),
                json!([symlink("s2", "s1/dir")]),
                json!([file("s2/canary")]),
            ],
        )
        .escapes(),
        refused(
            "link-in-the-middle",
            NO_PARENT,
            &[
                json!([dir("a"), symlink("a/s", "../.."), file("a/s/dir/canary")]),
                json!([
                    file("a/s/one/two/x"),
                    symlink("t", "one/nowhere"),
                    file("t/x")
                ]),
            ],
        ),
        refused(
            "link-loop-to-itself",
            NO_PARENT,
            &[json!([symlink("s", "s"), file("s/x")])],
        ),
        refused(
            "link-loop-of-two",
            NO_PARENT,
            &[json!([symlink("s", "t"), symlink("t", "s"), file("s/x")])],
        ),
        refused(
            "link-loop-through-layers",
            NO_PARENT,
            &[
                json!([symlink("s", "t")]),
                json!([symlink("t", "s"), file("s/x")]),
            ],
        ),
        refused(
            "link-loop-that-grows",
            NO_PARENT,
            &[json!([symlink("s", "s/s/s/s"), file("s/x")])],
        ),
        refused(
            "link-to-a-file-as-parent",
            NO_PARENT,
            &[json!([file("f"), symlink("s", "f"), file("s/x")])],
        ),
        refused(
            "link-to-a-lower-file-as-parent",
            NO_PARENT,
            &[json!([file("f")]), json!([symlink("s", "f"), file("s/x")])],
        ),
        refused(
            "dangling-link-as-parent",
            NO_PARENT,
            &[json!([symlink("s", "nowhere"), file("s/x")])],
        ),
        refused(
            "fifo-as-parent",
            NO_PARENT,
            &[json!([{"path": "p", "type": "fifo"}, file("p/x")])],
        ),
        refused(
            "device-as-parent",
            NO_PARENT,
            &[json!([{"path": "p", "type": "block", "major": 7, "minor": 0}, file("p/x")])],
        ),
        refused(
            "file-as-parent",
            NO_PARENT,
            &[json!([file("p"), file("p/x")])],
        ),
        contained(
            "lower-file-as-parent",
            "what lower layers have in a parent's place is replaced",
            "/p directory 0755, /p/x file",
            &[json!([file("p")]), json!([file("p/x")])],
        ),
        refused(
            "lower-file-as-parent-strict",
            NO_PARENT,
            &[json!([file("p")]), json!([file("p/x")])],
        )
        .options(|o| o.strict = true),
        refused("directory-swapped-for-a-link", NO_PARENT, &[swap]).escapes(),
        contained(
            "directory-swapped-for-a-link-inside",
            "each parent is looked up anew",
            "/d symlink 0777, /e directory 0755, /e/y file",
            &[json!([
                dir("e"),
                dir("d"),
                file("d/x"),
                symlink("d", "e"),
                file("d/y")
            ])],
        ),
        refused(
            "directory-swapped-in-a-higher-layer",
            NO_PARENT,
            &[
                json!([dir("d"), file("d/x")]),
                json!([symlink("d", "../dir")]),
                json!([file("d/inner")]),
            ],
        )
        .escapes(),
        contained(
            "directory-swapped-twice",
            "each parent is looked up anew",
            "/d directory 0755, /d/z file 0644, /e directory 0755, /e/y file",
            &[json!([
                dir("e"),
                dir("d"),
                symlink("d", "e"),
                file("d/y"),
                dir("d"),
                file("d/z")
            ])],
        ),
        contained(
            "deep-directory-swapped-for-a-link",
            "each parent is looked up anew",
            "/a/b symlink 0777, /d directory 0755, /d/y file",
            &[json!([
                dir("d"),
                dir("a/b/c"),
                file("a/b/c/x"),
                symlink("a/b", "/d"),
                file("a/b/y")
            ])],
        ),
        contained(
            "directory-replaces-link-and-sets-mode",
            "a directory replaces a link: nothing goes through it",
            "/s directory 0777",
            &[json!([
                symlink("s", "../dir"),
                with(dir("s"), "mode", json!("0777"))
            ])],
        )
        .escapes(),
        contained(
            "directory-with-a-dot-replaces-link",
            "a directory replaces a link: nothing goes through it",
            "/s directory 0777",
            &[json!([
                symlink("s", "../dir"),
                with(dir("s/."), "mode", json!("0777"))
            ])],
        )
        .escapes(),
        contained(
            "directory-replaces-lower-link",
            "a directory replaces a link: nothing goes through it",
            "/s directory 0777",
            &[
                json!([symlink("s", "@OUTSIDE@/dir")]),
                json!([with(dir("s"), "mode", json!("0777"))]),
            ],
        )
        .escapes(),
        contained(
            "file-replaces-link",
            "a file replaces a link: nothing is written through it",
            "/s file 0644",
            &[json!([symlink("s", "../canary"), file("s")])],
        )
        .escapes(),
        contained(
            "file-replaces-lower-link",
            "a file replaces a link: nothing is written through it",
            "/s file 0644",
            &[
                json!([symlink("s", "@OUTSIDE@/canary")]),
                json!([file("s")]),
            ],
        )
        .escapes(),
        contained(
            "fifo-replaces-link",
            "an entry replaces a link",
            "/s fifo",
            &[json!([symlink("s", "../canary"), {"path": "s", "type": "fifo"}])],
        ),
        contained(
            "usr-merge",
            IN_IMAGE,
            "/lib symlink 0777, /usr directory 0755, /usr/lib directory 0755, /usr/lib/x file",
            &[
                json!([dir("usr/lib"), symlink("lib", "usr/lib")]),
                json!([file("lib/x")]),
            ],
        ),
        contained(
            "case-of-a-link-does-not-matter",
            "names are bytes: S is not the link s",
            "/S directory 0755, /S/canary file 0644, /s symlink",
            &[json!([symlink("s", "../dir"), file("S/canary")])],
        ),
    ];
    for top in ["etc", "usr", "var"] {
        rows.push(
            refused(
                format!("link-in-place-of-a-top-directory/{top}"),
                NO_PARENT,
                &[json!([
                    symlink(top, "../dir"),
                    file(&format!("{top}/passwd"))
                ])],
            )
            .escapes(),
        );
    }
    // 40 links are followed, as the system does, and no more.
    let chain = |length: usize| {
        let mut entries = vec![dir("d"), symlink("s0", "d")];
        entries.extend((1..length).map(|n| symlink(&format!("s{n}"), &format!("s{}", n - 1))));
        entries.push(file(&format!("s{}/x", length - 1)));
        json!(entries)
    };
    rows.push(contained(
        "chain-of-40-links",
        IN_IMAGE,
        "/d/x file",
        &[chain(40)],
    ));
    rows.push(refused("chain-of-41-links", NO_PARENT, &[chain(41)]));
    rows
}

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "Names",
            attacks: "The target's surroundings: an extractor that joins a name to its target writes, changes \
                      or removes something else. And the root itself, and the limits of file systems.",
            rows: names(),
        },
        Section {
            title: "Links as parents",
            attacks: "The same through a link that the image made before, in its own layer or a lower one: \
                      what is checked as a name and opened as a path leads elsewhere.",
            rows: parents(),
        },
    ]
}
