//! Layers that are read while they are being fetched.

use std::io::{Read, Result as IoResult};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cap_std::fs::Dir;
use pleach_image_fetch::{Digest, Error, FetchOptions, LayerStream, fetch_with};

use crate::image::{Image, Pack, layer};
use crate::proxy::{ALWAYS, Fault, Proxy, blob};
use crate::registry::Registry;
use crate::support::{Place, assert_sound, blobs, have, index, options, partials, skopeo_copy};

struct Lab {
    _registry: Registry,
    proxy: Proxy,
    image: Image,
    place: Place,
}

impl Lab {
    fn new(image: Image) -> Option<Self> {
        if !have(&["skopeo", "docker-registry"]) {
            return None;
        }
        let registry = Registry::start();
        registry.push(&image, "base");
        Some(Self {
            proxy: Proxy::start(&registry.address),
            _registry: registry,
            image,
            place: Place::new(),
        })
    }

    /// Fetches from behind the proxy; what `read` was given and what it gave back are kept.
    async fn fetch<T: Send + 'static>(
        &self,
        options: &FetchOptions,
        read: impl Fn(&[LayerStream]) -> IoResult<T> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let store = self.place.store();
        let dir = Dir::open_ambient_dir(&store, cap_std::ambient_authority()).unwrap();
        let reference = self.proxy.image("base").parse().unwrap();
        let result = fetch_with(&reference, &dir, options, |_| (), read).await;
        assert_sound(&store);
        assert!(partials(&store).is_empty(), "partial files stayed behind");
        result.map(|(fetched, value)| {
            assert_eq!(fetched.manifest_digest, self.image.manifest_digest());
            value
        })
    }

    fn digests(&self) -> Vec<Digest> {
        self.image.layers.iter().map(|it| it.digest()).collect()
    }
}

