//! Headers that contradict each other, archives in archives, and streams that end where they should
//! not.

use serde_json::{Value, json};

use super::{Row, Section, contained, dir, file, refused, symlink, tar, with};
use crate::archive::{bytes, entry};

fn one(value: Value) -> [Value; 1] {
    [json!([tar(value)])]
}

fn raw(bytes: &[u8]) -> Value {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    json!({"raw_hex": hex})
}

/// A header of a type that describes the next entry, with a body of its own.
fn described(typeflag: &str, body: &str) -> Value {
    json!({"path": "././@LongLink", "type": "file", "content": body, "tar": {"typeflag": typeflag, "magic": "gnu"}})
}

/// One good entry, and one with its bytes changed; the checksum is made right again.
fn changed(entry_json: &Value, change: impl Fn(&mut [u8])) -> Value {
    let mut bytes = entry(entry_json);
    change(&mut bytes[..512]);
    bytes[148..156].fill(b' ');
    let sum: u64 = bytes[..512].iter().map(|&b| u64::from(b)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    raw(&bytes)
}

/// An old GNU sparse file of 512 stored bytes.
fn old_sparse(extents: &[(u64, u64)], size: u64, more: bool) -> Value {
    let plain = json!({"path": "a", "type": "file", "content": "rep:512:x", "tar": {"typeflag": "S", "magic": "gnu"}});
    let put = |block: &mut [u8], at: usize, number: u64| {
        block[at..at + 4].copy_from_slice(b"\x80\0\0\0");
        block[at + 4..at + 12].copy_from_slice(&number.to_be_bytes());
    };
    changed(&plain, |block| {
        for (n, &(offset, length)) in extents.iter().enumerate() {
            put(block, 386 + 24 * n, offset);
            put(block, 398 + 24 * n, length);
        }
        block[482] = more.into();
        put(block, 483, size);
    })
}

/// A sparse file of PAX version 1.0 with this map.
fn sparse_1_0(size: &str, map: &str, data: &str) -> [Value; 1] {
    let mut content = map.to_owned();
    content.push_str(&"\0".repeat(content.len().next_multiple_of(512) - content.len()));
    content.push_str(data);
    let pax = json!([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "a"],
        ["GNU.sparse.realsize", size]
    ]);
    [json!([with(
        with(file("a"), "content", json!(content)),
        "tar",
        json!({"pax": pax})
    )])]
}

fn sparse_map(size: &str, map: &str) -> [Value; 1] {
    one(json!({"pax": [["GNU.sparse.size", size], ["GNU.sparse.map", map]]}))
}

