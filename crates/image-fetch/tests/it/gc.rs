//! What is removed from a store, and what is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use pleach_image_fetch::{Collected, Digest, Error, GcOptions, gc};
use serde_json::{Value, json};

use crate::image::{Image, Pack, layer};
use crate::support::{Place, assert_sound, blobs, have, options};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn collect(store: &Path, options: &GcOptions) -> Result<Collected, Error> {
    let dir = Dir::open_ambient_dir(store, cap_std::ambient_authority()).unwrap();
    gc(&dir, options)
}

fn put(store: &Path, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(store.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({ "digest": digest.to_string(), "size": bytes.len() })
}

fn typed(mut descriptor: Value, media_type: &str) -> Value {
    descriptor["mediaType"] = media_type.into();
    descriptor
}

fn write_index(store: &Path, manifests: &[Value]) {
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(store.join("index.json"), index.to_string()).unwrap();
}

fn manifest(image: &Image) -> Value {
    json!({
        "mediaType": MANIFEST,
        "digest": image.manifest_digest().to_string(),
        "size": image.manifest_bytes().len(),
    })
}

fn names(image: &Image) -> BTreeSet<String> {
    let config = image.manifest["config"]["digest"].as_str().unwrap();
    let mut all: BTreeSet<_> = image.layers.iter().map(|it| it.digest().hex()).collect();
    all.insert(config["sha256:".len()..].to_owned());
    all.insert(image.manifest_digest().hex());
    all
}

/// Two images that share a layer.
fn two() -> [Image; 2] {
    let shared = layer(800, 1000, Pack::Gzip);
    [801, 802].map(|seed| Image::new(vec![shared.clone(), layer(seed, 500, Pack::Zstd)]))
}

#[test]
fn what_the_index_leads_to_stays() {
    let [one, other] = two();
    type Entries = fn(&Path, &Image) -> Vec<Value>;
    // How the index leads to the first image.
    let rows: [(&str, Entries); 5] = [
        ("by itself", |_, it| vec![manifest(it)]),
        ("through an index", |store, it| {
            let list = json!({ "schemaVersion": 2, "manifests": [manifest(it)] });
            vec![typed(put(store, list.to_string().as_bytes()), INDEX)]
        }),
        (
            "through two indexes, one of a type of tomorrow",
            |store, it| {
                let list = json!({ "schemaVersion": 2, "manifests": [manifest(it)] });
                let list = typed(put(store, list.to_string().as_bytes()), "x/tomorrow");
                let list = json!({ "schemaVersion": 2, "manifests": [list] });
                vec![typed(put(store, list.to_string().as_bytes()), INDEX)]
            },
        ),
        ("as the subject of an artifact", |store, it| {
            let config = typed(put(store, b"{}"), "application/vnd.oci.empty.v1+json");
            let signature = typed(put(store, b"signature"), "x/signature");
            let artifact = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                "layers": [signature], "subject": manifest(it),
            });
            vec![typed(put(store, artifact.to_string().as_bytes()), MANIFEST)]
        }),
        ("beside an image that is not there", |store, it| {
            let absent = json!({ "digest": Digest::of(b"absent").to_string(), "size": 6 });
            let list = [manifest(it), typed(absent, MANIFEST)];
            let list = json!({ "schemaVersion": 2, "manifests": list });
            vec![typed(put(store, list.to_string().as_bytes()), INDEX)]
        }),
    ];
    for (what, entries) in rows {
        let place = Place::new();
        let store = place.store();
        one.write(&store);
        other.write(&store);
        let entries = entries(&store, &one);
        write_index(&store, &entries);
        fs::write(store.join("blobs/sha256/not-a-digest"), "stays").unwrap();
        let before = blobs(&store);
        let gone: BTreeSet<_> = names(&other).difference(&names(&one)).cloned().collect();

        let mut dry = GcOptions::default();
        dry.dry_run = true;
        let would = collect(&store, &dry).unwrap();
        assert_eq!(
            blobs(&store),
            before,
            "{what}: a dry run has removed something"
        );
        let done = collect(&store, &GcOptions::default()).unwrap();
        assert_eq!(would.removed, done.removed, "{what}");
        let removed: BTreeSet<_> = done.removed.iter().map(|(it, _)| it.hex()).collect();
        assert_eq!(removed, gone, "{what}");
        assert_eq!(
            blobs(&store),
            before.difference(&gone).cloned().collect(),
            "{what}"
        );
        assert!(done.bytes() > 0, "{what}");
        assert_eq!(
            collect(&store, &GcOptions::default()).unwrap().removed,
            [],
            "{what}"
        );
    }
}

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let [one, _] = two();
    type Spoil = fn(&Path, &Image);
    let path = |store: &Path, image: &Image| {
        store
            .join("blobs/sha256")
            .join(image.manifest_digest().hex())
    };
    let rows: [(&str, Spoil); 5] = [
        // What cannot be read may lead to something, whatever its type.
        ("open blobs/sha256/", |store, it| {
            let document = put(store, b"{}");
            write_index(store, &[manifest(it), typed(document, "x/tomorrow")]);
            let path = store.join("blobs/sha256").join(Digest::of(b"{}").hex());
            fs::rename(&path, path.with_extension("away")).unwrap();
            std::os::unix::fs::symlink(path.with_extension("away"), path).unwrap();
        }),
        ("index.json", |store, _| {
            fs::write(store.join("index.json"), "{").unwrap()
        }),
        ("it has another digest", |store, it| {
            let path = store.join("blobs/sha256").join(it.manifest_digest().hex());
            fs::write(path, "{}").unwrap();
        }),
        ("longer than", |store, it| {
            let path = store.join("blobs/sha256").join(it.manifest_digest().hex());
            fs::write(path, vec![b' '; 20 << 20]).unwrap();
        }),
        ("oci-layout", |store, _| {
            fs::remove_file(store.join("oci-layout")).unwrap()
        }),
    ];
    for (what, spoil) in rows {
        let place = Place::new();
        let store = place.store();
        one.write(&store);
        put(&store, b"nobody needs this");
        assert!(path(&store, &one).is_file());
        spoil(&store, &one);
        let before = blobs(&store);
        let error = collect(&store, &GcOptions::default()).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(blobs(&store), before, "{what}");
    }
}

