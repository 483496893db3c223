//! Nodes to the typed model: every field held to the table, every finding with its place.

mod boot;
mod data_url;
mod disks;
mod ignition;
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

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::fields::{self, Field};
use crate::local::LocalFiles;
use crate::model::{Customization, Format, KernelArgument, Origin};
use crate::parse::{Input, ParseOptions};
use crate::source::{Fault, IntError, Node, Place, Value, child};

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
            let here = child(&path, key);
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
        self.error_help(place, path, format!("unknown field '{key}'"), help);
    }

    pub(crate) fn list<'n>(&mut self, entry: Option<Entry<'n>>) -> Vec<Entry<'n>> {
        let Some((node, path)) = entry else {
            return Vec::new();
        };
        match &node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| (item, child(&path, index)))
                .collect(),
            _ => {
                self.error(
                    node.place,
                    &path,
                    format!("a list is expected here, not {}", node.kind()),
                );
                Vec::new()
            }
        }
    }

    pub(crate) fn text<'n>(
        &mut self,
        entry: Option<Entry<'n>>,
    ) -> Option<(&'n str, Place, String)> {
        let (node, path) = entry?;
        let text = node.as_str();
        if text.is_none() {
            self.error(
                node.place,
                &path,
                format!("a string is expected here, not {}", node.kind()),
            );
        }
        text.map(|text| (text, node.place, path))
    }

    pub(crate) fn string(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        self.text(object.get(name))
            .map(|(text, ..)| text.to_owned())
    }

    /// A field without which the item has no meaning.
    pub(crate) fn required<'n>(
        &mut self,
        object: &Object<'n>,
        name: &'static str,
        table: &'static [Field],
    ) -> Option<(&'n str, Place, String)> {
        let given = object.get(name);
        let missing = given
            .as_ref()
            .is_none_or(|(node, _)| node.as_str() == Some(""));
        if missing {
            let (place, path) = match &given {
                Some((node, path)) => (node.place, path.clone()),
                None => (object.place, object.path.clone()),
            };
            let name = self.spelled(name, table);
            self.error(place, &path, format!("'{name}' is required"));
            return None;
        }
        self.text(given)
    }

    pub(crate) fn boolean(&mut self, object: &Object<'_>, name: &str) -> Option<bool> {
        let (node, path) = object.get(name)?;
        let value = node.as_bool();
        if value.is_none() {
            self.error(
                node.place,
                &path,
                format!("true or false is expected here, not {}", node.kind()),
            );
        }
        value
    }

    pub(crate) fn integer(&mut self, (node, path): &Entry<'_>) -> Option<i64> {
        match node.as_int() {
            Ok(value) => Some(value),
            Err(error) => {
                let message = match error {
                    IntError::NotAnInteger => {
                        format!("an integer is expected here, not {}", node.kind())
                    }
                    IntError::NotOctal => {
                        "a number that begins with 0 is octal, and has no digit 8 or 9".into()
                    }
                    IntError::TooLarge => "this number is too large".into(),
                };
                self.error(node.place, path, message);
                None
            }
        }
    }

    /// A user or group ID: the kernel keeps 2³²-1 for "none".
    pub(crate) fn id(&mut self, object: &Object<'_>, name: &str) -> Option<u32> {
        let entry = object.get(name)?;
        let value = self.integer(&entry)?;
        let id = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
        if id.is_none() {
            self.error(
                entry.0.place,
                &entry.1,
                format!("{value} is no ID: 0 to 4294967294 are"),
            );
        }
        id
    }

    /// A number that counts something.
    pub(crate) fn count(&mut self, object: &Object<'_>, name: &str) -> Option<u32> {
        let entry = object.get(name)?;
        let value = self.integer(&entry)?;
        let count = u32::try_from(value).ok();
        if count.is_none() {
            let message = format!("{value} is not between 0 and {}", u32::MAX);
            self.error(entry.0.place, &entry.1, message);
        }
        count
    }

    /// A list of strings, each of which is given once if `unique` names them.
    pub(crate) fn strings(
        &mut self,
        object: &Object<'_>,
        name: &str,
        unique: Option<&str>,
    ) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for entry in self.list(object.get(name)) {
            let Some((text, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            match unique {
                Some(what) if out.iter().any(|known| known == text) => {
                    self.error(place, &path, format!("{what} '{text}' is given twice"));
                }
                _ => out.push(text.into()),
            }
        }
        out
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

    fn kernel_arguments(&mut self, entry: Entry<'_>, out: &mut Customization) {
        let Some(object) = self.object(entry, fields::KERNEL_ARGUMENTS) else {
            return;
        };
        out.kernel_arguments.should_exist = self.arguments(&object, "should_exist");
        out.kernel_arguments.should_not_exist = self.arguments(&object, "should_not_exist");
        let wanted: Vec<String> = out
            .kernel_arguments
            .should_exist
            .iter()
            .map(|arg| arg.value.clone())
            .collect();
        for argument in &out.kernel_arguments.should_not_exist {
            if wanted.contains(&argument.value) {
                let place = Place {
                    line: argument.origin.line,
                    column: argument.origin.column,
                };
                let message = format!("'{}' is both to exist and not to exist", argument.value);
                self.error(place, &argument.origin.path.clone(), message);
            }
        }
    }

    fn arguments(&mut self, object: &Object<'_>, name: &str) -> Vec<KernelArgument> {
        let mut out: Vec<KernelArgument> = Vec::new();
        for entry in self.list(object.get(name)) {
            let Some((text, place, path)) = self.text(Some(entry)) else {
                continue;
            };
            if text.trim().is_empty() || text.contains(['\0', '\n']) {
                self.error(
                    place,
                    &path,
                    "a kernel argument is one line of text, and not empty",
                );
            } else if out.iter().any(|known| known.value == text) {
                self.error(
                    place,
                    &path,
                    format!("kernel argument '{text}' is given twice"),
                );
            } else {
                out.push(KernelArgument {
                    value: text.into(),
                    origin: self.origin(place, &path),
                });
            }
        }
        out
    }
}
