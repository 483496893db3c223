//! Documents and blobs of a layout that lie.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pleach_fs_tree::Digest;
use serde_json::{Value, json};

use super::{Row, Section, contained, file, refused};

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn one() -> [Value; 1] {
    [json!([file("a")])]
}

fn blob(root: &Path, digest: &str) -> PathBuf {
    root.join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn index(root: &Path) -> Value {
    read(&root.join("index.json"))
}

fn put(root: &Path, text: &[u8]) -> Value {
    let digest = Digest::of(text).to_string();
    fs::write(blob(root, &digest), text).unwrap();
    json!({"digest": digest, "size": text.len()})
}

/// Replaces the manifest by other bytes, with the right digest everywhere.
fn replace_manifest(root: &Path, text: &[u8]) {
    let mut index = index(root);
    let new = put(root, text);
    for key in ["digest", "size"] {
        index["manifests"][0][key] = new[key].clone();
    }
    fs::write(root.join("index.json"), index.to_string()).unwrap();
}

fn the_manifest(root: &Path) -> Value {
    read(&blob(
        root,
        index(root)["manifests"][0]["digest"].as_str().unwrap(),
    ))
}

fn manifest(name: &str, class: &'static str, change: fn(&mut Value)) -> Row {
    refused(name, class, &one()).layout(move |root| {
        let mut manifest = the_manifest(root);
        change(&mut manifest);
        replace_manifest(root, manifest.to_string().as_bytes());
    })
}

fn config(name: &str, class: &'static str, change: fn(&mut Value)) -> Row {
    refused(name, class, &one()).layout(move |root| {
        let mut manifest = the_manifest(root);
        let mut config = read(&blob(root, manifest["config"]["digest"].as_str().unwrap()));
        change(&mut config);
        let new = put(root, config.to_string().as_bytes());
        for key in ["digest", "size"] {
            manifest["config"][key] = new[key].clone();
        }
        replace_manifest(root, manifest.to_string().as_bytes());
    })
}

fn index_json(name: &str, class: &'static str, change: fn(&mut Value)) -> Row {
    refused(name, class, &one()).layout(move |root| {
        let mut index = index(root);
        change(&mut index);
        fs::write(root.join("index.json"), index.to_string()).unwrap();
    })
}

/// Something other than a regular file in the place of a blob, `index.json` or a folder.
fn place(name: &str, of: &'static str, change: fn(&Path)) -> Row {
    refused(name, "io", &one()).layout(move |root| {
        let path = match of {
            "layer" => blob(
                root,
                the_manifest(root)["layers"][0]["digest"].as_str().unwrap(),
            ),
            "manifest" => blob(
                root,
                index(root)["manifests"][0]["digest"].as_str().unwrap(),
            ),
            other => root.join(other),
        };
        change(&path);
    })
}

fn elsewhere(path: &Path) {
    let other = path.with_extension("elsewhere");
    fs::rename(path, &other).unwrap();
    symlink(other, path).unwrap();
}

fn gone(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn directory(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

fn descriptors() -> Vec<Row> {
    let mut rows = vec![
        refused("blob-with-a-flipped-bit", "digest-mismatch", &one())
            .blob(json!({"corrupt_blob": true})),
        refused("blob-larger-than-it-says", "digest-mismatch", &one())
            .blob(json!({"desc_size_delta": -1})),
        refused("blob-smaller-than-it-says", "digest-mismatch", &one())
            .blob(json!({"desc_size_delta": 1})),
        refused("blob-of-claimed-exabytes", "digest-mismatch", &one())
            .blob(json!({"desc_size_delta": 1_i64 << 60})),
        refused("diff-id-wrong", "digest-mismatch", &one()).blob(json!({"diff_id": ZEROS})),
        refused("diff-id-missing", "bad-manifest", &one()).blob(json!({"drop_diff_id": true})),
        refused("diff-id-of-the-compressed-blob", "digest-mismatch", &one()).layout(|root| {
            let mut manifest = the_manifest(root);
            let mut config = read(&blob(root, manifest["config"]["digest"].as_str().unwrap()));
            config["rootfs"]["diff_ids"][0] = manifest["layers"][0]["digest"].clone();
            let new = put(root, config.to_string().as_bytes());
            for key in ["digest", "size"] {
                manifest["config"][key] = new[key].clone();
            }
            replace_manifest(root, manifest.to_string().as_bytes());
        }),
        refused(
            "layers-in-another-order-than-diff-ids",
            "digest-mismatch",
            &[json!([file("a")]), json!([file("b")])],
        )
        .layout(|root| {
            let mut manifest = the_manifest(root);
            manifest["layers"].as_array_mut().unwrap().reverse();
            replace_manifest(root, manifest.to_string().as_bytes());
        }),
        contained(
            "one-layer-twice",
            "each layer is applied as often as it is named",
            "/a file",
            &[json!([file("a")]), json!([file("a")])],
        ),
        contained(
            "no-layers",
            "an image without layers is an empty one",
            "/ directory 0755",
            &[],
        ),
        contained(
            "urls-in-a-descriptor",
            "urls are never followed",
            "/a file",
            &one(),
        )
        .layout(|root| {
            let mut manifest = the_manifest(root);
            manifest["layers"][0]["urls"] = json!(["file:///etc/shadow", "http://127.0.0.1:1/x"]);
            manifest["layers"][0]["mediaType"] =
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
            replace_manifest(root, manifest.to_string().as_bytes());
        }),
        contained(
            "data-in-a-descriptor",
            "data in a descriptor is not used: the blob is",
            "/a file",
            &one(),
        )
        .layout(|root| {
            let mut manifest = the_manifest(root);
            manifest["layers"][0]["data"] = "eyJ9".into();
            replace_manifest(root, manifest.to_string().as_bytes());
        }),
        manifest("layers-too-many", "limit", |m| {
            let layer = m["layers"][0].clone();
            m["layers"] = Value::Array(vec![layer; 1025]);
        }),
        manifest("diff-ids-too-few", "bad-manifest", |m| {
            let layer = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(layer);
        }),
        manifest("diff-ids-too-many", "bad-manifest", |m| {
            m["layers"] = json!([])
        }),
        manifest("blob-that-is-missing", "io", |m| {
            m["layers"][0]["digest"] = ZEROS.into()
        }),
        manifest("layer-with-negative-size", "bad-manifest", |m| {
            m["layers"][0]["size"] = json!(-1)
        }),
        manifest("layer-with-a-fraction-of-a-byte", "bad-manifest", |m| {
            m["layers"][0]["size"] = json!(1.5)
        }),
        manifest("layer-with-size-beyond-64-bits", "bad-manifest", |m| {
            m["layers"][0]["size"] = json!(1e30)
        }),
        manifest("layer-without-size", "bad-manifest", |m| {
            drop(m["layers"][0].as_object_mut().unwrap().remove("size"))
        }),
        manifest("layer-without-digest", "bad-manifest", |m| {
            drop(m["layers"][0].as_object_mut().unwrap().remove("digest"))
        }),
        manifest("layer-without-media-type", "bad-manifest", |m| {
            drop(m["layers"][0].as_object_mut().unwrap().remove("mediaType"))
        }),
        manifest("layer-that-is-no-object", "bad-manifest", |m| {
            m["layers"][0] = json!("x")
        }),
    ];
    for (what, digest) in [
        ("with-a-path", "sha256:../../../../canary"),
        ("that-is-a-path", "../../../../canary"),
        ("with-an-absolute-path", "sha256:/etc/shadow"),
        (
            "in-capitals",
            "sha256:ABCDEF0000000000000000000000000000000000000000000000000000000000",
        ),
        ("too-short", "sha256:abc"),
        (
            "too-long",
            "sha256:00000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            "of-another-algorithm",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
        ),
        (
            "of-sha512",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            "without-algorithm",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            "with-a-nul",
            "sha256:\u{0}000000000000000000000000000000000000000000000000000000000000000",
        ),
        ("empty", ""),
    ] {
        let row = refused(format!("digest-{what}"), "bad-manifest", &one()).layout(move |root| {
            let mut manifest = the_manifest(root);
            manifest["layers"][0]["digest"] = digest.into();
            replace_manifest(root, manifest.to_string().as_bytes());
        });
        rows.push(row);
    }
    rows
}

fn documents() -> Vec<Row> {
    let text = |name: &str, class, text: &'static [u8]| {
        refused(name, class, &one()).layout(move |root| replace_manifest(root, text))
    };
    vec![
        manifest("manifest-of-another-version", "bad-manifest", |m| {
            m["schemaVersion"] = json!(1)
        }),
        manifest("manifest-that-is-an-index-too", "bad-manifest", |m| {
            m["manifests"] = json!([])
        }),
        manifest("manifest-that-says-it-is-an-index", "bad-manifest", |m| {
            m["mediaType"] = "application/vnd.oci.image.index.v1+json".into()
        }),
        manifest("manifest-of-schema-1", "bad-manifest", |m| {
            m["fsLayers"] = json!([])
        }),
        manifest("manifest-of-unknown-type", "bad-manifest", |m| {
            m["mediaType"] = "x/y".into()
        }),
        manifest("manifest-without-layers", "bad-manifest", |m| {
            m["layers"] = Value::Null
        }),
        manifest("manifest-of-an-artifact", "bad-manifest", |m| {
            m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into()
        }),
        manifest("manifest-without-config", "bad-manifest", |m| {
            m["config"] = Value::Null
        }),
        manifest("config-larger-than-a-document", "limit", |m| {
            m["config"]["size"] = json!(5 << 20)
        }),
        manifest("config-of-another-size", "digest-mismatch", |m| {
            m["config"]["size"] = json!(1)
        }),
        manifest("config-that-is-missing", "io", |m| {
            m["config"]["digest"] = ZEROS.into()
        }),
        manifest("config-that-is-the-layer", "bad-manifest", |m| {
            m["config"]["digest"] = m["layers"][0]["digest"].clone();
            m["config"]["size"] = m["layers"][0]["size"].clone();
        }),
        config("config-without-rootfs", "bad-manifest", |c| {
            c["rootfs"] = Value::Null
        }),
        config("config-of-another-rootfs", "bad-manifest", |c| {
            c["rootfs"]["type"] = "windows".into()
        }),
        config("config-whose-diff-ids-are-no-list", "bad-manifest", |c| {
            c["rootfs"]["diff_ids"] = json!({})
        }),
        config("config-whose-diff-id-is-a-path", "bad-manifest", |c| {
            c["rootfs"]["diff_ids"][0] = "sha256:../x".into()
        }),
        config("config-whose-diff-id-is-a-number", "bad-manifest", |c| {
            c["rootfs"]["diff_ids"][0] = json!(7)
        }),
        config("config-that-is-a-list", "bad-manifest", |c| *c = json!([])),
        text("document-that-is-no-json", "bad-manifest", b"<html>"),
        text("document-that-is-empty", "bad-manifest", b""),
        text("document-of-two-documents", "bad-manifest", b"{}{}"),
        text(
            "document-that-is-no-utf8",
            "bad-manifest",
            b"{\"schemaVersion\": 2, \"x\": \"\xff\"}",
        ),
        text("document-that-is-a-list", "bad-manifest", b"[]"),
        text("document-that-is-a-number", "bad-manifest", b"1e999"),
        refused("document-of-a-million-brackets", "bad-manifest", &one())
            .layout(|root| replace_manifest(root, &b"[".repeat(1_000_000))),
        refused("document-of-5-mib", "limit", &one())
            .layout(|root| replace_manifest(root, &b" ".repeat(5 << 20))),
        contained(
            "document-with-a-member-twice",
            "of two members of one name the last counts",
            "/a file",
            &one(),
        )
        .layout(|root| {
            let text = the_manifest(root).to_string();
            let twice = format!("{{\"layers\": [], {}", &text[1..]);
            replace_manifest(root, twice.as_bytes());
        }),
        index_json("index-of-another-version", "bad-manifest", |i| {
            i["schemaVersion"] = json!(1)
        }),
        index_json("index-that-is-a-manifest-too", "bad-manifest", |i| {
            i["layers"] = json!([])
        }),
        index_json("index-without-manifests", "bad-manifest", |i| {
            i["manifests"] = Value::Null
        }),
        index_json("index-with-nothing-in-it", "bad-manifest", |i| {
            i["manifests"] = json!([])
        }),
        index_json("index-with-a-tag-twice", "bad-manifest", |i| {
            let mut other = i["manifests"][0].clone();
            other["digest"] = ZEROS.into();
            i["manifests"].as_array_mut().unwrap().push(other);
        }),
        index_json("index-whose-digest-is-a-path", "bad-manifest", |i| {
            i["manifests"][0]["digest"] = "sha256:../../x".into()
        }),
        index_json("index-that-calls-a-manifest-a-layer", "bad-manifest", |i| {
            i["manifests"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into()
        }),
        refused("index-in-index-in-index", "limit", &one()).layout(|root| {
            let mut inner = index(root)["manifests"][0].clone();
            for _ in 0..6 {
                let text = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
                inner = put(root, text.as_bytes());
                inner["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
            }
            inner["annotations"] = json!({"org.opencontainers.image.ref.name": "image"});
            let text = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
            fs::write(root.join("index.json"), text).unwrap();
        }),
        refused("index-of-5-mib", "limit", &one())
            .layout(|root| fs::write(root.join("index.json"), b" ".repeat(5 << 20)).unwrap()),
        refused("index-with-a-flipped-manifest", "digest-mismatch", &one()).layout(|root| {
            let path = blob(
                root,
                index(root)["manifests"][0]["digest"].as_str().unwrap(),
            );
            let text = fs::read_to_string(&path)
                .unwrap()
                .replace("layers", "lavers");
            fs::write(path, text).unwrap();
        }),
        refused("layout-of-another-version", "bad-manifest", &one()).layout(|root| {
            fs::write(
                root.join("oci-layout"),
                r#"{"imageLayoutVersion": "9.0.0"}"#,
            )
            .unwrap()
        }),
        refused("layout-without-its-marker", "io", &one())
            .layout(|root| gone(&root.join("oci-layout"))),
        place("blob-behind-a-link", "layer", elsewhere),
        place("manifest-behind-a-link", "manifest", elsewhere),
        place("index-behind-a-link", "index.json", elsewhere),
        place("marker-behind-a-link", "oci-layout", elsewhere),
        place("blobs-behind-a-link", "blobs", elsewhere),
        place("sha256-behind-a-link", "blobs/sha256", elsewhere),
        place("manifest-that-is-gone", "manifest", gone),
        place("blob-that-is-a-fifo", "layer", fifo),
        place("manifest-that-is-a-fifo", "manifest", fifo),
        place("index-that-is-a-fifo", "index.json", fifo),
        place("blob-that-is-a-directory", "layer", directory),
        place("manifest-that-is-a-directory", "manifest", directory),
        place("index-that-is-a-directory", "index.json", directory),
    ]
}

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "Blobs, digests and sizes",
            attacks: "What was promised: other bytes than the digest says, a digest that is used as the name \
                      of a file, more or fewer layers than the configuration knows.",
            rows: descriptors(),
        },
        Section {
            title: "Documents and the layout on the disk",
            attacks: "Which image it is: documents that are two things at once, that nest, or that are huge; \
                      and links, pipes and folders in the place of the layout's files.",
            rows: documents(),
        },
    ]
}
