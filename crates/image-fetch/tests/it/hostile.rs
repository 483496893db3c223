//! Images that mean harm, and policies that forbid.

use std::fs;

use pleach_image_fetch::{Compression, Error, FetchOptions, Policy};
use serde_json::{Value, json};

use crate::image::{Image, Layer, Pack, gzip, layer, packed};
use crate::proxy::Proxy;
use crate::registry::Registry;
use crate::support::{Outcome, Place, blobs, have, index, options, partials, run};

/// Fetches an image from a layout on disk that holds whatever `change` made of it. Nothing may be
/// named in the store afterwards, and nothing be written beside it.
async fn fetch_changed(change: impl FnOnce(&mut Image), options: &FetchOptions) -> Outcome {
    let place = Place::new();
    let mut image = Image::small(500);
    change(&mut image);
    image.write(&place.path("layout"));
    let outcome = place
        .fetch(&format!("oci:{}", place.text("layout")), options)
        .await;
    if outcome.result.is_err() {
        assert_eq!(index(&place.store()), []);
        assert!(partials(&place.store()).is_empty());
        let mut beside: Vec<_> = fs::read_dir(place.path(""))
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        beside.sort();
        assert_eq!(beside, ["layout", "store"]);
        let manifest = image.manifest_digest().hex();
        assert!(
            !blobs(&place.store()).contains(&manifest),
            "a refused manifest was stored"
        );
    }
    outcome
}

