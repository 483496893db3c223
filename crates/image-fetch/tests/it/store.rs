//! What may lie in the store before a fetch, and who else may be at it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use pleach_image_fetch::{Error, Event, Origin, PresentBlobs};

use crate::image::{Image, noise};
use crate::proxy::{Fault, Proxy, blob};
use crate::registry::Registry;
use crate::support::{
    Place, assert_sound, blobs, fetch_unchecked, have, index, options, partials, ref_names, run,
    skip,
};

/// A place with an image layout beside the store.
fn with_layout(seed: u64) -> (Place, Image, String) {
    let place = Place::new();
    let image = Image::small(seed);
    image.write(&place.path("layout"));
    let reference = format!("oci:{}", place.text("layout"));
    (place, image, reference)
}

#[tokio::test]
async fn a_damaged_blob_is_fetched_again() {
    if !have(&["skopeo"]) {
        return;
    }
    let (place, image, reference) = with_layout(400);
    place.fetch(&reference, &options()).await.fetched();
    let digest = image.layers[0].digest();
    let path = place.store().join("blobs/sha256").join(digest.hex());
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[1000] ^= 1;
    let longer = [&good[..], b"x"].concat();
    for (what, bad) in [
        ("flipped", &flipped[..]),
        ("longer", &longer),
        ("shorter", &good[1..]),
        ("empty", b""),
    ] {
        fs::write(&path, bad).unwrap();
        let outcome = place.fetch(&reference, &options()).await;
        assert_eq!(
            outcome.count(|it| *it == Event::BlobDamaged { digest }),
            1,
            "{what}"
        );
        let origins = outcome
            .fetched()
            .layers
            .into_iter()
            .map(|it| it.blob.origin);
        use Origin::{Fetched, Present};
        assert_eq!(
            origins.collect::<Vec<_>>(),
            [Fetched, Present, Present],
            "{what}"
        );
        assert_eq!(fs::read(&path).unwrap(), good, "{what}");
    }
}

#[tokio::test]
async fn by_size_only_what_has_another_size_is_damaged() {
    if !have(&["skopeo"]) {
        return;
    }
    let (place, image, reference) = with_layout(410);
    let mut by_size = options();
    by_size.present_blobs = PresentBlobs::Size;
    place.fetch(&reference, &by_size).await.fetched();
    let again = place.fetch(&reference, &by_size).await.fetched();
    assert_eq!(again.bytes_fetched, 0);
    assert!(again.layers.iter().all(|it| !it.diff_id_checked));
    let path = place
        .store()
        .join("blobs/sha256")
        .join(image.layers[0].digest().hex());
    fs::write(&path, b"short").unwrap();
    let again = place.fetch(&reference, &by_size).await.fetched();
    assert_eq!(again.bytes_fetched, image.layers[0].bytes.len() as u64);
}

