//! Archives that try something, and those that are merely broken: refused by name, or contained.

use std::io::Read;

use pleach_layer_merge::{
    Budget, ContentStore, ErrorClass, IndexOnly, Layer, Limits, MergeOptions, Merger, StoreOptions,
    XattrAction, oci, parse_digest, read_layer, read_tar,
};
use serde_json::{Value, json};

use crate::archive::{Blob, layer};
use crate::{full, open};

fn described(blob: &Blob) -> Layer {
    Layer {
        media_type: oci::MediaType::from(blob.descriptor["mediaType"].as_str().unwrap()),
        digest: parse_digest(blob.descriptor["digest"].as_str().unwrap()).unwrap(),
        size: blob.descriptor["size"].as_u64().unwrap(),
        diff_id: parse_digest(blob.diff_id.as_deref().unwrap()).unwrap(),
    }
}

/// The class of the error with its message, or what the tree has.
fn outcome(layers: &[Value], options: &MergeOptions, layer_options: &Value) -> String {
    let mut merger = Merger::new(options);
    let budget = Budget::default();
    for (index, entries) in layers.iter().enumerate() {
        let blob = layer(entries.as_array().unwrap(), layer_options);
        let read = read_layer(
            &*blob.bytes,
            index,
            &described(&blob),
            options,
            &budget,
            &mut IndexOnly,
        );
        if let Err(error) = read.and_then(|read| merger.apply(read)) {
            return format!("{}: {}", error.class(), full(&error));
        }
    }
    let merged = merger.finish();
    let line = |(path, id)| {
        let inode = merged.tree.inode(id);
        format!(
            "{path} {} {:04o}",
            inode.kind.node_type().as_str(),
            inode.metadata.mode
        )
    };
    let paths: Vec<_> = merged.tree.walk().skip(1).map(line).collect();
    let notes = merged
        .notes
        .iter()
        .map(|note| format!("note: {} {}", note.path, note.what));
    paths
        .into_iter()
        .chain(notes)
        .collect::<Vec<_>>()
        .join(", ")
}

fn check_with(layers: &[Value], options: &MergeOptions, layer_options: &Value, expect: &str) {
    let found = outcome(layers, options, layer_options);
    let fits = if expect.contains(' ') {
        found.contains(expect)
    } else {
        found.starts_with(&format!("{expect}:"))
    };
    assert!(fits, "\n{}\n{found}\nexpected: {expect}", json!(layers));
}

fn check(layers: &[Value], expect: &str) {
    check_with(layers, &MergeOptions::default(), &Value::Null, expect);
}

fn file(path: &str) -> Value {
    json!({"path": path, "type": "file", "content": "x"})
}

fn with(mut entry: Value, key: &str, value: Value) -> Value {
    entry[key] = value;
    entry
}

#[test]
fn names() {
    check(&[json!([file("")])], "bad-path");
    check(&[json!([file("a/../../b")])], "path-escape");
    check(
        &[json!([{"path": "..", "type": "symlink", "target": "x"}])],
        "path-escape",
    );
    check(&[json!([file("rep:256:n")])], "limit");
    check(&[json!([file(&("a/".repeat(256) + "f"))])], "limit");
    for kind in ["symlink", "hardlink", "fifo", "file"] {
        for path in [".", "/", "./.", "//"] {
            let entry = json!({"path": path, "type": kind, "target": "x"});
            check(&[json!([entry])], "root-type");
        }
    }
    let nul = json!([["path", "a\u{0}b"]]);
    check(
        &[json!([with(file("q"), "tar", json!({"pax": nul}))])],
        "bad-path",
    );
    check(&[json!([file("a/.")])], "bad-path");
}

