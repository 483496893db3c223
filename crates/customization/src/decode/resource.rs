//! Contents: where the bytes of a file come from, and whether they are the right ones.

use std::io::Read;

use sha2::{Digest, Sha256, Sha512};

use super::url::Scheme;
use super::{Decoder, Entry, Object, data_url};
use crate::fields::{self, Field};
use crate::model::{Compression, Contents, Hash, HttpHeader, Remote, Source};
use crate::secret::Secret;
use crate::source::Place;

impl Decoder<'_> {
    /// `contents`, an entry of `append`, or whatever else is read. None: nothing is given.
    pub(super) fn resource(
        &mut self,
        entry: Entry<'_>,
        table: &'static [Field],
    ) -> Option<Contents> {
        let object = self.object(entry, table)?;
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
            let about = ["verification", "compression", "http_headers"];
            if let Some((node, path)) = about.iter().find_map(|name| object.get(name))
                && !node.is_empty()
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
        let compression = self.compression(&object)?;
        let hash = self.hash_given(&object)?;
        let headers = self.headers(&object);
        let mut sends = false;
        let raw = match *name {
            "inline" => Some(text.as_bytes().to_vec()),
            "local" => Some(self.local_file(text, place, &path)?),
            _ if text.is_empty() => Some(Vec::new()),
            _ => match self.scheme(text, place, &path)? {
                Scheme::Data => Some(self.data(text, place, &path)?),
                Scheme::File => Some(self.file_url(text, place, &path)?),
                scheme => {
                    sends = scheme == Scheme::Http;
                    None
                }
            },
        };
        if !headers.is_empty() && !sends {
            let (node, path) = object.get("http_headers")?;
            self.error(
                node.place,
                &path,
                "headers are sent with http: and https: URLs alone",
            );
            return None;
        }
        let source = match raw {
            None => Source::Remote(Remote {
                url: text.into(),
                headers,
            }),
            Some(raw) => {
                let data = match compression {
                    Some(Compression::Gzip) => self.unpacked(&raw, place, &path)?,
                    _ if raw.len() > self.options.max_contents => {
                        self.too_large(place, &path);
                        return None;
                    }
                    _ => raw,
                };
                if let Some((hash, place, path)) = &hash {
                    self.verified(hash, &data, *place, path)?;
                }
                Source::Bytes(data)
            }
        };
        Some(Contents {
            source,
            hash: hash.map(|(hash, ..)| hash),
            compression,
            origin: self.origin(place, &path),
        })
    }

    /// A file of the caller's, by a name that stays where it is looked for.
    pub(super) fn local_file(&mut self, name: &str, place: Place, path: &str) -> Option<Vec<u8>> {
        let name = self.local_name(name, place, path)?;
        match self.local.read(&name) {
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

    /// A name below the directory of local files, in its only spelling.
    pub(super) fn local_name(&mut self, name: &str, place: Place, path: &str) -> Option<String> {
        let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
        let clean = parts.clone().collect::<Vec<_>>().join("/");
        if name.is_empty()
            || name.starts_with('/')
            || name.contains('\0')
            || parts.clone().any(|part| part == "..")
        {
            let name = name.escape_debug();
            self.error(
                place,
                path,
                format!("local file '{name}': the name is relative, and has no '..'"),
            );
            return None;
        }
        Some(clean)
    }

    fn data(&mut self, url: &str, place: Place, path: &str) -> Option<Vec<u8>> {
        match data_url::decode(url) {
            Ok(data) => Some(data),
            Err(reason) => {
                self.error(place, path, reason);
                None
            }
        }
    }

    /// A `file:` URL: its absolute path is one below the directory of local files.
    fn file_url(&mut self, url: &str, place: Place, path: &str) -> Option<Vec<u8>> {
        let rest = &url["file:".len()..];
        let rest = rest.strip_prefix("//localhost").unwrap_or(rest);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let name = data_url::percent(rest).map(String::from_utf8);
        match (rest.starts_with('/'), name) {
            (true, Ok(Ok(name))) => self.local_file(name.trim_start_matches('/'), place, path),
            _ => {
                self.error(
                    place,
                    path,
                    "a file: URL has an absolute path and no host: file:///a/b is a/b below the directory of local files",
                );
                None
            }
        }
    }

    /// `Some(None)`: nothing is said of it. `None`: what is said is wrong.
    fn compression(&mut self, object: &Object<'_>) -> Option<Option<Compression>> {
        let Some(entry) = object.get("compression") else {
            return Some(None);
        };
        let (method, place, path) = self.text(Some(entry))?;
        match method {
            "" | "null" => Some(Some(Compression::None)),
            "gzip" => Some(Some(Compression::Gzip)),
            other => {
                self.error(
                    place,
                    &path,
                    format!("compression '{other}' is not supported: 'gzip' is"),
                );
                None
            }
        }
    }

    fn headers(&mut self, object: &Object<'_>) -> Vec<HttpHeader> {
        let mut headers: Vec<HttpHeader> = Vec::new();
        for entry in self.list(object.get("http_headers")) {
            let Some(object) = self.object(entry, fields::HTTP_HEADER) else {
                continue;
            };
            let name = self.required(&object, "name", fields::HTTP_HEADER);
            let value = self.text(object.get("value"));
            if let Some((text, place, path)) = &value
                && (text.is_empty() || text.contains(['\r', '\n', '\0']))
            {
                self.error(
                    *place,
                    path,
                    "a header's value is one line of text, and not empty",
                );
            }
            let Some((name, place, path)) = name else {
                continue;
            };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if !name.chars().all(token) {
                let name = name.escape_debug();
                self.error(place, &path, format!("'{name}' is no name of a header"));
            } else if headers.iter().any(|known| known.name == name) {
                self.error(place, &path, format!("header '{name}' is given twice"));
            }
            headers.push(HttpHeader {
                name: name.into(),
                value: value.map(|(text, ..)| Secret::new(text)),
            });
        }
        headers
    }

    fn unpacked(&mut self, raw: &[u8], place: Place, path: &str) -> Option<Vec<u8>> {
        match gunzip(raw, self.options.max_contents) {
            Some(data) if data.len() > self.options.max_contents => {
                self.too_large(place, path);
                None
            }
            Some(data) => Some(data),
            None => {
                self.error(place, path, "the contents are not gzip data");
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

    /// `Some(None)`: none is given. `None`: what is given is wrong.
    #[allow(clippy::type_complexity, reason = "a hash and its place")]
    fn hash_given(&mut self, object: &Object<'_>) -> Option<Option<(Hash, Place, String)>> {
        let Some(entry) = object.get("verification") else {
            return Some(None);
        };
        let verification = self.object(entry, fields::VERIFICATION)?;
        let Some(entry) = verification.get("hash") else {
            return Some(None);
        };
        let (hash, place, path) = self.text(Some(entry))?;
        let Some((function, sum)) = hash.split_once('-') else {
            self.error(place, &path, "a hash is written as sha256-… or sha512-…");
            return None;
        };
        let digits = match function {
            "sha256" => self.has("'sha256'", (1, 1), place, &path).then_some(64)?,
            "sha512" => 128,
            other => {
                self.error(
                    place,
                    &path,
                    format!("hash function '{other}' is not supported: sha256 and sha512 are"),
                );
                return None;
            }
        };
        if sum.len() != digits || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.error(
                place,
                &path,
                format!("{function} has {digits} hexadecimal digits"),
            );
            return None;
        }
        Some(Some((Hash::new(hash), place, path)))
    }

    /// The checksum is of the decompressed contents.
    fn verified(&mut self, hash: &Hash, data: &[u8], place: Place, path: &str) -> Option<()> {
        let actual = hashed_as(hash, data);
        if actual != *hash {
            self.error(place, path, format!("the contents have the hash {actual}"));
            return None;
        }
        Some(())
    }
}

/// The hash of `data` by the function of `like`.
pub(crate) fn hashed_as(like: &Hash, data: &[u8]) -> Hash {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    Hash::new(&if like.as_str().starts_with("sha256-") {
        format!("sha256-{}", hex(&Sha256::digest(data)))
    } else {
        format!("sha512-{}", hex(&Sha512::digest(data)))
    })
}

/// At most one byte more than `limit`, so that the caller sees that there is more; none where it is no
/// gzip data.
pub(crate) fn gunzip(raw: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(raw).take(limit as u64 + 1);
    reader.read_to_end(&mut data).ok()?;
    Some(data)
}
