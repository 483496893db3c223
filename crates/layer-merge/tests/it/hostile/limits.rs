//! Each limit is reached by its name, whatever the other ones are.

use pleach_layer_merge::{ErrorClass, IndexOnly, Limits, MergeOptions, read_tar};
use serde_json::{Value, json};

use super::{dir, file, symlink, with};
use crate::archive::entry;

fn check(change: fn(&mut Limits), entries: &[Value], expect: &str) {
    let mut archive: Vec<u8> = entries.iter().flat_map(entry).collect();
    archive.extend([0; 1024]);
    let mut options = MergeOptions::default();
    change(&mut options.limits);
    let error = read_tar(&mut &*archive, &mut IndexOnly, &options).expect_err(expect);
    let found = error.to_string();
    assert_eq!(error.class(), ErrorClass::Limit, "{found}");
    assert!(found.ends_with(expect), "{found}\nexpected: {expect}");
}

#[test]
fn each_limit_has_a_name() {
    let big = [with(file("a"), "content", json!("rep:9000:x"))];
    let two = [file("a"), file("b")];
    let long_names = [
        file(&"n".repeat(200)),
        symlink(&"m".repeat(200), &"t".repeat(200)),
    ];
    let long = [file(&"n".repeat(200))];
    check(|l| l.entries = 1, &two, "limit reached: entries, at most 1");
    check(
        |l| l.path = 3,
        &[file("abcd")],
        "limit reached: bytes of a path, at most 3",
    );
    check(
        |l| l.depth = 2,
        &[file("a/b/c")],
        "components of a path, at most 2",
    );
    check(|l| l.name = 2, &[file("abc")], "bytes of a name, at most 2");
    check(
        |l| l.link_target = 2,
        &[symlink("a", "abc")],
        "bytes of a symbolic link's target, at most 2",
    );
    let link = [dir("d"), symlink("s", "d/../d/../d"), file("s/x")];
    check(
        |l| l.link_steps = 4,
        &link,
        "components walked through symbolic links, at most 4",
    );
    check(
        |l| l.entries = 4,
        &[file("a/b/c/d/e"), file("f")],
        "entries, with the directories on the way to them, at most 4",
    );
    check(
        |l| l.metadata = 500,
        &long_names,
        "bytes of names, targets and extended attributes, at most 500",
    );
    check(|l| l.file = 8999, &big, "bytes of a file, at most 8999");
    check(|l| l.unpacked = 9000, &big, "unpacked bytes, at most 9000");
    check(
        |l| l.metadata_record = 200,
        &long,
        "bytes of a record about an entry, at most 200",
    );
}

#[test]
fn strict_takes_a_parent_that_is_named_later() {
    let options = MergeOptions {
        strict: true,
        ..MergeOptions::default()
    };
    let mut archive: Vec<u8> = [file("d/x"), dir("d")].iter().flat_map(entry).collect();
    archive.extend([0; 1024]);
    let merged = read_tar(&mut &*archive, &mut IndexOnly, &options).unwrap();
    assert_eq!(merged.tree.walk().count(), 3);
}
