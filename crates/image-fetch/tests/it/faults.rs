//! A registry that fails: either the image is whole after a retry, or the error says what it was.
//! `Place::fetch` checks after every call that the store holds no bad blob.

use std::fs;
use std::time::Duration;

use pleach_image_fetch::{Error, Event, FetchOptions};

use crate::image::{Image, Pack, layer};
use crate::proxy::{ALWAYS, Fault, Proxy, blob};
use crate::registry::Registry;
use crate::support::{Outcome, Place, blobs, have, index, options, partials};

struct Lab {
    registry: Registry,
    proxy: Proxy,
    image: Image,
    place: Place,
}

impl Lab {
    fn new() -> Option<Self> {
        if !have(&["skopeo", "docker-registry"]) {
            return None;
        }
        let registry = Registry::start();
        let image = Image::small(100);
        registry.push(&image, "base");
        let proxy = Proxy::start(&registry.address);
        Some(Self {
            registry,
            proxy,
            image,
            place: Place::new(),
        })
    }

    async fn fetch(&self, options: &FetchOptions) -> Outcome {
        self.place.fetch(&self.proxy.image("base"), options).await
    }

    /// The large layer's path.
    fn large(&self) -> String {
        blob(self.image.layers[0].digest())
    }

    /// Nothing is named, and what failed is in the store under no name.
    fn assert_nothing_counts(&self) {
        let store = self.place.store();
        assert_eq!(index(&store), []);
        assert!(!blobs(&store).contains(&self.image.layers[0].digest().hex()));
        assert!(partials(&store).is_empty(), "{:?}", partials(&store));
    }
}

fn retries(outcome: &Outcome) -> usize {
    outcome.count(|it| matches!(it, Event::Retry { .. }))
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let manifest = "/manifests/";
    let rows = [
        (manifest, 1, Fault::Status(500)),
        (manifest, 3, Fault::Status(503)),
        (manifest, 1, Fault::Cut(0)),
        (manifest, 1, Fault::Cut(100)),
        ("/v2/", 1, Fault::Status(502)),
        ("blob", 1, Fault::Status(500)),
        ("blob", 3, Fault::Status(504)),
        ("blob", 1, Fault::Cut(0)),
        ("blob", 2, Fault::Cut(100_000)),
    ];
    for (path, times, fault) in rows {
        let Some(lab) = Lab::new() else { return };
        let path = if path == "blob" {
            lab.large()
        } else {
            path.to_owned()
        };
        lab.proxy.fail(&path, times, fault.clone());
        let outcome = lab.fetch(&options()).await;
        // skopeo may try some again by itself.
        let asked = lab.proxy.requests(&path);
        assert!(asked > times, "{path} {fault:?}: asked {asked} times");
        let fetched = outcome.fetched();
        assert_eq!(
            fetched.manifest_digest,
            lab.image.manifest_digest(),
            "{path} {fault:?}"
        );
        for it in &lab.image.layers[1..] {
            assert_eq!(
                lab.proxy.requests(blob(it.digest())),
                1,
                "{path} {fault:?}: fetched twice"
            );
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_given_up() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), ALWAYS, Fault::Status(500));
    let mut few = options();
    few.retry.attempts = 2;
    // The small layers that came through in the first attempt start the count anew once.
    let outcome = lab.fetch(&few).await;
    assert!((2..=3).contains(&retries(&outcome)), "{:?}", outcome.events);
    let error = outcome.error();
    assert!(error.is_transient(), "{error}");
    assert!(
        error
            .to_string()
            .contains(&lab.image.layers[0].digest().to_string()),
        "{error}"
    );
    assert!(error.to_string().contains("500"), "{error}");
    lab.assert_nothing_counts();
    let none = lab.place.fetch("docker://127.0.0.1:1/base", &few).await;
    assert_eq!(retries(&none), 2);
    assert!(none.error().is_transient());
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    let rows = [
        ("/manifests/", Fault::Status(404)),
        ("/manifests/", Fault::Status(401)),
        ("blob", Fault::Status(404)),
    ];
    for (path, fault) in rows {
        let Some(lab) = Lab::new() else { return };
        let path = if path == "blob" {
            lab.large()
        } else {
            path.to_owned()
        };
        lab.proxy.fail(&path, ALWAYS, fault.clone());
        let outcome = lab.fetch(&options()).await;
        assert_eq!(retries(&outcome), 0, "{path} {fault:?}");
        let error = outcome.error();
        assert!(
            matches!(
                error,
                Error::Proxy {
                    transient: false,
                    ..
                }
            ),
            "{path} {fault:?}: {error}"
        );
        lab.assert_nothing_counts();
    }
}

