//! Documents in the style that people publish, which between them use every field of both
//! specifications: read, said again, and read in every other version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use pleach_customization::{
    Format, Input, LocalFiles, ParseOptions, Parsed, TreeEntry, TreeKind, parse,
};
use pleach_inject::to_ignition;
use saphyr_parser::{Event, Parser};

use crate::support::parse_text;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/documents")
}

/// The local files of the documents.
pub(crate) struct Files;

impl LocalFiles for Files {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        std::fs::read(folder().join("files").join(name)).map_err(|e| e.to_string())
    }

    fn tree(&self, name: &str) -> Result<Vec<TreeEntry>, String> {
        fn walk(dir: &Path, above: &str, out: &mut Vec<TreeEntry>) -> std::io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            for entry in std::fs::read_dir(dir)? {
                let entry = entry?;
                let path = format!("{above}{}", entry.file_name().to_str().unwrap());
                let metadata = entry.metadata()?;
                let kind = if metadata.is_dir() {
                    walk(&entry.path(), &format!("{path}/"), out)?;
                    TreeKind::Directory
                } else if metadata.is_symlink() {
                    let target = std::fs::read_link(entry.path())?;
                    let target = target.to_str().unwrap().to_owned();
                    TreeKind::Symlink { target }
                } else {
                    let executable = metadata.permissions().mode() & 0o111 != 0;
                    TreeKind::File { executable }
                };
                out.push(TreeEntry { path, kind });
            }
            Ok(())
        }
        let mut out = Vec::new();
        walk(&folder().join("files").join(name), "", &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }
}

struct Document {
    name: String,
    text: String,
    format: Format,
}

impl Document {
    fn parse(&self) -> Result<Parsed, String> {
        let input = Input {
            name: &self.name,
            text: &self.text,
            format: self.format,
        };
        parse(&input, &Files, &ParseOptions::default()).map_err(|errors| errors.to_string())
    }

    #[track_caller]
    fn parsed(&self) -> Parsed {
        self.parse()
            .unwrap_or_else(|errors| panic!("{}:\n{errors}", self.name))
    }

    /// Its minor version, and its text in another one.
    fn minor(&self) -> (u8, impl Fn(u8) -> Document) {
        let major = if self.format == Format::Butane { 1 } else { 3 };
        let versions = (0..=6).map(|minor| format!("{major}.{minor}.0"));
        let (minor, version) = (0..)
            .zip(versions)
            .find(|(_, version)| self.text.contains(version.as_str()))
            .unwrap_or_else(|| panic!("{}: no version", self.name));
        (minor, move |other| Document {
            name: self.name.clone(),
            text: self
                .text
                .replacen(&version, &format!("{major}.{other}.0"), 1),
            format: self.format,
        })
    }
}

fn documents() -> Vec<Document> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(format) = Format::of_name(&name) {
            let text = std::fs::read_to_string(&path).unwrap();
            out.push(Document { name, text, format });
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

/// Every field and the minor version that brought it, from the specifications' tables.
fn fields(format: Format) -> BTreeMap<String, u8> {
    let name = if format == Format::Butane {
        "fields.butane"
    } else {
        "fields.ignition"
    };
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (field, since) = line.split_once(' ').unwrap();
            (field.to_owned(), since.parse().unwrap())
        })
        .collect()
}

/// Every field of a text that is given, with the document path of each: `storage.files.path` and
/// `$.storage.files.0.path`. JSON is YAML.
fn given(text: &str) -> Vec<(String, String)> {
    enum Level {
        Map { key: Option<String> },
        List { next: usize },
    }
    let mut out = Vec::new();
    let mut levels: Vec<Level> = Vec::new();
    let mut parser = Parser::new_from_str(text);
    let mut closed = false;
    while let Some(event) = parser.next_event() {
        let event = event.expect("the document is YAML").0;
        let value = match &event {
            Event::Scalar(text, ..) => match levels.last_mut() {
                Some(Level::Map { key }) if key.is_none() => {
                    *key = Some(text.to_string());
                    let places = levels.iter().map(|level| match level {
                        Level::Map { key } => key.clone().unwrap_or_default(),
                        Level::List { next } => next.to_string(),
                    });
                    let places: Vec<String> = places.collect();
                    let names = places
                        .iter()
                        .filter(|place| place.parse::<usize>().is_err());
                    let field = names.cloned().collect::<Vec<_>>().join(".");
                    out.push((field, format!("$.{}", places.join("."))));
                    false
                }
                _ => true,
            },
            Event::MappingStart(..) => {
                levels.push(Level::Map { key: None });
                false
            }
            Event::SequenceStart(..) => {
                levels.push(Level::List { next: 0 });
                false
            }
            Event::MappingEnd | Event::SequenceEnd => {
                levels.pop();
                true
            }
            _ => false,
        };
        closed |= value;
        if std::mem::take(&mut closed) {
            match levels.last_mut() {
                Some(Level::Map { key }) => *key = None,
                Some(Level::List { next }) => *next += 1,
                None => {}
            }
        }
    }
    out
}

#[test]
fn there_are_forty() {
    assert!(documents().len() >= 40, "{}", documents().len());
}

#[test]
fn every_field_is_in_a_document() {
    for format in [Format::Butane, Format::Ignition] {
        let documents = documents().into_iter().filter(|d| d.format == format);
        let used: BTreeSet<String> = documents
            .flat_map(|d| given(&d.text))
            .map(|(field, _)| field)
            .collect();
        let known: BTreeSet<String> = fields(format).into_keys().collect();
        let unused: Vec<_> = known.difference(&used).collect();
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unused.is_empty(), "{format:?}: no document uses {unused:?}");
        assert!(
            unknown.is_empty(),
            "{format:?}: not in the tables: {unknown:?}"
        );
    }
}

