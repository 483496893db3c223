//! Who can log in, and what makes one machine of all.

use super::Found;
use crate::accounts::{entries, is_person, sysusers};
use crate::report::Certainty::{Certain, Likely};
use crate::report::SpeaksFor::Specific;
use crate::secrets::is_host_key;
use crate::systemd::{drop_in_lines, plain_path};
use crate::view::{View, lines};

/// Names that a distribution gives every machine.
const ANY_HOST: [&str; 6] = [
    "localhost",
    "localhost.localdomain",
    "debian",
    "fedora",
    "ubuntu",
    "alpine",
];

pub(super) fn people(view: &View<'_>, found: &mut Found<'_, '_>) {
    let passwd = view.etc("passwd");
    for entry in entries(view, &passwd) {
        if is_person(entry.field(2), entry.field(6)) {
            let what = format!("user {} can log in", entry.name());
            found.add(Specific, Certain, &passwd, Some(entry.line), what);
        }
    }
    for line in sysusers(view) {
        let uid = line.field(2).split(':').next().unwrap_or_default();
        // `u!` makes a locked account.
        if line.field(0) == "u" && is_person(uid, line.field(5)) {
            let what = format!("user {} can log in", line.field(1));
            found.add(Specific, Certain, &line.path, Some(line.line), what);
        }
    }
    let shadow = view.etc("shadow");
    for entry in entries(view, &shadow) {
        if entry.field(1).starts_with('$') {
            let what = format!("user {} has a password", entry.name());
            found.add(Specific, Certain, &shadow, Some(entry.line), what);
        }
    }
    keys(view, found);
    identity(view, found);
}

/// Keys that let somebody in: files, and those that tmpfiles.d(5) writes at boot.
fn keys(view: &View<'_>, found: &mut Found<'_, '_>) {
    for item in &view.items {
        let above = item.path.parent().and_then(|parent| parent.file_name());
        let folder = above.is_some_and(|name| name.as_bytes() == b"authorized_keys.d");
        if !item.is_file() || !(item.name().starts_with("authorized_keys") || folder) {
            continue;
        }
        let path = item.path.to_string();
        let text = lines(&view.bytes(item)).into_iter();
        let key = |(line, text): (usize, String)| {
            let text = text.trim();
            (!text.is_empty() && !text.starts_with('#')).then_some(line)
        };
        if let Some(line) = text.filter_map(key).next() {
            found.add(
                Specific,
                Certain,
                &path,
                Some(line),
                "a key that lets somebody in",
            );
        }
    }
    for line in drop_in_lines(view, "tmpfiles.d") {
        let path = plain_path(line.field(1)).unwrap_or_default();
        // With `^`, what is written is a credential that the machine gets.
        let kind = line.field(0);
        if path.contains("authorized_keys") && kind.starts_with(['f', 'w']) && !kind.contains('^') {
            let what = "writes a key that lets somebody in";
            found.add(Specific, Certain, &line.path, Some(line.line), what);
        }
    }
}

/// What only one machine may have.
fn identity(view: &View<'_>, found: &mut Found<'_, '_>) {
    let path = view.etc("machine-id");
    if let Some((line, _)) = machine_id(view) {
        found.add(
            Specific,
            Certain,
            &path,
            Some(line),
            "the identity of one machine",
        );
    }
    for item in view.children(&view.etc("ssh")) {
        if is_host_key(item.name()) {
            let path = item.path.to_string();
            found.add(
                Specific,
                Certain,
                &path,
                None,
                "the host key of one machine",
            );
        }
    }
    let path = view.etc("hostname");
    for (line, name) in view.lines(&path) {
        let name = name.trim();
        let any = name.is_empty() || name.starts_with('#') || ANY_HOST.contains(&name);
        if !any && !name.contains('?') {
            found.add(
                Specific,
                Likely,
                &path,
                Some(line),
                format!("the name {name}"),
            );
        }
    }
}

/// The machine-id(5) that an image holds, if it is one.
pub(crate) fn machine_id(view: &View<'_>) -> Option<(usize, String)> {
    let lines = view.lines(&view.etc("machine-id"));
    let (line, id) = lines.into_iter().next()?;
    let id = id.trim().to_owned();
    (!id.is_empty() && id != "uninitialized").then_some((line, id))
}
