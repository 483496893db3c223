//! The accounts of an image: in its files, declared to be made at boot, and given by the distribution.

use std::collections::BTreeSet;

use crate::systemd::{Line, drop_in_lines};
use crate::view::View;

/// A line of passwd(5) or group(5).
pub(crate) struct Entry {
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

impl Entry {
    pub(crate) fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |field| field)
    }

    pub(crate) fn name(&self) -> &str {
        self.field(0)
    }
}

pub(crate) fn entries(view: &View<'_>, path: &str) -> Vec<Entry> {
    let lines = view.lines(path).into_iter();
    lines
        .filter(|(_, text)| text.contains(':') && !text.starts_with('#'))
        .map(|(line, text)| Entry {
            line,
            fields: text.split(':').map(str::to_owned).collect(),
        })
        .collect()
}

/// Whether an account is a person's, who can log in.
pub(crate) fn is_person(uid: &str, shell: &str) -> bool {
    let uid = uid.parse::<u32>();
    let shell = shell.rsplit('/').next().unwrap_or_default();
    uid.is_ok_and(|uid| (1000..65534).contains(&uid))
        && !matches!(shell, "nologin" | "false" | "sync" | "")
}

/// What sysusers.d declares, and what the distribution gives every machine alike.
pub(crate) struct Known {
    pub(crate) users: BTreeSet<String>,
    pub(crate) groups: BTreeSet<String>,
    /// Numbers that are the same on every machine.
    pub(crate) uids: BTreeSet<u32>,
    pub(crate) gids: BTreeSet<u32>,
}

/// Lines of sysusers.d that make a user, locked ones included.
pub(crate) fn sysusers(view: &View<'_>) -> Vec<Line> {
    drop_in_lines(view, "sysusers.d")
}

impl Known {
    pub(crate) fn read(view: &View<'_>) -> Self {
        let mut known = Self {
            users: ["root", "nobody"].map(str::to_owned).into(),
            groups: ["root", "nogroup", "nobody"].map(str::to_owned).into(),
            uids: [0, 65534].into(),
            gids: [0, 65534].into(),
        };
        for line in sysusers(view) {
            let (name, id) = (line.field(1).to_owned(), line.field(2));
            let (uid, gid) = id.split_once(':').unwrap_or((id, id));
            match line.field(0).trim_end_matches('!') {
                "u" => {
                    known.uids.extend(uid.parse::<u32>());
                    known.gids.extend(gid.parse::<u32>());
                    // A user has a group of its own name, unless it is given another one.
                    known.groups.insert(name.clone());
                    known.users.insert(name);
                }
                "g" => {
                    known.gids.extend(id.parse::<u32>());
                    known.groups.insert(name);
                }
                "m" => {
                    known.groups.insert(line.field(2).to_owned());
                }
                _ => {}
            }
        }
        // Debian's accounts below 100 are the same everywhere, and there from the first install on
        // (Debian policy, 9.2.2).
        for entry in entries(view, "/usr/share/base-passwd/passwd.master") {
            known.uids.extend(entry.field(2).parse::<u32>());
            known.users.insert(entry.name().to_owned());
        }
        for entry in entries(view, "/usr/share/base-passwd/group.master") {
            known.gids.extend(entry.field(2).parse::<u32>());
            known.groups.insert(entry.name().to_owned());
        }
        known
    }
}
