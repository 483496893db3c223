//! Signature policies that ask for something, and are applied whatever skopeo is installed.

use std::fs;

use pleach_image_fetch::{Error, FetchOptions, Policy};
use serde_json::{Value, json};

use crate::image::{Image, Pack, layer};
use crate::proxy::{Proxy, blob};
use crate::registry::Registry;
use crate::standard::Home;
use crate::support::{Place, blobs, have, index, options, run};

fn run_in(home: &Home, program: &str, args: &[&str]) -> Vec<u8> {
    let mut command = home.command(program);
    let output = command
        .env("GNUPGHOME", home.place.path("gnupg"))
        .args(args)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {words}");
    output.stdout
}

/// Any P-256 key: nothing is signed with it.
const SIGSTORE_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESz7SwM/sZ1lmxprSMj2qwD6ZI0Jm
WO5iJIeXHESq9oxfAvh5L0T8S6+hczu0wOoxAbZUkW/OWltRUkUd29YPMQ==
-----END PUBLIC KEY-----
";

#[test]
fn signed_images_pass_and_others_are_refused() {
    if !have(&["skopeo", "docker-registry", "gpg", "gpg-agent"]) {
        return;
    }
    let registry = Registry::start();
    let home = Home::new();
    let place = &home.place;
    fs::create_dir(place.path("gnupg")).unwrap();
    run("chmod", &["700", &place.text("gnupg")]);
    for key in ["a@example.test", "b@example.test"] {
        let new = [
            "--batch",
            "--passphrase",
            "",
            "--quick-gen-key",
            key,
            "ed25519",
            "sign",
        ];
        run_in(&home, "gpg", &new);
        let exported = run_in(&home, "gpg", &["--armor", "--export", key]);
        fs::write(place.path(&key[..1]), exported).unwrap();
    }
    let sigs = place.text("signatures");
    home.write(
        "home/.config/containers/registries.d/default.yaml",
        &format!("default-docker:\n  sigstore: file://{sigs}\n  sigstore-staging: file://{sigs}\n"),
    );
    let image = Image::small(920);
    image.write(&place.path("layout"));
    let from = format!("oci:{}:latest", place.text("layout"));
    for (name, key) in [("signed", Some("a@example.test")), ("unsigned", None)] {
        let to = format!("docker://{}/{name}:latest", registry.address);
        let mut copy = vec!["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"];
        copy.extend(key.map(|key| ["--sign-by", key]).into_iter().flatten());
        copy.extend([&*from, &to]);
        run_in(&home, "skopeo", &copy);
    }
    run_in(&home, "gpgconf", &["--kill", "gpg-agent"]);

    let signed_by = |key: &str| {
        let names = json!({ "type": "exactRepository", "dockerRepository": format!("{}/signed", registry.address) });
        json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": place.path(key), "signedIdentity": names })
    };
    home.write("sigstore", SIGSTORE_KEY);
    let sigstore = json!({ "type": "sigstoreSigned", "keyPath": place.path("sigstore") });
    let accept = json!({ "type": "insecureAcceptAnything" });
    // image, requirement, part of the refusal
    let rows: [(&str, &Value, Option<&str>); 6] = [
        ("signed", &signed_by("a"), None),
        ("signed", &signed_by("b"), Some("signature")),
        ("unsigned", &signed_by("a"), Some("no signature exists")),
        ("signed", &sigstore, Some("signature")),
        (
            "unsigned",
            &json!({ "type": "reject" }),
            Some("rejected by policy"),
        ),
        ("unsigned", &accept, None),
    ];
    for (name, requirement, refused) in rows {
        let policy = json!({
            "default": [{ "type": "reject" }],
            "transports": { "docker": { &*registry.address: [requirement] } },
        });
        let policy = policy.to_string();
        // By its own name: signatures are found by it.
        let reference = format!("docker://{}/{name}:latest", registry.address);
        fs::remove_dir_all(place.store()).unwrap();
        fs::create_dir(place.store()).unwrap();
        let said = home.fetch(&reference, Some(&policy));
        let what = format!("{name} {requirement}: {said}");
        match refused {
            None => {
                assert_eq!(
                    said["digest"],
                    image.manifest_digest().to_string(),
                    "{what}"
                );
                assert_eq!(said["policy"][0], requirement["type"], "{what}");
            }
            Some(part) => {
                assert_eq!(said["refused"], true, "{what}");
                let error = said["error"].as_str().unwrap().to_lowercase();
                assert!(error.contains(part), "{what}");
                assert!(blobs(&place.store()).is_empty(), "{what}");
            }
        }
    }
}

/// Strict, since it asks for something somewhere, and accepts what comes from elsewhere.
const PICKY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}],
    "transports":{"docker":{"registry.example":[{"type":"reject"}]},
        "oci":{"/nowhere":[{"type":"reject"}]}}}"#;

fn picky() -> FetchOptions {
    let mut options = options();
    options.policy = Policy::Document(PICKY.into());
    options.policy_by_copy = true;
    options
}

#[tokio::test]
async fn a_policy_applied_by_copy_transfers_no_layer() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    let packs = [Pack::Gzip, Pack::GzipTwice, Pack::Zstd];
    let layers = packs.iter().zip(930..);
    let layers = layers.map(|(pack, seed)| layer(seed, 20_000, *pack));
    let image = Image::new(layers.collect());
    registry.push(&image, "oci");
    let docker = Image::small(935);
    registry.push(&docker, "docker");
    let name = format!("docker://{}/docker:latest", registry.address);
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--format",
            "v2s2",
            &name,
            &name,
        ],
    );
    for (name, image) in [("oci", &image), ("docker", &docker)] {
        let proxy = Proxy::start(&registry.address);
        let place = Place::new();
        place.fetch(&proxy.image(name), &picky()).await.fetched();
        for it in &image.layers {
            assert_eq!(proxy.requests(blob(it.digest())), 1, "{name}");
        }
    } // In a layout a layer may be plain, and stays so.
    let place = Place::new();
    Image::new(vec![layer(939, 20_000, Pack::Plain)]).write(&place.path("layout"));
    let reference = format!("oci:{}", place.text("layout"));
    place.fetch(&reference, &picky()).await.fetched();
}

#[tokio::test]
async fn an_image_that_is_accepted_unsigned_is_refused_where_that_is_enforced() {
    let place = Place::new();
    let any = r#"[{"type":"insecureAcceptAnything"}]"#;
    let by_key = r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]"#;
    let documents = [
        None,
        Some(format!(r#"{{"default":{any}}}"#)),
        Some(format!(
            r#"{{"default":{by_key},"transports":{{"docker":{{"h.example":{any}}}}}}}"#
        )),
    ];
    for document in documents {
        let mut options = options();
        options.enforce_policy = true;
        if let Some(document) = &document {
            options.policy = Policy::Document(document.clone().into());
        }
        let error = place.fetch("docker://h.example/a", &options).await.error();
        let accepted = matches!(error, Error::PolicyAcceptsAnything { .. });
        assert!(accepted, "{document:?}: {error}");
    }
    // One that asks for something is not refused for that.
    let mut options = options();
    options.enforce_policy = true;
    options.skopeo = "no-such-skopeo".into();
    options.policy = Policy::Document(format!(r#"{{"default":{by_key}}}"#).into());
    let error = place.fetch("docker://h.example/a", &options).await.error();
    assert!(matches!(error, Error::SkopeoMissing { .. }), "{error}");
    assert_eq!(index(&place.store()), []);
}
