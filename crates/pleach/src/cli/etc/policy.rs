//! Policies from drop-ins, and those that come with pleach.
//!
//! `/usr/lib/pleach/etc-merge.d/*.toml` are the image's, `/etc/pleach/etc-merge.d/*.toml` the
//! machine's. A file of the machine masks one of the image with the same name, also with nothing in it
//! or as a link to /dev/null. The rest is read in the order of the names; the first rule that covers a
//! path is the path's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use pleach_etc_merge::{Action, Format, Labels, Pattern, Policies, Rule};
use pleach_fs_tree::{TreePath, escape};
use rustix::fs::FileType;
use serde::Deserialize;
use toml::Spanned;

use super::beneath;

/// Below `/usr/lib` and below `/etc`.
const DIRECTORY: &str = "pleach/etc-merge.d";
const SHIPPED: &str = include_str!("defaults.toml");
/// Most bytes of a file, and most files of a directory.
const MAX_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 1000;

/// The word for an action in a drop-in.
pub(super) fn word_of(action: &Action) -> String {
    match action {
        Action::Keyed(_) => "keyed".to_owned(),
        action => action.to_string(),
    }
}

pub(super) fn format_of(action: &Action) -> Option<&'static str> {
    match action {
        Action::Keyed(format) => Some(format.as_str()),
        _ => None,
    }
}

pub(super) fn regenerate_of(action: &Action) -> Option<&str> {
    match action {
        Action::Derived { regenerate } => Some(regenerate),
        _ => None,
    }
}

/// One rule, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) patterns: Vec<Pattern>,
    pub(super) action: Action,
    pub(super) reason: String,
    pub(super) source: Option<String>,
    /// `FILE:LINE`.
    pub(super) origin: String,
}

/// All rules in the order in which they count.
#[derive(Debug, Default)]
pub(crate) struct Effective {
    pub(super) entries: Vec<Entry>,
    /// Files that count for nothing, and what masks them.
    pub(super) masked: Vec<(PathBuf, PathBuf)>,
}

impl Effective {
    /// The rules of a system, and behind them, with `shipped`, those that come with pleach.
    pub(crate) fn read(
        root: Option<(&Dir, &Path)>,
        etc: Option<(&Dir, &Path)>,
        shipped: bool,
    ) -> Result<Self> {
        let mut out = Self::default();
        let mut files = BTreeMap::new();
        let tops = [
            root.map(|(dir, path)| (dir, path, format!("usr/lib/{DIRECTORY}"))),
            etc.map(|(dir, path)| (dir, path, DIRECTORY.to_owned())),
        ];
        for (dir, path, below) in tops.into_iter().flatten() {
            let shown = path.join(&below);
            let opened = beneath::find_dir(dir, &TreePath::new(&below)?)
                .with_context(|| format!("opening {}", shown.display()))?;
            let Some(dir) = opened else { continue };
            for (name, file) in list(&dir, &shown)? {
                if let Some(File { path, .. }) = files.insert(name, file.clone()) {
                    out.masked.push((path, file.path));
                }
            }
        }
        for File { path, text } in files.into_values() {
            out.entries
                .extend(parse(&text, &path.display().to_string())?);
        }
        if shipped {
            out.entries.extend(parse(SHIPPED, "pleach")?);
        }
        Ok(out)
    }

    /// The policies of a merge: the ledger's pins, then these.
    pub(crate) fn policies(&self, pins: Vec<Rule>) -> Policies {
        let mut rules = pins;
        for entry in &self.entries {
            rules.extend(entry.patterns.iter().map(|pattern| Rule {
                pattern: pattern.clone(),
                action: entry.action.clone(),
                origin: format!("{}: {}", entry.origin, entry.reason),
            }));
        }
        Policies {
            rules,
            // An old label is another policy's: what has none is labelled by the new one.
            labels: Labels::FromImage,
            ..Policies::default()
        }
    }
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    text: String,
}

