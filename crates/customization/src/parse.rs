//! The entry: text to a customization.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::decode::Decoder;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, sort};
use crate::fields;
use crate::local::LocalFiles;
use crate::model::{Customization, Format};
use crate::source::{Fault, Limits, Node, Place, Value, json, yaml};
use crate::validate;

/// A document to parse.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What to call it in messages and origins: `site.bu`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Its spelling.
    pub format: Format,
}

/// Limits. Reaching one is an error of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseOptions {
    /// Bytes of the document, and of all its scalars once aliases are followed.
    pub max_bytes: usize,
    /// Values in the document once aliases are followed.
    pub max_nodes: usize,
    /// Levels of lists and mappings.
    pub max_depth: usize,
    /// Bytes of one file's contents, decoded and decompressed.
    pub max_contents: usize,
    /// Entries of one tree of local files.
    pub max_tree_entries: usize,
    /// Documents that are merged into each other, one inside of the next.
    pub max_documents_deep: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            max_nodes: 200_000,
            max_depth: 32,
            max_contents: 64 << 20,
            max_tree_entries: 20_000,
            max_documents_deep: 8,
        }
    }
}

/// A document that was accepted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parsed {
    /// What it asks for.
    pub customization: Customization,
    /// What it can hardly mean, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// Parses and checks a document.
///
/// Nothing in it is passed over: a field that is unknown, newer than the document's version or not
/// supported is an error with its place. All errors are collected, except that text which is not YAML
/// or JSON at all gives the first one only.
///
/// # Errors
/// [`Diagnostics`] with at least one error.
///
/// # Example
/// See the [crate's own](crate).
pub fn parse(
    input: &Input<'_>,
    local: &dyn LocalFiles,
    options: &ParseOptions,
) -> Result<Parsed, Diagnostics> {
    let mut decoder = Decoder::new(input, local, options);
    let customization = decode(&mut decoder, input);
    let found = decoder.found;
    match customization {
        Some(customization) => Parsed::of(customization, found, input.name),
        None => Err(Diagnostics::new(found, input.name)),
    }
}

impl Parsed {
    /// What was found about a customization, if nothing of it is an error. `file` is the document's
    /// name.
    pub(crate) fn of(
        customization: Customization,
        mut found: Vec<Diagnostic>,
        file: &str,
    ) -> Result<Self, Diagnostics> {
        if found.iter().any(|d| d.severity == Severity::Error) {
            return Err(Diagnostics::new(found, file));
        }
        sort(&mut found, file);
        Ok(Self {
            customization,
            warnings: found,
        })
    }
}

pub(crate) fn decode(decoder: &mut Decoder<'_>, input: &Input<'_>) -> Option<Customization> {
    let start = Place { line: 1, column: 1 };
    let options = decoder.options;
    if input.text.len() > options.max_bytes {
        let limit = options.max_bytes;
        decoder.fault(Fault::new(
            start,
            format!("the document has more than {limit} bytes"),
        ));
        return None;
    }
    let limits = Limits {
        nodes: options.max_nodes,
        depth: options.max_depth,
        bytes: options.max_bytes,
    };
    let text = input.text.strip_prefix('\u{feff}').unwrap_or(input.text);
    let (root, faults) = match input.format {
        Format::Butane => yaml::read(text, limits),
        Format::Ignition => json::read(text, limits),
    };
    faults.into_iter().for_each(|fault| decoder.fault(fault));
    let root = root?;
    decoder.minor = version(decoder, &root)?;
    let mut customization = decoder.document(&root)?;
    if let Some(replace) = &customization.ignition.replace {
        let origin = replace.contents.origin.clone();
        let message = "Ignition puts this document in place of all that is said here besides";
        if customization.says_more_than_replace() {
            let place = Place {
                line: origin.line,
                column: origin.column,
            };
            decoder.warn(place, &origin.path, message);
        }
    }
    validate::check(&customization, &mut decoder.found);
    customization.digest = digest(input.text);
    Some(customization)
}

/// The minor version that the document names; all its fields depend on it, so without one nothing
/// else is looked at.
fn version(decoder: &mut Decoder<'_>, root: &Node) -> Option<u8> {
    let format = decoder.format;
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("a mapping is expected here, not {}", root.kind());
        decoder.error(root.place, "$", message);
        return None;
    }
    let find = |node: &Node, key: &str| -> Option<Node> {
        let Value::Map(entries) = &node.value else {
            return None;
        };
        entries
            .iter()
            .find(|(name, ..)| name == key)
            .map(|(.., value)| value.clone())
    };
    let (given, path) = match format {
        Format::Butane => {
            match find(root, "variant") {
                Some(node) if node.as_str() == Some("fcos") => {}
                Some(node) => {
                    let name = node.as_str().unwrap_or(node.kind());
                    let message = format!("the variant '{name}' is not supported: 'fcos' is");
                    decoder.error(node.place, "$.variant", message);
                    return None;
                }
                None => {
                    decoder.error_help(
                        root.place,
                        "$.variant",
                        "'variant' is required",
                        "begin the document with `variant: fcos`",
                    );
                    return None;
                }
            }
            (find(root, "version"), "$.version")
        }
        Format::Ignition => (
            find(root, "ignition").and_then(|node| find(&node, "version")),
            "$.ignition.version",
        ),
    };
    let newest = fields::newest(format);
    let known: Vec<String> = (0..=newest)
        .map(|minor| fields::version(format, minor))
        .collect();
    let known_text = format!("known: {}", known.join(", "));
    let Some(node) = given else {
        decoder.error_help(root.place, path, "'version' is required", known_text);
        return None;
    };
    let minor = node
        .as_str()
        .and_then(|text| known.iter().position(|version| version == text));
    if minor.is_none() {
        let message = match node.as_str() {
            Some(text) => format!("version '{text}' is not supported"),
            None => format!("a string is expected here, not {}", node.kind()),
        };
        decoder.error_help(node.place, path, message, known_text);
    }
    minor.and_then(|minor| u8::try_from(minor).ok())
}

fn digest(text: &str) -> String {
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
