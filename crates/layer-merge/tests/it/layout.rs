//! Image layouts on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::Digest;
use pleach_layer_merge::{
    ErrorClass, History, LayerOptions, Layout, NewImage, WrittenLayer, append_layer, parse_digest,
    write_tree,
};
use serde_json::{Value, json};

use crate::{bytes, full, tree};

fn layout() -> (tempfile::TempDir, Layout) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient_dir(temporary.path(), ambient_authority()).unwrap();
    let layout = Layout::create(&dir).unwrap();
    (temporary, layout)
}

fn add_layer(layout: &Layout, text: &str) -> WrittenLayer {
    let mut blob = layout.write_blob().unwrap();
    let written = write_tree(
        &tree(text),
        &mut bytes(),
        &mut blob,
        &LayerOptions::default(),
    )
    .unwrap();
    assert_eq!(blob.finish().unwrap(), (written.digest, written.size));
    written
}

fn config() -> Value {
    json!({"architecture": "amd64", "os": "linux", "x-unknown": [1, "two"]})
}

fn base(layout: &Layout, tag: Option<&str>) -> Digest {
    let layer = add_layer(layout, "/ directory 0755 0:0 1.0\n/a file 0644 0:0 1.0 a");
    let history = History {
        created_by: Some("base".to_owned()),
        ..History::default()
    };
    let annotations = BTreeMap::from([("org.example.kept".to_owned(), "yes".to_owned())]);
    let image = NewImage::scratch(config(), &[(layer, history)], &annotations).unwrap();
    let descriptor = layout.put_image(&image, tag).unwrap();
    parse_digest(descriptor.digest().as_ref()).unwrap()
}

#[test]
fn a_layer_is_appended_and_everything_else_stays() {
    let (temporary, layout) = layout();
    base(&layout, Some("base"));
    let base = layout.resolve(Some("base"), None).unwrap();
    let layer = add_layer(&layout, "/ directory 0755 0:0 1.0\n/b file 0644 0:0 1.0 b");
    let history = History {
        created: Some("2026-01-02T03:04:05Z".to_owned()),
        created_by: Some("pleach derive".to_owned()),
        ..History::default()
    };
    let labels = BTreeMap::from([("site".to_owned(), "one".to_owned())]);
    let annotations = BTreeMap::from([("org.example.new".to_owned(), "too".to_owned())]);
    let new = append_layer(&base, &layer, &history, &labels, &annotations).unwrap();
    layout.put_image(&new, Some("derived")).unwrap();

    let derived = layout.resolve(Some("derived"), None).unwrap();
    assert_eq!(derived.layers().len(), 2);
    assert_eq!(derived.layers()[0], base.layers()[0]);
    assert_eq!(derived.layers()[1].diff_id, layer.diff_id);
    assert_eq!(derived.label("site"), Some("one"));
    let config = derived.config_json();
    assert_eq!(config["x-unknown"], json!([1, "two"]));
    assert_eq!(config["created"], "2026-01-02T03:04:05Z");
    let history = json!([
        {"created_by": "base"},
        {"created": "2026-01-02T03:04:05Z", "created_by": "pleach derive"},
    ]);
    assert_eq!(config["history"], history);
    let annotations = json!({"org.example.kept": "yes", "org.example.new": "too"});
    assert_eq!(derived.manifest_json()["annotations"], annotations);
    derived.manifest().unwrap();
    derived.config().unwrap();

    // The base is still there, and two images need a reference.
    assert_eq!(
        layout.resolve(Some("base"), None).unwrap().digest(),
        base.digest()
    );
    let error = layout.resolve(None, None).unwrap_err();
    let expect = "the only image: 2 images in the layout, expected one; it has: base, derived";
    assert_eq!(error.to_string(), expect);
    drop(temporary);
}

#[test]
fn index_json_keeps_what_it_does_not_know() {
    let (temporary, layout) = layout();
    base(&layout, Some("one"));
    let path = temporary.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["x-top"] = json!(7);
    index["manifests"][0]["x-entry"] = json!("kept");
    fs::write(&path, index.to_string()).unwrap();
    let again = layout.resolve(None, None).unwrap();
    layout.tag(again.descriptor(), Some("two")).unwrap();
    layout.tag(again.descriptor(), Some("two")).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["x-top"], 7);
    assert_eq!(index["manifests"][0]["x-entry"], "kept");
    let tags: Vec<_> = layout
        .images()
        .unwrap()
        .into_iter()
        .map(|(tag, _)| tag.unwrap())
        .collect();
    assert_eq!(tags, ["one", "two"]);
    // One image under two tags is the only one.
    layout.resolve(None, None).unwrap();
}

#[test]
fn an_image_can_be_asked_for_by_digest() {
    let (_temporary, layout) = layout();
    let first = base(&layout, None);
    assert_eq!(
        layout
            .resolve(Some(&first.to_string()), None)
            .unwrap()
            .digest(),
        first
    );
    assert_eq!(layout.resolve(None, None).unwrap().digest(), first);
}

