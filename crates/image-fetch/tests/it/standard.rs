//! What skopeo finds by itself: credentials, mirrors, signatures. Each fetch runs in a process of its
//! own, with a home of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pleach_image_fetch::{Error, Policy};
use serde_json::{Value, json};

use crate::image::Image;
use crate::proxy::Proxy;
use crate::registry::{Registry, SECRET};
use crate::support::{Place, assert_sound, blobs, fetch_into, have, options};

const JOB: &str = "PLEACH_IMAGE_FETCH_STANDARD";

/// The process: this test binary, told in the environment what to fetch.
#[tokio::test]
#[ignore = "run by the tests below, in a process of its own"]
async fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Value = serde_json::from_str(&job).unwrap();
    let text = |name: &str| job[name].as_str();
    let mut options = options();
    options.policy_by_copy = true;
    options.retry.attempts = 0;
    if let Some(policy) = text("policy") {
        options.policy = Policy::Document(policy.into());
    }
    let store = text("store").unwrap();
    let outcome = fetch_into(store.as_ref(), text("image").unwrap(), &options).await;
    let said = match outcome.result {
        Ok(fetched) => {
            json!({ "digest": fetched.manifest_digest.to_string(), "policy": fetched.policy })
        }
        Err(error) => json!({
            "error": error.to_string(),
            "refused": matches!(error, Error::PolicyRefuses { .. }),
        }),
    };
    fs::write(text("result").unwrap(), said.to_string()).unwrap();
}

/// A place whose folder `home` is what `$HOME` says, and `run` `$XDG_RUNTIME_DIR`.
pub(crate) struct Home {
    pub(crate) place: Place,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let variables = vec![
            ("HOME", place.path("home")),
            ("XDG_RUNTIME_DIR", place.path("run")),
        ];
        Self { place, variables }
    }

    /// Writes a file below the place.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.place.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A command that looks for its files here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("XDG_CONFIG_HOME");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What a fetch there comes to: its digest and policy, or its error.
    pub(crate) fn fetch(&self, image: &str, policy: Option<&str>) -> Value {
        let result = self.place.path("result");
        let job = json!({
            "store": self.place.store(), "image": image, "policy": policy, "result": result,
        });
        let binary = std::env::current_exe().unwrap();
        let mut command = self.command(binary.to_str().unwrap());
        command.args(["--exact", "standard::child", "--ignored", "--nocapture"]);
        let ended = command
            .env(JOB, job.to_string())
            .stdout(Stdio::null())
            .status();
        assert!(ended.unwrap().success());
        assert_sound(&self.place.store());
        let said = fs::read(result).unwrap();
        serde_json::from_slice(&said).unwrap()
    }
}

#[test]
fn credentials_in_their_standard_places() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start_locked();
    let image = Image::small(900);
    registry.push(&image, "base");
    let reference = format!("docker://{}/base:latest", registry.address);
    let document = |secret: &str| {
        let auth = json!({ "auths": { &registry.address: { "auth": secret } } });
        auth.to_string()
    };
    let places = [
        "elsewhere/auth.json",
        "run/containers/auth.json",
        "home/.config/containers/auth.json",
        "home/.docker/config.json",
    ];
    for file in places {
        let mut home = Home::new();
        if file == places[0] {
            home.variables
                .push(("REGISTRY_AUTH_FILE", home.place.path(file)));
        }
        home.write(file, &document(SECRET));
        let said = home.fetch(&reference, None);
        assert_eq!(
            said["digest"],
            image.manifest_digest().to_string(),
            "{file}: {said}"
        );
    }
    // The controls: without one, and with a wrong one.
    let home = Home::new();
    let refused = |what: &str| {
        let said = home.fetch(&reference, None);
        let error = said["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{what}: {said}"));
        let error = error.to_lowercase();
        assert!(error.contains("auth"), "{what}: {error}");
        assert!(blobs(&home.place.store()).is_empty(), "{what}");
    };
    refused("without");
    home.write("home/.docker/config.json", &document("dGVzdDp3cm9uZw=="));
    refused("wrong");
}

#[test]
fn mirrors_are_asked_first_and_may_be_down() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let image = Image::small(910);
    registry.push(&image, "base");
    let mirror = Proxy::start(&registry.address);
    let other = Proxy::start(&registry.address);
    let down = "127.0.0.1:1".to_owned();
    // The mirror, the registry, and which of them is asked for blobs.
    let rows = [
        (&mirror.address, &other.address, &mirror),
        (&mirror.address, &down, &mirror),
        (&down, &other.address, &other),
    ];
    for (mirrored, location, asked) in rows {
        let home = Home::new();
        let conf = format!(
            "[[registry]]\nprefix = \"registry.example/os\"\nlocation = \"{location}\"\n\
             insecure = true\n[[registry.mirror]]\nlocation = \"{mirrored}\"\ninsecure = true\n"
        );
        home.write("home/.config/containers/registries.conf", &conf);
        mirror.forget_requests();
        other.forget_requests();
        let said = home.fetch("docker://registry.example/os/base:latest", None);
        assert_eq!(
            said["digest"],
            image.manifest_digest().to_string(),
            "{said}"
        );
        assert_eq!(asked.requests("/blobs/"), 4, "{mirrored} {location}");
        let all = mirror.requests("/blobs/") + other.requests("/blobs/");
        assert_eq!(all, 4, "{mirrored} {location}: asked twice");
    }
}
