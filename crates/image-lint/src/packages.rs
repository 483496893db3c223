//! Which files packages own, by the package databases of an image.

use std::collections::HashSet;

use crate::rpm::Rpm;
use crate::view::View;

/// What the package databases of an image say.
pub(crate) struct Packages {
    /// Paths that packages own; `None` where no database can be read.
    owned: Option<HashSet<String>>,
    /// Why not all can be asked.
    pub(crate) notes: Vec<String>,
}

const DPKG: [&str; 2] = ["/usr/lib/sysimage/dpkg/info", "/var/lib/dpkg/info"];
const APK: [&str; 2] = ["/usr/lib/apk/db/installed", "/lib/apk/db/installed"];

impl Packages {
    pub(crate) fn read(view: &View<'_>) -> Self {
        let mut owned = HashSet::new();
        let mut found = false;
        for item in DPKG.iter().flat_map(|folder| view.children(folder)) {
            if item.name().ends_with(".list") {
                found = true;
                let text = String::from_utf8_lossy(&view.bytes(item)).into_owned();
                owned.extend(text.lines().map(usr));
            }
        }
        for path in APK {
            let mut folder = String::new();
            for (_, line) in view.lines(path) {
                found = true;
                match line.split_once(':') {
                    Some(("F", name)) => folder = name.to_owned(),
                    Some(("R", name)) => {
                        owned.insert(usr(&format!("/{folder}/{name}")));
                    }
                    _ => {}
                }
            }
        }
        let rpm = Rpm::read(view, "which files belong to packages is not known");
        for package in rpm.packages.into_iter().flatten() {
            found = true;
            owned.extend(package.paths.iter().map(|path| usr(path)));
        }
        Self {
            owned: found.then_some(owned),
            notes: rpm.notes,
        }
    }

    /// Whether a package owns a path; `None` where that cannot be known.
    pub(crate) fn own(&self, path: &str) -> Option<bool> {
        self.owned.as_ref().map(|owned| owned.contains(&usr(path)))
    }
}

/// As it is called where `/usr` is merged: packages may still say `/lib`.
pub(crate) fn usr(path: &str) -> String {
    let top = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
    match top.iter().any(|top| path.starts_with(top)) {
        true => format!("/usr{path}"),
        false => path.to_owned(),
    }
}
