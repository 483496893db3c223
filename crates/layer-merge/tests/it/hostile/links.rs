//! Hard links and symbolic links, and what they would share.

use serde_json::json;

use super::{Row, Section, contained, dir, file, hard_link, refused, symlink, tar, with};

const HEADER: &str = "the header of a hard link changes nothing of the inode";
const TO_LOWER: &str = "a hard link may lead to a file of a lower layer";

fn hard() -> Vec<Row> {
    let setuid = with(file("a"), "mode", json!("4755"));
    let new = |path: &str| with(file(path), "content", json!("new"));
    let many = |count: usize| {
        let links = (0..count).map(|n| hard_link(&format!("l{n}"), "a"));
        json!([file("a")].into_iter().chain(links).collect::<Vec<_>>())
    };
    vec![
        refused(
            "hard-link-dotdot",
            "bad-link",
            &[json!([hard_link("b", "../canary")])],
        )
        .escapes(),
        refused(
            "hard-link-dotdot-far",
            "bad-link",
            &[json!([hard_link("b", "../../../../etc/shadow")])],
        )
        .escapes(),
        refused(
            "hard-link-dotdot-by-pax",
            "bad-link",
            &[json!([with(
                hard_link("b", "a"),
                "tar",
                json!({"pax": [["linkpath", "../canary"]]})
            )])],
        )
        .escapes(),
        refused(
            "hard-link-dotdot-by-gnu-long-link",
            "bad-link",
            &[json!([with(
                hard_link("b", "../canary"),
                "tar",
                json!({"longlink": "gnu", "magic": "gnu"})
            )])],
        )
        .escapes(),
        refused(
            "hard-link-dotdot-that-stays-inside",
            "bad-link",
            &[json!([dir("d"), file("a"), hard_link("b", "d/../a")])],
        ),
        refused(
            "hard-link-absolute",
            "bad-link",
            &[json!([hard_link("b", "@OUTSIDE@/canary")])],
        )
        .escapes(),
        refused(
            "hard-link-to-host-shadow",
            "bad-link",
            &[json!([hard_link("b", "/etc/shadow")])],
        ),
        contained(
            "hard-link-absolute-means-root",
            "a leading slash means the image's root",
            "/b file 0600, /etc directory",
            &[json!([
                with(file("etc/shadow"), "mode", json!("0600")),
                hard_link("b", "/etc/shadow")
            ])],
        ),
        refused(
            "hard-link-through-escaping-link",
            "bad-link",
            &[json!([symlink("s", ".."), hard_link("b", "s/canary")])],
        )
        .escapes(),
        refused(
            "hard-link-through-absolute-link",
            "bad-link",
            &[json!([
                symlink("s", "@OUTSIDE@"),
                hard_link("b", "s/canary")
            ])],
        )
        .escapes(),
        refused(
            "hard-link-through-link-of-lower-layer",
            "bad-link",
            &[
                json!([symlink("s", "..")]),
                json!([hard_link("b", "s/canary")]),
            ],
        )
        .escapes(),
        refused(
            "hard-link-outside-then-overwrite",
            "bad-link",
            &[json!([
                symlink("s", ".."),
                hard_link("b", "s/canary"),
                new("b")
            ])],
        )
        .escapes(),
        refused(
            "hard-link-outside-then-mode",
            "bad-link",
            &[json!([
                hard_link("b", "../canary"),
                with(file("b"), "mode", json!("0777"))
            ])],
        )
        .escapes(),
        contained(
            "hard-link-to-escaping-link",
            "a hard link to a symbolic link is one more name of the link",
            "/b symlink 0777, /s symlink",
            &[json!([symlink("s", "../canary"), hard_link("b", "s")])],
        )
        .escapes(),
        contained(
            "hard-link-to-escaping-link-then-file",
            "a file replaces a name; other names keep what they have",
            "/b file 0644, /s symlink",
            &[json!([
                symlink("s", "../canary"),
                hard_link("b", "s"),
                new("b")
            ])],
        )
        .escapes(),
        refused(
            "hard-link-behind-escaping-link-as-parent",
            "parent-not-dir",
            &[json!([
                symlink("s", "../dir"),
                file("a"),
                hard_link("s/planted", "a")
            ])],
        )
        .escapes(),
        refused(
            "hard-link-empty",
            "bad-link",
            &[json!([hard_link("b", "")])],
        ),
        refused(
            "hard-link-to-root",
            "bad-link",
            &[json!([hard_link("b", ".")])],
        ),
        refused(
            "hard-link-nul",
            "bad-link",
            &[json!([with(
                hard_link("b", "a"),
                "tar",
                json!({"pax": [["linkpath", "a\u{0}b"]]})
            )])],
        ),
        refused(
            "hard-link-to-itself",
            "bad-link",
            &[json!([hard_link("a", "a")])],
        ),
        refused(
            "hard-link-to-itself-over-lower",
            "bad-link",
            &[json!([file("a")]), json!([hard_link("a", "a")])],
        ),
        refused(
            "hard-link-to-itself-spelt-otherwise",
            "bad-link",
            &[json!([file("a")]), json!([hard_link("a", ".//a")])],
        ),
        refused(
            "hard-link-to-itself-through-a-link",
            "bad-link",
            &[
                json!([file("d/a"), symlink("s", "d")]),
                json!([hard_link("d/a", "s/a")]),
            ],
        ),
        refused(
            "hard-link-cycle",
            "bad-link",
            &[json!([hard_link("a", "b"), hard_link("b", "a")])],
        ),
        refused(
            "hard-link-to-later-entry",
            "bad-link",
            &[json!([hard_link("b", "a"), file("a")])],
        ),
        refused(
            "hard-link-to-nothing",
            "bad-link",
            &[json!([hard_link("b", "nowhere/a")])],
        ),
        refused(
            "hard-link-to-directory",
            "bad-link",
            &[json!([dir("d"), hard_link("b", "d")])],
        ),
        refused(
            "hard-link-to-lower-directory",
            "bad-link",
            &[json!([dir("d")]), json!([hard_link("b", "d")])],
        ),
        refused(
            "hard-link-to-implicit-directory",
            "bad-link",
            &[json!([file("d/x"), hard_link("b", "d")])],
        ),
        contained(
            "hard-link-to-device",
            "a hard link may lead to anything but a directory",
            "/b char-device",
            &[json!([{"path": "n", "type": "char", "major": 1, "minor": 3}, hard_link("b", "n")])],
        ),
        contained(
            "hard-link-then-duplicate",
            "a file replaces a name; other names keep what they have",
            "/a file 0644, /b file 0644",
            &[json!([file("a"), hard_link("b", "a"), new("b")])],
        ),
        contained(
            "hard-link-gives-setuid",
            HEADER,
            "/a file 0644, /b file 0644",
            &[json!([
                file("a"),
                with(hard_link("b", "a"), "mode", json!("4755"))
            ])],
        ),
        contained(
            "hard-link-takes-setuid",
            HEADER,
            "/a file 4755, /b file 4755",
            &[
                json!([setuid]),
                json!([with(hard_link("b", "a"), "mode", json!("0644"))]),
            ],
        ),
        contained(
            "hard-link-changes-owner",
            HEADER,
            "/a file 4755, /b file 4755",
            &[json!([
                setuid,
                with(hard_link("b", "a"), "uid", json!(1000))
            ])],
        ),
        contained(
            "hard-link-with-attributes",
            HEADER,
            "/a file 0644, /b file 0644",
            &[json!([
                file("a"),
                with(hard_link("b", "a"), "xattrs", json!({"user.k": "v"}))
            ])],
        ),
        refused(
            "hard-link-to-whited-out",
            "bad-link",
            &[
                json!([file("a")]),
                json!([file(".wh.a")]),
                json!([hard_link("b", "a")]),
            ],
        ),
        refused(
            "hard-link-to-whited-out-in-same-layer",
            "bad-link",
            &[
                json!([file("a")]),
                json!([file(".wh.a"), hard_link("b", "a")]),
            ],
        ),
        refused(
            "hard-link-before-whiteout-in-same-layer",
            "bad-link",
            &[
                json!([file("a")]),
                json!([hard_link("b", "a"), file(".wh.a")]),
            ],
        ),
        refused(
            "hard-link-below-opaque",
            "bad-link",
            &[
                json!([file("d/a")]),
                json!([file("d/.wh..wh..opq"), hard_link("b", "d/a")]),
            ],
        ),
        contained(
            "hard-link-below-replaced-directory",
            TO_LOWER,
            "/d file 0644, /z file 0644",
            &[
                json!([file("d/x")]),
                json!([hard_link("z", "d/x"), file("d")]),
            ],
        ),
        contained(
            "hard-link-to-replaced-file",
            TO_LOWER,
            "/a file 0644, /z file 0644",
            &[json!([file("a")]), json!([hard_link("z", "a"), new("a")])],
        ),
        contained(
            "hard-link-over-directory",
            "an entry that is no directory replaces one with all that is in it",
            "/a file 0644, /d file 0644",
            &[
                json!([file("a"), file("d/x")]),
                json!([hard_link("d", "a")]),
            ],
        ),
        contained(
            "hard-links-by-the-thousand",
            "each is one more name",
            "/l999 file",
            &[many(1000)],
        ),
        refused(
            "hard-link-with-size-and-data",
            "bad-header",
            &[json!([
                file("a"),
                with(hard_link("b", "a"), "tar", json!({"size": 1}))
            ])],
        ),
        refused(
            "hard-link-with-size-and-no-data",
            "bad-header",
            &[json!([
                file("a"),
                with(
                    hard_link("b", "a"),
                    "tar",
                    json!({"size": 512, "nodata": true})
                )
            ])],
        ),
        refused(
            "hard-link-with-pax-size",
            "bad-header",
            &[json!([
                file("a"),
                with(
                    hard_link("b", "a"),
                    "tar",
                    json!({"pax": [["size", "512"]]})
                )
            ])],
        ),
    ]
}

