//! `index.json`, and indexes that are blobs. Kept as JSON, so that nothing in them is lost.

use std::collections::BTreeSet;
use std::io;

use cap_std::fs::Dir;
use oci_spec::image::{Descriptor, MediaType, Platform};
use pleach_fs_tree::escape;
use serde_json::{Map, Value, json};

use super::{blob_path, document, media_type, parse, parse_descriptor};
use crate::{Error, Fault, parse_digest};

pub(super) const FILE: &str = "index.json";
const TAG: &str = "org.opencontainers.image.ref.name";

pub(super) struct Index(Map<String, Value>);

impl Default for Index {
    fn default() -> Self {
        let media_type = MediaType::ImageIndex.to_string();
        let json = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []});
        let Value::Object(map) = json else {
            unreachable!("an object")
        };
        Self(map)
    }
}

impl Index {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let bad = |what: &str| Fault::BadDocument(what.to_owned());
        let json = parse(bytes)?;
        if json["schemaVersion"] != 2 {
            return Err(bad("schemaVersion is not 2"));
        }
        if !json["manifests"].is_array() {
            return Err(bad("an index without manifests"));
        }
        if ["layers", "config"].iter().any(|key| !json[*key].is_null()) {
            return Err(bad("an index that is a manifest, too"));
        }
        match json {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(bad("not an object")),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("JSON from JSON")
    }

    fn manifests(&self) -> &[Value] {
        self.0["manifests"].as_array().expect("checked in parse")
    }

    pub(super) fn images(&self) -> Result<Vec<(Option<String>, Descriptor)>, Error> {
        let manifests = self.manifests().iter();
        let read = |json: &Value| Ok((tag_of(json).map(str::to_owned), parse_descriptor(json)?));
        manifests
            .map(|json| read(json).map_err(document(FILE)))
            .collect()
    }

    /// The descriptor of a tag, a digest or the only image. A digest need not be listed.
    pub(super) fn find(&self, reference: Option<&str>, blobs: &Dir) -> Result<Descriptor, Error> {
        let images = self.images()?;
        let wanted = reference.filter(|r| r.starts_with("sha256:"));
        let digest = wanted
            .map(parse_digest)
            .transpose()
            .map_err(document(FILE))?;
        let fits = |(tag, descriptor): &&(Option<String>, Descriptor)| match (reference, &digest) {
            (None, _) => true,
            (Some(_), Some(digest)) => descriptor.digest().to_string() == digest.to_string(),
            (Some(reference), None) => tag.as_deref() == Some(reference),
        };
        // The same image under several tags is one.
        let mut seen = BTreeSet::new();
        let mut found: Vec<_> = images.iter().filter(fits).map(|(_, d)| d).collect();
        found.retain(|descriptor| seen.insert(descriptor.digest().to_string()));
        match (&found[..], digest) {
            ([one], _) => return Ok((*one).clone()),
            ([], Some(digest)) => {
                let stat = rustix::fs::statat(
                    blobs,
                    &*blob_path(&digest),
                    rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
                );
                let stat = stat.map_err(io::Error::from);
                let size = stat.map_err(Error::io("open", digest.to_string()))?.st_size;
                let size = u64::try_from(size).unwrap_or_default();
                // What it is will be read from the blob itself.
                let unknown = MediaType::Other(String::new());
                return Ok(crate::digest::descriptor(unknown, size, &digest));
            }
            _ => {}
        }
        Err(Error::Reference {
            reference: reference.unwrap_or("the only image").to_owned(),
            found: found.len(),
            have: listed(&images),
        })
    }

    /// The image for a platform, or the only one.
    pub(super) fn of_platform(
        &self,
        what: &str,
        platform: Option<&Platform>,
    ) -> Result<Descriptor, Error> {
        let images = self.images()?;
        let fits = |descriptor: &&Descriptor| match (platform, descriptor.platform()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(has)) => {
                wanted.os() == has.os()
                    && wanted.architecture() == has.architecture()
                    && (wanted.variant().is_none() || wanted.variant() == has.variant())
            }
        };
        let found: Vec<_> = images.iter().map(|(_, d)| d).filter(fits).collect();
        match found[..] {
            [one] => Ok(one.clone()),
            _ => Err(Error::Reference {
                reference: match platform {
                    Some(p) => format!("{what} for {}/{}", p.os(), p.architecture()),
                    None => format!("{what} without a platform"),
                },
                found: found.len(),
                have: listed(&images),
            }),
        }
    }

    /// Lists a manifest under a tag, or without one.
    pub(super) fn put(&mut self, descriptor: &Descriptor, tag: Option<&str>) {
        let mut entry = serde_json::to_value(descriptor).expect("a descriptor is JSON");
        if let Some(tag) = tag {
            entry["annotations"][TAG] = tag.into();
        }
        let digest = entry["digest"].clone();
        let manifests = self.0["manifests"]
            .as_array_mut()
            .expect("checked in parse");
        manifests.retain(|there| match tag {
            Some(tag) => {
                tag_of(there) != Some(tag)
                    && !(tag_of(there).is_none() && there["digest"] == digest)
            }
            None => there["digest"] != digest,
        });
        manifests.push(entry);
    }
}

fn tag_of(json: &Value) -> Option<&str> {
    json["annotations"][TAG].as_str()
}

fn listed(images: &[(Option<String>, Descriptor)]) -> String {
    let name = |(tag, descriptor): &(Option<String>, Descriptor)| match tag {
        Some(tag) => escape(tag.as_bytes()),
        None => descriptor.digest().to_string(),
    };
    if images.is_empty() {
        return "nothing".to_owned();
    }
    images.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Whether a document that a descriptor leads to is an index: both say so, or nobody says else.
pub(super) fn says_index(json: &Value) -> bool {
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    match media_type(json) {
        Some(media_type) => media_type == MediaType::ImageIndex || media_type.as_ref() == docker,
        None => !json["manifests"].is_null(),
    }
}
