//! Accounts, and who owns what in `/etc`.

use super::{Hit, Subject, hit_item, hit_line};
use crate::accounts::{Known, entries};
use crate::glob::glob;
use crate::systemd::{drop_in_lines, plain_path};
use crate::view::What;

pub(super) fn empty_passwords(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for path in [view.etc("shadow"), view.etc("passwd")] {
        for entry in entries(view, &path) {
            if entry.fields.len() > 2 && entry.field(1).is_empty() {
                let what = format!("{} logs in without a password", entry.name());
                out.push(hit_line(&path, entry.line, what));
            }
        }
    }
    out
}

pub(super) fn sysusers(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let known = Known::read(view);
    let mut out = Vec::new();
    let (users, groups) = (view.etc("passwd"), view.etc("group"));
    let mut own = std::collections::BTreeSet::new();
    for entry in entries(view, &users) {
        if !known.users.contains(entry.name()) {
            let what = format!("the user {} is not declared", entry.name());
            out.push(hit_line(&users, entry.line, what));
            own.insert(entry.name().to_owned());
        }
    }
    for entry in entries(view, &groups) {
        // A user's own group comes with the user.
        if !known.groups.contains(entry.name()) && !own.contains(entry.name()) {
            let what = format!("the group {} is not declared", entry.name());
            out.push(hit_line(&groups, entry.line, what));
        }
    }
    out
}

pub(super) fn uid_drift(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let known = Known::read(view);
    let mut set = Vec::new();
    for line in drop_in_lines(view, "tmpfiles.d") {
        if line.field(0).starts_with(['z', 'Z'])
            && let Some(path) = plain_path(line.field(1))
        {
            let below = line.field(0).starts_with('Z').then(|| format!("{path}/**"));
            set.extend(below);
            set.push(path);
        }
    }
    let mut out = Vec::new();
    for item in view.below(view.etc) {
        if matches!(item.what, What::Symlink(_)) {
            continue;
        }
        let (uid, gid) = (item.metadata.uid, item.metadata.gid);
        if known.uids.contains(&uid) && known.gids.contains(&gid) {
            continue;
        }
        let path = item.path.to_string();
        let at_boot = path.strip_prefix("/usr").filter(|_| view.etc == "/usr/etc");
        let at_boot = at_boot.unwrap_or(&path).as_bytes();
        if !set.iter().any(|pattern| glob(pattern.as_bytes(), at_boot)) {
            let what = format!("belongs to {uid}:{gid}, which another machine may have given away");
            out.push(hit_item(view, item, what));
        }
    }
    out
}
