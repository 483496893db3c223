//! The inputs that the fuzz targets begin with and those they found: what the targets ask holds for
//! each of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pleach_layer_merge::{Layout, MergeOptions, index_cached};
use serde_json::{Value, json};

use crate::archive::{entry, layer, write_layout};
use crate::{open, properties};

#[test]
fn what_holds_for_any_bytes_holds_for_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut seeds = seeds();
    // `cargo xtask fuzz` begins with them.
    if let Some(folder) = std::env::var_os("PLEACH_FUZZ_SEEDS") {
        write(Path::new(&folder), &seeds);
    }
    for (target, property) in properties::TARGETS {
        let mut inputs = seeds.remove(target).expect("seeds for each target");
        let made = inputs.len();
        for file in fs::read_dir(corpus.join(target)).unwrap() {
            inputs.push(fs::read(file.unwrap().path()).unwrap());
        }
        println!(
            "{target}: {made} seeds, {} files of the corpus",
            inputs.len() - made
        );
        assert!(inputs.len() > made, "{target} has no corpus");
        for input in inputs {
            let held = std::panic::catch_unwind(|| property(&input));
            assert!(
                held.is_ok(),
                "{target} does not hold for {}",
                input.escape_ascii()
            );
        }
    }
}

type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

fn write(folder: &Path, seeds: &Seeds) {
    for (target, inputs) in seeds {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).unwrap();
        for (number, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), input).unwrap();
        }
    }
}

/// Inputs made of the conformance vectors, and one of each kind where those have none.
fn seeds() -> Seeds {
    let vectors = crate::vectors::cases();
    let mut seeds = Seeds::new();
    let mut add = |target, input: Vec<u8>| {
        if input.len() <= 8192 {
            seeds.entry(target).or_default().push(input);
        }
    };
    for case in &vectors {
        for (number, entries) in case["layers"].as_array().unwrap().iter().enumerate() {
            let entries = entries.as_array().unwrap();
            let options = &case["layer_opts"][number];
            let mut plain = options.clone();
            if !plain.is_object() {
                plain = json!({});
            }
            plain["compression"] = "none".into();
            add("archive", layer(entries, &plain).bytes);
            if let Some(body) = kept_index(entries) {
                add("index", body);
            }
            let which = match options["compression"].as_str() {
                Some("none") => continue,
                Some("zstd") => 1,
                _ => 0,
            };
            if options.is_object() {
                add("blob", [&[which], &*layer(entries, options).bytes].concat());
            }
        }
    }
    for which in [2, 3] {
        let archive = entry(&json!({"path": "a", "type": "file", "content": "x"}));
        // Pieces of different lengths, each with other options.
        let mut made = vec![which];
        for (number, part) in archive.chunks(40).enumerate() {
            made.push((number % 16) as u8 | 1 << 4);
            made.extend_from_slice(part);
        }
        add("blob", made);
    }
    for document in documents() {
        add("documents", document);
    }
    // Every kind of entry over every other one, in two layers.
    for upper in 0..16 {
        let lower = (0..16).flat_map(|kind| [kind, 0x50 + kind, 0x81]);
        let entries = (0..4).flat_map(|at| [upper, 0x40 + 0x11 * at, 0x1a]);
        add("layers", lower.chain([0xff; 3]).chain(entries).collect());
    }
    seeds
}

/// The kept index of a layer, without its header and its sum.
fn kept_index(entries: &[Value]) -> Option<Vec<u8>> {
    let temporary = tempfile::tempdir().unwrap();
    let (image, cache) = (
        temporary.path().join("image"),
        temporary.path().join("cache"),
    );
    write_layout(&image, &[layer(entries, &Value::Null)]);
    fs::create_dir(&cache).unwrap();
    let layout = Layout::open(&open(&image)).unwrap();
    let image = layout.resolve(None, None).unwrap();
    index_cached(&layout, &image, &open(&cache), &MergeOptions::default()).ok()?;
    let file = fs::read_dir(&cache).unwrap().next()?.unwrap().path();
    let bytes = fs::read(file).unwrap();
    Some(bytes[80..bytes.len() - 32].to_vec())
}

/// The documents of a layout, each behind the byte that says which it is.
fn documents() -> Vec<Vec<u8>> {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path();
    write_layout(root, &[layer(&[], &json!({"compression": "none"}))]);
    let index = fs::read(root.join("index.json")).unwrap();
    let parsed: Value = serde_json::from_slice(&index).unwrap();
    let blob = |value: &Value| {
        let digest = value.as_str().unwrap().trim_start_matches("sha256:");
        fs::read(root.join("blobs/sha256").join(digest)).unwrap()
    };
    let manifest = blob(&parsed["manifests"][0]["digest"]);
    let value: Value = serde_json::from_slice(&manifest).unwrap();
    let config = blob(&value["config"]["digest"]);
    [(0, index), (1, manifest), (2, config)]
        .into_iter()
        .map(|(which, bytes)| [&[which], &*bytes].concat())
        .collect()
}