#[test]
fn recent_blobs_stay() {
    let [one, _] = two();
    let place = Place::new();
    one.write(&place.store());
    write_index(&place.store(), &[]);
    let with = |since: SystemTime| {
        let mut options = GcOptions::default();
        options.keep_since = Some(since);
        collect(&place.store(), &options).unwrap()
    };
    let hour = Duration::from_secs(3600);
    let done = with(SystemTime::now() - hour);
    assert_eq!((done.removed.len(), done.recent), (0, 4));
    let done = with(SystemTime::now() + hour);
    assert_eq!((done.removed.len(), done.recent), (4, 0));
}

#[tokio::test]
async fn a_fetch_and_a_collection_take_turns() {
    if !have(&["skopeo"]) {
        return;
    }
    let place = Place::new();
    let [one, other] = two();
    for (image, name) in [(&one, "one"), (&other, "other")] {
        image.write(&place.path(name));
        let reference = format!("oci:{}", place.text(name));
        place.fetch(&reference, &options()).await.fetched();
    }
    let work = place.store().join(".image-fetch");
    fs::write(work.join("partial/half"), "half").unwrap();
    put(&place.store(), b"whole, and of a fetch that was killed");
    let lock = fs::File::open(work.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut impatient = GcOptions::default();
    impatient.wait_for_lock = false;
    let refused = collect(&place.store(), &impatient);
    assert!(matches!(refused, Err(Error::Locked)), "{refused:?}");
    drop(lock);
    // Both fetches took the same name: the first image has none any more.
    let done = collect(&place.store(), &impatient).unwrap();
    assert_eq!(done.stale_files, 1);
    assert_eq!(blobs(&place.store()), names(&other));
    assert_sound(&place.store());
}