#[test]
fn whiteouts() {
    let lower = json!([{"path": "d", "type": "dir"}, file("d/x"), file("k")]);
    let upper = |path: &str| json!([file(path)]);
    for bad in [
        "d/.wh.",
        "d/.wh..",
        "d/.wh...",
        ".wh..",
        ".wh...",
        ".wh.d/x",
        "d/.wh..wh..opq/x",
    ] {
        check(&[lower.clone(), upper(bad)], "bad-whiteout");
    }
    for kind in ["dir", "symlink", "hardlink", "fifo"] {
        for name in ["d/.wh.x", "d/.wh..wh..opq", ".wh.."] {
            let entry = json!({"path": name, "type": kind, "target": "k"});
            check(&[lower.clone(), json!([entry])], "bad-whiteout");
        }
    }
    for nothing in [
        ".wh..wh.foo",
        "d/.wh..wh..opqx",
        "d/.wh..wh.aufs",
        ".wh..wh.plnk/1.2",
    ] {
        check(
            &[lower.clone(), upper(nothing)],
            "/d directory 0755, /d/x file 0644, /k file 0644, note: ",
        );
    }
    // A directory that replaces a link hides nothing behind the link, wherever its marker stands.
    let lower = json!([{"path": "d", "type": "dir"}, file("d/x"), {"path": "s", "type": "symlink", "target": "d"}]);
    for order in [[0, 1], [1, 0]] {
        let entries = [json!({"path": "s", "type": "dir"}), file("s/.wh..wh..opq")];
        let upper = json!([entries[order[0]], entries[order[1]]]);
        check(
            &[lower.clone(), upper],
            "/d directory 0755, /d/x file 0644, /s directory 0755",
        );
    }
    // A link that is hidden leads nowhere any more.
    let upper = json!([file("s/.wh.x"), file(".wh.s")]);
    check(&[lower, upper], "/d directory 0755, /d/x file 0644");
}

#[test]
fn links() {
    let link =
        |path: &str, target: &str| json!({"path": path, "type": "hardlink", "target": target});
    let symlink =
        |path: &str, target: &str| json!({"path": path, "type": "symlink", "target": target});
    check(&[json!([link("b", "../../etc/passwd")])], "bad-link");
    check(&[json!([link("b", "/etc/shadow")])], "bad-link");
    check(&[json!([link("b", "")])], "bad-link");
    check(&[json!([link("b", ".")])], "bad-link");
    check(&[json!([link("a", "b"), link("b", "a")])], "bad-link");
    check(&[json!([file("a")]), json!([link("a", "a")])], "bad-link");
    check(&[json!([file("a")]), json!([link("a", "./a")])], "bad-link");
    check(
        &[json!([{"path": "d", "type": "dir"}, link("b", "d")])],
        "bad-link",
    );
    check(
        &[
            json!([{"path": "d", "type": "dir"}]),
            json!([link("b", "d")]),
        ],
        "bad-link",
    );
    check(
        &[json!([file("a")]), json!([link("b", "a"), file(".wh.a")])],
        "bad-link",
    );
    check(
        &[json!([symlink("s", "nowhere"), link("b", "s")])],
        "/b symlink 0777, /s symlink 0777",
    );
    check(
        &[json!([
            file("a"),
            with(link("b", "a"), "tar", json!({"size": 1}))
        ])],
        "bad-header",
    );
    check(&[json!([symlink("s", "")])], "bad-link");
    check(&[json!([symlink("s", "rep:4096:q")])], "limit");
    check(&[json!([symlink("s", "s"), file("s/x")])], "parent-not-dir");
    check(
        &[json!([symlink("s", "t"), symlink("t", "s"), file("s/x")])],
        "parent-not-dir",
    );
    check(
        &[json!([symlink("s", "/etc"), file("s/x")])],
        "parent-not-dir",
    );
    check(
        &[json!([symlink("s", "f"), file("f"), file("s/x")])],
        "parent-not-dir",
    );
    // `..` of a link stops at the root of the image.
    check(
        &[json!([{"path": "d", "type": "dir"}, symlink("s", "../../d"), file("s/x")])],
        "/d directory 0755, /d/x file 0644, /s symlink 0777",
    );
    // Swapped between two entries: the first is gone with its directory, the second is in the image.
    let swapped = json!([
        {"path": "e", "type": "dir"}, {"path": "d", "type": "dir"}, file("d/x"), symlink("d", "e"), file("d/y"),
    ]);
    check(
        &[swapped],
        "/d symlink 0777, /e directory 0755, /e/y file 0644",
    );
    // Links that make paths longer than any entry's own is.
    let deep = "d/".repeat(200);
    let entries = json!([
        {"path": deep, "type": "dir"}, symlink("s", &deep), {"path": format!("s/{deep}"), "type": "dir"},
    ]);
    check(&[entries], "limit");
}

