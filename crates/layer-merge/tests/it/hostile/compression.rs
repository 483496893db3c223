//! Compressed streams, and bombs in them.

use serde_json::{Value, json};

use super::{Row, Section, contained, file, refused, with};

const MEMBERS: &str = "all members of a gzip stream are one stream (RFC 1952)";
const FRAMES: &str = "all frames of a zstd stream are one stream (RFC 8878)";

fn two() -> [Value; 1] {
    [json!([file("a"), file("b")])]
}

/// A blob of these bytes, whatever they are.
fn blob(name: &str, class: &'static str, compression: &str, bytes: Vec<u8>) -> Row {
    let media_type = format!("application/vnd.oci.image.layer.v1.tar+{compression}");
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let options = json!({"compression": "none", "trailer_blocks": 0, "media_type": media_type});
    refused(name, class, &[json!([{"raw_hex": hex}])]).blob(options)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame header that asks for a window of that many bits, and nothing behind it.
fn zstd_window(log: u8) -> Vec<u8> {
    [
        b"\x28\xb5\x2f\xfd".as_slice(),
        &[0, (log - 10) << 3],
        b"\x01\0\0",
    ]
    .concat()
}

pub(crate) fn section() -> Section {
    Section {
        title: "Compression",
        attacks: "Memory, disk and time: bombs, windows, endless headers; and the part of a stream that one decoder \
                  reads and another one drops.",
        rows: rows(),
    }
}

fn rows() -> Vec<Row> {
    let zeros = |count: usize| {
        [json!([with(
            file("a"),
            "content",
            json!(format!("rep:{count}:\u{0}"))
        )])]
    };
    let media = |of: &str| format!("application/vnd.oci.image.layer.v1.tar{of}");
    let gz = gzip(b"x");
    vec![
        refused("gzip-wrong-checksum", "bad-compression", &two()).blob(json!({"gzip_badcrc": true})),
        refused("gzip-without-its-last-byte", "bad-compression", &two()).blob(json!({"gzip_truncate": -1})),
        refused("gzip-without-its-trailer", "bad-compression", &two()).blob(json!({"gzip_truncate": -8})),
        refused("gzip-cut-off-in-data", "bad-compression", &two()).blob(json!({"gzip_truncate": 40})),
        refused("gzip-cut-off-in-its-header", "bad-compression", &two()).blob(json!({"gzip_truncate": 5})),
        refused("gzip-empty", "bad-compression", &two()).blob(json!({"gzip_truncate": 0})),
        refused("gzip-garbage-behind", "bad-compression", &two()).blob(json!({"gzip_trailing": "GARBAGE and more"})),
        refused("gzip-half-a-member-behind", "bad-compression", &two()).blob(json!({"gzip_trailing": "hex:1f8b08000000"})),
        contained("gzip-zeros-behind", "zeros after the last member are the padding of a tape", "/a file", &two()).blob(json!({"gzip_trailing": "rep:700:\u{0}"})),
        refused("gzip-garbage-behind-zeros", "bad-compression", &two()).blob(json!({"gzip_trailing": format!("{}x", "\u{0}".repeat(700))})),
        contained("gzip-member-for-each-entry", MEMBERS, "/a file 0644, /b file", &two()).blob(json!({"gzip_members": "entry"})),
        contained("gzip-member-for-each-7-bytes", MEMBERS, "/a file 0644, /b file", &two()).blob(json!({"gzip_members": 7})),
        contained("gzip-every-optional-field", "optional fields of a member's header are skipped", "/a file", &two()).blob(json!({"gzip_extra": true})),
        blob("gzip-unknown-method", "bad-compression", "gzip", [b"\x1f\x8b\x09\0\0\0\0\0\0\x03".as_slice(), &gz[10..]].concat()),
        blob("gzip-reserved-flags", "bad-compression", "gzip", [b"\x1f\x8b\x08\xe0\0\0\0\0\0\x03".as_slice(), &gz[10..]].concat()),
        blob("gzip-wrong-checksum-of-header", "bad-compression", "gzip", [b"\x1f\x8b\x08\x02\0\0\0\0\0\x03\0\0".as_slice(), &gz[10..]].concat()),
        blob("gzip-endless-name", "bad-compression", "gzip", [b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".as_slice(), &vec![b'n'; 2 << 20]].concat()),
        blob("gzip-reserved-deflate-block", "bad-compression", "gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x07\0\0\0\0".to_vec()),
        blob("gzip-distance-before-the-beginning", "bad-compression", "gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\x62\0\0\0\0\0\0\0".to_vec()),
        contained("gzip-100000-empty-members", MEMBERS, "/ directory 0755", &[json!([])]).blob(json!({"gzip_trailing": format!("hex:{}", "1f8b080000000000000303000000000000000000".repeat(100_000))})),
        refused("gzip-in-gzip", "bad-header", &[json!([{"raw_hex": gzip(&[0; 1024]).iter().map(|b| format!("{b:02x}")).collect::<String>()}])]).blob(json!({"trailer_blocks": 0})),
        refused("gzip-bomb-of-one-file", "limit", &zeros(5 << 20)).options(|o| o.limits.file = 1 << 20),
        refused("gzip-bomb-of-all", "limit", &zeros(5 << 20)).options(|o| o.limits.unpacked = 1 << 20),
        refused("gzip-bomb-by-ratio", "limit", &zeros(5 << 20)).options(|o| (o.limits.compression_ratio, o.limits.compression_grace) = (100, 1 << 20)),
        refused("gzip-bomb-behind-the-archive", "limit", &two()).blob(json!({"after_trailer": format!("rep:{}:\u{0}", 2 << 20)})).options(|o| o.limits.trailing = 1 << 20),
        refused("zstd-bomb-of-one-file", "limit", &zeros(5 << 20)).blob(json!({"compression": "zstd"})).options(|o| o.limits.file = 1 << 20),
        refused("zstd-bomb-by-ratio", "limit", &zeros(5 << 20)).blob(json!({"compression": "zstd"})).options(|o| o.limits.compression_grace = 1 << 20),
        refused("bomb-of-holes", "limit", &[json!([with(file("a"), "tar", json!({"pax": [["GNU.sparse.size", "60000000000"], ["GNU.sparse.map", "0,1"]]}))])]),
        refused("bomb-over-several-layers", "limit", &[zeros(1 << 20)[0].clone(), zeros(1 << 20)[0].clone()]).options(|o| o.limits.unpacked = 3 << 19),
        refused("bomb-of-entries", "limit", &two()).options(|o| o.limits.entries = 1),
        refused("bomb-of-entries-over-several-layers", "limit", &[json!([file("a")]), json!([file("b")])]).options(|o| o.limits.entries = 1),
        refused("bomb-of-whiteouts", "limit", &[json!([file(".wh.a"), file(".wh.b")])]).options(|o| o.limits.entries = 1),
        blob("zstd-window-of-2-gib", "limit", "zstd", zstd_window(31)),
        refused("zstd-cut-off", "bad-compression", &two()).blob(json!({"compression": "zstd", "gzip_truncate": -3})),
        refused("zstd-garbage-behind", "bad-compression", &two()).blob(json!({"compression": "zstd", "gzip_trailing": "GARBAGE and more"})),
        refused("zstd-empty", "bad-compression", &two()).blob(json!({"compression": "zstd", "gzip_truncate": 0})),
        contained("zstd-frames-and-skippable-ones", FRAMES, "/a file 0644, /b file", &two()).blob(json!({"compression": "zstd", "zstd_frames": true})),
        contained("zstd-skippable-frame-behind", FRAMES, "/a file", &two()).blob(json!({"compression": "zstd", "gzip_trailing": "hex:502a4d180400000078787878"})),
        refused("zstd-skippable-frame-of-4-gib", "bad-compression", &two()).blob(json!({"compression": "zstd", "gzip_trailing": "hex:502a4d18ffffffff78787878"})),
        blob("zstd-with-a-dictionary", "bad-compression", "zstd", b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\0\0x".to_vec()),
        blob("zstd-of-no-version", "bad-compression", "zstd", b"\x1e\xb5\x2f\xfd\0\0\0\0\0\0\0\0\0".to_vec()),
        refused("media-type-gzip-bytes-plain", "bad-compression", &two()).blob(json!({"compression": "none", "media_type": media("+gzip")})),
        refused("media-type-plain-bytes-gzip", "bad-header", &two()).blob(json!({"media_type": media("")})),
        refused("media-type-zstd-bytes-gzip", "bad-compression", &two()).blob(json!({"media_type": media("+zstd")})),
        refused("media-type-gzip-bytes-zstd", "bad-compression", &two()).blob(json!({"compression": "zstd", "media_type": media("+gzip")})),
        refused("media-type-plain-bytes-zstd", "bad-header", &two()).blob(json!({"compression": "zstd", "media_type": media("")})),
        refused("media-type-unknown", "unsupported-media-type", &two()).blob(json!({"media_type": "application/x"})),
        refused("media-type-of-a-squashfs", "unsupported-media-type", &two()).blob(json!({"media_type": media("+squashfs")})),
        refused("media-type-encrypted", "unsupported-media-type", &two()).blob(json!({"media_type": media("+gzip+encrypted")})),
        refused("media-type-in-capitals", "unsupported-media-type", &two()).blob(json!({"media_type": media("+GZIP")})),
    ]
}
