//! `/var`, `/run` and `/tmp`.

use std::collections::BTreeSet;

use pleach_fs_tree::TreePath;

use super::{Hit, Subject, hit_item};
use crate::systemd::{drop_in_lines, plain_path};
use crate::view::{View, path};

/// What tmpfiles.d makes: paths, the directories on the way to them, and copies with all below.
struct Made {
    paths: BTreeSet<TreePath>,
    copies: Vec<TreePath>,
}

impl Made {
    fn read(view: &View<'_>) -> Self {
        let mut made = Self {
            paths: BTreeSet::new(),
            copies: Vec::new(),
        };
        for line in drop_in_lines(view, "tmpfiles.d") {
            let kind = line.field(0).chars().next().unwrap_or_default();
            let path = plain_path(line.field(1)).and_then(|path| {
                let path = path.trim_end_matches('/').replace("//", "/");
                TreePath::new(path).ok()
            });
            let Some(path) = path.filter(|_| "fFwdDvqQpLcbCe".contains(kind)) else {
                continue;
            };
            if kind == 'C' {
                made.copies.push(path.clone());
            }
            let mut above = Some(path);
            while let Some(path) = above {
                above = path.parent();
                made.paths.insert(path);
            }
        }
        made
    }

    fn covers(&self, path: &TreePath) -> bool {
        self.paths.contains(path) || self.copies.iter().any(|copy| path.starts_with(copy))
    }
}

/// The topmost paths that nothing declares, each with how much is below it.
pub(super) fn var_tmpfiles(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let made = Made::read(view);
    let (log, run) = (path("/var/log"), path("/var/run"));
    let mut out: Vec<(&crate::view::Item<'_>, usize)> = Vec::new();
    for item in view.below("/var") {
        // These have rules of their own.
        if item.path.starts_with(&run) || item.is_file() && item.path.starts_with(&log) {
            continue;
        }
        match out.last_mut() {
            Some((above, count)) if item.path.starts_with(&above.path) => *count += 1,
            _ if made.covers(&item.path) => {}
            _ => out.push((item, 0)),
        }
    }
    let out = out.into_iter();
    out.map(|(item, below)| {
        let what = match below {
            0 => "not declared".to_owned(),
            n => format!("not declared, with {n} below it"),
        };
        hit_item(view, item, what)
    })
    .collect()
}

pub(super) fn var_log(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let logs = view.below("/var/log").iter();
    logs.filter(|item| item.is_file() && view.size(item) > 0)
        .map(|item| hit_item(view, item, format!("a log of {} bytes", view.size(item))))
        .collect()
}

pub(super) fn run_tmp(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let mut out = Vec::new();
    for top in ["/run", "/tmp"] {
        out.extend(
            view.children(top)
                .map(|item| hit_item(view, item, "hidden at run time")),
        );
    }
    out
}