#[test]
fn owners_times_types_and_attributes() {
    let tar = |tar: Value| json!([with(file("a"), "tar", tar)]);
    let pax = |key: &str, value: &str| tar(json!({"pax": [[key, value]]}));
    for value in [
        "-1",
        "4294967295",
        "4294967296",
        "9223372036854775808",
        "99999999999999999999",
        "x",
        "1.5",
    ] {
        check(&[pax("uid", value)], "bad-header");
        check(&[pax("gid", value)], "bad-header");
    }
    for value in ["NaN", "1e30", "--1", "9223372036854775808", "1.x"] {
        check(&[pax("mtime", value)], "bad-header");
    }
    for flag in ["D", "M", "V", "Z", "N", "hex:ff", "8"] {
        check(&[tar(json!({"typeflag": flag}))], "unsupported-type");
    }
    check(
        &[json!([{"path": "n", "type": "char", "major": "7777777", "minor": 0}])],
        "limit",
    );
    check(
        &[json!([{"path": "n", "type": "block", "major": 1, "minor": 1_048_576}])],
        "limit",
    );
    check(
        &[json!([{"path": "n", "type": "char", "major": 0, "minor": 0}])],
        "unsupported-type",
    );
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.metacopy",
    ] {
        check(&[pax(&format!("SCHILY.xattr.{name}"), "y")], "bad-xattr");
    }
    check(&[pax("SCHILY.xattr.", "y")], "bad-xattr");
    check(&[pax("SCHILY.xattr.user.a", "rep:65537:v")], "limit");
    check(
        &[pax(&format!("SCHILY.xattr.user.{}", "n".repeat(256)), "v")],
        "limit",
    );
    check(
        &[pax("SCHILY.acl.access", "user::rw-")],
        "/a file 0644, note: a PAX record SCHILY.acl.access",
    );
    check(
        &[pax("SCHILY.xattr.security.selinux", "x")],
        "note: a extended attribute security.selinux",
    );
    let many: Vec<_> = (0..1025)
        .map(|n| json!([format!("SCHILY.xattr.user.{n}"), ""]))
        .collect();
    check(&[tar(json!({"pax": many}))], "limit");
}

#[test]
fn headers_and_streams() {
    let tar = |tar: Value| json!([with(file("a"), "tar", tar)]);
    check(&[tar(json!({"badsum": true}))], "bad-header");
    check(
        &[tar(json!({"rawsize": "hex:ffffffffffffffffffffffff"}))],
        "bad-header",
    );
    check(
        &[tar(json!({"rawsize": "hex:80ffffffffffffffffffffff"}))],
        "bad-header",
    );
    check(&[tar(json!({"rawsize": "00000000009 "}))], "bad-header");
    check(
        &[tar(json!({"rawsize": "hex:800000007fffffffffffffff"}))],
        "truncated",
    );
    check(&[tar(json!({"pax_raw": "5 a=\n"}))], "/a file 0644");
    check(&[tar(json!({"pax_raw": "6 a=b\n6 a=b"}))], "bad-header");
    for global in [["path", "x"], ["size", "0"], ["linkpath", "x"]] {
        check(&[tar(json!({"global_pax": [global]}))], "bad-header");
    }
    check(
        &[tar(json!({"global_pax": [["comment", "git"]]}))],
        "note:  global PAX header",
    );
    let options = |options: Value| (json!([file("a"), file("b")]), options);
    for (length, expect) in [
        (100, "truncated"),
        (512, "truncated"),
        (700, "truncated"),
        (1024, "/a file 0644"),
        (1300, "truncated"),
    ] {
        let (entries, options) = options(json!({"truncate": length, "compression": "none"}));
        check_with(&[entries], &MergeOptions::default(), &options, expect);
    }
    for (option, value, expect) in [
        ("gzip_badcrc", json!(true), "bad-compression"),
        ("gzip_truncate", json!(-1), "bad-compression"),
        ("gzip_truncate", json!(5), "bad-compression"),
        ("gzip_truncate", json!(0), "bad-compression"),
        ("gzip_trailing", json!("x"), "bad-compression"),
        ("corrupt_blob", json!(true), "digest-mismatch"),
        ("desc_size_delta", json!(1), "digest-mismatch"),
        ("desc_size_delta", json!(-1), "digest-mismatch"),
        (
            "diff_id",
            json!(format!("sha256:{}", "0".repeat(64))),
            "digest-mismatch",
        ),
        (
            "media_type",
            json!("application/x"),
            "unsupported-media-type",
        ),
    ] {
        let (entries, options) = options(json!({option: value}));
        check_with(&[entries], &MergeOptions::default(), &options, expect);
    }
    let (entries, options) = options(json!({"after_trailer": "rep:100:z", "compression": "none"}));
    let limits = Limits {
        trailing: 99,
        ..Limits::default()
    };
    let small = MergeOptions {
        limits,
        ..MergeOptions::default()
    };
    check_with(std::slice::from_ref(&entries), &small, &options, "limit");
    check_with(
        &[entries],
        &MergeOptions::default(),
        &options,
        "note:  bytes after the end",
    );
}

