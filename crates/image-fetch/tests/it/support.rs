//! What every test needs: a place, options, a store that is checked to its last byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cap_std::fs::Dir;
use pleach_image_fetch::{Digest, Error, Event, FetchOptions, Fetched, Policy, fetch};
use serde_json::Value;

/// False, with a line that says so and counts, if a program is missing; a failure in CI.
pub(crate) fn have(programs: &[&str]) -> bool {
    let not_in_path = |name: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        !std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    let Some(missing) = programs.iter().find(not_in_path) else {
        return true;
    };
    skip(&format!("{missing} is missing"));
    false
}

/// Says that a test did not run; its name is that of its thread.
pub(crate) fn skip(reason: &str) {
    let ci = std::env::var("CI").is_ok_and(|it| it == "true");
    assert!(!ci, "{reason}, and CI must not skip");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().rsplit("::").next();
    eprintln!("SKIP {}: {reason}", name.unwrap_or_default());
}

/// Runs a program to its end; panics with its output if it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect(program);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub(crate) fn skopeo_copy(from: &str, to: &str) {
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run(
        "skopeo",
        &["--insecure-policy", "copy", "-q", tls[0], tls[1], from, to],
    );
}

/// A folder with a store in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.store()).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Fetches into the store, and checks the store whatever came of it.
    pub(crate) async fn fetch(&self, image: &str, options: &FetchOptions) -> Outcome {
        fetch_into(&self.store(), image, options).await
    }
}

pub(crate) struct Outcome {
    pub(crate) result: Result<Fetched, Error>,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn fetched(self) -> Fetched {
        self.result
            .unwrap_or_else(|error| panic!("{error}\n{error:?}\n{:#?}", self.events))
    }

    #[track_caller]
    pub(crate) fn error(self) -> Error {
        match self.result {
            Ok(fetched) => panic!("it was fetched: {fetched:?}"),
            Err(error) => error,
        }
    }

    pub(crate) fn count(&self, matching: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|it| matching(it)).count()
    }
}

/// Without a look at the store before or after.
pub(crate) async fn fetch_unchecked(
    store: &Path,
    image: &str,
    options: &FetchOptions,
) -> Result<Fetched, Error> {
    let dir = Dir::open_ambient_dir(store, cap_std::ambient_authority()).unwrap();
    fetch(&image.parse().unwrap(), &dir, options, |_| ()).await
}

pub(crate) async fn fetch_into(store: &Path, image: &str, options: &FetchOptions) -> Outcome {
    let dir = Dir::open_ambient_dir(store, cap_std::ambient_authority()).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let progress = |event| events.lock().unwrap().push(event);
    let result = fetch(&image.parse().unwrap(), &dir, options, progress).await;
    assert_sound(store);
    if result.is_ok() {
        assert_eq!(
            partials(store),
            BTreeSet::new(),
            "partial files stayed behind"
        );
    }
    let events = events.lock().unwrap().clone();
    Outcome { result, events }
}

/// Options for tests: plain HTTP, no signatures, short pauses, one name.
pub(crate) fn options() -> FetchOptions {
    let mut options = FetchOptions::new(Policy::AcceptAnything);
    options.tls_verify = false;
    options.ref_name = Some("test".into());
    options.retry.backoff = Duration::from_millis(10);
    options
}

fn names(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What was verified, whether it has its name already or waits for the image to be whole.
pub(crate) fn blobs(store: &Path) -> BTreeSet<String> {
    let mut all = names(&store.join("blobs/sha256"));
    all.extend(names(&store.join(".image-fetch/whole")));
    all
}

pub(crate) fn partials(store: &Path) -> BTreeSet<String> {
    let mut all = names(&store.join(".image-fetch/partial"));
    all.extend(names(&store.join(".image-fetch/tmp")));
    all
}

/// Every file that has the name of a blob is that blob, and everything that the index names is
/// there, down to the layers.
#[track_caller]
pub(crate) fn assert_sound(store: &Path) {
    let mut good = BTreeSet::new();
    for folder in ["blobs/sha256", ".image-fetch/whole"] {
        for name in names(&store.join(folder)) {
            let path = store.join(folder).join(&name);
            if !fs::symlink_metadata(&path).unwrap().is_file() {
                continue;
            }
            assert_eq!(
                Digest::of(&fs::read(&path).unwrap()).hex(),
                name,
                "a blob that is not itself"
            );
            if folder == "blobs/sha256" {
                good.insert(name);
            }
        }
    }
    for (name, manifest) in index(store) {
        let blob = |descriptor: &Value| -> Vec<u8> {
            let hex = descriptor["digest"]
                .as_str()
                .unwrap()
                .strip_prefix("sha256:")
                .unwrap();
            assert!(
                good.contains(hex),
                "{name}: {descriptor} is not in the store"
            );
            let bytes = fs::read(store.join("blobs/sha256").join(hex)).unwrap();
            assert_eq!(
                bytes.len() as u64,
                descriptor["size"].as_u64().unwrap(),
                "{descriptor}"
            );
            bytes
        };
        let manifest: Value = serde_json::from_slice(&blob(&manifest)).unwrap();
        blob(&manifest["config"]);
        for layer in manifest["layers"].as_array().unwrap() {
            blob(layer);
        }
    }
}

/// The entries of `index.json` with their names, or their digests where they have none.
pub(crate) fn index(store: &Path) -> Vec<(String, Value)> {
    let Ok(bytes) = fs::read(store.join("index.json")) else {
        return Vec::new();
    };
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let name = |it: &Value| {
        let name = &it["annotations"]["org.opencontainers.image.ref.name"];
        name.as_str().or(it["digest"].as_str()).unwrap().to_owned()
    };
    entries.iter().map(|it| (name(it), it.clone())).collect()
}

pub(crate) fn ref_names(store: &Path) -> Vec<String> {
    index(store).into_iter().map(|(name, _)| name).collect()
}
