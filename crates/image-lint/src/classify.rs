//! Evidence: what only a build needs, and what is set up.

use crate::{Certainty, Evidence, SpeaksFor};
use crate::view::View;

/// Programs and data that an image carries to be built on.
const BUILD: [(&str, &str); 4] = [
    ("/usr/bin/gcc", "a compiler"),
    ("/usr/bin/dpkg-buildpackage", "a package builder"),
    ("/var/lib/apt/lists", "package lists"),
    ("/var/cache/dnf", "a package cache"),
];

/// Folders of the default configuration whose files configure the network of one site.
const NETWORK: [&str; 3] = [
    "systemd/network",
    "NetworkManager/system-connections",
    "netplan",
];

/// Accounts that are made at boot (sysusers.d(5)).
const SYSUSERS: &str = "/usr/lib/sysusers.d";

pub(crate) fn evidence<C>(view: &View<'_, C>) -> Vec<Evidence> {
    let mut out = Vec::new();
    for (path, what) in BUILD {
        let there = view.get(path);
        if there.is_some_and(|inode| inode.entries().is_none_or(|entries| !entries.is_empty())) {
            out.push(found(SpeaksFor::Base, path.to_owned(), None, what));
        }
    }
    let passwd = view.etc("passwd");
    for (line, entry) in view.lines(&passwd) {
        let fields: Vec<_> = entry.split(':').collect();
        let [name, _, uid, .., shell] = fields[..] else {
            continue;
        };
        if is_person(uid, shell) {
            let what = format!("user {name} can log in");
            out.push(found(SpeaksFor::Specific, passwd.clone(), Some(line), &what));
        }
    }
    for file in view.names(SYSUSERS) {
        let path = format!("{SYSUSERS}/{file}");
        let lines = match file.ends_with(".conf") {
            true => view.lines(&path),
            false => Vec::new(),
        };
        for (line, entry) in lines {
            let fields = fields(&entry);
            // No shell is nologin there; `u!` makes a locked account.
            let [kind, name, id, _, _, shell, ..] = &fields[..] else {
                continue;
            };
            let uid = id.split(':').next().unwrap_or_default();
            if kind == "u" && shell != "-" && is_person(uid, shell) {
                let what = format!("user {name} can log in");
                out.push(found(SpeaksFor::Specific, path.clone(), Some(line), &what));
            }
        }
    }
    let shadow = view.etc("shadow");
    for (line, entry) in view.lines(&shadow) {
        let mut fields = entry.split(':');
        if let (Some(name), Some(hash)) = (fields.next(), fields.next())
            && hash.starts_with('$')
        {
            let what = format!("user {name} has a password");
            out.push(found(SpeaksFor::Specific, shadow.clone(), Some(line), &what));
        }
    }
    let applications = [
        view.etc("containers/systemd"),
        "/usr/share/containers/systemd".to_owned(),
    ];
    let folders = NETWORK.map(|folder| (view.etc(folder), "network configuration"));
    for (folder, what) in folders
        .into_iter()
        .chain(applications.map(|f| (f, "an application")))
    {
        for name in view.names(&folder) {
            out.push(found(SpeaksFor::Specific, format!("{folder}/{name}"), None, what));
        }
    }
    for (path, _) in view.tree.walk() {
        if path
            .file_name()
            .is_some_and(|name| name.as_bytes() == b"authorized_keys")
        {
            out.push(found(SpeaksFor::Specific, path.to_string(), None, "SSH keys"));
        }
    }
    out
}

/// Whether an account is a person's, who can log in.
fn is_person(uid: &str, shell: &str) -> bool {
    let uid = uid.parse::<u32>();
    let shell = shell.rsplit('/').next().unwrap_or_default();
    uid.is_ok_and(|uid| (1000..65534).contains(&uid)) && !matches!(shell, "nologin" | "false" | "")
}

/// The fields of a line: apart by blanks, quoted where they hold some (sysusers.d(5)).
fn fields(line: &str) -> Vec<String> {
    let (mut out, mut field, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('"' | '\'', None) => {
                quote = Some(c);
                field.get_or_insert_default();
            }
            (c, Some(end)) if c == end => quote = None,
            ('\\', _) => field.get_or_insert_default().extend(rest.next()),
            (c, None) if c.is_whitespace() => out.extend(field.take()),
            (c, _) => field.get_or_insert_default().push(c),
        }
    }
    out.extend(field);
    out
}

fn found(speaks_for: SpeaksFor, path: String, line: Option<usize>, what: &str) -> Evidence {
    Evidence {
        speaks_for,
        certainty: Certainty::Likely,
        path,
        layer: None,
        line,
        what: what.to_owned(),
    }
}