/// The drop-ins of a directory by name. A link to /dev/null is an empty one.
fn list(dir: &Dir, shown: &Path) -> Result<BTreeMap<OsString, File>> {
    let mut out = BTreeMap::new();
    let entries = dir
        .entries()
        .with_context(|| format!("listing {}", shown.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {}", shown.display()))?;
        let name = entry.file_name();
        let path = shown.join(&name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        if out.len() >= MAX_FILES {
            bail!("{} has more than {MAX_FILES} drop-ins", shown.display());
        }
        let reading = || format!("reading {}", path.display());
        let text = match beneath::file_type(dir, name.as_bytes()).with_context(reading)? {
            Some(FileType::Symlink) => {
                let target = rustix::fs::readlinkat(dir, name.as_bytes(), Vec::new())
                    .with_context(reading)?;
                if target.to_bytes() != b"/dev/null" {
                    bail!(
                        "{} is a link to {}: a drop-in is a file, or a link to /dev/null",
                        path.display(),
                        escape(target.to_bytes())
                    );
                }
                String::new()
            }
            _ => {
                let bytes = beneath::read(dir, name.as_bytes(), MAX_BYTES, &path)?;
                String::from_utf8(bytes).with_context(reading)?
            }
        };
        out.insert(name, File { path, text });
    }
    Ok(out)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    paths: Vec<Spanned<String>>,
    action: Spanned<String>,
    reason: String,
    source: Option<String>,
    regenerate: Option<Spanned<String>>,
    format: Option<Spanned<String>>,
}

/// Reads one drop-in; errors begin with `FILE:LINE:COLUMN`.
fn parse(text: &str, file: &str) -> Result<Vec<Entry>> {
    let failed = |at: usize, message: &str| {
        let (line, column) = position(text, at);
        anyhow::anyhow!("{file}:{line}:{column}: {message}")
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        failed(at, error.message())
    })?;
    let entry = |table: &Spanned<Table>| {
        let at = table.span().start;
        let table = table.get_ref();
        if table.paths.is_empty() {
            return Err(failed(at, "a rule without paths"));
        }
        let patterns = table.paths.iter().map(|path| {
            let (at, path) = (path.span().start, path.get_ref());
            if let Some(rest) = path.strip_prefix("/etc/") {
                return Err(failed(at, &format!("paths are below /etc: write {rest:?}")));
            }
            Pattern::new(path).map_err(|error| failed(at, &error.to_string()))
        });
        Ok(Entry {
            patterns: patterns.collect::<Result<_>>()?,
            action: action(table).map_err(|(at, message)| failed(at, &message))?,
            reason: table.reason.clone(),
            source: table.source.clone(),
            origin: format!("{file}:{}", position(text, at).0),
        })
    };
    document.rule.iter().map(entry).collect()
}

fn action(table: &Table) -> Result<Action, (usize, String)> {
    let (at, word) = (table.action.span().start, table.action.get_ref());
    let action = match (&**word, &table.format, &table.regenerate) {
        ("keyed", Some(format), _) => Action::Keyed(match &**format.get_ref() {
            "ini" => Format::Ini,
            "toml" => Format::Toml,
            "json" => Format::Json,
            other => {
                let message = format!("unknown format {other:?}; there are ini, toml, json");
                return Err((format.span().start, message));
            }
        }),
        ("derived", _, Some(command)) => Action::Derived {
            regenerate: command.get_ref().as_str().into(),
        },
        ("keyed", None, _) => return Err((at, "keyed needs a format: ini, toml, json".to_owned())),
        ("derived", _, None) => {
            return Err((
                at,
                "derived needs regenerate: the command that makes it".to_owned(),
            ));
        }
        ("local", ..) => Action::Local,
        ("image", ..) => Action::Image,
        ("fail", ..) => Action::Fail,
        ("pin", ..) => Action::Pin,
        ("ignore", ..) => Action::Ignore,
        ("text", ..) => Action::Text,
        ("lines", ..) => Action::Lines,
        ("accounts", ..) => Action::Accounts,
        (other, ..) => {
            let message = format!(
                "unknown action {other:?}; there are local, image, fail, pin, ignore, text, lines, \
                 accounts, keyed, derived"
            );
            return Err((at, message));
        }
    };
    for (key, given, fits) in [
        ("format", &table.format, format_of(&action).is_some()),
        (
            "regenerate",
            &table.regenerate,
            regenerate_of(&action).is_some(),
        ),
    ] {
        if let (Some(given), false) = (given, fits) {
            return Err((given.span().start, format!("{word} takes no {key}")));
        }
    }
    Ok(action)
}

/// Line, and column in characters, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        1 + before.matches('\n').count(),
        1 + before[line..].chars().count(),
    )
}
