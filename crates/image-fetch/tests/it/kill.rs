//! SIGKILL at known points of a fetch, then the same fetch again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::faults::skopeos;
use crate::image::{Image, Pack, layer};
use crate::proxy::{Fault, Proxy, blob};
use crate::registry::Registry;
use crate::support::{Place, assert_sound, blobs, fetch_into, have, index, options, partials};

const JOB: &str = "PLEACH_IMAGE_FETCH_CHILD";

/// The process that is killed: this test binary, told in the environment what to fetch.
#[tokio::test]
#[ignore = "run by the tests below, in a process of its own"]
async fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let [store, image, authfile] = job.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{job}")
    };
    let mut options = options();
    options.authfile = Some(authfile.into());
    fetch_into(store.as_ref(), image, &options).await.fetched();
}

#[tokio::test]
async fn killed_and_run_again() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let layers = [(300, 900_000), (301, 400_000), (302, 50_000), (303, 7)];
    let layers = layers.map(|(seed, size)| layer(seed, size, Pack::Gzip));
    let image = Image::new(layers.to_vec());
    registry.push(&image, "base");
    let config = image.manifest["config"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let size = image.layers[0].bytes.len();
    let large = blob(image.layers[0].digest());

    // Where the source stops, after how many bytes of it, and which blobs are whole by then.
    let small: Vec<_> = image.layers[1..]
        .iter()
        .map(|it| it.digest().hex())
        .collect();
    let rows = [
        ("/v2/".to_owned(), 1, 0),
        ("/manifests/".to_owned(), 10, 0),
        (format!("/blobs/{config}"), 10, 0),
        (large.clone(), 0, 4),
        (large.clone(), 1, 4),
        (large.clone(), size / 2, 4),
        (large.clone(), size - 1, 4),
        (blob(image.layers[3].digest()), 1, 4),
    ];
    for (path, bytes, whole) in rows {
        let place = Place::new();
        let store = place.store();
        let proxy = Proxy::start(&registry.address);
        proxy.fail(&path, 1, Fault::Gate(bytes));
        let authfile = place.path("auth.json");
        fs::write(&authfile, "{}").unwrap();
        let job = [
            store.to_str().unwrap(),
            &proxy.image("base"),
            authfile.to_str().unwrap(),
        ];
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--ignored", "--nocapture"])
            .env(JOB, job.join("\n"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        proxy.wait_for_gates(1);
        // All that does not wait behind the gate gets done: that makes half-way a fixed place.
        wait_until(&format!("{whole} whole blobs, {path}"), || {
            blobs(&store).len() == whole
        });
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{path}");

        assert_sound(&store);
        assert_eq!(index(&store), [], "{path}");
        let before = blobs(&store);
        if whole > 0 {
            assert_eq!(partials(&store).len(), 1, "{path} {bytes}: the half blob");
        }
        if path == large {
            assert!(small.iter().all(|it| before.contains(it)), "{path} {bytes}");
        }
        // skopeo has gone too, although its source still hangs.
        wait_until("skopeo's end", || {
            skopeos(authfile.to_str().unwrap()).is_empty()
        });

        proxy.forget_requests();
        let fetched = place
            .fetch(&proxy.image("base"), &options())
            .await
            .fetched();
        assert_eq!(
            fetched.manifest_digest,
            image.manifest_digest(),
            "{path} {bytes}"
        );
        assert_eq!(
            proxy.requests("/blobs/"),
            5 - whole,
            "{path} {bytes}: only what was missing"
        );
        assert_eq!(index(&store).len(), 1, "{path} {bytes}");
        proxy.open_gates();
    }
}

#[track_caller]
fn wait_until(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..1200 {
        if reached() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("never came: {what}");
}
