//! What must not be everybody's.

use pleach_fs_tree::TreePath;

use super::{Hit, Subject, hit_item, hit_line};
use crate::secrets::{begins_as_key, is_host_key, is_private_key, secret};
use crate::view::{Item, path};

pub(super) fn machine_id(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let set = crate::classify::machine_id(subject.view);
    let path = subject.view.etc("machine-id");
    set.map(|(line, _)| hit_line(path, line, "set"))
        .into_iter()
        .collect()
}

pub(super) fn host_keys(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let keys = view.children(&view.etc("ssh"));
    let keys = keys.filter(|item| item.is_file() && is_host_key(item.name()));
    keys.map(|item| hit_item(view, item, "a host key"))
        .collect()
}

/// Where a site puts what is its own.
const SITE: [&str; 7] = [
    "/usr/share/factory",
    "/usr/local",
    "/var",
    "/root",
    "/home",
    "/opt",
    "/srv",
];

/// Files that may hold a secret of the site: where a site puts its own, all; elsewhere those that are
/// named like keys, if they begin as one.
fn files(subject: &Subject<'_, '_>, mut look: impl FnMut(&Item<'_>, Vec<u8>)) {
    let view = subject.view;
    let tops: Vec<TreePath> = SITE.iter().copied().chain([view.etc]).map(path).collect();
    let size = 1..=crate::MAX_TEXT;
    for item in view.items.iter().filter(|item| item.is_file()) {
        if is_host_key(item.name()) || !size.contains(&view.size(item)) {
            continue;
        }
        if tops.iter().any(|top| item.path.starts_with(top)) {
            look(item, view.bytes(item));
        } else if item.name().ends_with("key") || item.name().ends_with(".pem") {
            let bytes = view.peek(item);
            if begins_as_key(&bytes) {
                look(item, bytes);
            }
        }
    }
}

/// What no package brought: a key of a package is everybody's already.
fn found(subject: &Subject<'_, '_>, keys: bool) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    files(subject, |item, bytes| {
        let path = item.path.to_string();
        if let Some(what) = secret(&path, &bytes)
            && is_private_key(&bytes) == keys
            && subject.packages.own(&path) != Some(true)
        {
            out.push(hit_item(view, item, what));
        }
    });
    out
}

pub(super) fn private_keys(subject: &Subject<'_, '_>) -> Vec<Hit> {
    found(subject, true)
}

pub(super) fn others(subject: &Subject<'_, '_>) -> Vec<Hit> {
    found(subject, false)
}
