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
    keys.map(|item| hit_item(view, item, "a host key")).collect()
}

/// Where a site puts what is its own.
const SITE: [&str; 7] = [
    "/usr/share/factory", "/usr/local", "/var", "/root", "/home", "/opt", "/srv",
];

/// Files that may hold a secret of the site: where a site puts its own, all that no package brought;
/// elsewhere those that begin as a key does. A key that a package brings is everybody's already.
fn files<'s>(subject: &'s Subject<'_, '_>) -> impl Iterator<Item = (&'s Item<'s>, Vec<u8>)> {
    let view = subject.view;
    let tops: Vec<TreePath> = SITE.iter().copied().chain([view.etc]).map(path).collect();
    let usr = [path("/usr/share/doc"), path("/usr/lib/modules")];
    let looked_at = move |item: &&Item<'_>| {
        let within = |tops: &[TreePath]| tops.iter().any(|top| item.path.starts_with(top));
        item.is_file() && !within(&usr) && !is_host_key(item.name())
            && (within(&tops) || item.name().ends_with("key") || item.name().ends_with(".pem"))
    };
    view.items.iter().filter(looked_at).filter_map(move |item| {
        let size = view.size(item);
        (0 < size && size <= crate::MAX_TEXT).then(|| (item, view.bytes(item)))
    })
}

fn found(subject: &Subject<'_, '_>, keys: bool) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for (item, bytes) in files(subject) {
        let path = item.path.to_string();
        // As the machine will have it, or the image.
        let what = secret(&path, &bytes);
        let key = is_private_key(&bytes) || begins_as_key(&bytes);
        if let Some(what) = what.filter(|_| key == keys)
            && subject.packages.own(&path) != Some(true)
        {
            out.push(hit_item(view, item, what));
        }
    }
    out
}

pub(super) fn private_keys(subject: &Subject<'_, '_>) -> Vec<Hit> {
    found(subject, true)
}

pub(super) fn others(subject: &Subject<'_, '_>) -> Vec<Hit> {
    found(subject, false)
}
