//! Contents: where the bytes of a file come from, and whether they are the right ones.

use std::io::Read;

use sha2::{Digest, Sha256, Sha512};

use super::{Decoder, Entry, Object, data_url};
use crate::fields;
use crate::model::{Contents, Source};
use crate::source::Place;

/// URL schemes that Ignition fetches; no network and no file of the host is read here.
const REMOTE: &[&str] = &["http", "https", "tftp", "s3", "arn", "gs", "oem", "file"];

impl Decoder<'_> {
    /// `contents`, or one entry of `append`. None: nothing is given.
    pub(super) fn resource(&mut self, entry: Entry<'_>) -> Option<Contents> {
        let object = self.object(entry, fields::RESOURCE)?;
        let given: Vec<&'static str> = ["inline", "local", "source"]
            .into_iter()
            .filter(|name| object.get(name).is_some())
            .collect();
        if let [first, .., last] = given[..] {
            let (node, path) = object.get(last)?;
            self.error(
                node.place,
                &path,
                format!("'{first}' is given already: only one of inline, local and source may be"),
            );
            return None;
        }
        let Some(name) = given.first() else {
            if let Some((node, path)) = object
                .get("verification")
                .or_else(|| object.get("compression"))
            {
                self.error(
                    node.place,
                    &path,
                    "there are no contents that this could be about",
                );
            }
            return None;
        };
        let (text, place, path) = self.text(object.get(name))?;
        let raw = match *name {
            "inline" => text.as_bytes().to_vec(),
            "local" => self.local_file(text, place, &path)?,
            _ => self.source(text, place, &path)?,
        };
        let data = self.decompressed(&object, raw, place, &path)?;
        self.verified(&object, &data)?;
        Some(Contents {
            source: Source::Bytes(data),
            hash: None,
            compression: None,
            origin: self.origin(place, &path),
        })
    }

    /// A file of the caller's, by a name that stays where it is looked for.
    pub(super) fn local_file(&mut self, name: &str, place: Place, path: &str) -> Option<Vec<u8>> {
        let parts: Vec<&str> = name.split('/').collect();
        if name.contains('\0') || parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
            self.error(
                place,
                path,
                format!(
                    "local file '{name}': the name is relative, and has no '.', '..' or empty part"
                ),
            );
            return None;
        }
        match self.local.read(name) {
            Ok(data) if data.len() > self.options.max_contents => {
                self.too_large(place, path);
                None
            }
            Ok(data) => Some(data),
            Err(reason) => {
                self.error(place, path, format!("local file '{name}': {reason}"));
                None
            }
        }
    }

    /// Text of a local file, for the fields that hold text.
    pub(super) fn local_text(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        let (file, place, path) = self.text(object.get(name))?;
        let data = self.local_file(file, place, &path)?;
        match String::from_utf8(data) {
            Ok(text) => Some(text),
            Err(_) => {
                self.error(
                    place,
                    &path,
                    format!("local file '{file}' is not UTF-8 text"),
                );
                None
            }
        }
    }

    fn source(&mut self, url: &str, place: Place, path: &str) -> Option<Vec<u8>> {
        if url.is_empty() {
            return Some(Vec::new());
        }
        let scheme = url
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if scheme == "data" && url.len() > scheme.len() {
            return match data_url::decode(url) {
                Ok(data) => Some(data),
                Err(reason) => {
                    self.error(place, path, reason);
                    None
                }
            };
        }
        if REMOTE.contains(&scheme.as_str()) && url.len() > scheme.len() {
            self.error_help(
                place,
                path,
                format!("{scheme}: URLs are not supported yet"),
                "give the contents as a data: URL, or in Butane as inline or local",
            );
        } else {
            self.error(place, path, "this is no URL with a known scheme");
        }
        None
    }

    fn decompressed(
        &mut self,
        object: &Object<'_>,
        raw: Vec<u8>,
        place: Place,
        path: &str,
    ) -> Option<Vec<u8>> {
        let (method, method_place, method_path) = match self.text(object.get("compression")) {
            Some(given) => given,
            None => return Some(raw),
        };
        match method {
            "" | "null" => Some(raw),
            "gzip" => {
                let limit = self.options.max_contents as u64;
                let mut data = Vec::new();
                let mut reader = flate2::read::MultiGzDecoder::new(&raw[..]).take(limit + 1);
                if reader.read_to_end(&mut data).is_err() {
                    self.error(place, path, "the contents are not gzip data");
                    return None;
                }
                if data.len() as u64 > limit {
                    self.too_large(place, path);
                    return None;
                }
                Some(data)
            }
            other => {
                self.error(
                    method_place,
                    &method_path,
                    format!("compression '{other}' is not supported: 'gzip' is"),
                );
                None
            }
        }
    }

    fn too_large(&mut self, place: Place, path: &str) {
        let limit = self.options.max_contents;
        self.error(
            place,
            path,
            format!("the contents are more than {limit} bytes"),
        );
    }

    /// The checksum is of the decompressed contents.
    fn verified(&mut self, object: &Object<'_>, data: &[u8]) -> Option<()> {
        let Some(entry) = object.get("verification") else {
            return Some(());
        };
        let verification = self.object(entry, fields::VERIFICATION)?;
        let Some((hash, place, path)) = self.text(verification.get("hash")) else {
            return Some(());
        };
        let Some((function, sum)) = hash.split_once('-') else {
            self.error(place, &path, "a hash is written as sha256-… or sha512-…");
            return None;
        };
        let actual = match function {
            "sha256" => hex(&Sha256::digest(data)),
            "sha512" => hex(&Sha512::digest(data)),
            other => {
                self.error(
                    place,
                    &path,
                    format!("hash function '{other}' is not supported: sha256 and sha512 are"),
                );
                return None;
            }
        };
        if sum.len() != actual.len() || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let digits = actual.len();
            self.error(
                place,
                &path,
                format!("{function} has {digits} hexadecimal digits"),
            );
            return None;
        }
        if sum.to_ascii_lowercase() != actual {
            self.error(
                place,
                &path,
                format!("the contents have the hash {function}-{actual}"),
            );
            return None;
        }
        Some(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
