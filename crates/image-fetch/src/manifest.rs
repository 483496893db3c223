//! The manifest and the config of one image: what they must say before anything is fetched.
//!
//! Both come from outside. Parsing is strict where a loose reading could mislead (digests, sizes,
//! counts, kinds of document) and blind to everything else.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{Compression, Digest, Error, Limits};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A blob that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// In order, with repetitions.
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Value>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct RawConfig {
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    r#type: String,
    diff_ids: Vec<String>,
}

/// How a layer of this media type is compressed; `None` if it is no layer that this crate knows.
///
/// The nondistributable types are deprecated, and the image spec still asks readers to accept them.
pub(crate) fn layer_compression(media_type: &str) -> Option<Compression> {
    Some(match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Compression::Gzip,
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Compression::Zstd,
        _ => return None,
    })
}

/// Whether this is the type of an image's configuration.
pub(crate) fn is_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    )
}

fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "application/vnd.oci.image.layer.v1.tar",
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

pub(crate) fn check_size(
    image: &str,
    what: &str,
    found: u64,
    limit: (&'static str, u64),
) -> Result<(), Error> {
    let (limit, max) = limit;
    if found <= max {
        return Ok(());
    }
    Err(Error::Limit {
        image: image.to_owned(),
        what: what.to_owned(),
        limit,
        max,
        found,
    })
}

impl Manifest {
    pub(crate) fn parse(image: &str, bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Manifest {
            image: image.to_owned(),
            problem,
        };
        let size = bytes.len() as u64;
        check_size(
            image,
            "the manifest's size",
            size,
            ("manifest_bytes", limits.manifest_bytes),
        )?;
        let raw: RawManifest =
            serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if raw.schema_version != 2 {
            return Err(wrong(format!(
                "schemaVersion is {}, not 2",
                raw.schema_version
            )));
        }
        if let Some(other) = raw.media_type.filter(|it| it != OCI_MANIFEST) {
            return Err(wrong(format!(
                "its mediaType is {other:?}, not {OCI_MANIFEST}"
            )));
        }
        // A document that is both could be read as either, and so checked as one and used as the other.
        if raw.manifests.is_some() {
            return Err(wrong(
                "it has the field `manifests` of an image index".into(),
            ));
        }
        let descriptor = |what: &str, raw: RawDescriptor| -> Result<Descriptor, Error> {
            let digest = raw
                .digest
                .parse()
                .map_err(|error| wrong(format!("{what}: {error}")))?;
            Ok(Descriptor {
                media_type: raw.media_type,
                digest,
                size: raw.size,
            })
        };
        let config = raw
            .config
            .ok_or_else(|| wrong("it names no config".into()))?;
        let config = descriptor("config", config)?;
        if !is_config(&config.media_type) {
            return Err(wrong(format!(
                "its config is a {:?}: an artifact, no container image",
                config.media_type
            )));
        }
        check_size(
            image,
            "the config's size",
            config.size,
            ("config_bytes", limits.config_bytes),
        )?;

        let layers = raw
            .layers
            .ok_or_else(|| wrong("it has no list of layers".into()))?;
        let count = layers.len() as u64;
        check_size(
            image,
            "the number of layers",
            count,
            ("layers", limits.layers),
        )?;
        let layers = layers
            .into_iter()
            .enumerate()
            .map(|(at, raw)| descriptor(&format!("layer {at}"), raw))
            .collect::<Result<Vec<_>, _>>()?;
        let mut total = config.size;
        let mut seen = HashMap::from([(config.digest, &config)]);
        for (at, layer) in layers.iter().enumerate() {
            if layer_compression(&layer.media_type).is_none() {
                let problem = format!(
                    "layer {at}: {:?} is no layer that is known",
                    layer.media_type
                );
                return Err(wrong(problem));
            }
            let what = format!("layer {at}'s size");
            check_size(image, &what, layer.size, ("blob_bytes", limits.blob_bytes))?;
            match seen.insert(layer.digest, layer) {
                None => total = total.saturating_add(layer.size),
                Some(other) if other == layer => {}
                Some(_) => {
                    let digest = layer.digest;
                    return Err(wrong(format!(
                        "layer {at}: {digest} stands in it twice, differently"
                    )));
                }
            }
        }
        check_size(
            image,
            "the size of all blobs",
            total,
            ("total_bytes", limits.total_bytes),
        )?;
        Ok(Self { config, layers })
    }

    /// Config and layers with their sizes, each blob once.
    pub(crate) fn unique_blobs(&self) -> HashMap<Digest, u64> {
        let blobs = std::iter::once(&self.config).chain(&self.layers);
        blobs.map(|it| (it.digest, it.size)).collect()
    }
}

/// The diff IDs of a config, one for each of `layers` layers.
pub(crate) fn diff_ids(
    image: &str,
    digest: Digest,
    bytes: &[u8],
    layers: usize,
) -> Result<Vec<Digest>, Error> {
    let wrong = |problem: String| Error::Config {
        image: image.to_owned(),
        digest,
        problem,
    };
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if raw.rootfs.r#type != "layers" {
        return Err(wrong(format!(
            "rootfs.type is {:?}, not \"layers\"",
            raw.rootfs.r#type
        )));
    }
    let found = raw.rootfs.diff_ids.len();
    if found != layers {
        return Err(wrong(format!(
            "it has {found} diff IDs, the manifest {layers} layers"
        )));
    }
    let parse = |text: &String| {
        text.parse()
            .map_err(|error: Error| wrong(error.to_string()))
    };
    raw.rootfs.diff_ids.iter().map(parse).collect()
}

