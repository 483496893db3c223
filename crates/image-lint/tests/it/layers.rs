//! What layers and a base add to what the tree says.

use std::collections::BTreeMap;

use pleach_fs_tree::{Metadata, TreePath};
use pleach_image_lint::{Hidden, Image, Policy, inspect};

use crate::support::{SOUND, shown, tree};

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

#[test]
fn what_a_layer_hides_is_still_there() {
    let tree = tree(SOUND, &[]);
    let check = |at: &str, text: &str, expect: &str| {
        let hidden = [Hidden {
            path: path(at),
            layer: 1,
            by: 3,
            content: text.as_bytes().to_vec(),
        }];
        let layers = ["a", "b", "c", "d"].map(str::to_owned);
        let report = inspect(
            &Image {
                tree: &tree,
                read: &|_, bytes: &Vec<u8>| Some(bytes.clone()),
                size: &|bytes| bytes.len() as u64,
                labels: &BTreeMap::from([("containers.bootc".to_owned(), "1".to_owned())]),
                layers: &layers,
                layer: &|_| None,
                hidden: &hidden,
                base: None,
            },
            &Policy::default(),
        );
        let found = shown(&report);
        let found = found.lines().nth(1).unwrap_or_default();
        assert_eq!(found, expect, "{at}");
        if let Some(finding) = report.findings.first() {
            assert_eq!(finding.layer, Some(1));
        }
    };
    check(
        "/etc/tls.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n",
        "! error hidden-secret /etc/tls.key: a private key, which layer 3 hides and does not take away",
    );
    check(
        "/etc/ssh/ssh_host_rsa_key",
        "x",
        "! error hidden-secret /etc/ssh/ssh_host_rsa_key: a host key, which layer 3 hides and does not take away",
    );
    check(
        "/etc/shadow",
        "root:$y$j9T$x:20000::::::\n",
        "! error hidden-secret /etc/shadow: a password's hash, which layer 3 hides and does not take away",
    );
    check("/etc/shadow", "root:*:20000::::::\n", "");
    check("/etc/motd", "hello\n", "");
}

#[test]
fn what_a_base_has_is_no_change() {
    let tree = tree(
        SOUND,
        &[
            "4755 /usr/bin/sudo = x",
            "2755 0:42 /usr/bin/wall = x",
            "0666 /usr/share/open = x",
        ],
    );
    let metadata = |mode, gid| {
        Some(Metadata {
            gid,
            ..Metadata::with_mode(mode)
        })
    };
    let check = |base: &dyn Fn(&TreePath) -> Option<Metadata>, expect: &str| {
        let report = inspect(
            &Image {
                tree: &tree,
                read: &|_, bytes: &Vec<u8>| Some(bytes.clone()),
                size: &|bytes| bytes.len() as u64,
                labels: &BTreeMap::new(),
                layers: &[],
                layer: &|_| None,
                hidden: &[],
                base: Some(base),
            },
            &Policy::default(),
        );
        let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), expect);
        assert!(report.notes.is_empty(), "{:?}", report.notes);
    };
    let same = |at: &TreePath| match &*at.to_string() {
        "/usr/bin/sudo" => metadata(0o4755, 0),
        "/usr/bin/wall" => metadata(0o2755, 42),
        "/usr/share/open" => metadata(0o666, 0),
        _ => None,
    };
    check(&same, "");
    check(
        &|_| None,
        "warning world-writable: /usr/share/open: everybody may write to it (0666)
warning setuid-change: /usr/bin/sudo: 4755 0:0; the base does not have it
warning setuid-change: /usr/bin/wall: 2755 0:42; the base does not have it",
    );
    check(
        &|at| match &*at.to_string() {
            "/usr/bin/sudo" => metadata(0o755, 0),
            "/usr/bin/wall" => metadata(0o2755, 5),
            _ => same(at),
        },
        "warning setuid-change: /usr/bin/sudo: 4755 0:0; 0755 0:0 in the base
warning setuid-change: /usr/bin/wall: 2755 0:42; 2755 0:5 in the base",
    );
}
