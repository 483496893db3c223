//! What is left of what was staged, by a cut, by other programs: it is told, and nothing of it is deployed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Test;

const STAGE: &[&str] = &["switch", "oci:images:v2", "--stage"];

/// Does something to what is staged; it is told then, with this.
fn check(test: &Test, what: &str, damage: &dyn Fn(&Path, &Path), expected: &str) {
    test.ok(STAGE);
    let sysroot = test.scratch.path("sysroot");
    let path = test.status()["staged"]["path"].clone();
    let path = path
        .as_str()
        .unwrap_or_else(|| panic!("{what}: nothing is staged"));
    damage(
        &sysroot.join("ostree/pleach/staged.json"),
        &sysroot.join(path),
    );

    let staged = &test.status()["staged"];
    let failed = staged["failed"].as_str().unwrap_or_default();
    assert!(failed.contains(expected), "{what}: {staged:#}");
    assert_eq!(staged["deployed"], false, "{what}: {staged:#}");
    let text = test.ok(&["status"]);
    assert!(text.contains("NOT DEPLOYED"), "{what}: {text}");
    test.refused(&["finalize"], expected);
    test.ok(&["status"]);
    test.ok(&["cleanup", "--staged"]);
    assert_eq!(test.status()["staged"], Value::Null, "{what}");
}

#[test]
fn whatever_is_left_of_what_is_staged_is_told() {
    let Some(test) = Test::new("whatever_is_left_of_what_is_staged_is_told") else {
        return;
    };
    let rewrite = |change: fn(Vec<u8>) -> Vec<u8>| {
        move |file: &Path, _: &Path| {
            let text = fs::read(file).expect("read");
            fs::write(file, change(text)).expect("written");
        }
    };
    const LOST: &str = "what was staged is lost";
    check(&test, "empty", &rewrite(|_| Vec::new()), LOST);
    check(&test, "zeros", &rewrite(|text| vec![0; text.len()]), LOST);
    let half = |text: Vec<u8>| text[..text.len() / 2].to_vec();
    check(&test, "a half", &rewrite(half), LOST);
    let other = |text: Vec<u8>| {
        let text = String::from_utf8(text).expect("text");
        text.replace("v=2", "v=3").into_bytes()
    };
    check(&test, "a part of another one", &rewrite(other), LOST);
    let later = |text: Vec<u8>| {
        let text = String::from_utf8(text).expect("text");
        text.replace("\"format_version\": 1", "\"format_version\": 9")
            .into_bytes()
    };
    check(&test, "a later one", &rewrite(later), "format version 9");
    let root_is_gone = |_: &Path, root: &Path| fs::remove_dir_all(root).expect("removed");
    check(&test, "without its root", &root_is_gone, "is gone");
}

#[test]
fn what_is_deployed_and_still_said_to_be_staged_is_told() {
    let Some(test) = Test::new("what_is_deployed_and_still_said_to_be_staged_is_told") else {
        return;
    };
    test.ok(STAGE);
    let file = test.scratch.path("sysroot/ostree/pleach/staged.json");
    let text = fs::read(&file).expect("read");
    test.ok(&["finalize"]);
    fs::write(&file, text).expect("written");
    let staged = &test.status()["staged"];
    assert_eq!(staged["deployed"], true, "{staged:#}");
    assert_eq!(staged["failed"], Value::Null, "{staged:#}");
    let text = test.ok(&["status"]);
    assert!(
        text.contains("deployed: `pleach deploy finalize`"),
        "{text}"
    );
    test.ok(&["finalize"]);
    assert_eq!(test.status()["staged"], Value::Null);
    assert_eq!(test.numbers(), ["2", "1"]);
    test.ostree_agrees();
}
