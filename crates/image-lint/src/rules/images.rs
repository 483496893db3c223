//! Container images that the image runs.

use super::{Hit, Subject, hit, hit_item, hit_line};
use crate::systemd::{self, quadlet_folders, value};
use crate::view::View;

const BOUND: &str = "/usr/lib/bootc/bound-images.d";

/// What a quadlet file names as its image, with the place where it is written: of one that refers to
/// a `.image` file, that file's.
fn image(view: &View<'_>, path: &str) -> Option<(String, usize, String)> {
    let lines = view.lines(path);
    let found = value(&lines, "Container", "Image").or_else(|| value(&lines, "Image", "Image"));
    let (line, name) = found?;
    if name.ends_with(".image") {
        let files = quadlet_folders(view).map(|folder| format!("{folder}/{name}"));
        for file in files {
            if let Some((line, name)) = value(&view.lines(&file), "Image", "Image") {
                return Some((file, line, name));
            }
        }
    }
    Some((path.to_owned(), line, name))
}

pub(super) fn bound(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for item in view.children(BOUND) {
        let Some(end) = view.resolve(&item.path) else {
            out.push(hit_item(view, item, "leads nowhere"));
            continue;
        };
        let kinds: [&[u8]; 2] = [b".image", b".container"];
        if !kinds.iter().any(|kind| end.as_bytes().ends_with(kind)) {
            out.push(hit_item(
                view,
                item,
                "neither a .image nor a .container file",
            ));
        } else if image(view, &end.to_string()).is_none() {
            out.push(hit_item(view, item, "no Image= in it"));
        }
    }
    out
}

pub(super) fn unpinned(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for item in view.children(BOUND) {
        let end = view.resolve(&item.path);
        if let Some((file, line, name)) = end.and_then(|end| image(view, &end.to_string()))
            && !name.contains("@sha256:")
            && !name.contains("@sha512:")
        {
            let what = format!("{name} is bound, and may become another image");
            out.push(hit_line(file, line, what));
        }
    }
    out
}

pub(super) fn quadlets(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let containers = systemd::quadlets(view).filter(|(_, name)| name.ends_with(".container"));
    containers
        .filter(|(path, _)| {
            let lines = view.lines(path);
            let named = ["Image", "Rootfs"];
            named
                .iter()
                .all(|key| value(&lines, "Container", key).is_none())
        })
        .map(|(path, _)| hit(path, "neither Image= nor Rootfs="))
        .collect()
}
