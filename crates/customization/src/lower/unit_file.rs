//! Unit files in a tree: where they are, and what their `[Install]` sections say.

use super::view::{join, lossy, split};
use super::work::Work;
use super::{BaseView, Kind};
use crate::unit_name::UnitName;
use crate::unit_text;

/// Where units of the administrator are, and where links that enable are made.
pub(super) const ETC: &str = "/etc/systemd/system";

/// Where units of the image are.
pub(super) const USR: &str = "/usr/lib/systemd/system";

/// Where unit files are looked for, the first first.
const SEARCH: &[&str] = &[ETC, "/usr/local/lib/systemd/system", USR];

/// A unit that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitFile {
    /// Its own name, after aliases, with the instance that was asked for.
    pub(super) name: String,
    /// Its file, as a link to it is written.
    pub(super) path: String,
    /// Whether the file is where no unit is looked for, and only a link leads to it.
    pub(super) linked: bool,
    pub(super) install: Install,
}

/// An `[Install]` section with those of the drop-ins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) wanted_by: Vec<String>,
    pub(super) required_by: Vec<String>,
    pub(super) upheld_by: Vec<String>,
    pub(super) alias: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) default_instance: Option<String>,
}

/// What a search gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Unit(UnitFile),
    Masked,
    Missing,
}

/// Looks for a unit, following aliases.
pub(super) fn find(work: &Work<'_>, name: &str) -> Found {
    let mut name = name.to_owned();
    // An alias of an alias is possible; a loop is not worth more tries than this.
    for _ in 0..8 {
        let Some(parts) = UnitName::parse(&name) else {
            return Found::Missing;
        };
        let candidates = [Some(name.clone()), parts.template()];
        let path = candidates.iter().flatten().find_map(|name| {
            let paths = SEARCH.iter().map(|dir| format!("{dir}/{name}"));
            paths.into_iter().find(|path| look(work, path).is_some())
        });
        let Some(path) = path else {
            return Found::Missing;
        };
        match look(work, &path) {
            Some(Kind::Symlink(target)) => {
                if target == b"/dev/null" {
                    return Found::Masked;
                }
                let base = lossy(split(&target).1);
                let own = split(path.as_bytes()).1;
                if base.as_bytes() == own {
                    // A linked unit: the same name, kept elsewhere.
                    let kept = work.resolve(path.as_bytes());
                    return read(work, &name, &kept.map_or(path, |kept| lossy(&kept)));
                }
                let target = UnitName::parse(&base);
                name = match (target, parts.instance) {
                    (Some(target), Some(instance)) if target.is_template() => {
                        target.with_instance(instance)
                    }
                    _ => base,
                };
            }
            _ => return read(work, &name, &path),
        }
    }
    Found::Missing
}

fn look(work: &Work<'_>, path: &str) -> Option<Kind> {
    let path = work.resolve_parent(path.as_bytes()).ok()?;
    work.node(&path).map(|node| node.kind)
}

fn text(work: &Work<'_>, path: &str) -> Option<String> {
    let path = work.resolve(path.as_bytes()).ok()?;
    Some(String::from_utf8_lossy(&work.read_file(&path)?).into_owned())
}

fn read(work: &Work<'_>, name: &str, path: &str) -> Found {
    let Some(main) = text(work, path) else {
        return Found::Missing;
    };
    // An empty unit file is a mask, as a link to /dev/null is.
    if main.is_empty() {
        return Found::Masked;
    }
    let mut install = Install::default();
    install.add(&main);
    for text in dropins(work, name) {
        install.add(&text);
    }
    Found::Unit(UnitFile {
        name: name.into(),
        path: path.into(),
        linked: !SEARCH.iter().any(|dir| path.starts_with(dir)),
        install,
    })
}

/// The texts of a unit's drop-ins, by file name; a directory that comes first hides the same name in
/// those that follow.
fn dropins(work: &Work<'_>, name: &str) -> Vec<String> {
    let template = UnitName::parse(name).and_then(|parts| parts.template());
    let mut seen: Vec<(Vec<u8>, String)> = Vec::new();
    for unit in [Some(name.to_owned()), template].into_iter().flatten() {
        for dir in SEARCH {
            let dir = format!("{dir}/{unit}.d");
            let Ok(resolved) = work.resolve(dir.as_bytes()) else {
                continue;
            };
            for file in work.names(&resolved) {
                if file.ends_with(b".conf") && !seen.iter().any(|(name, _)| *name == file) {
                    let path = lossy(&join(dir.as_bytes(), &file));
                    seen.push((file, path));
                }
            }
        }
    }
    seen.sort();
    seen.iter()
        .filter_map(|(_, path)| text(work, path))
        .collect()
}

impl Install {
    /// Adds the settings of one file. An empty value takes back what came before, but for `Also`.
    fn add(&mut self, text: &str) {
        let Ok(settings) = unit_text::settings(text) else {
            return;
        };
        for setting in settings
            .iter()
            .filter(|setting| setting.section == "Install")
        {
            let list = match setting.key {
                "WantedBy" => &mut self.wanted_by,
                "RequiredBy" => &mut self.required_by,
                "UpheldBy" => &mut self.upheld_by,
                "Alias" => &mut self.alias,
                "Also" => &mut self.also,
                "DefaultInstance" => {
                    self.default_instance =
                        Some(setting.value.clone()).filter(|value| !value.is_empty());
                    continue;
                }
                _ => continue,
            };
            if setting.value.is_empty() && setting.key != "Also" {
                list.clear();
            }
            list.extend(words(&setting.value));
        }
    }
}

/// Words, where quotes keep spaces.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Replaces the specifiers that name the unit itself. Those that name the machine have no answer here.
pub(super) fn specifiers(text: &str, unit: &str) -> Result<String, String> {
    let Some(parts) = UnitName::parse(unit) else {
        return Ok(text.into());
    };
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('i') => out.push_str(parts.instance.unwrap_or("")),
            Some('n') => out.push_str(unit),
            Some('N') => out.push_str(
                unit.strip_suffix(&format!(".{}", parts.suffix))
                    .unwrap_or(unit),
            ),
            Some('p') => out.push_str(parts.prefix),
            Some('j') => out.push_str(parts.prefix.rsplit('-').next().unwrap_or("")),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("the specifier %{other} depends on the machine"));
            }
        }
    }
    Ok(out)
}