/// The manifest with the media types that its layers really have.
///
/// Only for a manifest that skopeo made up itself from another format: it assumes gzip there, and
/// archives hold plain tar files.
pub(crate) fn with_layer_types(
    image: &str,
    bytes: &[u8],
    found: &HashMap<Digest, Compression>,
) -> Result<Vec<u8>, Error> {
    let wrong = |error: serde_json::Error| Error::Manifest {
        image: image.to_owned(),
        problem: error.to_string(),
    };
    let mut manifest: Value = serde_json::from_slice(bytes).map_err(wrong)?;
    let mut changed = false;
    for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
        let digest = layer["digest"]
            .as_str()
            .and_then(|it| it.parse::<Digest>().ok());
        let Some(&compression) = digest.and_then(|it| found.get(&it)) else {
            continue;
        };
        let declared = layer["mediaType"].as_str().and_then(layer_compression);
        if declared != Some(compression) {
            layer["mediaType"] = layer_media_type(compression).into();
            changed = true;
        }
    }
    if changed {
        serde_json::to_vec(&manifest).map_err(wrong)
    } else {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Value {
        let blob = |media_type: &str, content: &str| {
            let digest = Digest::of(content.as_bytes()).to_string();
            json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
        };
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        json!({
            "schemaVersion": 2,
            "config": blob("application/vnd.oci.image.config.v1+json", "config"),
            "layers": [blob(layer, "one"), blob(layer, "three"), blob(layer, "one")],
        })
    }

    fn parse(value: &Value, limits: &Limits) -> Result<Manifest, Error> {
        Manifest::parse("oci:x", value.to_string().as_bytes(), limits)
    }

    #[test]
    fn each_blob_counts_once() {
        let parsed = parse(&manifest(), &Limits::default()).unwrap();
        assert_eq!(parsed.layers.len(), 3);
        assert_eq!(parsed.unique_blobs().values().sum::<u64>(), 6 + 3 + 5);
        let mut limits = Limits {
            total_bytes: 14,
            layers: 3,
            ..Limits::default()
        };
        assert!(parse(&manifest(), &limits).is_ok());
        limits.total_bytes = 13;
        assert!(matches!(
            parse(&manifest(), &limits),
            Err(Error::Limit {
                limit: "total_bytes",
                ..
            })
        ));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut Value);
        let rows: [(Change, &str); 15] = [
            (|it| it["schemaVersion"] = json!(1), "schemaVersion is 1"),
            (|it| it["schemaVersion"] = json!("2"), "invalid type"),
            (
                |it| it["mediaType"] = json!("application/vnd.oci.image.index.v1+json"),
                "its mediaType is",
            ),
            (|it| it["manifests"] = json!([]), "image index"),
            (|it| it["config"] = json!(null), "names no config"),
            (|it| it["layers"] = json!(null), "no list of layers"),
            (|it| it["config"]["mediaType"] = json!("x/y"), "an artifact"),
            (
                |it| it["config"]["digest"] = json!("sha256:../../x"),
                "config: \"sha256:../../x\" is not",
            ),
            (
                |it| it["layers"][1]["digest"] = json!("sha256:AB"),
                "layer 1: \"sha256:AB\" is not",
            ),
            (
                |it| it["layers"][1]["mediaType"] = json!("x/y"),
                "layer 1: \"x/y\" is no layer",
            ),
            (|it| it["layers"][1]["size"] = json!(-1), "invalid value"),
            (|it| it["layers"][1]["size"] = json!(1.5), "invalid type"),
            (
                |it| it["layers"][2]["size"] = json!(4),
                "layer 2: sha256:7692",
            ),
            (
                |it| it["layers"][2]["digest"] = it["config"]["digest"].clone(),
                "differently",
            ),
            (|it| *it = json!("text"), "invalid type"),
        ];
        for (change, expect) in rows {
            let mut value = manifest();
            change(&mut value);
            match parse(&value, &Limits::default()) {
                Err(Error::Manifest { problem, .. }) => {
                    assert!(problem.contains(expect), "{problem} does not say {expect}");
                }
                other => panic!("{expect}: {other:?}"),
            }
        }
        // Two readers could see two different lists.
        let twice = manifest().to_string().replacen('{', r#"{"layers":[],"#, 1);
        let parsed = Manifest::parse("oci:x", twice.as_bytes(), &Limits::default());
        assert!(matches!(parsed, Err(Error::Manifest { .. })), "{parsed:?}");
    }

    #[test]
    fn limits() {
        type Set = fn(&mut Limits);
        let rows: [(Set, &str); 5] = [
            (|it| it.manifest_bytes = 10, "manifest_bytes"),
            (|it| it.config_bytes = 5, "config_bytes"),
            (|it| it.layers = 2, "layers"),
            (|it| it.blob_bytes = 4, "blob_bytes"),
            (|it| it.total_bytes = 9, "total_bytes"),
        ];
        for (set, expect) in rows {
            let mut limits = Limits::default();
            set(&mut limits);
            match parse(&manifest(), &limits) {
                Err(Error::Limit { limit, .. }) => assert_eq!(limit, expect),
                other => panic!("{expect}: {other:?}"),
            }
        }
        let mut huge = manifest();
        huge["layers"][0]["size"] = json!(u64::MAX);
        huge["layers"][2]["size"] = json!(u64::MAX);
        let unlimited = Limits {
            blob_bytes: u64::MAX,
            ..Limits::default()
        };
        assert!(matches!(
            parse(&huge, &unlimited),
            Err(Error::Limit {
                limit: "total_bytes",
                ..
            })
        ));
    }

    #[test]
    fn media_types_are_put_right_only_where_they_are_wrong() {
        let bytes = manifest().to_string().into_bytes();
        let [one, three] = ["one", "three"].map(|it| Digest::of(it.as_bytes()));
        let mut found = HashMap::from([(one, Compression::Gzip), (three, Compression::Gzip)]);
        assert_eq!(with_layer_types("oci:x", &bytes, &found).unwrap(), bytes);
        found.insert(one, Compression::None);
        let new = with_layer_types("oci:x", &bytes, &found).unwrap();
        let parsed = Manifest::parse("oci:x", &new, &Limits::default()).unwrap();
        let types: Vec<_> = parsed
            .layers
            .iter()
            .map(|it| layer_compression(&it.media_type))
            .collect();
        use Compression::{Gzip, None as Plain};
        assert_eq!(types, [Some(Plain), Some(Gzip), Some(Plain)]);
    }
}
