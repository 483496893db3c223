//! Images of a few lines.

use std::collections::BTreeMap;

use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_image_lint::{Image, Policy, Report, inspect, wants};

/// A sound generic image that nothing speaks for or against.
pub(crate) const SOUND: &[&str] = &[
    "/boot/",
    "/dev/",
    "/etc/machine-id = uninitialized\n",
    "/etc/passwd = root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "0640 0:42 /etc/shadow = root:*:20000::::::\n",
    "/etc/group = root:x:0:\nshadow:x:42:\n",
    "/etc/ssh/",
    "/etc/systemd/system/multi-user.target.wants/a.service -> /usr/lib/systemd/system/a.service",
    "/etc/systemd/system/b.service -> /dev/null",
    "/ostree -> sysroot/ostree",
    "/proc/",
    "/run/",
    "/sys/",
    "/sysroot/",
    "1777 /tmp/",
    "/usr/lib/modules/6.12/vmlinuz = k",
    "/usr/lib/modules/6.12/initramfs.img = i",
    "/usr/lib/ostree/prepare-root.conf = [composefs]\nenabled = yes\n",
    "/usr/lib/systemd/system/a.service = [Install]\nWantedBy=multi-user.target\n",
    "/usr/lib/sysusers.d/basic.conf = g shadow 42\n",
    "/var/",
];

/// A tree of entries on top of others. An entry is a path, with its mode and owner before it where they
/// are not 0755 or 0644 and root's; with `/` at its end it is a directory, with `-> TARGET` a link, with
/// `= TEXT` a file. `- PATH` takes a path away. A path may be escaped.
pub(crate) fn tree(below: &[&str], above: &[&str]) -> Tree<Vec<u8>> {
    let mut tree = Tree::new(Metadata::with_mode(0o755));
    for entry in below.iter().chain(above) {
        if let Some(path) = entry.strip_prefix("- ") {
            assert!(tree.remove(&path_of(path)), "{path} is not there");
            continue;
        }
        let (head, rest) = entry.split_at(entry.find('/').expect("a path"));
        let mut head = head.split_whitespace();
        let mode = head
            .next()
            .map(|m| u16::from_str_radix(m, 8).expect("a mode"));
        let owner = head.next().unwrap_or("0:0");
        let (uid, gid) = owner.split_once(':').expect("an owner");
        let metadata = |standard| Metadata {
            uid: uid.parse().expect("a number"),
            gid: gid.parse().expect("a number"),
            ..Metadata::with_mode(mode.unwrap_or(standard))
        };
        let (path, inode) = if let Some((path, target)) = rest.split_once(" -> ") {
            (path, Inode::symlink(metadata(0o777), unescape(target)))
        } else if let Some((path, text)) = rest.split_once(" = ") {
            (path, Inode::file(metadata(0o644), text.as_bytes().to_vec()))
        } else {
            let path = rest.strip_suffix('/').expect("a directory");
            (path, Inode::directory(metadata(0o755)))
        };
        let path = path_of(path);
        let there = tree.lookup(&path);
        match there.filter(|id| tree.inode(*id).entries().is_some()) {
            Some(id) if inode.entries().is_some() => *tree.metadata_mut(id) = inode.metadata,
            _ => {
                let parents = Metadata::with_mode(0o755);
                tree.put_with_parents(&path, inode, &parents).expect("put");
            }
        }
    }
    tree
}

fn path_of(text: &str) -> TreePath {
    TreePath::new(unescape(text)).expect("a path")
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        out.push(u8::from_str_radix(&after[..2], 16).expect("two digits"));
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Judges a tree that has labels, in one layer where it has some. No rule reads what an index would not
/// keep for it.
pub(crate) fn judge(tree: &Tree<Vec<u8>>, labels: &[(&str, &str)], policy: &Policy) -> Report {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let layers = match labels.is_empty() {
        true => Vec::new(),
        false => vec!["sha256:00".to_owned()],
    };
    let read = |path: &TreePath, bytes: &Vec<u8>| {
        let own = policy.own.iter().any(|own| own.wants(path.as_bytes()));
        (own || wants(path.as_bytes(), bytes)).then(|| bytes.clone())
    };
    let report = inspect(
        &Image {
            tree,
            read: &read,
            size: &|bytes| bytes.len() as u64,
            labels: &labels,
            layers: &layers,
            layer: &|_| None,
            hidden: &[],
            base: None,
        },
        policy,
    );
    assert!(
        report.unread.is_empty(),
        "read, and not kept: {:?}",
        report.unread
    );
    report
}

/// A report, a line for each thing: what it is, `+` evidence, `!` findings, `~` what is accepted.
pub(crate) fn shown(report: &Report) -> String {
    let place = |path: &str, line: Option<usize>| match line {
        Some(line) => format!("{path}:{line}"),
        None => path.to_owned(),
    };
    let mut out = format!(
        "{} {}, {} {}\n",
        report.role, report.role_certainty, report.scope, report.scope_certainty
    );
    for e in &report.evidence {
        let at = place(&e.path, e.line);
        out += &format!("+ {} {} {at}: {}\n", e.speaks_for, e.certainty, e.what);
    }
    for f in &report.findings {
        let at = place(&f.path, f.line);
        out += &format!("! {} {} {at}: {}\n", f.severity, f.rule, f.what);
    }
    for s in &report.suppressed {
        out += &format!("~ {} {}: {}\n", s.finding.rule, s.finding.path, s.reason);
    }
    out
}