fn numbers() -> Vec<Row> {
    let size = |value: &str| one(json!({"rawsize": value}));
    vec![
        refused(
            "size-negative",
            "bad-header",
            &size("hex:ffffffffffffffffffffffff"),
        ),
        refused(
            "size-beyond-63-bits",
            "bad-header",
            &size("hex:80ffffffffffffffffffffff"),
        ),
        refused(
            "size-2^63-1",
            "truncated",
            &size("hex:800000007fffffffffffffff"),
        ),
        refused("size-garbage", "bad-header", &size("00000000009 ")),
        refused("size-with-a-sign", "bad-header", &size("-0000000001 ")),
        refused("size-hexadecimal", "bad-header", &size("0x0000000001")),
        refused(
            "size-digits-after-a-blank",
            "bad-header",
            &size("0000 0000001"),
        ),
        refused(
            "size-larger-than-the-archive",
            "truncated",
            &one(json!({"size": 1_000_000})),
        ),
        refused(
            "size-of-8-gib-without-data",
            "truncated",
            &one(json!({"size": 8_589_934_591_u64})),
        ),
        refused(
            "mode-negative",
            "bad-header",
            &[json!([changed(&file("a"), |b| b[100..108].fill(0xff))])],
        ),
        refused(
            "mode-garbage",
            "bad-header",
            &[json!([
                changed(&file("a"), |b| b[100..108].copy_from_slice(b"rwxr-xr-"))
            ])],
        ),
        refused(
            "uid-negative-base-256",
            "bad-header",
            &[json!([changed(&file("a"), |b| b[108..116].fill(0xff))])],
        ),
        refused(
            "gid-beyond-32-bits-base-256",
            "bad-header",
            &[json!([changed(&file("a"), |b| b[116..124]
                .copy_from_slice(b"\x80\0\0\x01\0\0\0\0"))])],
        ),
        refused(
            "mtime-beyond-64-bits-base-256",
            "bad-header",
            &[json!([
                changed(&file("a"), |b| b[136..148].copy_from_slice(&[0xc0; 12]))
            ])],
        ),
        refused(
            "device-garbage",
            "bad-header",
            &[json!([changed(
                &json!({"path": "n", "type": "char", "major": 1, "minor": 3}),
                |b| b[329] = b'x'
            )])],
        ),
        refused(
            "checksum-wrong",
            "bad-header",
            &one(json!({"badsum": true})),
        ),
        refused(
            "checksum-blank",
            "bad-header",
            &[json!([raw(&{
                let mut b = entry(&file("a"));
                b[148..156].fill(b' ');
                b
            })])],
        ),
        contained(
            "checksum-of-signed-bytes",
            "historic writers added signed bytes: both sums are right",
            "\\xe9 file",
            &[json!([raw(&{
                let mut b = entry(&file("hex:e9"));
                b[148..156].fill(b' ');
                let sum: i64 = b[..512].iter().map(|&b| i64::from(b.cast_signed())).sum();
                b[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                b
            })])],
        ),
        contained(
            "field-without-its-nul",
            "a field that is full needs no end",
            "/a file 0644",
            &[json!([
                changed(&file("a"), |b| b[100..108].copy_from_slice(b"00000644"))
            ])],
        ),
        contained(
            "magic-of-nobody",
            "the magic tells of a prefix only",
            "/a file",
            &[json!([
                changed(&file("a"), |b| b[257..265].copy_from_slice(b"nothing!"))
            ])],
        ),
    ]
}

fn pax() -> Vec<Row> {
    let raw_pax = |body: &str| one(json!({"pax_raw": body}));
    let inner = entry(&json!({"path": "smuggled", "type": "file", "content": "x"}));
    let smuggle = |pax: &str| {
        let size = inner.len().to_string();
        let (header, pax) = match pax {
            "larger" => (0, size.as_str()),
            _ => (inner.len(), "0"),
        };
        let outer = json!({"path": "a", "type": "file", "tar": {"size": header, "nodata": true, "pax": [["size", pax]]}});
        [json!([outer, raw(&inner), file("z")])]
    };
    vec![
        contained(
            "pax-size-larger-than-the-header",
            "the PAX size counts, and what it covers is content",
            "/a file 0644, /z file",
            &smuggle("larger"),
        ),
        contained(
            "pax-size-smaller-than-the-header",
            "the PAX size counts",
            "/a file 0644, /smuggled file 0644, /z file",
            &smuggle("smaller"),
        ),
        contained(
            "archive-in-an-archive",
            "content is never read as headers",
            "/a file 0644, /z file",
            &[
                json!([{"path": "a", "type": "file", "content": format!("hex:{}", raw(&inner)["raw_hex"].as_str().unwrap())}, file("z")]),
            ],
        ),
        refused(
            "pax-size-garbage",
            "bad-header",
            &one(json!({"pax": [["size", "1x"]]})),
        ),
        refused(
            "pax-size-negative",
            "bad-header",
            &one(json!({"pax": [["size", "-1"]]})),
        ),
        refused(
            "pax-size-2^64-1",
            "truncated",
            &one(json!({"pax": [["size", "18446744073709551615"]]})),
        ),
        refused(
            "pax-size-beyond-64-bits",
            "bad-header",
            &one(json!({"pax": [["size", "18446744073709551616"]]})),
        ),
        refused(
            "pax-record-longer-than-its-header",
            "bad-header",
            &raw_pax("99 a=b\n"),
        ),
        refused("pax-record-of-length-0", "bad-header", &raw_pax("0 a=b\n")),
        refused("pax-record-of-length-1", "bad-header", &raw_pax("1 a=b\n")),
        refused(
            "pax-record-of-endless-length",
            "bad-header",
            &raw_pax("99999999999999999999999 a=b\n"),
        ),
        refused(
            "pax-record-with-negative-length",
            "bad-header",
            &raw_pax("-6 a=b\n"),
        ),
        refused("pax-record-without-length", "bad-header", &raw_pax("a=b\n")),
        refused(
            "pax-record-without-newline",
            "bad-header",
            &raw_pax("6 a=b\n6 a=b"),
        ),
        refused(
            "pax-record-without-equals",
            "bad-header",
            &raw_pax("5 ab\n"),
        ),
        refused(
            "pax-record-without-keyword",
            "bad-header",
            &raw_pax("5 =b\n"),
        ),
        refused(
            "pax-records-with-nuls-behind",
            "bad-header",
            &raw_pax("6 a=b\n\0\0"),
        ),
        contained(
            "pax-record-empty",
            "an empty value takes the record back",
            "/a file",
            &raw_pax("5 a=\n"),
        ),
        contained(
            "pax-header-empty",
            "no records say nothing",
            "/a file",
            &raw_pax(""),
        ),
        contained(
            "pax-keyword-twice",
            "of two records with one keyword the last counts",
            "/second file",
            &one(json!({"pax": [["path", "first"], ["path", "second"]]})),
        ),
        refused(
            "pax-keyword-twice-the-last-escapes",
            "path-escape",
            &one(json!({"pax": [["path", "first"], ["path", "../canary"]]})),
        )
        .escapes(),
        refused(
            "pax-headers-two-in-a-row",
            "bad-header",
            &[json!([
                described("x", "9 path=b\n"),
                described("x", "9 path=c\n"),
                file("a")
            ])],
        ),
        refused(
            "pax-header-at-the-end",
            "truncated",
            &[json!([file("a"), described("x", "9 path=b\n")])],
        ),
        refused(
            "pax-header-before-the-end-marker",
            "truncated",
            &[json!([described("x", "9 path=b\n"), {"zero_blocks": 2}])],
        ),
        refused(
            "pax-header-of-8-gib",
            "limit",
            &[
                json!([{"path": "x", "type": "file", "tar": {"typeflag": "x", "size": 8_589_934_591_u64, "nodata": true}}]),
            ],
        ),
        refused(
            "pax-header-of-1-mib-and-1",
            "limit",
            &[json!([described("x", "rep:1048577:x")])],
        ),
        refused(
            "pax-header-with-negative-size",
            "bad-header",
            &[
                json!([{"path": "x", "type": "file", "tar": {"typeflag": "x", "rawsize": "hex:ffffffffffffffffffffffff"}}]),
            ],
        ),
        refused(
            "global-header-with-a-path",
            "bad-header",
            &one(json!({"global_pax": [["path", "x"]]})),
        ),
        refused(
            "global-header-with-a-size",
            "bad-header",
            &one(json!({"global_pax": [["size", "0"]]})),
        ),
        refused(
            "global-header-with-a-link",
            "bad-header",
            &one(json!({"global_pax": [["linkpath", "x"]]})),
        ),
        refused(
            "global-header-with-sparse-records",
            "bad-header",
            &one(json!({"global_pax": [["GNU.sparse.size", "9"]]})),
        ),
        refused(
            "global-header-inside-an-entry",
            "bad-header",
            &[json!([
                described("x", "9 path=b\n"),
                described("g", "9 comm=b\n"),
                file("a")
            ])],
        ),
        refused(
            "global-header-of-8-gib",
            "limit",
            &[
                json!([{"path": "g", "type": "file", "tar": {"typeflag": "g", "size": 8_589_934_591_u64, "nodata": true}}]),
            ],
        ),
        contained(
            "global-header-with-owner-and-time",
            "of a global header nothing is applied, with a note",
            "/a file 0644, note:  global PAX header",
            &one(json!({"global_pax": [["uid", "1000"], ["mtime", "5"], ["comment", "git"]]})),
        ),
        contained(
            "pax-path-and-gnu-long-name",
            "of names the newest format's counts: PAX before GNU",
            "/b file",
            &[json!([
                described("L", "c"),
                described("x", "9 path=b\n"),
                file("a")
            ])],
        ),
        contained(
            "gnu-long-name-after-pax-path",
            "of names the newest format's counts, whatever the order",
            "/b file",
            &[json!([
                described("x", "9 path=b\n"),
                described("L", "c"),
                file("a")
            ])],
        ),
        refused(
            "gnu-long-names-two-in-a-row",
            "bad-header",
            &[json!([described("L", "b"), described("L", "c"), file("a")])],
        ),
        refused(
            "gnu-long-name-at-the-end",
            "truncated",
            &[json!([file("a"), described("L", "b")])],
        ),
        refused(
            "gnu-long-link-at-the-end",
            "truncated",
            &[json!([file("a"), described("K", "b")])],
        ),
        refused(
            "gnu-long-name-of-8-gib",
            "limit",
            &[
                json!([{"path": "L", "type": "file", "tar": {"typeflag": "L", "size": 8_589_934_591_u64, "nodata": true, "magic": "gnu"}}]),
            ],
        ),
        refused(
            "gnu-long-link-of-8-gib",
            "limit",
            &[
                json!([{"path": "K", "type": "file", "tar": {"typeflag": "K", "size": 8_589_934_591_u64, "nodata": true, "magic": "gnu"}}]),
            ],
        ),
        contained(
            "gnu-long-link-before-a-file",
            "a long link says nothing of a file",
            "/a file",
            &[json!([described("K", "../canary"), file("a")])],
        ),
        contained(
            "charset-that-nobody-has",
            "names are bytes whatever the charset",
            "/a file",
            &one(json!({"pax": [["hdrcharset", "EBCDIC"]]})),
        ),
        contained(
            "names-of-users",
            "numbers count, names of users do not",
            "/a file",
            &one(json!({"pax": [["uname", "root"], ["gname", "root"]]})),
        ),
    ]
}

fn sparse() -> Vec<Row> {
    vec![
        refused("sparse-1.0-claims-1-tib", "limit", &sparse_1_0("1099511627776", "0\n", "")),
        refused("sparse-1.0-claims-10-million-extents", "limit", &sparse_1_0("5", "10000000\n", "")),
        refused("sparse-1.0-map-is-missing", "truncated", &[json!([{"path": "a", "type": "file", "tar": {"size": 512, "nodata": true, "pax": [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "5"]]}}])]).blob(json!({"trailer_blocks": 0})),
        refused("sparse-1.0-without-any-data", "bad-header", &[json!([with(with(file("a"), "content", json!("")), "tar", json!({"pax": [["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"], ["GNU.sparse.realsize", "5"]]}))])]),
        refused("sparse-1.0-map-without-a-number", "bad-header", &sparse_1_0("5", &"7".repeat(512), "")),
        refused("sparse-1.0-map-of-garbage", "bad-header", &sparse_1_0("5", "x\n", "")),
        refused("sparse-1.0-extents-overlap", "bad-header", &sparse_1_0("9", "2\n2\n3\n4\n1\n", "abcd")),
        refused("sparse-1.0-extents-descend", "bad-header", &sparse_1_0("9", "2\n4\n1\n2\n1\n", "ab")),
        refused("sparse-1.0-extents-leave-the-file", "bad-header", &sparse_1_0("9", "1\n8\n2\n", "ab")),
        refused("sparse-1.0-extents-overflow", "bad-header", &sparse_1_0("9", "1\n18446744073709551615\n2\n", "ab")),
        refused("sparse-1.0-more-data-than-extents", "bad-header", &sparse_1_0("9", "1\n0\n1\n", "abc")),
        contained("sparse-1.0-good", "holes are zeros", "/a file", &sparse_1_0("9000", "2\n0\n2\n8000\n1\n", "abc")),
        refused("sparse-0.1-claims-1-tib", "limit", &sparse_map("1099511627776", "0,1")),
        refused("sparse-0.1-extents-overlap", "bad-header", &sparse_map("9", "0,1,0,1")),
        refused("sparse-0.1-extent-without-length", "bad-header", &sparse_map("9", "0,1,5")),
        refused("sparse-0.1-map-of-garbage", "bad-header", &sparse_map("9", "0;1")),
        refused("sparse-0.1-without-size", "bad-header", &one(json!({"pax": [["GNU.sparse.map", "0,1"]]}))),
        refused("sparse-0.1-wrong-number-of-extents", "bad-header", &one(json!({"pax": [["GNU.sparse.size", "9"], ["GNU.sparse.numblocks", "2"], ["GNU.sparse.map", "0,1"]]}))),
        refused("sparse-0.0-length-before-offset", "bad-header", &one(json!({"pax": [["GNU.sparse.size", "9"], ["GNU.sparse.numbytes", "1"], ["GNU.sparse.offset", "0"]]}))),
        refused("sparse-of-an-unknown-version", "unsupported-type", &one(json!({"pax": [["GNU.sparse.major", "2"], ["GNU.sparse.minor", "0"], ["GNU.sparse.size", "9"]]}))),
        refused("sparse-of-star", "unsupported-type", &one(json!({"pax": [["SCHILY.realsize", "9"]]}))),
        refused("sparse-directory", "bad-header", &[json!([with(dir("d"), "tar", json!({"pax": [["GNU.sparse.size", "9"]]}))])]),
        refused("sparse-link", "bad-header", &[json!([with(symlink("s", "x"), "tar", json!({"pax": [["GNU.sparse.size", "9"]]}))])]),
        refused("sparse-old-gnu-claims-1-tib", "limit", &[json!([old_sparse(&[(0, 512)], 1 << 40, false)])]).blob(json!({"trailer_blocks": 2})),
        refused("sparse-old-gnu-extents-overlap", "bad-header", &[json!([old_sparse(&[(0, 256), (128, 256)], 512, false)])]),
        refused("sparse-old-gnu-extents-leave-the-file", "bad-header", &[json!([old_sparse(&[(100, 512)], 512, false)])]),
        refused("sparse-old-gnu-more-blocks-that-are-missing", "truncated", &[json!([old_sparse(&[(0, 512)], 512, true)])]).blob(json!({"truncate": 512})),
        contained("sparse-old-gnu-good", "holes are zeros", "/a file", &[json!([old_sparse(&[(4096, 512)], 8192, false)])]),
    ]
}

