use pleach_image_fetch::{Compression, Digest, Error, Event, Origin, Policy};

use crate::image::{Image, Pack, layer};
use crate::proxy::{Proxy, blob};
use crate::registry::Registry;
use crate::support::{Place, blobs, have, options, ref_names, run, skip, skopeo_copy};

/// Each transport that needs no daemon, filled by skopeo from one image.
#[tokio::test]
async fn every_transport_gives_the_same_image() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let source = Place::new();
    let image = Image::small(1);
    image.write(&source.path("layout"));
    registry.push(&image, "base");
    let layout = format!("oci:{}:latest", source.text("layout"));
    let archive = format!("oci-archive:{}:latest", source.text("archive.tar"));
    let dir = format!("dir:{}", source.text("dir"));
    let docker = format!("docker://{}/base:latest", registry.address);
    let pinned = format!(
        "docker://{}/base@{}",
        registry.address,
        image.manifest_digest()
    );
    skopeo_copy(&layout, &archive);
    skopeo_copy(&layout, &dir);

    for reference in [&docker, &pinned, &layout, &archive, &dir] {
        let place = Place::new();
        let fetched = place.fetch(reference, &options()).await.fetched();
        assert_eq!(fetched.layers.len(), 3, "{reference}");
        for (found, expect) in fetched.layers.iter().zip(&image.layers) {
            assert_eq!(found.blob.digest, expect.digest(), "{reference}");
            assert_eq!(found.blob.size, expect.bytes.len() as u64, "{reference}");
            assert_eq!(found.blob.origin, Origin::Fetched, "{reference}");
            assert_eq!(found.diff_id, expect.diff_id, "{reference}");
            assert!(found.diff_id_checked, "{reference}");
            assert_eq!(found.compression, Compression::Gzip, "{reference}");
        }
        assert_eq!(
            fetched.source_digest, fetched.manifest_digest,
            "{reference}"
        );
        assert_eq!(
            fetched.manifest_digest,
            image.manifest_digest(),
            "{reference}"
        );
        assert_eq!(blobs(&place.store()).len(), 5, "{reference}");
        assert_eq!(ref_names(&place.store()), ["test"], "{reference}");
        // Others can read what we wrote.
        let copy = format!("oci:{}:test", place.text("store"));
        let inspected = run("skopeo", &["inspect", "--raw", &copy]);
        assert_eq!(
            Digest::of(inspected.as_bytes()),
            fetched.manifest_digest,
            "{reference}"
        );
        skopeo_copy(&copy, &format!("dir:{}", place.text("copy")));
    }
}

#[tokio::test]
async fn a_docker_image_becomes_an_oci_image() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let source = Place::new();
    let image = Image::small(20);
    image.write(&source.path("layout"));
    let layout = format!("oci:{}:latest", source.text("layout"));
    let pushed = format!("docker://{}/v2s2:latest", registry.address);
    let archive = format!("docker-archive:{}:a/b:c", source.text("docker.tar"));
    let dir = format!("dir:{}", source.text("dir"));
    let copy = |to: &str| {
        let args = [
            "--insecure-policy",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            "--format",
            "v2s2",
        ];
        run("skopeo", &[&args[..], &[&layout, to]].concat());
    };
    for to in [&pushed, &archive, &dir] {
        copy(to);
    }
    // The archive holds plain tar files; the others hold what the layout holds.
    for (reference, compression) in [
        (&pushed, Compression::Gzip),
        (&dir, Compression::Gzip),
        (&archive, Compression::None),
    ] {
        let place = Place::new();
        let fetched = place.fetch(reference, &options()).await.fetched();
        assert_ne!(
            fetched.source_digest, fetched.manifest_digest,
            "{reference}"
        );
        for (found, expect) in fetched.layers.iter().zip(&image.layers) {
            assert_eq!(found.diff_id, expect.diff_id, "{reference}");
            assert!(found.diff_id_checked, "{reference}");
            assert_eq!(found.compression, compression, "{reference}");
            let plain = compression == Compression::None;
            let ending = if plain { ".tar" } else { ".tar+gzip" };
            assert!(
                found.media_type.ends_with(ending),
                "{reference}: {}",
                found.media_type
            );
        }
        let copy = format!("oci:{}:test", place.text("store"));
        skopeo_copy(&copy, &format!("dir:{}", place.text("copy")));
        // Again: the same manifest, nothing fetched.
        let again = place.fetch(reference, &options()).await.fetched();
        assert_eq!(
            again.manifest_digest, fetched.manifest_digest,
            "{reference}"
        );
        assert_eq!(again.bytes_fetched, 0, "{reference}");
    }
}

