//! Who may write, and as whom a program runs.

use super::{Hit, Subject, hit_item};

const STICKY: u16 = 0o1000;

pub(super) fn world_writable(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for item in &view.items {
        let mode = item.metadata.mode;
        let open = (item.is_file() || item.is_directory() && mode & STICKY == 0) && mode & 0o2 != 0;
        let before = subject.base.and_then(|base| base(&item.path));
        if open && before.is_none_or(|before| before.mode & 0o2 == 0) {
            out.push(hit_item(
                view,
                item,
                format!("everybody may write to it ({mode:04o})"),
            ));
        }
    }
    out
}

pub(super) fn setuid(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let Some(base) = subject.base else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for item in view.items.iter().filter(|item| item.is_file()) {
        let bits = item.metadata.mode & 0o6000;
        let before = base(&item.path);
        let kept = before.as_ref().is_some_and(|before| {
            before.mode & bits == bits
                && (before.uid, before.gid) == (item.metadata.uid, item.metadata.gid)
        });
        if bits == 0 || kept {
            continue;
        }
        let (mode, uid, gid) = (item.metadata.mode, item.metadata.uid, item.metadata.gid);
        let was = match before {
            None => "the base does not have it".to_owned(),
            Some(before) => {
                format!(
                    "{:04o} {}:{} in the base",
                    before.mode, before.uid, before.gid
                )
            }
        };
        out.push(hit_item(
            view,
            item,
            format!("{mode:04o} {uid}:{gid}; {was}"),
        ));
    }
    out
}