fn symbolic() -> Vec<Row> {
    vec![
        refused("symlink-empty", "bad-link", &[json!([symlink("s", "")])]),
        refused(
            "symlink-nul",
            "bad-link",
            &[json!([with(
                symlink("s", "a"),
                "tar",
                json!({"pax": [["linkpath", "a\u{0}b"]]})
            )])],
        ),
        refused(
            "symlink-of-4096-bytes",
            "limit",
            &[json!([symlink("s", "rep:4096:q")])],
        ),
        contained(
            "symlink-of-4095-bytes",
            "a target has at most 4095 bytes",
            "/s symlink",
            &[json!([symlink("s", "rep:4095:q")])],
        ),
        contained(
            "symlink-to-host",
            "a link may lead anywhere: nobody follows it outside",
            "/s symlink",
            &[json!([symlink("s", "@OUTSIDE@/canary")])],
        ),
        contained(
            "symlink-to-proc",
            "a link may lead anywhere: nobody follows it outside",
            "/s symlink",
            &[json!([symlink("s", "/proc/self/exe")])],
        ),
        contained(
            "symlink-with-mode",
            "a link has mode 0777",
            "/s symlink 0777",
            &[json!([with(
                symlink("s", "../canary"),
                "mode",
                json!("4755")
            )])],
        ),
        contained(
            "symlink-with-owner-and-time",
            "a link's attributes are its own",
            "/s symlink 0777",
            &[json!([with(
                with(symlink("s", "../canary"), "uid", json!(1000)),
                "mtime",
                json!(5)
            )])],
        ),
        refused(
            "symlink-with-size",
            "bad-header",
            &[json!([with(
                symlink("s", "a"),
                "tar",
                json!({"size": 512})
            )])],
        ),
        contained(
            "symlink-over-directory",
            "an entry that is no directory replaces one with all that is in it",
            "/d symlink",
            &[json!([file("d/x")]), json!([symlink("d", "../dir")])],
        ),
        contained(
            "symlink-with-controls",
            "targets are bytes",
            "/s symlink",
            &[json!([symlink("s", "hex:ff0a1b")])],
        ),
        contained(
            "symlink-with-slash-at-its-name",
            "a slash at the end of a name means nothing but for files",
            "/s symlink",
            &[json!([symlink("s/", "x")])],
        ),
        contained(
            "duplicate-entry",
            "of two entries for one path the last counts",
            "/a directory 0755, note: /a a second entry",
            &[json!([file("a"), dir("a")])],
        ),
        refused(
            "duplicate-entry-strict",
            "duplicate-entry",
            &[json!([file("a"), file("a")])],
        )
        .options(|o| o.strict = true),
        refused(
            "duplicate-directory-strict",
            "duplicate-entry",
            &[json!([dir("d"), dir("d")])],
        )
        .options(|o| o.strict = true),
        refused(
            "duplicate-by-other-spelling-strict",
            "duplicate-entry",
            &[json!([file("d/a"), file(".//d//a")])],
        )
        .options(|o| o.strict = true),
        refused(
            "duplicate-through-a-link-strict",
            "duplicate-entry",
            &[json!([file("d/a"), symlink("s", "d"), file("s/a")])],
        )
        .options(|o| o.strict = true),
        contained(
            "file-then-link-then-file",
            "of two entries for one path the last counts",
            "/a file 0644",
            &[json!([file("a"), symlink("a", "../canary"), file("a")])],
        )
        .escapes(),
        contained(
            "socket-cannot-arrive",
            "tar has no sockets; a PAX record says nothing of them",
            "/a file 0644, note: a PAX record",
            &[json!([tar(
                json!({"pax": [["SCHILY.filetype", "socket"]]})
            )])],
        ),
    ]
}

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "Hard links",
            attacks: "The inode of another file: one outside, one that a lower layer owns, one whose mode, \
                      owner or content the link or what replaces it would change; and cycles.",
            rows: hard(),
        },
        Section {
            title: "Symbolic links, and what takes a link's place",
            attacks: "What a link leads to, when something is written, chmoded or removed through it instead \
                      of in its place.",
            rows: symbolic(),
        },
    ]
}