#[tokio::test]
async fn links_and_other_files_are_not_followed() {
    if !have(&["skopeo", "mkfifo"]) {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    for what in [
        "blobs",
        "blobs/sha256",
        ".image-fetch",
        ".image-fetch/partial",
        ".image-fetch/lock",
        "oci-layout",
        "index.json",
        "blob",
        "fifo",
    ] {
        let (place, image, reference) = with_layout(420);
        let store = place.store();
        let blob = store
            .join("blobs/sha256")
            .join(image.layers[0].digest().hex());
        let path = store.join(what);
        match what {
            "blob" | "fifo" => fs::create_dir_all(blob.parent().unwrap()).unwrap(),
            _ => fs::create_dir_all(path.parent().unwrap()).unwrap(),
        }
        match what {
            "blob" => symlink(&secret, &blob).unwrap(),
            "fifo" => drop(run("mkfifo", &[blob.to_str().unwrap()])),
            ".image-fetch/lock" | "oci-layout" | "index.json" => symlink(&secret, path).unwrap(),
            _ => symlink(outside.path(), path).unwrap(),
        }
        // Not Place::fetch: its look at the store would follow the links.
        let result = fetch_unchecked(&store, &reference, &options()).await;
        assert!(
            matches!(result, Err(Error::Store { .. })),
            "{what}: {result:?}"
        );
        let inside: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
        assert_eq!(inside.len(), 1, "{what}: written outside");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched", "{what}");
    }
}

#[tokio::test]
async fn a_layout_that_is_not_ours_to_change() {
    if !have(&["skopeo"]) {
        return;
    }
    let rows = [
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#),
        ("oci-layout", "{}"),
        ("oci-layout", "no JSON"),
        ("index.json", "no JSON"),
        ("index.json", "[]"),
        ("index.json", r#"{"schemaVersion":1,"manifests":[]}"#),
        ("index.json", r#"{"schemaVersion":2,"manifests":{}}"#),
    ];
    for (name, content) in rows {
        let (place, _, reference) = with_layout(430);
        let path = place.store().join(name);
        fs::write(&path, content).unwrap();
        let result = fetch_unchecked(&place.store(), &reference, &options()).await;
        match result {
            Err(Error::Layout { path, .. }) => assert_eq!(path, name, "{content}"),
            other => panic!("{name} {content}: {other:?}"),
        }
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }
}

#[tokio::test]
async fn unknown_fields_of_an_index_stay() {
    if !have(&["skopeo"]) {
        return;
    }
    let (place, _, reference) = with_layout(440);
    // Without layers to look for: an entry of another kind, and a field of tomorrow.
    let old = r#"{"schemaVersion":2,"annotations":{"a":"b"},"tomorrow":[1],"manifests":null}"#;
    fs::write(place.store().join("index.json"), old.replace("null", "[]")).unwrap();
    place.fetch(&reference, &options()).await.fetched();
    let new: serde_json::Value =
        serde_json::from_slice(&fs::read(place.store().join("index.json")).unwrap()).unwrap();
    assert_eq!(new["annotations"]["a"], "b");
    assert_eq!(new["tomorrow"][0], 1);
    assert_eq!(ref_names(&place.store()), ["test"]);
}

#[tokio::test]
async fn what_a_dead_fetch_left_is_swept() {
    if !have(&["skopeo"]) {
        return;
    }
    let (place, _, reference) = with_layout(450);
    let work = place.store().join(".image-fetch");
    fs::create_dir_all(work.join("partial")).unwrap();
    fs::create_dir_all(work.join("tmp/oci123/blobs")).unwrap();
    fs::write(work.join("partial/abc.0"), noise(1, 100)).unwrap();
    fs::write(work.join("tmp/oci123/blobs/x"), noise(1, 100)).unwrap();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "stays").unwrap();
    symlink(&outside, work.join("tmp/link")).unwrap();
    let outcome = place.fetch(&reference, &options()).await;
    assert_eq!(
        outcome.count(|it| *it == Event::StaleRemoved { files: 3 }),
        1
    );
    outcome.fetched();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "stays");
}

#[tokio::test]
async fn a_store_that_is_locked() {
    if !have(&["skopeo"]) {
        return;
    }
    let (place, _, reference) = with_layout(460);
    place.fetch(&reference, &options()).await.fetched();
    let lock = fs::File::open(place.store().join(".image-fetch/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut options = options();
    options.wait_for_lock = false;
    assert!(matches!(
        place.fetch(&reference, &options).await.error(),
        Error::Locked
    ));
    options.wait_for_lock = true;
    options.deadline = Some(Duration::from_millis(200));
    let outcome = place.fetch(&reference, &options).await;
    assert_eq!(outcome.events, [Event::WaitingForLock]);
    assert!(matches!(outcome.error(), Error::Deadline { .. }));
    options.deadline = None;
    let releasing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(lock);
    });
    place.fetch(&reference, &options).await.fetched();
    releasing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_fetches_into_one_store_take_turns() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let image = Image::small(470);
    registry.push(&image, "base");
    let proxy = Proxy::start(&registry.address);
    let place = Place::new();
    let fetches = ["a", "b", "c"].map(|name| {
        let mut options = options();
        options.ref_name = Some(name.into());
        let (store, reference) = (place.store(), proxy.image("base"));
        tokio::spawn(async move { fetch_unchecked(&store, &reference, &options).await })
    });
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    for it in &image.layers {
        assert_eq!(proxy.requests(blob(it.digest())), 1, "fetched twice");
    }
    let mut names = ref_names(&place.store());
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    assert_sound(&place.store());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_fetch_leaves_nothing_that_counts() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let image = Image::small(480);
    registry.push(&image, "base");
    let proxy = Proxy::start(&registry.address);
    proxy.fail(blob(image.layers[0].digest()), 1, Fault::Gate(1000));
    let place = Place::new();
    let (store, reference) = (place.store(), proxy.image("base"));
    let fetching =
        tokio::spawn(
            async move { crate::support::fetch_into(&store, &reference, &options()).await },
        );
    let waiting = proxy.clone();
    tokio::task::spawn_blocking(move || waiting.wait_for_gates(1))
        .await
        .unwrap();
    fetching.abort();
    assert!(fetching.await.is_err_and(|it| it.is_cancelled()));
    assert_eq!(index(&place.store()), []);
    // The lock is free again, and the half blob gone, though the source still hangs.
    place
        .fetch(&proxy.image("base"), &options())
        .await
        .fetched();
    assert!(partials(&place.store()).is_empty());
}

/// A small file system in place of the store; unmounted at the end.
struct Small(String);

impl Small {
    fn mount(place: &Place, kilobytes: u32) -> Option<Self> {
        let store = place.text("store");
        let size = format!("size={kilobytes}k");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs", &store])
            .status();
        if !mount.unwrap().success() {
            // Only root may mount: that is no missing tool, so no error in CI either.
            skip("tmpfs cannot be mounted here");
            return None;
        }
        Some(Self(store))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        run("umount", &[&self.0]);
    }
}

#[tokio::test]
async fn a_file_system_without_room() {
    if !have(&["skopeo", "mount", "umount"]) {
        return;
    }
    let (place, _, reference) = with_layout(490);
    let Some(_mounted) = Small::mount(&place, 200) else {
        return;
    };
    match place.fetch(&reference, &options()).await.error() {
        Error::NoSpace {
            needed, available, ..
        } => assert!(needed > available),
        other => panic!("{other}"),
    }
    assert_eq!(blobs(&place.store()).len(), 1, "the config only");
}

#[tokio::test]
async fn a_file_system_that_fills_up_meanwhile() {
    if !have(&["skopeo", "docker-registry", "mount", "umount"]) {
        return;
    }
    let registry = Registry::start();
    let image = Image::small(495);
    registry.push(&image, "base");
    let proxy = Proxy::start(&registry.address);
    let digest = image.layers[0].digest();
    proxy.fail(blob(digest), 1, Fault::Gate(50_000));
    let place = Place::new();
    let Some(_mounted) = Small::mount(&place, 600) else {
        return;
    };
    let filler = place.store().join("filler");
    let (gates, path) = (proxy.clone(), filler.clone());
    let filling = std::thread::spawn(move || {
        gates.wait_for_gates(1);
        while fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut it| std::io::Write::write_all(&mut it, &[1; 4096]))
            .is_ok()
        {}
        gates.open_gates();
    });
    let outcome = place.fetch(&proxy.image("base"), &options()).await;
    filling.join().unwrap();
    match outcome.error() {
        Error::Store { source, .. } => {
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{source}");
        }
        other => panic!("{other}"),
    }
    assert!(partials(&place.store()).is_empty());
    assert!(!blobs(&place.store()).contains(&digest.hex()));
    fs::remove_file(filler).unwrap();
    place
        .fetch(&proxy.image("base"), &options())
        .await
        .fetched();
}

#[tokio::test]
async fn names_that_cannot_be_ref_names() {
    let place = Place::new();
    for name in ["", "/a", "a/", "a//b", "a b", "a\n", "-", "ü", "a---b"] {
        let mut options = options();
        options.ref_name = Some(name.into());
        let error = place.fetch("oci:nowhere", &options).await.error();
        assert!(matches!(error, Error::RefName { .. }), "{name:?}: {error}");
    }
    assert_eq!(
        fs::read_dir(place.store()).unwrap().count(),
        0,
        "something was written"
    );
}