/// Values that came later than the field that holds them.
fn value_since(text: &str, format: Format) -> Vec<(&'static str, u8)> {
    let (gs, none, arn, sha256) = match format {
        Format::Butane => (2, 4, 5, 1),
        Format::Ignition => (2, 3, 4, 1),
    };
    let values = [
        ("gs:", "the scheme 'gs'", gs),
        ("none", "the format 'none'", none),
        ("arn:", "the scheme 'arn'", arn),
        ("sha256-", "'sha256'", sha256),
    ];
    values
        .into_iter()
        .filter(|(value, ..)| text.contains(value))
        .map(|(_, what, since)| (what, since))
        .collect()
}

#[test]
fn every_field_in_every_version() {
    let mut refused = 0;
    for document in documents() {
        let newest = if document.format == Format::Butane {
            6
        } else {
            5
        };
        let table = fields(document.format);
        let (own, with_minor) = document.minor();
        for minor in 0..=newest {
            let other = with_minor(minor);
            // What is inside of something too new is not looked at.
            let mut new: Vec<(String, u8)> = Vec::new();
            for (field, path) in given(&other.text) {
                let inside = new
                    .iter()
                    .any(|(known, _)| path.starts_with(&format!("{known}.")));
                let since = table[&field];
                if since > minor && !inside {
                    new.push((path, since));
                }
            }
            let result = other.parse();
            let text = result
                .as_ref()
                .err()
                .map(String::as_str)
                .unwrap_or_default();
            let mut said: Vec<String> = text
                .lines()
                .filter(|line| {
                    line.contains("error: '") && line.contains("' is there since version")
                })
                .filter(|line| !line.contains("'sha256'"))
                .map(|line| {
                    line.rsplit_once('(')
                        .unwrap()
                        .1
                        .trim_end_matches(')')
                        .to_owned()
                })
                .collect();
            said.sort();
            let mut expect: Vec<String> = new.into_iter().map(|(path, _)| path).collect();
            expect.sort();
            let name = format!("{} as minor version {minor}", document.name);
            assert_eq!(said, expect, "{name}\n{text}");
            for (what, since) in value_since(&other.text, document.format) {
                // A value in a field that is itself too new is not looked at.
                if since > minor && expect.is_empty() {
                    assert!(
                        text.contains(&format!("{what} is there since version")),
                        "{name}\n{text}"
                    );
                }
            }
            refused += usize::from(result.is_err());
            assert!(minor < own || result.is_ok(), "{name} is refused\n{text}");
        }
    }
    assert!(refused > 50, "only {refused} versions were too old");
}

#[test]
fn what_is_read_is_said_again() {
    for document in documents() {
        let first = document.parsed().customization;
        let text = to_ignition(&first).as_str().to_owned();
        let again = parse_text(&text, Format::Ignition)
            .unwrap_or_else(|errors| panic!("{}:\n{errors}\n{text}", document.name));
        assert_eq!(
            to_ignition(&again.customization).as_str(),
            text,
            "{}",
            document.name
        );
        // Nothing of what is given is lost on the way.
        let (a, b) = (&first, &again.customization);
        let count = |c: &pleach_customization::Customization| {
            [
                c.files.len(),
                c.directories.len(),
                c.links.len(),
                c.units.len(),
                c.users.len(),
                c.groups.len(),
                c.inject_only().len(),
            ]
        };
        assert_eq!(count(a), count(b), "{}", document.name);
        ignition_config::Config::parse_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}\n{text}", document.name));
        let merged = first
            .merged()
            .unwrap_or_else(|errors| panic!("{}: merged\n{errors}", document.name));
        let merged = merged.customization.merged().unwrap().customization;
        let text = to_ignition(&merged).as_str().to_owned();
        let again = parse_text(&text, Format::Ignition).unwrap().customization;
        assert_eq!(
            to_ignition(&again).as_str(),
            text,
            "{} merged",
            document.name
        );
    }
}

/// Ignition's own validator, where it is installed; specifications that it does not know are counted.
#[test]
fn ignition_accepts_what_is_said_again() {
    let Ok(probe) = Command::new("ignition-validate").arg("--version").output() else {
        assert!(
            !std::env::var("CI").is_ok_and(|ci| ci == "true"),
            "ignition-validate is not installed"
        );
        eprintln!(
            "SKIP documents::ignition_accepts_what_is_said_again: ignition-validate is not installed"
        );
        return;
    };
    assert!(probe.status.success());
    let dir = std::env::temp_dir().join(format!("pleach-documents-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (mut accepted, mut newer) = (0, 0);
    for document in documents() {
        let text = to_ignition(&document.parsed().customization);
        let path = dir.join("t.ign");
        std::fs::write(&path, text.as_str()).unwrap();
        let output = Command::new("ignition-validate")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            accepted += 1;
        } else {
            let unknown = ["\"3.4.0\"", "\"3.5.0\""]
                .iter()
                .any(|v| text.as_str().contains(v));
            assert!(
                unknown && said.contains("unsupported config version"),
                "{}: {said}\n{}",
                document.name,
                text.as_str()
            );
            newer += 1;
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    eprintln!("ignition-validate accepted {accepted}, and does not know the version of {newer}");
    assert!(accepted >= 35, "only {accepted} accepted");
}
