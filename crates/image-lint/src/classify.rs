//! Evidence: what only a build needs, and what is set up.

use crate::Evidence;
use crate::view::View;

/// Programs and data that an image carries to be built on.
const BUILD: [(&str, &str); 4] = [
    ("/usr/bin/gcc", "a compiler"),
    ("/usr/bin/dpkg-buildpackage", "a package builder"),
    ("/var/lib/apt/lists", "package lists"),
    ("/var/cache/dnf", "a package cache"),
];

/// Folders whose files configure the network of one site.
const NETWORK: [&str; 3] = [
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/netplan",
];

/// Folders whose files are applications.
const APPLICATIONS: [&str; 2] = ["/etc/containers/systemd", "/usr/share/containers/systemd"];

pub(crate) fn evidence<C>(view: &View<'_, C>) -> Vec<Evidence> {
    let mut out = Vec::new();
    for (path, what) in BUILD {
        let there = view.get(path);
        if there.is_some_and(|inode| inode.entries().is_none_or(|entries| !entries.is_empty())) {
            out.push(found("base", path.to_owned(), None, what));
        }
    }
    for (line, entry) in view.lines("/etc/passwd") {
        let fields: Vec<_> = entry.split(':').collect();
        let [name, _, uid, .., shell] = fields[..] else {
            continue;
        };
        let person = uid
            .parse::<u32>()
            .is_ok_and(|uid| (1000..65534).contains(&uid));
        let shell = shell.rsplit('/').next().unwrap_or_default();
        if person && !matches!(shell, "nologin" | "false" | "") {
            let what = format!("user {name} can log in");
            out.push(found(
                "specific",
                "/etc/passwd".to_owned(),
                Some(line),
                &what,
            ));
        }
    }
    for (line, entry) in view.lines("/etc/shadow") {
        let mut fields = entry.split(':');
        if let (Some(name), Some(hash)) = (fields.next(), fields.next())
            && hash.starts_with('$')
        {
            let what = format!("user {name} has a password");
            out.push(found(
                "specific",
                "/etc/shadow".to_owned(),
                Some(line),
                &what,
            ));
        }
    }
    let folders = NETWORK.map(|folder| (folder, "network configuration"));
    for (folder, what) in folders
        .into_iter()
        .chain(APPLICATIONS.map(|f| (f, "an application")))
    {
        for name in view.names(folder) {
            out.push(found("specific", format!("{folder}/{name}"), None, what));
        }
    }
    for (path, _) in view.tree.walk() {
        if path
            .file_name()
            .is_some_and(|name| name.as_bytes() == b"authorized_keys")
        {
            out.push(found("specific", path.to_string(), None, "SSH keys"));
        }
    }
    out
}

fn found(speaks_for: &'static str, path: String, line: Option<usize>, what: &str) -> Evidence {
    Evidence {
        speaks_for,
        path,
        line,
        what: what.to_owned(),
    }
}