fn contents(layer: &LayerStream) -> IoResult<Vec<u8>> {
    let mut bytes = Vec::new();
    layer.open().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The digest of every layer, read one after the other.
fn read_all(layers: &[LayerStream]) -> IoResult<Vec<Digest>> {
    let digest = |it| Ok(Digest::of(&contents(it)?));
    layers.iter().map(digest).collect()
}

#[tokio::test]
async fn layers_are_read_before_they_are_whole() {
    let Some(lab) = Lab::new(Image::small(700)) else {
        return;
    };
    // The rest of the large layer comes only after its beginning was read: without that it would
    // never come, and the fetch would stall.
    lab.proxy
        .fail(blob(lab.digests()[0]), 1, Fault::Gate(100_000));
    let gate = lab.proxy.clone();
    let read = move |layers: &[LayerStream]| {
        let mut reader = layers[0].open();
        let mut head = vec![0; 50_000];
        reader.read_exact(&mut head)?;
        gate.open_gates();
        reader.read_to_end(&mut head)?;
        assert_eq!(layers[0].size(), head.len() as u64);
        let mut all = vec![Digest::of(&head)];
        all.extend(read_all(&layers[1..])?);
        let named: Vec<_> = layers.iter().map(|it| (it.index(), it.digest())).collect();
        Ok((all, named))
    };
    let (all, named) = lab.fetch(&options(), read).await.unwrap();
    assert_eq!(all, lab.digests());
    let expect: Vec<_> = lab.digests().into_iter().enumerate().collect();
    assert_eq!(named, expect);
}

#[tokio::test]
async fn present_layers_and_repeated_ones_are_read_alike() {
    let mut image = Image::small(710);
    image.layers.push(image.layers[1].clone());
    let Some(lab) = Lab::new(Image::new(image.layers)) else {
        return;
    };
    for requests in [4, 0] {
        lab.proxy.forget_requests();
        let read = lab.fetch(&options(), read_all).await.unwrap();
        assert_eq!(read, lab.digests());
        assert_eq!(lab.proxy.requests("/blobs/"), requests);
    }
}

#[tokio::test]
async fn a_reader_lives_through_a_retry() {
    for fault in [Fault::Cut(200_000), Fault::Status(503), Fault::Cut(0)] {
        let Some(lab) = Lab::new(Image::small(720)) else {
            return;
        };
        lab.proxy.fail(blob(lab.digests()[0]), 2, fault.clone());
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let read = move |layers: &[LayerStream]| {
            count.fetch_add(1, Ordering::Relaxed);
            read_all(layers)
        };
        assert_eq!(lab.fetch(&options(), read).await.unwrap(), lab.digests());
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_read_of_a_blob_that_was_damaged_is_read_again() {
    let Some(lab) = Lab::new(Image::small(730)) else {
        return;
    };
    lab.fetch(&options(), read_all).await.unwrap();
    let digest = lab.digests()[0];
    let path = lab.place.store().join("blobs/sha256").join(digest.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // The damaged beginning is read and the rest comes from the registry: only a second look finds
    // the layer.
    lab.proxy.fail(blob(digest), 1, Fault::Gate(100_000));
    let (gate, seen) = (lab.proxy.clone(), Arc::new(Mutex::new(Vec::new())));
    let all = seen.clone();
    let read = move |layers: &[LayerStream]| {
        let mut reader = layers[0].open();
        let mut bytes = vec![0; 50_000];
        reader.read_exact(&mut bytes)?;
        gate.open_gates();
        reader.read_to_end(&mut bytes)?;
        let found = Digest::of(&bytes);
        all.lock().unwrap().push(found);
        match found == layers[0].digest() {
            true => Ok(()),
            false => Err(std::io::Error::other("not the layer")),
        }
    };
    lab.fetch(&options(), read).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last(), Some(&digest));
    assert!(seen.len() <= 2, "{seen:?}");
}

#[tokio::test]
async fn a_reader_that_refuses_ends_the_fetch() {
    let Some(lab) = Lab::new(Image::small(740)) else {
        return;
    };
    // Without its end the fetch would wait for the gate.
    lab.proxy
        .fail(blob(lab.digests()[0]), ALWAYS, Fault::Gate(1));
    let refuse = |layers: &[LayerStream]| -> IoResult<()> {
        contents(&layers[2])?;
        Err(std::io::Error::other("it has a bad name"))
    };
    let error = lab.fetch(&options(), refuse).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("it has a bad name"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(index(&lab.place.store()), []);
    lab.proxy.open_gates();
}

#[tokio::test]
async fn a_fetch_that_fails_ends_its_readers() {
    for fault in [Fault::Status(404), Fault::Flip(200_000), Fault::Short(100)] {
        let Some(lab) = Lab::new(Image::small(750)) else {
            return;
        };
        let digest = lab.digests()[0];
        lab.proxy.fail(blob(digest), ALWAYS, fault.clone());
        let read = Arc::new(Mutex::new(None));
        let result = read.clone();
        let reading = move |layers: &[LayerStream]| {
            let read = contents(&layers[0]);
            *result.lock().unwrap() = Some(read.is_err());
            read
        };
        let error = lab.fetch(&options(), reading).await.unwrap_err();
        let about = matches!(
            error,
            Error::Proxy { .. } | Error::DigestMismatch { .. } | Error::SizeMismatch { .. }
        );
        assert!(about, "{fault:?}: {error}");
        // Even one that ends early looks like no end.
        assert_eq!(*read.lock().unwrap(), Some(true), "{fault:?}");
        assert_eq!(index(&lab.place.store()), []);
        assert!(!blobs(&lab.place.store()).contains(&digest.hex()));
    }
}

#[tokio::test]
async fn what_skopeo_converts_is_read_with_its_real_types() {
    if !have(&["skopeo"]) {
        return;
    }
    let place = Place::new();
    let layers = vec![layer(760, 5000, Pack::Gzip), layer(761, 7, Pack::Gzip)];
    Image::new(layers.clone()).write(&place.path("layout"));
    let archive = format!("docker-archive:{}:a/b:c", place.text("docker.tar"));
    skopeo_copy(&format!("oci:{}:latest", place.text("layout")), &archive);
    let store = Dir::open_ambient_dir(place.store(), cap_std::ambient_authority()).unwrap();
    let read = |layers: &[LayerStream]| -> IoResult<_> {
        let each = layers.iter();
        let each = each.map(|it| Ok((it.media_type().to_owned(), Digest::of(&contents(it)?))));
        each.collect::<IoResult<Vec<_>>>()
    };
    let reference = archive.parse().unwrap();
    let (_, found) = fetch_with(&reference, &store, &options(), |_| (), read)
        .await
        .unwrap();
    let plain = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let expect: Vec<_> = layers
        .iter()
        .map(|it| (plain.clone(), it.diff_id))
        .collect();
    assert_eq!(found, expect);
}
