//! One image: its manifest and its configuration, verified.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};
use pleach_fs_tree::Digest;
use serde_json::Value;

use super::{Layout, document, index, media_type, parse, parse_descriptor};
use crate::{Error, Fault, parse_digest};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// An image of a layout. Manifest and configuration are kept as JSON: fields that this version knows
/// nothing of survive a change.
#[derive(Debug, Clone)]
pub struct Image {
    descriptor: Descriptor,
    pub(super) manifest: Value,
    pub(super) config: Value,
    manifest_bytes: Vec<u8>,
    config_bytes: Vec<u8>,
    layers: Vec<Layer>,
}

/// A layer as manifest and configuration name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What the blob is; see [`Compression::of_media_type`](crate::Compression::of_media_type).
    pub media_type: MediaType,
    /// Of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
}

impl Image {
    pub(super) fn read(
        layout: &Layout,
        mut descriptor: Descriptor,
        manifest_bytes: Vec<u8>,
        manifest: Value,
    ) -> Result<Self, Error> {
        let what = descriptor.digest().to_string();
        let config = check_manifest(&descriptor, &manifest).map_err(document(&what))?;
        if descriptor.media_type().as_ref().is_empty() {
            descriptor.set_media_type(media_type(&manifest).unwrap_or(MediaType::ImageManifest));
        }
        let config_bytes = layout.read_blob(&config)?;
        let config_name = config.digest().to_string();
        let config = parse(&config_bytes).map_err(document(&config_name))?;
        let diff_ids = diff_ids(&config).map_err(document(&config_name))?;
        let layers = layers(&manifest, &diff_ids, layout.limits()).map_err(document(&what))?;
        Ok(Self {
            descriptor,
            manifest,
            config,
            manifest_bytes,
            config_bytes,
            layers,
        })
    }

    /// The manifest's descriptor; its digest is the image's.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        parse_digest(self.descriptor.digest().as_ref()).expect("checked when it was read")
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The manifest as it was read.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The configuration as it was read.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The manifest as JSON.
    pub fn manifest_json(&self) -> &Value {
        &self.manifest
    }

    /// The configuration as JSON.
    pub fn config_json(&self) -> &Value {
        &self.config
    }

    /// The manifest's known fields.
    ///
    /// # Errors
    /// When a field that this crate does not need is not what the specification says.
    pub fn manifest(&self) -> Result<ImageManifest, Error> {
        let what = self.descriptor.digest().to_string();
        serde_json::from_value(self.manifest.clone()).map_err(bad(&what))
    }

    /// The configuration's known fields.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn config(&self) -> Result<ImageConfiguration, Error> {
        let what = format!("configuration of {}", self.descriptor.digest());
        serde_json::from_value(self.config.clone()).map_err(bad(&what))
    }

    /// A label of the configuration.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config["config"]["Labels"][name].as_str()
    }

    /// Whether the manifest is Docker's, version 2, schema 2.
    pub fn is_docker(&self) -> bool {
        self.manifest["mediaType"] == DOCKER_MANIFEST
    }
}

fn bad(what: &str) -> impl FnOnce(serde_json::Error) -> Error {
    let report = document(what);
    move |error| report(Fault::BadDocument(error.to_string()))
}

/// Whether a descriptor leads to an index. The document's own word counts where it has one.
pub(super) fn is_index(descriptor: &Descriptor, json: &Value) -> bool {
    index::says_index(json)
        || (media_type(json).is_none() && *descriptor.media_type() == MediaType::ImageIndex)
}

/// Checks that this is an image's manifest, and gives the configuration's descriptor.
fn check_manifest(descriptor: &Descriptor, json: &Value) -> Result<Descriptor, Fault> {
    let bad = |what: String| Err(Fault::BadDocument(what));
    if json["schemaVersion"] != 2 {
        return bad(format!("schemaVersion {}: not 2", json["schemaVersion"]));
    }
    let described = descriptor.media_type().as_ref();
    let own = media_type(json);
    let is_manifest = |m: &str| m == MediaType::ImageManifest.as_ref() || m == DOCKER_MANIFEST;
    for says in own
        .iter()
        .map(AsRef::as_ref)
        .chain((!described.is_empty()).then_some(described))
    {
        if !is_manifest(says) {
            return bad(format!("media type {says:?}: no image manifest"));
        }
    }
    if own.is_some_and(|own| !described.is_empty() && own.as_ref() != described) {
        return bad(format!(
            "the index says {described}, the manifest another type"
        ));
    }
    // One blob that two readers take for two things (manifest and index) is an attack.
    if !json["manifests"].is_null() || !json["fsLayers"].is_null() {
        return bad("a manifest that is an index, too".to_owned());
    }
    let config = parse_descriptor(&json["config"])?;
    let config_type = config.media_type().as_ref();
    if config_type != MediaType::ImageConfig.as_ref() && config_type != DOCKER_CONFIG {
        return bad(format!("configuration of type {config_type:?}: no image"));
    }
    Ok(config)
}

fn diff_ids(config: &Value) -> Result<Vec<Digest>, Fault> {
    let bad = |what: &str| Fault::BadDocument(what.to_owned());
    if config["rootfs"]["type"] != "layers" {
        return Err(bad("rootfs.type is not layers"));
    }
    // An image without layers may have null here.
    let diff_ids = match &config["rootfs"]["diff_ids"] {
        Value::Null => &[],
        Value::Array(array) => array.as_slice(),
        _ => return Err(bad("rootfs.diff_ids is no list")),
    };
    let parse = |json: &Value| parse_digest(json.as_str().unwrap_or_default());
    diff_ids.iter().map(parse).collect()
}

fn layers(
    manifest: &Value,
    diff_ids: &[Digest],
    limits: &crate::Limits,
) -> Result<Vec<Layer>, Fault> {
    let layers = match &manifest["layers"] {
        Value::Array(array) => array.as_slice(),
        _ => return Err(Fault::BadDocument("layers is no list".to_owned())),
    };
    if layers.len() > limits.layers {
        return Err(Fault::Limit {
            what: "layers",
            limit: limits.layers as u64,
        });
    }
    if layers.len() != diff_ids.len() {
        return Err(Fault::BadDocument(format!(
            "{} layers in the manifest, {} diff_ids in the configuration",
            layers.len(),
            diff_ids.len()
        )));
    }
    let layer = |(json, diff_id): (&Value, &Digest)| {
        let descriptor = parse_descriptor(json)?;
        Ok(Layer {
            media_type: descriptor.media_type().clone(),
            digest: parse_digest(descriptor.digest().as_ref())?,
            size: descriptor.size(),
            diff_id: *diff_id,
        })
    };
    layers.iter().zip(diff_ids).map(layer).collect()
}