#[tokio::test]
async fn manifests_that_are_refused() {
    if !have(&["skopeo"]) {
        return;
    }
    type Change = fn(&mut Value);
    let rows: [(&str, Change); 22] = [
        ("digest that climbs", |it| {
            it["layers"][0]["digest"] = json!("sha256:../../x")
        }),
        ("absolute digest", |it| {
            it["layers"][0]["digest"] = json!("/etc/passwd")
        }),
        ("digest in upper case", |it| {
            let upper = it["layers"][0]["digest"].as_str().unwrap()[7..].to_uppercase();
            it["layers"][0]["digest"] = json!(format!("sha256:{upper}"));
        }),
        ("short digest", |it| {
            it["layers"][0]["digest"] = json!("sha256:00")
        }),
        ("sha512", |it| {
            it["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
        }),
        ("empty digest", |it| it["layers"][0]["digest"] = json!("")),
        ("no digest", |it| {
            drop(it["layers"][0].as_object_mut().unwrap().remove("digest"))
        }),
        ("config digest that climbs", |it| {
            it["config"]["digest"] = json!("sha256:../../x")
        }),
        ("negative size", |it| it["layers"][0]["size"] = json!(-1)),
        ("size as text", |it| it["layers"][0]["size"] = json!("7")),
        ("fraction", |it| it["layers"][0]["size"] = json!(0.5)),
        ("huge size", |it| it["layers"][0]["size"] = json!(i64::MAX)),
        ("huge config", |it| it["config"]["size"] = json!(1u64 << 40)),
        ("too small a size", |it| it["layers"][0]["size"] = json!(10)),
        ("too large a size", |it| {
            it["layers"][0]["size"] = json!(400_000)
        }),
        ("unknown layer type", |it| {
            it["layers"][0]["mediaType"] = json!("text/plain")
        }),
        ("an artifact", |it| {
            it["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        }),
        ("no layers", |it| {
            drop(it.as_object_mut().unwrap().remove("layers"))
        }),
        ("layers that are no list", |it| it["layers"] = json!({})),
        ("one blob, two sizes", |it| {
            let mut twin = it["layers"][2].clone();
            twin["size"] = json!(1);
            it["layers"].as_array_mut().unwrap().push(twin);
        }),
        ("the config as a layer", |it| {
            let mut twin = it["config"].clone();
            twin["mediaType"] = it["layers"][0]["mediaType"].clone();
            it["layers"][0] = twin;
        }),
        ("image and index in one", |it| it["manifests"] = json!([])),
    ];
    for (what, change) in rows {
        let outcome = fetch_changed(|image| change(&mut image.manifest), &options()).await;
        match outcome.error() {
            // What skopeo refuses itself never reaches us.
            Error::Manifest { .. } | Error::Limit { .. } | Error::SizeMismatch { .. } => {}
            Error::Proxy {
                transient: false, ..
            } => {}
            other => panic!("{what}: {other}"),
        }
    }
}

#[tokio::test]
async fn configs_that_are_refused() {
    if !have(&["skopeo"]) {
        return;
    }
    type Change = fn(&mut Value);
    let rows: [(&str, Change); 7] = [
        ("no rootfs", |it| {
            drop(it.as_object_mut().unwrap().remove("rootfs"))
        }),
        ("rootfs of another type", |it| {
            it["rootfs"]["type"] = json!("files")
        }),
        ("a diff ID too few", |it| {
            drop(it["rootfs"]["diff_ids"].as_array_mut().unwrap().pop())
        }),
        ("a diff ID too many", |it| {
            let again = it["rootfs"]["diff_ids"][0].clone();
            it["rootfs"]["diff_ids"].as_array_mut().unwrap().push(again);
        }),
        ("diff ID that climbs", |it| {
            it["rootfs"]["diff_ids"][0] = json!("sha256:../../x")
        }),
        ("no diff IDs", |it| it["rootfs"]["diff_ids"] = json!(null)),
        ("no object", |it| *it = json!([])),
    ];
    for (what, change) in rows {
        let change = |image: &mut Image| {
            change(&mut image.config);
            image.remake_manifest();
        };
        match fetch_changed(change, &options()).await.error() {
            Error::Config { .. }
            | Error::Proxy {
                transient: false, ..
            } => {}
            other => panic!("{what}: {other}"),
        }
    }
}

#[tokio::test]
async fn layers_that_are_not_what_they_are_called() {
    if !have(&["skopeo"]) {
        return;
    }
    let with = |layer: Layer| {
        async |options: &FetchOptions| {
            let change = |image: &mut Image| *image = Image::new(vec![layer]);
            fetch_changed(change, options).await
        }
    };
    let good = layer(510, 100_000, Pack::Gzip);

    let mut wrong = good.clone();
    wrong.diff_id = layer(511, 5, Pack::Gzip).diff_id;
    let error = with(wrong.clone())(&options()).await.error();
    assert!(matches!(error, Error::DiffIdMismatch { .. }), "{error}");
    let mut trusting = options();
    trusting.check_diff_ids = false;
    let fetched = with(wrong)(&trusting).await.fetched();
    assert!(!fetched.layers[0].diff_id_checked);

    let mut plain = layer(512, 1000, Pack::Plain);
    plain.media_type = good.media_type;
    match with(plain)(&options()).await.error() {
        Error::MediaTypeMismatch {
            found: Compression::None,
            ..
        } => {}
        other => panic!("{other}"),
    }

    let truncated = &good.bytes[..good.bytes.len() - 4];
    let mut flipped = good.bytes.clone();
    let last = flipped.len() - 8;
    flipped[last] ^= 1;
    let garbage = [&good.bytes[..], b"garbage"].concat();
    for (what, bytes) in [
        ("truncated", truncated),
        ("wrong CRC", &flipped),
        ("garbage", &garbage),
    ] {
        let bad = Layer {
            bytes: bytes.to_vec(),
            ..good.clone()
        };
        let error = with(bad)(&options()).await.error();
        assert!(matches!(error, Error::Decompress { .. }), "{what}: {error}");
    }
    let zstd = layer(513, 100_000, Pack::Zstd);
    let truncated = Layer {
        bytes: zstd.bytes[..zstd.bytes.len() - 4].to_vec(),
        ..zstd
    };
    let error = with(truncated)(&options()).await.error();
    assert!(matches!(error, Error::Decompress { .. }), "{error}");
}

#[tokio::test]
async fn limits_are_held() {
    if !have(&["skopeo"]) {
        return;
    }
    type Set = fn(&mut FetchOptions);
    let rows: [(&str, Set); 6] = [
        ("manifest_bytes", |it| it.limits.manifest_bytes = 100),
        ("config_bytes", |it| it.limits.config_bytes = 100),
        ("blob_bytes", |it| it.limits.blob_bytes = 100_000),
        ("total_bytes", |it| it.limits.total_bytes = 300_000),
        ("layers", |it| it.limits.layers = 2),
        ("uncompressed_bytes", |it| {
            it.limits.uncompressed_bytes = 100_000
        }),
    ];
    for (name, set) in rows {
        let mut options = options();
        set(&mut options);
        match fetch_changed(|_| (), &options).await.error() {
            Error::Limit {
                limit, max, found, ..
            } => {
                assert_eq!(limit, name);
                assert!(found > max, "{name}");
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_bomb_is_not_unpacked_to_its_end() {
    if !have(&["skopeo"]) {
        return;
    }
    let zeros = vec![0; 64 << 20];
    let many = |one: Vec<u8>| one.repeat(64);
    let mut options = options();
    options.limits.uncompressed_bytes = 16 << 20;
    let small = packed(b"x", Pack::Gzip);
    let zstd = packed(b"x", Pack::Zstd);
    for bomb in [
        Layer {
            bytes: many(gzip(&zeros)),
            ..small
        },
        Layer {
            bytes: many(zstd::encode_all(&zeros[..], 1).unwrap()),
            ..zstd
        },
    ] {
        let change = |image: &mut Image| *image = Image::new(vec![bomb]);
        match fetch_changed(change, &options).await.error() {
            Error::Limit {
                limit: "uncompressed_bytes",
                ..
            } => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_policy_that_forbids_is_not_passed_over() {
    if !have(&["skopeo", "docker-registry"]) {
        return;
    }
    let registry = Registry::start();
    registry.push(&Image::small(520), "base");
    let proxy = Proxy::start(&registry.address);
    let place = Place::new();
    let with = |policy: &str| {
        let mut options = options();
        options.policy = Policy::Document(policy.as_bytes().to_vec());
        options
    };
    let any = r#"[{"type":"insecureAcceptAnything"}]"#;

    let reject = with(r#"{"default":[{"type":"reject"}]}"#);
    match place.fetch(&proxy.image("base"), &reject).await.error() {
        Error::PolicyNotApplied { found, .. } => {
            assert!(found.as_str() < "0.2.6", "{found} applies policies");
            assert_eq!(
                proxy.requests("/"),
                0,
                "the registry was asked before the refusal"
            );
        }
        // A skopeo that applies it.
        Error::Proxy {
            message,
            transient: false,
            ..
        } => assert!(message.contains("reject")),
        other => panic!("{other}"),
    }
    assert!(blobs(&place.store()).is_empty());

    for broken in ["", "{}", r#"{"default":[]}"#] {
        let error = place
            .fetch(&proxy.image("base"), &with(broken))
            .await
            .error();
        assert!(matches!(error, Error::Policy { .. }), "{broken}: {error}");
    }
    // Strict for other transports only, which this image does not come by.
    let other =
        format!(r#"{{"default":{any},"transports":{{"dir":{{"":[{{"type":"reject"}}]}}}}}}"#);
    place
        .fetch(&proxy.image("base"), &with(&other))
        .await
        .fetched();
    // The control: the document reaches skopeo, so one that only skopeo finds wrong is refused.
    let unknown = format!(r#"{{"default":{any},"tomorrow":1}}"#);
    let error = place.fetch(&proxy.image("base"), &with(&unknown)).await;
    let version = run("skopeo", &["--version"]);
    assert!(
        error.result.is_err() || version.contains(" 1.9."),
        "{version}"
    );
}
