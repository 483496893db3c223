//! `ignition`: other documents, and how Ignition fetches.

use super::{Decoder, Entry};
use crate::diagnostic::Severity;
use crate::fields;
use crate::model::{Contents, Customization, Format, Proxy, Reference, Timeouts};
use crate::parse::{self, Input};
use crate::secret::Secret;
use crate::source::Place;

impl Decoder<'_> {
    pub(super) fn ignition(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::IGNITION) else {
            return;
        };
        if let Some(entry) = object.get("config")
            && let Some(config) = self.object(entry, fields::CONFIG)
        {
            for entry in self.list(config.get("merge")) {
                let reference = self.needed(entry.clone(), "a merged document");
                let reference = reference.map(|contents| self.reference(contents, &entry));
                out.ignition.merge.extend(reference);
            }
            let contents: Vec<&Contents> = out.ignition.merge.iter().map(|r| &r.contents).collect();
            self.given_once("document", &contents);
            if let Some(entry) = config.get("replace") {
                let contents = self.resource(entry.clone(), fields::REFERENCE);
                out.ignition.replace = contents.map(|contents| self.reference(contents, &entry));
            }
        }
        if let Some(entry) = object.get("timeouts")
            && let Some(object) = self.object(entry, fields::TIMEOUTS)
        {
            let timeouts = Timeouts {
                http_response_headers: self.count(&object, "http_response_headers"),
                http_total: self.count(&object, "http_total"),
                origin: self.origin(object.place, &object.path),
            };
            let said = timeouts.http_response_headers.or(timeouts.http_total);
            out.ignition.timeouts = said.map(|_| timeouts);
        }
        if let Some(entry) = object.get("security")
            && let Some(security) = self.object(entry, fields::SECURITY)
            && let Some(entry) = security.get("tls")
            && let Some(tls) = self.object(entry, fields::TLS)
        {
            for entry in self.list(tls.get("certificate_authorities")) {
                let authority = self.needed(entry, "a certificate authority");
                out.ignition.certificate_authorities.extend(authority);
            }
            let contents: Vec<&Contents> = out.ignition.certificate_authorities.iter().collect();
            self.given_once("certificate authority", &contents);
        }
        if let Some(entry) = object.get("proxy") {
            out.ignition.proxy = self.proxy(entry);
        }
    }

    /// Contents that must be there.
    fn needed(&mut self, (node, path): Entry<'_>, what: &str) -> Option<Contents> {
        let found = self.found.len();
        let contents = self.resource((node, path.clone()), fields::REFERENCE);
        let empty = contents.as_ref().is_some_and(|c| c.bytes() == Some(&[]));
        if (contents.is_none() && self.found.len() == found) || empty {
            self.error(node.place, &path, format!("{what} needs contents"));
            return None;
        }
        contents
    }

    fn given_once(&mut self, what: &str, all: &[&Contents]) {
        for (index, contents) in all.iter().enumerate() {
            let first = all[..index]
                .iter()
                .find(|known| known.source == contents.source);
            if let Some(first) = first {
                let line = first.origin.line;
                let place = Place {
                    line: contents.origin.line,
                    column: contents.origin.column,
                };
                let message = format!("this {what} is given twice, first in line {line}");
                self.error(place, &contents.origin.path, message);
            }
        }
    }

    /// Reads a document whose text is here. Ignition reads nothing but its own JSON.
    fn reference(&mut self, contents: Contents, (node, path): &Entry<'_>) -> Reference {
        let Some(bytes) = contents.bytes() else {
            return Reference {
                contents,
                document: None,
            };
        };
        let document = match std::str::from_utf8(bytes) {
            _ if self.depth == 0 => {
                self.error(
                    node.place,
                    path,
                    "documents are merged into each other too deeply",
                );
                None
            }
            Err(_) => {
                self.error(node.place, path, "the document is not UTF-8 text");
                None
            }
            Ok(text) => self.inner(text, path),
        };
        Reference {
            contents,
            document: document.map(Box::new),
        }
    }

    fn inner(&mut self, text: &str, path: &str) -> Option<Customization> {
        let name = format!("{}[{path}]", self.file);
        let input = Input {
            name: &name,
            text,
            format: Format::Ignition,
        };
        let mut decoder = Decoder::new(&input, self.local, self.options);
        decoder.depth = self.depth - 1;
        let document = parse::decode(&mut decoder, &input);
        let mut found = decoder.found;
        if let [only] = &mut found[..]
            && document.is_none()
            && only.path == "$.ignition.version"
            && only.message.starts_with("version '")
        {
            // As Butane has it: a newer Ignition may know it.
            only.severity = Severity::Warning;
            only.help =
                Some("it is passed on to Ignition unread; no other route can use it".into());
        }
        let failed = found.iter().any(|d| d.severity == Severity::Error);
        self.found.append(&mut found);
        document.filter(|_| !failed)
    }

    fn proxy(&mut self, entry: Entry<'_>) -> Option<Proxy> {
        let object = self.object(entry, fields::PROXY)?;
        let mut url = |name| {
            let (text, place, path) = self.text(object.get(name))?;
            self.http_url("a proxy", text, place, &path)
                .then(|| Secret::new(text))
        };
        let http_proxy = url("http_proxy");
        let https_proxy = url("https_proxy");
        if let (Some(proxy), Some((node, path))) = (&https_proxy, object.get("https_proxy"))
            && proxy
                .expose()
                .split(':')
                .next()
                .is_some_and(|s| s.eq_ignore_ascii_case("http"))
        {
            self.warn(
                node.place,
                &path,
                "what is fetched by https: goes to this proxy in the clear",
            );
        }
        let no_proxy = self.strings(&object, "no_proxy", Some("host"));
        let said = http_proxy.is_some() || https_proxy.is_some() || !no_proxy.is_empty();
        let origin = self.origin(object.place, &object.path);
        said.then_some(Proxy {
            http_proxy,
            https_proxy,
            no_proxy,
            origin,
        })
    }
}
