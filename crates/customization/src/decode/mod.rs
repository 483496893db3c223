//! Nodes to the typed model: every field held to the table, every finding with its place.

mod boot;
mod data_url;
mod disks;
mod ignition;
mod kernel;
mod luks;
mod mode;
mod mount;
mod passwd;
pub(crate) mod resource;
mod shorthand;
mod storage;
mod systemd;
mod tree;
mod url;
mod value;

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{self, Field};
use crate::local::LocalFiles;
use crate::model::{Customization, Format, Origin};
use crate::parse::{Input, ParseOptions};
use crate::source::{Fault, Node, Place, Value, child, shown};

/// What all decoding shares: the document's version, where local files come from, and the findings.
pub(crate) struct Decoder<'a> {
    pub(crate) file: Arc<str>,
    pub(crate) format: Format,
    pub(crate) minor: u8,
    pub(crate) local: &'a dyn LocalFiles,
    pub(crate) options: &'a ParseOptions,
    pub(crate) found: Vec<Diagnostic>,
    /// How many more documents may be inside of each other.
    pub(crate) depth: usize,
    /// What a tree may still give.
    pub(crate) pending: Vec<Pending>,
}

/// Something that an item lacks, unless a tree has it.
pub(crate) struct Pending {
    pub(crate) item: String,
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) message: String,
}

/// A mapping whose keys have been held to the table.
pub(crate) struct Object<'n> {
    pub(crate) place: Place,
    pub(crate) path: String,
    entries: Vec<(&'static str, &'n Node, String)>,
}

/// A field's value and its document path.
pub(crate) type Entry<'n> = (&'n Node, String);

impl<'n> Object<'n> {
    /// A field that is given; null counts as not given, as in Ignition and Butane.
    pub(crate) fn get(&self, name: &str) -> Option<Entry<'n>> {
        let (_, node, path) = self.entries.iter().find(|(known, ..)| *known == name)?;
        (node.value != Value::Null).then(|| (*node, path.clone()))
    }
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(
        input: &Input<'_>,
        local: &'a dyn LocalFiles,
        options: &'a ParseOptions,
    ) -> Self {
        Self {
            file: input.name.into(),
            format: input.format,
            minor: fields::newest(input.format),
            local,
            options,
            found: Vec::new(),
            depth: options.max_documents_deep,
            pending: Vec::new(),
        }
    }
}

impl Decoder<'_> {
    pub(crate) fn report(
        &mut self,
        severity: Severity,
        place: Place,
        path: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.found.push(Diagnostic {
            severity,
            file: self.file.to_string(),
            line: place.line,
            column: place.column,
            path: path.into(),
            message: message.into(),
            help,
        });
    }

    pub(crate) fn error(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.report(Severity::Error, place, path, message, None);
    }

    pub(crate) fn error_help(
        &mut self,
        place: Place,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Error, place, path, message, Some(help.into()));
    }

    pub(crate) fn warn(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.report(Severity::Warning, place, path, message, None);
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.report(
            Severity::Error,
            fault.place,
            &fault.path,
            fault.message,
            fault.help.map(Into::into),
        );
    }

    pub(crate) fn origin(&self, place: Place, path: &str) -> Origin {
        Origin {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            path: path.into(),
        }
    }

    /// The spelling of a field in this document, for messages.
    pub(crate) fn spelled(&self, name: &'static str, table: &'static [Field]) -> String {
        table
            .iter()
            .find(|field| field.name == name)
            .map_or_else(|| name.to_owned(), |field| field.spelled(self.format))
    }

    /// Holds a mapping's keys to a table.
    pub(crate) fn object<'n>(
        &mut self,
        (node, path): Entry<'n>,
        table: &'static [Field],
    ) -> Option<Object<'n>> {
        let Value::Map(map) = &node.value else {
            self.error(
                node.place,
                &path,
                format!("a mapping is expected here, not {}", node.kind()),
            );
            return None;
        };
        let mut entries = Vec::new();
        for (key, place, value) in map {
            let here = child(&path, shown(key));
            match self.known(key, table) {
                Some(field) => {
                    if self.allowed(field, *place, &here) {
                        entries.push((field.name, value, here));
                    }
                }
                None => self.unknown(key, *place, &here, table),
            }
        }
        Some(Object {
            place: node.place,
            path,
            entries,
        })
    }

    fn known(&self, key: &str, table: &'static [Field]) -> Option<&'static Field> {
        table
            .iter()
            .find(|field| field.since(self.format).is_some() && field.spelled(self.format) == key)
    }

    fn allowed(&mut self, field: &Field, place: Place, path: &str) -> bool {
        let since = field.since(self.format).unwrap_or_default();
        if since > self.minor {
            let name = format!("'{}'", field.spelled(self.format));
            self.too_new(&name, since, place, path);
            return false;
        }
        true
    }

    fn unknown(&mut self, key: &str, place: Place, path: &str, table: &'static [Field]) {
        let (format, minor) = (self.format, self.minor);
        let usable = table
            .iter()
            .filter(|f| f.since(format).is_some_and(|since| since <= minor));
        let mut names: Vec<String> = usable.map(|field| field.spelled(format)).collect();
        names.sort();
        let help = match fields::nearest(key, names.iter().cloned()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("known here: {}", names.join(", ")),
        };
        self.error_help(place, path, format!("unknown field '{}'", shown(key)), help);
    }

    /// Whether the document's version has what came with these minor versions of Butane's fcos and of
    /// Ignition; it is an error if not.
    pub(crate) fn has(
        &mut self,
        what: &str,
        (butane, ignition): (u8, u8),
        place: Place,
        path: &str,
    ) -> bool {
        let since = match self.format {
            Format::Butane => butane,
            Format::Ignition => ignition,
        };
        if since > self.minor {
            self.too_new(what, since, place, path);
        }
        since <= self.minor
    }

    fn too_new(&mut self, what: &str, since: u8, place: Place, path: &str) {
        let (new, old) = (
            fields::version(self.format, since),
            fields::version(self.format, self.minor),
        );
        self.error_help(
            place,
            path,
            format!("{what} is there since version {new}, and this document says {old}"),
            format!("raise the document's version to {new}"),
        );
    }

    /// The whole document. `None` only if it is not even a mapping.
    pub(crate) fn document(&mut self, root: &Node) -> Option<Customization> {
        let root = self.object((root, "$".into()), fields::ROOT)?;
        let version = fields::version(self.format, self.minor);
        let mut out = Customization::new(self.format, version);
        if let Some(entry) = root.get("ignition") {
            self.ignition(entry, &mut out);
        }
        let mut short = shorthand::Shorthands::default();
        if let Some(entry) = root.get("storage") {
            short = self.storage(entry, &mut out);
        }
        if let Some(entry) = root.get("systemd") {
            self.systemd(entry, &mut out);
        }
        if let Some(entry) = root.get("passwd") {
            self.passwd(entry, &mut out);
        }
        if let Some(entry) = root.get("kernel_arguments") {
            self.kernel_arguments(entry, &mut out);
        }
        self.shorthands(&root, short, &mut out);
        Some(out)
    }
}
