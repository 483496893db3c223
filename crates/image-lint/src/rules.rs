//! The rules, one function each.

use pleach_fs_tree::{Kind, TreePath};

use crate::{Finding, Severity};
use crate::view::View;

pub(crate) fn findings<C>(view: &View<'_, C>) -> Vec<Finding> {
    let rules = [
        kernel,
        both_etc,
        machine_id,
        host_keys,
        private_keys,
        var_content,
        names,
        dangling_units,
    ]
    .map(|r| r(view));
    rules.into_iter().flatten().collect()
}

fn finding(rule: &str, path: impl ToString, what: &str) -> Finding {
    Finding {
        rule: rule.to_owned(),
        severity: Severity::Error,
        path: path.to_string(),
        layer: None,
        line: None,
        what: what.to_owned(),
        why: String::new(),
        fix: String::new(),
    }
}

/// Exactly one kernel, with its initramfs beside it.
fn kernel<C>(view: &View<'_, C>) -> Vec<Finding> {
    const MODULES: &str = "/usr/lib/modules";
    let kernels: Vec<_> = view
        .names(MODULES)
        .into_iter()
        .filter(|name| view.get(&format!("{MODULES}/{name}/vmlinuz")).is_some())
        .collect();
    match &kernels[..] {
        [] => vec![finding(
            "kernel",
            MODULES,
            "no kernel: the image cannot boot",
        )],
        [one]
            if view
                .get(&format!("{MODULES}/{one}/initramfs.img"))
                .is_none() =>
        {
            vec![finding(
                "kernel",
                format!("{MODULES}/{one}"),
                "no initramfs.img beside the kernel",
            )]
        }
        [_] => Vec::new(),
        _ => vec![finding(
            "kernel",
            MODULES,
            "several kernels: which one boots is not defined",
        )],
    }
}

fn both_etc<C>(view: &View<'_, C>) -> Vec<Finding> {
    let filled = |path| {
        view.get(path)
            .and_then(|i| i.entries())
            .is_some_and(|e| !e.is_empty())
    };
    if filled("/etc") && filled("/usr/etc") {
        return vec![finding(
            "both-etc",
            "/usr/etc",
            "/etc is filled too: ostree refuses such a tree",
        )];
    }
    Vec::new()
}

fn machine_id<C>(view: &View<'_, C>) -> Vec<Finding> {
    let path = view.etc("machine-id");
    let lines = view.lines(&path);
    match lines.first() {
        Some((_, id)) if !id.trim().is_empty() && id.trim() != "uninitialized" => {
            vec![finding(
                "machine-id",
                path,
                "set: every machine would have the same identity",
            )]
        }
        _ => Vec::new(),
    }
}

fn host_keys<C>(view: &View<'_, C>) -> Vec<Finding> {
    let keys = view.names(&view.etc("ssh")).into_iter();
    keys.filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"))
        .map(|name| {
            let what =
                "a host key in an image is everybody's: whoever pulls it can pose as the machine";
            finding("host-key", view.etc(&format!("ssh/{name}")), what)
        })
        .collect()
}

/// Other private keys, where a site puts what is its own.
fn private_keys<C>(view: &View<'_, C>) -> Vec<Finding> {
    let tops = [view.etc, "/usr/share/factory", "/var"];
    let tops = tops.map(|top| TreePath::new(top).expect("a plain path"));
    let armoured = |(_, line): &(usize, String)| {
        let line = line.trim();
        line.starts_with("-----BEGIN ")
            && (line.ends_with("PRIVATE KEY-----") || line.ends_with("PRIVATE KEY BLOCK-----"))
    };
    let files = view.tree.walk().filter(|(path, id)| {
        let file = matches!(view.tree.inode(*id).kind, Kind::File(_));
        file && tops.iter().any(|top| path.starts_with(top))
    });
    let known: Vec<String> = host_keys(view)
        .into_iter()
        .map(|found| found.path)
        .collect();
    files
        .map(|(path, _)| path.to_string())
        .filter(|path| !known.contains(path) && view.lines(path).iter().any(armoured))
        .map(|path| {
            let what = "a private key in an image is everybody's who pulls it; inject it";
            finding("private-key", path, what)
        })
        .collect()
}

/// `/var` of an image reaches new installs only.
fn var_content<C>(view: &View<'_, C>) -> Vec<Finding> {
    let var = TreePath::new("/var").expect("a plain path");
    let files = view
        .tree
        .walk()
        .filter(|(path, id)| path.starts_with(&var) && view.tree.inode(*id).entries().is_none());
    files
        .map(|(path, _)| {
            finding(
                "var-content",
                path,
                "is unpacked at the first install only; declare it in tmpfiles.d",
            )
        })
        .collect()
}

fn names<C>(view: &View<'_, C>) -> Vec<Finding> {
    let bad = view.tree.walk().filter(|(path, _)| {
        let last = path.components().next_back().unwrap_or_default();
        std::str::from_utf8(last).is_err()
    });
    bad.map(|(path, _)| {
        finding(
            "utf8-name",
            path,
            "its name is not UTF-8, which ostree refuses",
        )
    })
    .collect()
}

fn dangling_units<C>(view: &View<'_, C>) -> Vec<Finding> {
    let units = TreePath::new(view.etc("systemd/system")).expect("a plain path");
    let dangling = view.tree.walk().filter(|(path, id)| {
        let link = matches!(view.tree.inode(*id).kind, Kind::Symlink(_));
        let mask = matches!(&view.tree.inode(*id).kind, Kind::Symlink(t) if &**t == b"/dev/null");
        link && !mask && path.starts_with(&units) && !view.leads_somewhere(path)
    });
    dangling
        .map(|(path, _)| {
            finding(
                "dangling-unit",
                path,
                "a link to a unit that is not in the image",
            )
        })
        .collect()
}