#[tokio::test]
async fn a_changed_byte_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let digest = lab.image.layers[0].digest();
    let check = |outcome: Outcome, what: &str| {
        assert_eq!(retries(&outcome), 0, "{what}");
        match outcome.error() {
            Error::DigestMismatch { digest: of, .. } => assert_eq!(of, digest, "{what}"),
            other => panic!("{what}: {other}"),
        }
        lab.assert_nothing_counts();
    };
    lab.proxy.fail(lab.large(), 1, Fault::Flip(200_000));
    check(lab.fetch(&options()).await, "on the way");

    let path = lab.registry.blob(digest);
    let good = fs::read(&path).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, bad).unwrap();
        check(
            lab.fetch(&options()).await,
            &format!("in the registry, at {at}"),
        );
    }
    fs::write(&path, good).unwrap();
    lab.fetch(&options()).await.fetched();
}

#[tokio::test]
async fn a_changed_manifest_or_config_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let pinned = format!(
        "docker://{}/base@{}",
        lab.proxy.address,
        lab.image.manifest_digest()
    );
    lab.proxy.fail("/manifests/", 1, Fault::Flip(50));
    // skopeo itself compares a manifest with the digest that it was asked for by.
    let outcome = lab.place.fetch(&pinned, &options()).await;
    assert!(matches!(outcome.error(), Error::Proxy { .. }));
    lab.assert_nothing_counts();
    let config = lab.image.manifest["config"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.proxy
        .fail(format!("/blobs/{config}"), ALWAYS, Fault::Flip(3));
    let error = lab.fetch(&options()).await.error();
    assert!(error.to_string().contains(&config), "{error}");
    lab.assert_nothing_counts();
}

#[tokio::test]
async fn a_body_that_ends_early_is_refused() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), ALWAYS, Fault::Short(1000));
    let outcome = lab.fetch(&options()).await;
    assert_eq!(retries(&outcome), 0);
    let expected = lab.image.layers[0].bytes.len() as u64;
    match outcome.error() {
        Error::SizeMismatch {
            found: 1000,
            expected: size,
            ..
        } => assert_eq!(size, expected),
        other => panic!("{other}"),
    }
    lab.assert_nothing_counts();
}

#[tokio::test]
async fn a_body_that_goes_on_is_refused() {
    let Some(lab) = Lab::new() else { return };
    // In the registry, so that its answer is well-formed.
    let path = lab.registry.blob(lab.image.layers[0].digest());
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"more");
    fs::write(&path, bytes).unwrap();
    let error = lab.fetch(&options()).await.error();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");
    lab.assert_nothing_counts();
}

fn impatient() -> FetchOptions {
    let mut options = options();
    options.stall_timeout = Duration::from_secs(2);
    options.retry.attempts = 0;
    options
}

#[tokio::test]
async fn a_stall_is_an_error_and_ends_skopeo() {
    for path in ["/manifests/", "/v2/", "blob"] {
        let Some(lab) = Lab::new() else { return };
        let at = if path == "blob" { 100_000 } else { 1 };
        let path = if path == "blob" {
            lab.large()
        } else {
            path.to_owned()
        };
        lab.proxy.fail(&path, ALWAYS, Fault::Gate(at));
        let mut options = impatient();
        let authfile = lab.place.path("auth.json");
        fs::write(&authfile, "{}").unwrap();
        options.authfile = Some(authfile.clone());
        let error = lab.fetch(&options).await.error();
        assert!(matches!(error, Error::Stalled { .. }), "{path}: {error}");
        lab.assert_nothing_counts();
        assert_skopeo_ends(authfile.to_str().unwrap()).await;
    }
}

/// No process with this word among its arguments is left, soon.
async fn assert_skopeo_ends(word: &str) {
    for _ in 0..600 {
        if skopeos(word).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("skopeo goes on: {:?}", skopeos(word));
}

pub(crate) fn skopeos(word: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|it| {
        let name = it.ok()?.file_name().into_string().ok()?;
        name.parse::<i32>().ok()
    });
    let has = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&arguments).into_owned();
        text.contains("experimental-image-proxy") && text.contains(word)
    };
    pids.filter(has).collect()
}

