//! The packages that an image has, by dpkg's, apk's and rpm's databases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deb822_fast::Deb822;

use super::{PackageChange, keys};
use crate::packages::usr;
use crate::rpm::{self, Rpm};
use crate::view::View;

/// Where dpkg's status is; a moved database first.
const DPKG: [&str; 2] = ["/usr/lib/sysimage/dpkg", "/var/lib/dpkg"];
const APK: [&str; 2] = ["/usr/lib/apk/db/installed", "/lib/apk/db/installed"];

/// What the databases of one image say.
#[derive(Default)]
pub(super) struct Databases {
    /// By database and name: the version.
    packages: BTreeMap<(String, String), String>,
    /// By path, as the image has it: database and name of the package.
    owners: HashMap<String, (String, String)>,
    /// What could not be read, and why.
    pub(super) notes: Vec<String>,
}

/// Whether a file is one of the databases.
pub(crate) fn wants(path: &[u8]) -> bool {
    let rooted = [b"/", path].concat();
    let dpkg = |folder: &&str| rooted.starts_with(folder.as_bytes());
    rpm::wants(path)
        || APK.iter().any(|known| known.as_bytes() == rooted)
        || (DPKG.iter().any(dpkg)
            && (rooted.ends_with(b"/dpkg/status")
                || rooted.ends_with(b".list")
                || rooted.windows(10).any(|part| part == b"/status.d/")))
}

impl Databases {
    pub(super) fn read(view: &View<'_>) -> Self {
        let mut out = Self::default();
        let text = |path: &str| -> Result<Option<String>, String> {
            let Some(item) = view.get(path).filter(|item| item.is_file()) else {
                return Ok(None);
            };
            let bytes = view.database(item)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        };
        let mut found = false;
        for folder in DPKG {
            let mut status = vec![format!("{folder}/status")];
            // Images without dpkg itself have a file for each package.
            let more = view.children(&format!("{folder}/status.d"));
            status.extend(
                more.filter(|item| item.is_file())
                    .map(|item| item.path.to_string()),
            );
            for path in status {
                match text(&path) {
                    Ok(None) => {}
                    Ok(Some(text)) => {
                        found = true;
                        out.dpkg(&path, &text);
                    }
                    Err(note) => out.notes.push(note),
                }
            }
            for item in view.children(&format!("{folder}/info")) {
                let Some(name) = item.name().strip_suffix(".list") else {
                    continue;
                };
                let name = name
                    .split_once(':')
                    .map_or(name, |(name, _)| name)
                    .to_owned();
                match text(&item.path.to_string()) {
                    Ok(list) => {
                        let owner = ("dpkg".to_owned(), name);
                        let lines = list.iter().flat_map(|list| list.lines());
                        out.owners
                            .extend(lines.map(|path| (usr(path), owner.clone())));
                    }
                    Err(note) => out.notes.push(note),
                }
            }
        }
        for path in APK {
            match text(path) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    found = true;
                    out.apk(&text);
                }
                Err(note) => out.notes.push(note),
            }
        }
        let rpm = Rpm::read(view, "its packages are not compared");
        if !found && rpm.packages.is_none() && rpm.notes.is_empty() {
            let note = "no package database was found: packages are not compared";
            out.notes.push(note.to_owned());
        }
        out.notes.extend(rpm.notes);
        out.rpm(rpm.packages.unwrap_or_default());
        out
    }

    fn dpkg(&mut self, path: &str, text: &str) {
        let control = match text.parse::<Deb822>() {
            Ok(control) => control,
            Err(error) => {
                self.notes.push(format!("{path}: {error}"));
                return;
            }
        };
        let mut found = Vec::new();
        for paragraph in control.iter() {
            let (Some(name), Some(version)) = (paragraph.get("Package"), paragraph.get("Version"))
            else {
                continue;
            };
            // A package whose configuration alone is left is none that is installed.
            let installed = paragraph
                .get("Status")
                .is_none_or(|status| status.split_whitespace().next_back() == Some("installed"));
            if installed {
                let architecture = paragraph.get("Architecture").unwrap_or_default();
                found.push((name.to_owned(), architecture.to_owned(), version.to_owned()));
            }
        }
        self.insert("dpkg", found);
    }

    fn rpm(&mut self, packages: Vec<rpm::Package>) {
        let mut found = Vec::new();
        for package in packages {
            let owner = ("rpm".to_owned(), package.name.clone());
            let paths = package.paths.iter();
            self.owners
                .extend(paths.map(|path| (usr(path), owner.clone())));
            found.push((package.name, package.architecture, package.version));
        }
        found.sort();
        self.insert("rpm", found);
    }

    /// Adds names, architectures and versions. The architecture is said where a package is installed for
    /// several; a kernel of rpm is installed in several versions.
    fn insert(&mut self, database: &str, found: Vec<(String, String, String)>) {
        let mut names = HashMap::<String, BTreeSet<String>>::new();
        for (name, architecture, _) in &found {
            let architectures = names.entry(name.clone()).or_default();
            architectures.insert(architecture.clone());
        }
        for (name, architecture, version) in found {
            let several = names.get(&name).is_some_and(|all| all.len() > 1);
            let name = match several {
                true => format!("{name}:{architecture}"),
                false => name,
            };
            let versions = self.packages.entry((database.to_owned(), name));
            let versions = versions.or_default();
            if !versions.is_empty() {
                versions.push_str(", ");
            }
            versions.push_str(&version);
        }
    }

    /// Paragraphs of lines `X:value`: `P` is the name, `V` the version, `F` a folder and `R` a file in
    /// it (apk-tools, apk_db(5)).
    fn apk(&mut self, text: &str) {
        for paragraph in text.split("\n\n") {
            let (mut name, mut version, mut folder) = (None, None, String::new());
            let mut paths = Vec::new();
            for line in paragraph.lines() {
                match line.split_once(':') {
                    Some(("P", value)) => name = Some(value.to_owned()),
                    Some(("V", value)) => version = Some(value.to_owned()),
                    Some(("F", value)) => folder = format!("/{value}"),
                    Some(("R", value)) => paths.push(usr(&format!("{folder}/{value}"))),
                    _ => {}
                }
            }
            let (Some(name), Some(version)) = (name, version) else {
                continue;
            };
            let key = ("apk".to_owned(), name);
            self.owners
                .extend(paths.into_iter().map(|path| (path, key.clone())));
            self.packages.insert(key, version);
        }
    }

    /// The package that owns a path: database and name.
    pub(super) fn owner(&self, path: &str) -> Option<&(String, String)> {
        self.owners.get(&usr(path))
    }
}

/// Packages that were added, removed, or have another version, by database and name.
pub(super) fn changes(old: &Databases, new: &Databases) -> Vec<PackageChange> {
    let change = |key: &(String, String)| {
        let (old, new) = (old.packages.get(key), new.packages.get(key));
        (old != new).then(|| PackageChange {
            database: key.0.clone(),
            name: key.1.clone(),
            old: old.cloned(),
            new: new.cloned(),
        })
    };
    keys(&old.packages, &new.packages)
        .into_iter()
        .filter_map(change)
        .collect()
}
