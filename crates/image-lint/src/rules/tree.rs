//! The shape of the tree.

use pleach_fs_tree::TreePath;

use super::{Hit, Subject, hit, hit_item};
use crate::systemd::value;
use crate::view::{What, path};

pub(super) fn api_directories(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for path in ["/dev", "/proc", "/sys", "/run", "/tmp", "/var"] {
        match view.get(path) {
            None => out.push(hit(path, "not there")),
            Some(item) if !item.is_directory() => out.push(hit_item(view, item, "no directory")),
            Some(_) => {}
        }
    }
    out
}

pub(super) fn baseimage_root(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    match view.get("/sysroot") {
        None => out.push(hit("/sysroot", "not there")),
        Some(item) if !item.is_directory() => out.push(hit_item(view, item, "no directory")),
        Some(_) => {}
    }
    match view.get("/ostree") {
        None => out.push(hit("/ostree", "not there")),
        Some(item) if item.what != What::Symlink(b"sysroot/ostree") => {
            out.push(hit_item(view, item, "no link to sysroot/ostree"));
        }
        Some(_) => {}
    }
    out
}

/// ostree takes the file of /etc, if there is one, in place of that of /usr (ostree-prepare-root(1)).
pub(super) fn composefs(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let file = [
        view.etc("ostree/prepare-root.conf"),
        "/usr/lib/ostree/prepare-root.conf".to_owned(),
    ];
    let there = file.iter().find(|path| view.get(path).is_some());
    let Some(file) = there else {
        return vec![hit(&file[1], "not there")];
    };
    let enabled = value(&view.lines(file), "composefs", "enabled");
    let on = |value: &str| matches!(value, "yes" | "true" | "1" | "signed" | "verity");
    match enabled {
        Some((_, value)) if on(&value) => Vec::new(),
        Some((line, _)) => vec![super::hit_line(file, line, "composefs is not enabled")],
        None => vec![hit(file, "composefs is not enabled")],
    }
}

pub(super) fn both_etc(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let filled = |path| {
        let item = subject.view.get(path);
        item.is_some_and(|item| item.what == What::Directory { empty: false })
    };
    match filled("/etc") && filled("/usr/etc") {
        true => vec![hit("/usr/etc", "/etc is filled too")],
        false => Vec::new(),
    }
}

pub(super) fn utf8(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for item in &subject.view.items {
        let last = item.path.components().next_back().unwrap_or_default();
        if std::str::from_utf8(last).is_err() {
            out.push(hit_item(subject.view, item, "its name is not UTF-8"));
        }
        if let What::Symlink(target) = item.what
            && std::str::from_utf8(target).is_err()
        {
            out.push(hit_item(subject.view, item, "its target is not UTF-8"));
        }
    }
    out
}

pub(super) fn var_run(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let item = subject.view.get("/var/run");
    item.filter(|item| !matches!(item.what, What::Symlink(_)))
        .map(|item| hit_item(subject.view, item, "no link"))
        .into_iter()
        .collect()
}

/// Where links are looked at.
const LINKS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/lib/systemd", "/usr/local"];

/// What is made when the system runs, or lies outside of the image; and documentation, which images
/// leave out by intent (alternatives keep their links to it).
const ELSEWHERE: [&str; 13] = [
    "/run",
    "/proc",
    "/sys",
    "/dev",
    "/tmp",
    "/var",
    "/sysroot",
    "/boot",
    "/efi",
    "/usr/share/man",
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/locale",
];

pub(super) fn dangling_links(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    let units = view.etc("systemd/system");
    for top in [view.etc].into_iter().chain(LINKS) {
        for item in view.below(top) {
            let What::Symlink(target) = item.what else {
                continue;
            };
            // Units have a rule of their own.
            let unit = [&*units, "/usr/lib/systemd/system", "/usr/lib/systemd/user"];
            let unit = unit
                .iter()
                .any(|folder| item.path.starts_with(&path(folder)));
            if unit || view.resolve(&item.path).is_some() || leads_elsewhere(view.etc, item, target)
            {
                continue;
            }
            let target = pleach_fs_tree::escape(target);
            out.push(hit_item(view, item, format!("{target} is not there")));
        }
    }
    out
}

/// Whether a target is, by its name alone, in a place that an image does not fill.
fn leads_elsewhere(etc: &str, item: &crate::view::Item<'_>, target: &[u8]) -> bool {
    let mut at: Vec<&[u8]> = match target.first() {
        Some(b'/') => Vec::new(),
        _ => item.path.components().collect(),
    };
    at.pop();
    // What is in /usr/etc is in /etc at boot.
    if etc == "/usr/etc" && at.starts_with(&[b"usr", b"etc"]) {
        at.remove(0);
    }
    for part in target.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(at.pop()),
            part => at.push(part),
        }
    }
    let Ok(end) = TreePath::new(at.join(&b'/')) else {
        return false;
    };
    let gone = |folder: &str| end.starts_with(&path(folder));
    // The links of an ostree system lead into /var.
    let var = [
        "/home",
        "/root",
        "/opt",
        "/srv",
        "/mnt",
        "/media",
        "/usr/local",
    ];
    ELSEWHERE.iter().any(|folder| gone(folder)) || var.iter().any(|folder| gone(folder))
}

pub(super) fn injected(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let files = ["hostname", "resolv.conf"].map(|name| view.etc(name));
    let empty = |path: &&String| {
        let item = view.get(path);
        item.is_some_and(|item| item.is_file() && view.size(item) == 0)
    };
    files
        .iter()
        .filter(empty)
        .map(|path| hit(path, "empty"))
        .collect()
}