#[tokio::test]
async fn podmans_store_gives_the_same_tree() {
    if !have(&["skopeo"]) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        skip("a containers-storage of its own needs root");
        return;
    }
    let source = Place::new();
    let image = Image::small(30);
    image.write(&source.path("layout"));
    let (root, run) = (source.text("root"), source.text("run"));
    let reference = format!("containers-storage:[vfs@{root}+{run}]localhost/base:latest");
    skopeo_copy(&format!("oci:{}:latest", source.text("layout")), &reference);
    let place = Place::new();
    let policies = [
        (Policy::AcceptAnything, true),
        (
            Policy::Document(br#"{"default":[{"type":"reject"}]}"#.to_vec()),
            false,
        ),
    ];
    for (policy, accepts) in policies {
        let mut options = options();
        options.policy = policy;
        let result = place.fetch(&reference, &options).await.result;
        if !accepts {
            assert!(
                matches!(result, Err(Error::PolicyRefuses { .. })),
                "{result:?}"
            );
            continue;
        }
        let fetched = result.unwrap();
        for (found, expect) in fetched.layers.iter().zip(&image.layers) {
            assert_eq!(found.diff_id, expect.diff_id);
            // It keeps layers unpacked.
            assert_eq!(found.compression, Compression::None);
            assert_eq!(found.media_type, "application/vnd.oci.image.layer.v1.tar");
        }
    }
}

#[tokio::test]
async fn every_compression() {
    if !have(&["skopeo"]) {
        return;
    }
    let source = Place::new();
    let packs = [Pack::Plain, Pack::Gzip, Pack::GzipTwice, Pack::Zstd];
    let layers = packs
        .iter()
        .zip(40..)
        .map(|(pack, seed)| layer(seed, 150_000, *pack))
        .collect();
    Image::new(layers).write(&source.path("layout"));
    let place = Place::new();
    let reference = format!("oci:{}", source.text("layout"));
    let fetched = place.fetch(&reference, &options()).await.fetched();
    let found: Vec<_> = fetched.layers.iter().map(|it| it.compression).collect();
    use Compression::{Gzip, None, Zstd};
    assert_eq!(found, [None, Gzip, Gzip, Zstd]);
    assert!(fetched.layers.iter().all(|it| it.diff_id_checked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_fetched_twice() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let proxy = Proxy::start(&registry.address);
    let mut image = Image::small(60);
    // One layer twice in the image, and images that share layers.
    image.layers.push(image.layers[1].clone());
    let image = Image::new(image.layers);
    registry.push(&image, "one");
    let mut two = image.layers.clone();
    two.push(layer(70, 5000, Pack::Gzip));
    let two = Image::new(two);
    registry.push(&two, "two");

    let place = Place::new();
    let first = place.fetch(&proxy.image("one"), &options()).await.fetched();
    assert_eq!(first.layers.len(), 4);
    for it in &image.layers {
        assert_eq!(proxy.requests(blob(it.digest())), 1);
    }
    assert_eq!(first.bytes_present, 0);

    proxy.forget_requests();
    let again = place.fetch(&proxy.image("one"), &options()).await.fetched();
    assert_eq!(proxy.requests("/blobs/"), 0);
    assert_eq!(
        (again.bytes_fetched, again.bytes_present),
        (0, first.bytes_fetched)
    );
    assert!(again.layers.iter().all(|it| it.diff_id_checked));

    let mut named = options();
    named.ref_name = Some("other".into());
    let outcome = place.fetch(&proxy.image("two"), &named).await;
    assert_eq!(
        outcome.count(|it| matches!(it, Event::BlobPresent { .. })),
        3
    );
    let fetched = outcome.fetched();
    assert_eq!(
        proxy.requests("/blobs/"),
        2,
        "the new config and the new layer"
    );
    let origins: Vec<_> = fetched.layers.iter().map(|it| it.blob.origin).collect();
    use Origin::{Fetched, Present};
    assert_eq!(origins, [Present, Present, Present, Present, Fetched]);
    assert_eq!(ref_names(&place.store()), ["test", "other"]);

    // A name moves; other entries stay.
    place.fetch(&proxy.image("two"), &options()).await.fetched();
    assert_eq!(ref_names(&place.store()), ["other", "test"]);
    // Without a name, an entry of that digest is enough; without one, a new entry has none.
    let mut nameless = options();
    nameless.ref_name = None;
    place.fetch(&proxy.image("two"), &nameless).await.fetched();
    place.fetch(&proxy.image("one"), &nameless).await.fetched();
    let digest = image.manifest_digest().to_string();
    assert_eq!(ref_names(&place.store()), ["other", "test", &digest]);
}

#[tokio::test]
async fn another_platform_is_chosen_by_name() {
    if !have(&["skopeo"]) {
        return;
    }
    let source = Place::new();
    let images = [("amd64", Image::small(80)), ("arm64", Image::small(90))];
    let layout = source.path("layout");
    let mut entries = Vec::new();
    for (architecture, image) in &images {
        image.write(&layout);
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.manifest_digest().to_string(),
            "size": image.manifest_bytes().len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let list = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    })
    .to_string();
    let digest = Digest::of(list.as_bytes());
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), &list).unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest.to_string(),
            "size": list.len(),
        }],
    });
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    for (architecture, image) in &images {
        let mut options = options();
        options.platform = Some(pleach_image_fetch::Platform {
            os: "linux".into(),
            architecture: (*architecture).into(),
            variant: None,
        });
        let place = Place::new();
        let reference = format!("oci:{}", source.text("layout"));
        let fetched = place.fetch(&reference, &options).await.fetched();
        assert_eq!(
            fetched.manifest_digest,
            image.manifest_digest(),
            "{architecture}"
        );
    }
}
