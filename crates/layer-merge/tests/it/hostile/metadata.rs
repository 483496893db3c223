//! Owners, times, devices, types and extended attributes.

use pleach_layer_merge::XattrAction;
use serde_json::{Value, json};

use super::{Row, Section, contained, dir, file, refused, symlink, tar, with};

const DROPPED: &str =
    "user attributes are for files and directories alone (xattr(7)): left out, with a note";

fn pax(key: &str, value: &str) -> [Value; 1] {
    [json!([tar(json!({"pax": [[key, value]]}))])]
}

fn xattr(name: &str, value: &str) -> [Value; 1] {
    pax(&format!("SCHILY.xattr.{name}"), value)
}

fn on(entry: Value, name: &str, value: &str) -> [Value; 1] {
    let key = format!("SCHILY.xattr.{name}");
    [json!([with(entry, "tar", json!({"pax": [[key, value]]}))])]
}

fn owners_times_and_types() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, value) in [
        ("negative", "-1"),
        ("that-means-keep", "4294967295"),
        ("beyond-32-bits", "4294967296"),
        ("beyond-63-bits", "9223372036854775808"),
        ("beyond-64-bits", "99999999999999999999"),
        ("no-number", "x"),
        ("with-a-fraction", "1.5"),
        ("with-a-sign", "+1"),
        ("with-a-blank", " 1"),
    ] {
        for key in ["uid", "gid"] {
            rows.push(refused(
                format!("owner-{what}/{key}"),
                "bad-header",
                &pax(key, value),
            ));
        }
    }
    for (what, value) in [
        ("not-a-number", "NaN"),
        ("exponent", "1e30"),
        ("negative-exponent", "-1e30"),
        ("two-signs", "--1"),
        ("beyond-63-bits", "9223372036854775808"),
        ("letters-behind-the-point", "1.x"),
        ("infinite", "inf"),
    ] {
        rows.push(refused(
            format!("mtime-{what}"),
            "bad-header",
            &pax("mtime", value),
        ));
    }
    for (what, value) in [
        ("2^63-1", "9223372036854775807"),
        ("minus-2^63", "-9223372036854775807.5"),
    ] {
        let rule = "a time that 64 bits hold is taken; merging asks no file system for its range";
        rows.push(
            contained(
                format!("mtime-extreme/{what}"),
                rule,
                "/a file",
                &pax("mtime", value),
            )
            .rounded(),
        );
    }
    rows.push(contained(
        "mtime-of-13-digits-of-fraction",
        "beyond nanoseconds a time is cut off",
        "/a file",
        &pax("mtime", "1.9999999999999"),
    ));
    for (what, flag) in [
        ("gnu-dumpdir", "D"),
        ("gnu-multivolume", "M"),
        ("gnu-volume-label", "V"),
        ("solaris-acl", "A"),
        ("solaris-extended", "X"),
        ("unknown-letter", "Z"),
        ("old-gnu-long-name", "N"),
        ("byte-ff", "hex:ff"),
        ("reserved-digit", "8"),
        ("blank", " "),
    ] {
        rows.push(refused(
            format!("typeflag-{what}"),
            "unsupported-type",
            &[json!([tar(json!({"typeflag": flag}))])],
        ));
    }
    rows.extend([
        refused("device-major-beyond-12-bits", "limit", &[json!([{"path": "n", "type": "char", "major": "7777777", "minor": 0}])]),
        refused("device-minor-beyond-20-bits", "limit", &[json!([{"path": "n", "type": "block", "major": 1, "minor": 1_048_576}])]),
        refused("device-minor-beyond-32-bits-by-pax", "limit", &[json!([{"path": "n", "type": "block", "major": 1, "minor": 1, "tar": {"pax": [["SCHILY.devminor", "4294967297"]]}}])]),
        contained("device-of-a-disk", "devices are in the tree; whoever writes it decides", "/n block-device", &[json!([{"path": "n", "type": "block", "major": 8, "minor": 0}])]),
        contained("fifo-that-would-block", "nothing but files is opened", "/p fifo", &[json!([{"path": "p", "type": "fifo"}])]),
        contained("mode-with-all-bits", "of a mode the lowest 12 bits count", "/a file 7777", &[json!([with(file("a"), "mode", json!("7777777"))])]),
        contained("mode-000-directory-with-children", "a directory gets its mode after its children", "/d directory 0000, /d/x file", &[json!([with(dir("d"), "mode", json!("0")), file("d/x")])]),
        contained("setuid-of-another-owner", "owner before mode: the bits stay", "/a file 6755", &[json!([with(with(file("a"), "mode", json!("6755")), "uid", json!(1000))])]),
        contained("directory-with-size", "a directory's size is a hint, no data follow (POSIX, ustar)", "/d directory 0755, /e file", &[json!([with(dir("d"), "tar", json!({"size": 512, "nodata": true})), file("e")])]),
        refused("directory-with-size-and-data", "bad-header", &[json!([with(with(dir("d"), "content", json!("rep:512:x")), "tar", json!({"size": 512})), file("e")])]),
        contained("device-with-size", "a device's size means nothing (POSIX, ustar)", "/n char-device 0644, /z file", &[json!([{"path": "n", "type": "char", "major": 1, "minor": 3, "tar": {"size": 512, "nodata": true}}, file("z")])]),
    ]);
    rows
}