#[test]
fn strict_refuses_what_readers_differ_on() {
    let strict = MergeOptions {
        strict: true,
        ..MergeOptions::default()
    };
    let check_strict = |layers: &[Value], expect| check_with(layers, &strict, &Value::Null, expect);
    let directory = json!({"path": "d", "type": "dir"});
    check_strict(&[json!([file("a"), file("a")])], "duplicate-entry");
    check_strict(&[json!([directory, directory])], "duplicate-entry");
    check_strict(
        &[json!([
            file("a"),
            directory,
            json!({"path": "a", "type": "dir"})
        ])],
        "duplicate-entry",
    );
    check_strict(
        &[json!([file("a")]), json!([file("a/x")])],
        "parent-not-dir",
    );
    let twice = json!([file("a"), json!({"path": "a", "type": "dir"})]);
    let note = "/a directory 0755, note: /a a second entry for this path: the first is gone";
    check(&[twice], note);
    // A parent that is named after what is in it is no duplicate.
    check_strict(
        &[json!([file("d/x"), directory]), json!([directory])],
        "/d directory 0755, /d/x file 0644",
    );
}

#[test]
fn attributes_by_rule() {
    let entry = json!([with(file("a"), "xattrs", json!({"trusted.k": "v"}))]);
    let rules = vec![(b"trusted.".to_vec(), XattrAction::Refuse)];
    let options = MergeOptions {
        xattrs: rules,
        ..MergeOptions::default()
    };
    check_with(&[entry], &options, &Value::Null, "bad-xattr");
}

#[test]
fn each_limit_has_a_name() {
    let check = |change: fn(&mut Limits), entries: Value, expect: &str| {
        let mut limits = Limits::default();
        change(&mut limits);
        let options = MergeOptions {
            limits,
            ..MergeOptions::default()
        };
        let found = outcome(&[entries], &options, &Value::Null);
        assert!(
            found.starts_with("limit: ") && found.ends_with(expect),
            "{found}"
        );
    };
    let big = json!([with(file("a"), "content", json!("rep:9000:x"))]);
    let two = json!([file("a"), file("b")]);
    check(
        |l| l.entries = 1,
        two.clone(),
        "limit reached: entries, at most 1",
    );
    check(
        |l| l.path = 3,
        json!([file("abcd")]),
        "limit reached: bytes of a path, at most 3",
    );
    check(
        |l| l.depth = 2,
        json!([file("a/b/c")]),
        "components of a path, at most 2",
    );
    check(
        |l| l.name = 2,
        json!([file("abc")]),
        "bytes of a name, at most 2",
    );
    check(
        |l| l.file = 8999,
        big.clone(),
        "bytes of a file, at most 8999",
    );
    check(
        |l| l.unpacked = 9000,
        big.clone(),
        "unpacked bytes, at most 9000",
    );
    check(
        |l| (l.compression_ratio, l.compression_grace) = (20, 0),
        big,
        "ratio of compression, at most 20",
    );
    let long = json!([file(&"n".repeat(200))]);
    check(
        |l| l.metadata_record = 200,
        long,
        "bytes of a record about an entry, at most 200",
    );
}

/// So many zeros, as bytes of an archive: a header, then zeros.
struct Bomb {
    header: Vec<u8>,
    left: u64,
}

impl Read for Bomb {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if !self.header.is_empty() {
            let n = self.header.len().min(out.len());
            out[..n].copy_from_slice(&self.header[..n]);
            self.header.drain(..n);
            return Ok(n);
        }
        let n = out
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out[..n].fill(0);
        self.left -= n as u64;
        Ok(n)
    }
}

#[test]
fn a_large_file_is_not_held_in_memory() {
    let gib = json!({"path": "z", "type": "file", "tar": {"size": 1_u64 << 30, "nodata": true}});
    let bomb = || Bomb {
        header: crate::archive::entry(&gib),
        left: 1 << 30,
    };
    let temporary = tempfile::tempdir().unwrap();
    let store = ContentStore::new(&open(temporary.path()), &StoreOptions::default()).unwrap();
    let limits = Limits {
        file: 64 << 20,
        ..Limits::default()
    };
    let options = MergeOptions {
        limits,
        ..MergeOptions::default()
    };
    let before = peak();
    let error = read_tar(&mut bomb(), &mut store.sink(), &options).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Limit, "{error}");
    let options = MergeOptions {
        file_digests: false,
        ..MergeOptions::default()
    };
    read_tar(&mut bomb(), &mut IndexOnly, &options).unwrap();
    let grown = peak() - before;
    assert!(grown < 32 << 10, "memory grew by {grown} KiB");
    assert_eq!(
        std::fs::read_dir(temporary.path()).unwrap().count(),
        0,
        "a name is left"
    );
}

/// The most memory this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