fn ends() -> Vec<Row> {
    let two = || [json!([file("a"), file("b")])];
    let cut = |to: i64| json!({"truncate": to, "compression": "none"});
    let other = format!(
        "hex:{}",
        raw(&[entry(&file("../canary")), vec![0; 1024]].concat())["raw_hex"]
            .as_str()
            .unwrap()
    );
    vec![
        refused("cut-off-in-a-header", "truncated", &two()).blob(cut(100)),
        refused("cut-off-before-content", "truncated", &two()).blob(cut(512)),
        refused(
            "cut-off-in-content",
            "truncated",
            &[json!([with(file("a"), "content", json!("rep:2000:x"))])],
        )
        .blob(cut(1500)),
        refused("cut-off-in-padding", "truncated", &two()).blob(cut(700)),
        refused("cut-off-in-a-second-header", "truncated", &two()).blob(cut(1300)),
        refused("cut-off-in-half-of-the-end-marker", "truncated", &two()).blob(cut(-100)),
        refused(
            "cut-off-in-a-pax-header",
            "truncated",
            &[json!([described("x", "rep:2000:x")])],
        )
        .blob(cut(1000)),
        contained(
            "without-an-end-marker",
            "an archive may end behind any entry",
            "/a file 0644, /b file",
            &two(),
        )
        .blob(json!({"trailer_blocks": 0})),
        contained(
            "with-half-an-end-marker",
            "an archive may end behind any entry",
            "/a file 0644, /b file",
            &two(),
        )
        .blob(json!({"trailer_blocks": 1})),
        refused(
            "one-block-of-zeros-between-entries",
            "bad-header",
            &[json!([file("a"), {"zero_blocks": 1}, file("b")])],
        ),
        contained(
            "entries-after-the-end-marker",
            "after the end marker nothing is read but to its digest, with a note",
            "/ directory 0755, /a file 0644, note:  bytes after",
            &[json!([file("a"), {"zero_blocks": 2}, file("../canary")])],
        )
        .escapes(),
        contained(
            "concatenated-archives",
            "after the end marker nothing is read but to its digest, with a note",
            "/ directory 0755, /a file 0644, note:  bytes after",
            &[json!([file("a")])],
        )
        .blob(json!({"after_trailer": other})),
        contained(
            "garbage-after-the-end-marker",
            "after the end marker nothing is read but to its digest, with a note",
            "note:  bytes after the end",
            &two(),
        )
        .blob(json!({"after_trailer": "rep:100:z", "compression": "none"})),
        refused("garbage-after-the-end-marker-too-much", "limit", &two())
            .blob(json!({"after_trailer": "rep:100:z"}))
            .options(|o| o.limits.trailing = 99),
        contained(
            "empty-blob",
            "an archive without entries is one",
            "/ directory 0755",
            &[json!([])],
        )
        .blob(json!({"compression": "none", "trailer_blocks": 0})),
        refused(
            "text-instead-of-an-archive",
            "bad-header",
            &[json!([raw(&b"<html>404 not found</html>\n".repeat(40))])],
        ),
        refused(
            "text-shorter-than-a-block",
            "truncated",
            &[json!([raw(b"not found")])],
        )
        .blob(json!({"trailer_blocks": 0})),
        refused(
            "random-bytes",
            "bad-header",
            &[json!([raw(&bytes(&json!("rep:600:\u{a7}%k")))])],
        ),
    ]
}

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "Numbers in headers",
            attacks: "Where an entry ends: a size, a checksum or a link's data that two readers see \
                      differently makes content into headers, and a scanner sees another image.",
            rows: numbers(),
        },
        Section {
            title: "Extended headers",
            attacks: "What the entry behind a header is: records that are broken, doubled or about somebody \
                      else, in which readers find different names, sizes and links; and their own size in memory.",
            rows: pax(),
        },
        Section {
            title: "Sparse files",
            attacks: "The disk and the arithmetic: holes of terabytes, maps of millions of extents, extents \
                      that overlap or leave the file.",
            rows: sparse(),
        },
        Section {
            title: "Ends of archives",
            attacks: "Where the archive ends: what one reader ignores and another one extracts, and archives \
                      of which a part is missing.",
            rows: ends(),
        },
    ]
}
