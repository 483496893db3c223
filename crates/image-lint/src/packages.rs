//! Which files packages own, where a package database says so in text.

use std::collections::HashSet;

use crate::view::View;

/// What the package databases of an image say.
pub(crate) struct Packages {
    /// Paths that packages own; `None` where no database can be read.
    owned: Option<HashSet<String>>,
    /// Why not all can be asked.
    pub(crate) note: Option<String>,
}

const RPM: [&str; 3] = ["/usr/lib/sysimage/rpm", "/usr/share/rpm", "/var/lib/rpm"];
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
        let rpm = RPM.into_iter().find(|folder| {
            view.children(folder)
                .any(|item| item.name().starts_with("rpmdb"))
        });
        Self {
            owned: found.then_some(owned),
            note: rpm.map(|folder| {
                format!(
                    "{folder} is a database of rpm, which is not read: which files belong to packages is not known"
                )
            }),
        }
    }

    /// Whether a package owns a path; `None` where that cannot be known.
    pub(crate) fn own(&self, path: &str) -> Option<bool> {
        self.owned.as_ref().map(|owned| owned.contains(&usr(path)))
    }
}

/// As it is called where `/usr` is merged: packages may still say `/lib`.
fn usr(path: &str) -> String {
    let top = ["/bin/", "/sbin/", "/lib/", "/lib64/"];
    match top.iter().any(|top| path.starts_with(top)) {
        true => format!("/usr{path}"),
        false => path.to_owned(),
    }
}
