//! The packages of rpm's database.

#[cfg(feature = "rpm")]
mod database;
#[cfg(feature = "rpm")]
mod header;

use crate::view::{Item, View};

/// Where the database is; a moved one first.
const FOLDERS: [&str; 3] = ["/usr/lib/sysimage/rpm", "/usr/share/rpm", "/var/lib/rpm"];
/// The database since rpm 4.16, in the folder.
const SQLITE: &str = "rpmdb.sqlite";
/// Older ones, and what keeps them.
const OLDER: [(&str, &str); 2] = [("Packages", "Berkeley DB"), ("Packages.db", "ndb")];

/// A package that is installed.
pub(crate) struct Package {
    pub(crate) name: String,
    /// With the epoch, if it has one, and the release.
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// What it owns, directories as well, as the package calls it; escaped.
    pub(crate) paths: Vec<String>,
}

/// What the database of an image says.
#[derive(Default)]
pub(crate) struct Rpm {
    /// `None` where there is no database, or none that can be read.
    pub(crate) packages: Option<Vec<Package>>,
    /// What is not read, and why.
    pub(crate) notes: Vec<String>,
}

/// Whether a file is the database, and is read. `path` is without a slash in front.
pub(crate) fn wants(path: &[u8]) -> bool {
    let folder = |folder: &&str| {
        let rest = path.strip_prefix(&folder.as_bytes()[1..]);
        rest.and_then(|rest| rest.strip_prefix(b"/")) == Some(SQLITE.as_bytes())
    };
    cfg!(feature = "rpm") && FOLDERS.iter().any(folder)
}

impl Rpm {
    /// Reads it. `so` is what follows for the image if it cannot be read.
    pub(crate) fn read(view: &View<'_>, so: &str) -> Self {
        let mut out = Self::default();
        for folder in FOLDERS {
            let file = |name: &str| {
                let item = view.get(&format!("{folder}/{name}"));
                item.filter(|item| item.is_file())
            };
            let Some(item) = file(SQLITE) else {
                let older = OLDER.into_iter().find(|(name, _)| file(name).is_some());
                out.notes.extend(older.map(|(name, what)| {
                    format!("{folder}/{name} is a database of rpm of an older kind ({what}), which is not read: {so}")
                }));
                continue;
            };
            let path = &item.path;
            if out.packages.is_some() {
                let note = format!("{path} is a second database of rpm, which is not read");
                out.notes.push(note);
                continue;
            }
            match packages(view, item) {
                Ok(packages) => out.packages = Some(packages),
                Err(why) => {
                    out.notes.push(format!("{why}: {so}"));
                    continue;
                }
            }
            if file("rpmdb.sqlite-wal").is_some_and(|log| view.size(log) > 0) {
                out.notes.push(format!(
                    "{path}-wal is not read: what was changed last is not in {path} yet"
                ));
            }
        }
        out
    }
}

#[cfg(feature = "rpm")]
fn packages(view: &View<'_>, item: &Item<'_>) -> Result<Vec<Package>, String> {
    let bytes = view.database(item)?;
    let path = &item.path;
    database::packages(bytes)
        .map_err(|error| format!("{path} is not read as a database of rpm is: {error}"))
}

#[cfg(not(feature = "rpm"))]
fn packages(_: &View<'_>, item: &Item<'_>) -> Result<Vec<Package>, String> {
    Err(format!(
        "{} is a database of rpm, which is not read",
        item.path
    ))
}
