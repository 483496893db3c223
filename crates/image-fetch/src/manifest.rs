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
        if !matches!(
            config.media_type.as_str(),
            "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
        ) {
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
