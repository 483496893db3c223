//! One more layer on an image.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Map, Value, json};

use super::{Image, document};
use crate::{Compression, Error, Fault, WrittenLayer};

/// The entry of a layer in the configuration's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When, as RFC 3339 has it. It becomes the image's own `created`, too.
    pub created: Option<String>,
    /// The command or program.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// Anything else.
    pub comment: Option<String>,
}

/// A manifest and a configuration that are not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    media_type: MediaType,
    manifest: Vec<u8>,
    config: Vec<u8>,
}

impl NewImage {
    /// An image from nothing: a configuration without layers (`architecture`, `os` and what else it
    /// shall say), and the manifest annotations.
    ///
    /// # Errors
    /// When `config` is no object.
    pub fn scratch(
        mut config: Value,
        layers: &[(WrittenLayer, History)],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        if !config.is_object() {
            let fault = Fault::BadDocument("the configuration is no object".to_owned());
            return Err(document("configuration")(fault));
        }
        config["rootfs"] = json!({"type": "layers", "diff_ids": []});
        let mut draft = Draft {
            manifest: json!({
                "schemaVersion": 2,
                "mediaType": MediaType::ImageManifest.to_string(),
                "config": {"mediaType": MediaType::ImageConfig.to_string()},
                "layers": [],
            }),
            config,
        };
        for (layer, history) in layers {
            draft.append(layer, layer.media_type.clone(), history)?;
        }
        draft.annotate(annotations)?;
        draft.finish()
    }

    /// The manifest's bytes.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The configuration's bytes.
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// The layers that the manifest names.
    pub(super) fn layers(&self) -> Result<Vec<Descriptor>, Error> {
        let json = super::parse(&self.manifest).map_err(document("manifest"))?;
        let layers = json["layers"].as_array().into_iter().flatten();
        layers
            .map(|json| super::parse_descriptor(json).map_err(document("manifest")))
            .collect()
    }

    /// The manifest's media type.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }
}

/// The image that has one layer more than `base`. Labels (of the configuration) and annotations (of
/// the manifest) are set, those that have other names stay, and so do all fields of both documents
/// that are not about layers, known or not. A Docker manifest stays one.
///
/// # Errors
/// When the base's documents have something else where an object or a list must be, or the layer's
/// compression has no Docker media type.
pub fn append_layer(
    base: &Image,
    layer: &WrittenLayer,
    history: &History,
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Result<NewImage, Error> {
    let mut draft = Draft {
        manifest: base.manifest.clone(),
        config: base.config.clone(),
    };
    let media_type = if base.is_docker() {
        docker_media_type(layer)?
    } else {
        layer.media_type.clone()
    };
    draft.append(layer, media_type, history)?;
    if let Some(created) = &history.created {
        draft.config["created"] = created.as_str().into();
    }
    if !labels.is_empty() {
        let config = child(&mut draft.config, "config", Value::Object(Map::new()))?;
        let there = object(
            child(config, "Labels", Value::Object(Map::new()))?,
            "Labels",
        )?;
        there.extend(labels.iter().map(|(k, v)| (k.clone(), v.as_str().into())));
    }
    draft.annotate(annotations)?;
    draft.finish()
}

fn docker_media_type(layer: &WrittenLayer) -> Result<MediaType, Error> {
    match Compression::of_media_type(&layer.media_type) {
        Ok(Compression::Gzip) => Ok("application/vnd.docker.image.rootfs.diff.tar.gzip".into()),
        Ok(Compression::None) => Ok("application/vnd.docker.image.rootfs.diff.tar".into()),
        _ => {
            let fault = Fault::UnsupportedMediaType(layer.media_type.to_string());
            Err(document("a layer on a Docker manifest")(fault))
        }
    }
}

struct Draft {
    manifest: Value,
    config: Value,
}

impl Draft {
    fn append(
        &mut self,
        layer: &WrittenLayer,
        media_type: MediaType,
        history: &History,
    ) -> Result<(), Error> {
        let diff_ids = child(
            child(&mut self.config, "rootfs", json!({}))?,
            "diff_ids",
            json!([]),
        )?;
        let diff_ids = list(diff_ids, "rootfs.diff_ids")?;
        let below = diff_ids.len();
        diff_ids.push(layer.diff_id.to_string().into());

        let entries = list(child(&mut self.config, "history", json!([]))?, "history")?;
        let said = entries.iter().filter(|e| e["empty_layer"] != true).count();
        // Readers pair the entries with the layers; a base without history gets blank ones.
        entries.extend((said..below).map(|_| json!({})));
        let mut entry = Map::new();
        let fields = [
            ("created", &history.created),
            ("created_by", &history.created_by),
            ("author", &history.author),
            ("comment", &history.comment),
        ];
        for (name, value) in fields {
            entry.extend(value.as_deref().map(|v| (name.to_owned(), v.into())));
        }
        entries.push(Value::Object(entry));

        let descriptor = crate::digest::descriptor(media_type, layer.size, &layer.digest);
        let descriptor = serde_json::to_value(&descriptor).expect("a descriptor is JSON");
        list(child(&mut self.manifest, "layers", json!([]))?, "layers")?.push(descriptor);
        Ok(())
    }

    fn annotate(&mut self, annotations: &BTreeMap<String, String>) -> Result<(), Error> {
        if !annotations.is_empty() {
            let there = child(&mut self.manifest, "annotations", json!({}))?;
            let there = object(there, "annotations")?;
            there.extend(
                annotations
                    .iter()
                    .map(|(k, v)| (k.clone(), v.as_str().into())),
            );
        }
        Ok(())
    }

    fn finish(mut self) -> Result<NewImage, Error> {
        let config = serde_json::to_vec(&self.config).expect("JSON from JSON");
        let descriptor = object(&mut self.manifest["config"], "config")?;
        descriptor.insert(
            "digest".to_owned(),
            crate::Digest::of(&config).to_string().into(),
        );
        descriptor.insert("size".to_owned(), config.len().into());
        // Inline data would be the old configuration's.
        descriptor.remove("data");
        let manifest = serde_json::to_vec(&self.manifest).expect("JSON from JSON");
        // A manifest may leave its type to its descriptor (OCI says SHOULD).
        let media_type = super::media_type(&self.manifest).unwrap_or(MediaType::ImageManifest);
        Ok(NewImage {
            media_type,
            manifest,
            config,
        })
    }
}

/// A field, made where it is missing or null.
fn child<'a>(parent: &'a mut Value, name: &str, empty: Value) -> Result<&'a mut Value, Error> {
    let field = object(parent, name)?.entry(name).or_insert(Value::Null);
    if field.is_null() {
        *field = empty;
    }
    Ok(field)
}

fn object<'a>(json: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>, Error> {
    let fault = || Fault::BadDocument("an object was expected here".to_owned());
    json.as_object_mut().ok_or_else(|| document(name)(fault()))
}

fn list<'a>(json: &'a mut Value, name: &str) -> Result<&'a mut Vec<Value>, Error> {
    let fault = || Fault::BadDocument("a list was expected here".to_owned());
    json.as_array_mut().ok_or_else(|| document(name)(fault()))
}