/// Version 2 and 3 of a file's capabilities, as the kernel has them (linux/capability.h).
fn capability(version: u32, words: usize) -> String {
    let mut bytes = (version << 24).to_le_bytes().to_vec();
    bytes.resize(4 * words, 1);
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn attributes() -> Vec<Row> {
    let many: Vec<_> = (0..1025)
        .map(|n| json!([format!("SCHILY.xattr.user.{n}"), ""]))
        .collect();
    let mut rows = Vec::new();
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.whiteout",
        "user.overlay.opaque",
        "user.overlay.metacopy",
        "user.overlay.redirect",
    ] {
        rows.push(refused(
            format!("attribute-of-overlayfs/{name}"),
            "bad-xattr",
            &xattr(name, "y"),
        ));
    }
    for name in [
        "user.containers.override_stat",
        "user.rootlesscontainers",
        "user.ostreemeta",
    ] {
        let rule = "an attribute that other tools give a meaning has none here";
        rows.push(contained(
            format!("attribute-of-another-tool/{name}"),
            rule,
            "/a file",
            &xattr(name, "0:0:4755"),
        ));
    }
    for name in ["user.", "trusted.", "security.", "system.", "."] {
        rows.push(refused(
            format!("attribute-without-a-name/{name}"),
            "bad-xattr",
            &xattr(name, "y"),
        ));
    }
    rows.extend([
        refused(
            "attribute-in-libarchive-form-hides-overlay",
            "bad-xattr",
            &pax("LIBARCHIVE.xattr.trusted%2Eoverlay%2Eopaque", "eQ=="),
        ),
        refused(
            "attribute-in-libarchive-form-bad-base64",
            "bad-header",
            &pax("LIBARCHIVE.xattr.user.a", "!"),
        ),
        refused(
            "attribute-in-libarchive-form-bad-percent",
            "bad-header",
            &pax("LIBARCHIVE.xattr.user.%zz", "eQ=="),
        ),
        refused(
            "attribute-with-nul-in-its-name",
            "bad-xattr",
            &pax("LIBARCHIVE.xattr.user.a%00b", "eQ=="),
        ),
        refused(
            "attribute-value-of-64-kib-and-1",
            "limit",
            &xattr("user.a", "rep:65537:v"),
        ),
        refused(
            "attribute-name-of-256-bytes",
            "limit",
            &xattr(&format!("user.{}", "n".repeat(251)), "v"),
        ),
        refused(
            "attributes-1025-of-one-inode",
            "limit",
            &[json!([tar(json!({"pax": many}))])],
        ),
        contained(
            "attribute-name-with-equals",
            "the first = ends a keyword",
            "/a file",
            &xattr("user.a=b", "v"),
        ),
        contained(
            "attribute-value-with-newline",
            "a record's length counts, not its lines",
            "/a file",
            &xattr("user.a", "x\n11 path=../y\n"),
        ),
        contained(
            "attribute-twice",
            "of two records with one keyword the last counts",
            "/a file",
            &[json!([tar(
                json!({"pax": [["SCHILY.xattr.user.a", "1"], ["SCHILY.xattr.user.a", "2"]]})
            )])],
        ),
        contained(
            "attribute-selinux",
            "labels are the host's policy's: left out, with a note",
            "note: a extended attribute security.selinux",
            &xattr("security.selinux", "system_u:object_r:shadow_t:s0"),
        ),
        refused("attribute-without-any-name", "bad-xattr", &xattr("", "y")),
        contained(
            "attribute-of-no-known-namespace",
            "what no rule keeps is left out, with a note",
            "note: a extended attribute os2.x",
            &xattr("os2.x", "y"),
        ),
        contained(
            "attribute-user-on-a-link",
            DROPPED,
            "note: s extended attribute user.k",
            &on(symlink("s", "x"), "user.k", "v"),
        ),
        contained(
            "attribute-user-on-a-fifo",
            DROPPED,
            "note: p extended attribute user.k",
            &on(json!({"path": "p", "type": "fifo"}), "user.k", "v"),
        ),
        refused(
            "attribute-refused-by-rule",
            "bad-xattr",
            &xattr("trusted.k", "v"),
        )
        .options(|o| o.xattrs = vec![(b"trusted.".to_vec(), XattrAction::Refuse)]),
        contained(
            "acl-as-text",
            "a record that is not understood is left out, with a note",
            "/a file 0644, note: a PAX record SCHILY.acl.access",
            &pax("SCHILY.acl.access", "user::rw-"),
        ),
        contained(
            "pax-keyword-with-controls",
            "what is shown is escaped",
            "note: a PAX record x\\x1b[2J",
            &pax("x\u{1b}[2J", "y"),
        ),
        contained(
            "capability-of-a-file-of-another-owner",
            "owner before capabilities: they stay",
            "/a file",
            &[json!([with(
                with(file("a"), "uid", json!(1000)),
                "tar",
                json!({"pax": [["SCHILY.xattr.security.capability", capability(2, 5)]]})
            )])],
        ),
        refused(
            "capability-that-is-none",
            "bad-xattr",
            &xattr("security.capability", "all"),
        ),
        refused(
            "capability-of-an-unknown-version",
            "bad-xattr",
            &xattr("security.capability", &capability(4, 6)),
        ),
        refused(
            "capability-that-is-cut-off",
            "bad-xattr",
            &xattr("security.capability", &capability(2, 4)),
        ),
        refused(
            "acl-that-is-none",
            "bad-xattr",
            &xattr("system.posix_acl_access", "rwx"),
        ),
        refused(
            "acl-of-another-version",
            "bad-xattr",
            &xattr("system.posix_acl_access", "\u{1}\0\0\0"),
        ),
        refused(
            "default-acl-of-a-file",
            "bad-xattr",
            &xattr("system.posix_acl_default", "\u{2}\0\0\0"),
        ),
        refused(
            "acl-of-a-link",
            "bad-xattr",
            &on(symlink("s", "x"), "system.posix_acl_access", "\u{2}\0\0\0"),
        ),
    ]);
    rows
}

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "Owners, times, modes, types and devices",
            attacks: "What turns into root's, into a setuid bit, or into a node that kernels give a meaning: \
                      numbers that are cut off when they are stored, and types that readers take for another one.",
            rows: owners_times_and_types(),
        },
        Section {
            title: "Extended attributes",
            attacks: "Rights and meanings that no mode shows: attributes that make overlayfs hide or redirect \
                      files, capabilities and ACLs that a kernel would refuse half-way, records that hide others.",
            rows: attributes(),
        },
    ]
}