#[test]
fn nothing_is_left_of_a_blob_that_was_given_up() {
    let (temporary, layout) = layout();
    let mut blob = layout.write_blob().unwrap();
    blob.write_all(b"half").unwrap();
    drop(blob);
    let left: Vec<_> = fs::read_dir(temporary.path().join("blobs/sha256"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Changes the manifest of a good image, lists the changed one alone, and resolves it.
fn check_manifest(change: impl Fn(&mut Value), class: ErrorClass, expect: &str) {
    let (temporary, layout) = layout();
    let digest = base(&layout, None);
    let image = layout.resolve(Some(&digest.to_string()), None).unwrap();
    let mut manifest = image.manifest_json().clone();
    change(&mut manifest);
    let (digest, size) = layout.put_blob(manifest.to_string().as_bytes()).unwrap();
    list(
        temporary.path(),
        &json!({"digest": digest.to_string(), "size": size}),
    );
    let error = layout.resolve(None, None).unwrap_err();
    let message = full(&error);
    assert!(message.contains(expect), "{message}\nexpected: {expect}");
    assert_eq!(error.class(), class, "{message}");
}

fn list(root: &Path, entry: &Value) {
    let mut entry = entry.clone();
    entry["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(root.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn bad_manifests_are_refused() {
    use ErrorClass::{BadManifest, Limit};
    let zeros = "0".repeat(64);
    check_manifest(|m| m["schemaVersion"] = 1.into(), BadManifest, "not 2");
    check_manifest(|m| m["manifests"] = json!([]), BadManifest, "an index, too");
    check_manifest(
        |m| m["layers"] = Value::Null,
        BadManifest,
        "layers is no list",
    );
    check_manifest(
        |m| m["layers"] = json!([]),
        BadManifest,
        "0 layers in the manifest, 1 diff_ids",
    );
    check_manifest(
        |m| m["mediaType"] = "x/y".into(),
        BadManifest,
        "no image manifest",
    );
    check_manifest(
        |m| m["config"]["mediaType"] = "x/y".into(),
        BadManifest,
        "no image",
    );
    check_manifest(
        |m| m["config"]["size"] = 1.into(),
        ErrorClass::DigestMismatch,
        "size of the blob",
    );
    check_manifest(
        |m| m["config"]["size"] = (5 << 20).into(),
        Limit,
        "bytes of a document",
    );
    check_manifest(
        |m| m["config"]["digest"] = format!("sha256:{zeros}").into(),
        ErrorClass::Io,
        "open",
    );
    for digest in [
        "sha256:../../x",
        "sha256:ABC",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &zeros,
    ] {
        let change = |m: &mut Value| m["layers"][0]["digest"] = digest.into();
        check_manifest(change, BadManifest, "bad document: ");
    }
}

#[test]
fn a_flipped_byte_is_seen() {
    let (temporary, layout) = layout();
    let digest = base(&layout, None);
    let path = temporary
        .path()
        .join("blobs/sha256")
        .join(&digest.to_string()[7..]);
    let text = fs::read_to_string(&path).unwrap().replace("yes", "yet");
    fs::write(&path, text).unwrap();
    let error = layout.resolve(None, None).unwrap_err();
    assert_eq!(error.class(), ErrorClass::DigestMismatch, "{error}");
}

#[test]
fn no_symbolic_link_is_followed() {
    let (temporary, layout) = layout();
    let digest = base(&layout, None);
    let path = temporary
        .path()
        .join("blobs/sha256")
        .join(&digest.to_string()[7..]);
    fs::rename(&path, temporary.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../../elsewhere", &path).unwrap();
    assert_eq!(
        layout.resolve(None, None).unwrap_err().class(),
        ErrorClass::Io
    );
}

#[test]
fn an_index_leads_to_the_image_of_a_platform() {
    use pleach_layer_merge::oci::{Arch, Os, PlatformBuilder};
    let (temporary, layout) = layout();
    let digest = base(&layout, None);
    let size = layout.resolve(None, None).unwrap().manifest_bytes().len();
    let entry = |architecture: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest.to_string(),
            "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let nested = json!({"schemaVersion": 2, "manifests": [entry("amd64"), entry("arm64")]});
    let (nested, size) = layout.put_blob(nested.to_string().as_bytes()).unwrap();
    let top = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": nested.to_string(),
        "size": size,
    }]});
    fs::write(temporary.path().join("index.json"), top.to_string()).unwrap();
    let platform = |arch| {
        let builder = PlatformBuilder::default().os(Os::Linux).architecture(arch);
        builder.build().unwrap()
    };
    let found = layout.resolve(None, Some(&platform(Arch::ARM64))).unwrap();
    assert_eq!(found.digest(), digest);
    assert!(layout.resolve(None, Some(&platform(Arch::s390x))).is_err());
    assert!(
        layout.resolve(None, None).is_err(),
        "two images, no platform"
    );
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_is_written_is_not() {
    let (temporary, layout) = layout();
    let folders = [
        temporary.path().to_owned(),
        temporary.path().join("blobs/sha256"),
    ];
    for folder in &folders {
        fs::write(folder.join(".tmp-1-0"), "left").unwrap();
        fs::write(folder.join(".other"), "kept").unwrap();
    }
    let mut writing = layout.write_blob().unwrap();
    writing.write_all(b"half").unwrap();
    let dir = Dir::open_ambient_dir(temporary.path(), ambient_authority()).unwrap();
    Layout::create(&dir).unwrap();
    for folder in &folders {
        assert!(!folder.join(".tmp-1-0").exists() && folder.join(".other").exists());
    }
    writing.write_all(b" and half").unwrap();
    let (digest, _) = writing.finish().unwrap();
    layout
        .open_blob(&digest, Some(13))
        .unwrap()
        .verify()
        .unwrap();
}