#[tokio::test]
async fn a_stall_that_passes_is_tried_again() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), 1, Fault::Gate(100_000));
    let mut options = impatient();
    // On a machine that is busy, what follows may stall as well.
    options.retry.attempts = 5;
    let outcome = lab.fetch(&options).await;
    assert!(retries(&outcome) >= 1);
    outcome.fetched();
}

#[tokio::test]
async fn a_trickle_is_a_stall() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), ALWAYS, Fault::Drip);
    let error = lab.fetch(&impatient()).await.error();
    assert!(
        matches!(error, Error::Stalled { floor: 1024, .. }),
        "{error}"
    );
    lab.assert_nothing_counts();
}

#[tokio::test]
async fn a_pause_shorter_than_the_timeout_is_no_stall() {
    let Some(lab) = Lab::new() else { return };
    // Longer than the patience after which skopeo is asked about the stream's end.
    lab.proxy.fail("/blobs/", ALWAYS, Fault::Gate(1));
    let proxy = lab.proxy.clone();
    let opening = std::thread::spawn(move || {
        proxy.wait_for_gates(1);
        std::thread::sleep(Duration::from_millis(1200));
        proxy.open_gates();
    });
    let outcome = lab.fetch(&options()).await;
    assert_eq!(retries(&outcome), 0);
    outcome.fetched();
    opening.join().unwrap();
}

#[tokio::test]
async fn the_deadline_ends_everything() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), ALWAYS, Fault::Gate(100_000));
    let mut options = options();
    options.deadline = Some(Duration::from_secs(2));
    let error = lab.fetch(&options).await.error();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert_eq!(index(&lab.place.store()), []);
    lab.proxy.open_gates();
    options.deadline = None;
    lab.fetch(&options).await.fetched();
}

#[tokio::test]
async fn a_skopeo_that_is_killed_is_started_again() {
    let Some(lab) = Lab::new() else { return };
    lab.proxy.fail(lab.large(), 1, Fault::Gate(100_000));
    let authfile = lab.place.path("auth.json");
    fs::write(&authfile, "{}").unwrap();
    let mut options = options();
    options.authfile = Some(authfile.clone());
    let proxy = lab.proxy.clone();
    let killing = std::thread::spawn(move || {
        proxy.wait_for_gates(1);
        for pid in skopeos(authfile.to_str().unwrap()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    });
    let outcome = lab.fetch(&options).await;
    killing.join().unwrap();
    assert_eq!(retries(&outcome), 1, "{:?}", outcome.events);
    outcome.fetched();
}

#[tokio::test]
async fn programs_that_are_not_skopeo() {
    if !have(&["cat", "false"]) {
        return;
    }
    let place = Place::new();
    let with = |program: &str| {
        let mut options = options();
        options.skopeo = program.into();
        options
    };
    let error = place.fetch("oci:x", &with("no-such-skopeo")).await.error();
    assert!(matches!(error, Error::SkopeoMissing { .. }), "{error}");
    let error = place.fetch("oci:x", &with("false")).await.error();
    assert!(
        matches!(
            error,
            Error::Proxy {
                transient: false,
                ..
            }
        ),
        "{error}"
    );
    // One that reads and never answers.
    let script = place.path("deaf");
    fs::write(&script, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let mut deaf = with(script.to_str().unwrap());
    deaf.stall_timeout = Duration::from_secs(1);
    deaf.retry.attempts = 1;
    let error = place.fetch("oci:x", &deaf).await.error();
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_blobs_are_fetched_at_a_time() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let layers = (0..5)
        .map(|seed| layer(200 + seed, 200_000, Pack::Gzip))
        .collect();
    registry.push(&Image::new(layers), "many");
    let proxy = Proxy::start(&registry.address);
    // No body ends before three have begun: with fewer at a time this would not end.
    for it in 0..5 {
        let digest = layer(200 + it, 200_000, Pack::Gzip).digest();
        proxy.fail(blob(digest), 1, Fault::Gate(100_000));
    }
    let gates = proxy.clone();
    let opening = std::thread::spawn(move || {
        gates.wait_for_gates(3);
        gates.open_gates();
    });
    let place = Place::new();
    let outcome = place.fetch(&proxy.image("many"), &options()).await;
    opening.join().unwrap();
    assert_eq!(outcome.fetched().layers.len(), 5);
}
