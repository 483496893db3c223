//! Two images: each kind of difference alone.

use std::collections::BTreeMap;

use pleach_fs_tree::{Tree, parse_dump};
use pleach_image_lint::{Image, Pair, pair};

const BASE: &str = "\
/ directory 0755 0:0 0.0
/etc directory 0755 0:0 0.0
/etc/motd file 0644 0:0 0.0 hello\\n
/etc/group file 0644 0:0 0.0 root:x:0:\\nweb:x:33:\\n
/etc/passwd file 0644 0:0 0.0 root:x:0:0::/root:/bin/bash\\nweb:x:33:33::/var/www:/usr/sbin/nologin\\n
/etc/systemd directory 0755 0:0 0.0
/etc/systemd/system directory 0755 0:0 0.0
/etc/systemd/system/multi-user.target.wants directory 0755 0:0 0.0
/etc/systemd/system/multi-user.target.wants/web.service symlink 0777 0:0 0.0 /usr/lib/systemd/system/web.service
/usr directory 0755 0:0 0.0
/usr/bin directory 0755 0:0 0.0
/usr/bin/tool file 0755 0:0 0.0 one
/usr/bin/web file 0755 0:0 0.0 one
/usr/lib directory 0755 0:0 0.0
/usr/lib/bootc directory 0755 0:0 0.0
/usr/lib/bootc/kargs.d directory 0755 0:0 0.0
/usr/lib/bootc/kargs.d/10-base.toml file 0644 0:0 0.0 kargs\\x20=\\x20[\"quiet\",\\x20\"mitigations=auto\"]\\n
/usr/lib/systemd directory 0755 0:0 0.0
/usr/lib/systemd/system directory 0755 0:0 0.0
/usr/lib/systemd/system/web.service file 0644 0:0 0.0 [Install]\\nWantedBy=multi-user.target\\n
/usr/lib/tmpfiles.d directory 0755 0:0 0.0
/usr/lib/tmpfiles.d/web.conf file 0644 0:0 0.0 d\\x20/var/www\\x200755\\x20root\\x20root\\n
/var directory 0755 0:0 0.0
/var/lib directory 0755 0:0 0.0
/var/lib/dpkg directory 0755 0:0 0.0
/var/lib/dpkg/info directory 0755 0:0 0.0
/var/lib/dpkg/info/web.list file 0644 0:0 0.0 /.\\n/usr/bin\\n/usr/bin/web\\n
/var/lib/dpkg/status file 0644 0:0 0.0 Package:\\x20web\\nStatus:\\x20install\\x20ok\\x20installed\\nArchitecture:\\x20amd64\\nVersion:\\x201.0\\n
";

fn tree(dump: &str) -> Tree<Vec<u8>> {
    let mut lines: Vec<_> = dump.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_by_key(|line| {
        let path = line.split(' ').next().unwrap_or_default();
        path.split('/').map(str::to_owned).collect::<Vec<_>>()
    });
    parse_dump(&lines.join("\n"), Some).unwrap_or_else(|e| panic!("{e}\n{dump}"))
}

fn compare(old: &str, new: &str) -> Pair {
    compare_trees(&tree(old), &tree(new))
}

pub(crate) fn compare_trees(old: &Tree<Vec<u8>>, new: &Tree<Vec<u8>>) -> Pair {
    let labels = BTreeMap::new();
    let image = |tree| Image {
        tree,
        read: &|_, bytes: &Vec<u8>| Some(bytes.clone()),
        size: &|bytes: &Vec<u8>| bytes.len() as u64,
        labels: &labels,
        layers: &[],
        layer: &|_| None,
        hidden: &[],
        base: None,
    };
    pair(&image(old), &image(new), &|a, b| a == b)
}

/// The report without its head.
fn shown(pair: &Pair) -> String {
    let text = pair.to_string();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("old ") && !line.starts_with("new "));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[test]
fn each_difference_is_told_alone() {
    // What is replaced in the image (nothing: added), and what is said then.
    let check = |changes: &[(&str, &str)], expect: &str| {
        let mut new = BASE.to_owned();
        for (from, to) in changes {
            assert!(
                from.is_empty() || new.contains(from),
                "{from} is not in the image"
            );
            new = match from.is_empty() {
                true => format!("{new}{to}\n"),
                false => new.replace(from, to),
            };
        }
        let found = compare(BASE, &new);
        assert_eq!(shown(&found), expect, "with {changes:?}");
        assert_eq!(
            found.is_empty(),
            expect == "the images are the same",
            "{changes:?}"
        );
    };
    check(&[], "the images are the same");
    // An image that is built again.
    check(&[("0.0", "99.5")], "the images are the same");
    check(
        &[
            ("Version:\\x201.0", "Version:\\x201.1"),
            (
                "/usr/bin/web file 0755 0:0 0.0 one",
                "/usr/bin/web file 0755 0:0 0.0 two",
            ),
        ],
        "packages: 1\n  web 1.0 -> 1.1 (dpkg)\nfiles: 1\n        1 of the package web\n\
         content of /var: 1\n  1 of it will not arrive on a machine that is there already:\n  changed /var/lib/dpkg/status",
    );
    check(
        &[(
            "install\\x20ok\\x20installed",
            "deinstall\\x20ok\\x20config-files",
        )],
        "packages: 1\n  removed web 1.0 (dpkg)\n\
         content of /var: 1\n  1 of it will not arrive on a machine that is there already:\n  changed /var/lib/dpkg/status",
    );
    // The same package, another content: no package explains it.
    check(
        &[(
            "/usr/bin/web file 0755 0:0 0.0 one",
            "/usr/bin/web file 4755 0:0 0.0 two",
        )],
        "files: 1\n  changed /usr/bin/web: content, mode 0755 -> 4755",
    );
    check(
        &[(
            "/usr/bin/tool file 0755 0:0 0.0 one\n",
            "/usr/bin/tool symlink 0777 0:0 0.0 web\n",
        )],
        "files: 1\n  changed /usr/bin/tool: type file -> symlink, mode 0755 -> 0777",
    );
    check(
        &[("", "/usr/bin/new file 0755 0:0 0.0 x")],
        "files: 1\n  added   /usr/bin/new",
    );
    check(
        &[(
            "/etc/motd file 0644 0:0 0.0 hello\\n",
            "/etc/motd file 0600 0:42 0.0 hello\\n",
        )],
        "defaults of /etc: 1\n  changed /etc/motd: mode 0644 -> 0600, gid 0 -> 42",
    );
    check(
        &[(
            "/etc/systemd/system/multi-user.target.wants/web.service symlink 0777 0:0 0.0 /usr/lib/systemd/system/web.service\n",
            "",
        )],
        "units: 1\n  web.service: enabled -> disabled\n\
         defaults of /etc: 1\n  removed /etc/systemd/system/multi-user.target.wants/web.service",
    );
    check(
        &[(
            "",
            "/etc/systemd/system/web.service symlink 0777 0:0 0.0 /dev/null",
        )],
        "units: 1\n  web.service: enabled -> masked\ndefaults of /etc: 1\n  added   /etc/systemd/system/web.service",
    );
    check(
        &[
            ("[Install]\\nWantedBy=multi-user.target\\n", "[Unit]\\n"),
            (
                "/etc/systemd/system/multi-user.target.wants/web.service symlink 0777 0:0 0.0 /usr/lib/systemd/system/web.service\n",
                "",
            ),
        ],
        "units: 1\n  web.service: enabled -> static\nfiles: 1\n  changed /usr/lib/systemd/system/web.service: content\n\
         defaults of /etc: 1\n  removed /etc/systemd/system/multi-user.target.wants/web.service",
    );
    check(
        &[("\"quiet\",", "")],
        "kernel arguments: 1\n  removed quiet (/usr/lib/bootc/kargs.d/10-base.toml)\n\
         files: 1\n  changed /usr/lib/bootc/kargs.d/10-base.toml: content",
    );
    check(
        &[(
            "",
            "/usr/lib/bootc/kargs.d/20-arm.toml file 0644 0:0 0.0 kargs\\x20=\\x20[\"a=b\"]\\nmatch-architectures\\x20=\\x20[\"aarch64\"]\\n",
        )],
        "kernel arguments: 1\n  added   a=b (/usr/lib/bootc/kargs.d/20-arm.toml, aarch64)\n\
         files: 1\n  added   /usr/lib/bootc/kargs.d/20-arm.toml",
    );
    check(
        &[(
            "",
            "/var/www directory 0755 0:0 0.0\n/var/www/index.html file 0644 0:0 0.0 hi",
        )],
        "content of /var: 2\n  1 of it will not arrive on a machine that is there already:\n\
         \x20 added   /var/www (made at boot: /usr/lib/tmpfiles.d/web.conf:1)\n  added   /var/www/index.html",
    );
}

#[test]
fn numbers_that_drift_are_told() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(BASE.contains(from), "{from} is not in the image");
        let found = compare(BASE, &BASE.replace(from, to));
        let accounts = found.accounts.iter().map(|account| {
            let drift = account
                .drift
                .clone()
                .unwrap_or_else(|| "no drift".to_owned());
            format!("{}: {drift}", account.name)
        });
        let accounts: Vec<_> = accounts.collect();
        assert_eq!(accounts.join("\n"), expect, "with {to}");
    };
    check(
        "web:x:33:33::",
        "web:x:34:33::",
        "web: uid 33 -> 34: what it owns in /var and /etc of a machine keeps 33",
    );
    check(
        "web:x:33:\\n",
        "web:x:34:\\n",
        "web: gid 33 -> 34: what it owns in /var and /etc of a machine keeps 33",
    );
    check(
        "web:x:33:33:",
        "www:x:33:33:",
        "web: no drift\nwww: uid 33 was web's: what that owned on a machine is this one's now",
    );
    check("/var/www:", "/srv/www:", "web: no drift");
    check(
        "web:x:33:33::/var/www:/usr/sbin/nologin\\n",
        "\n/usr/lib/sysusers.d directory 0755 0:0 0.0\n/usr/lib/sysusers.d/web.conf file 0644 0:0 0.0 u\\x20web\\x20-\\n",
        "web: uid 33 is no longer fixed: a machine that is set up anew chooses another one",
    );
}

#[test]
fn defaults_are_compared_by_their_place() {
    let moved = BASE
        .replace("/etc/", "/usr/etc/")
        .replace("/etc directory", "/usr/etc directory");
    let found = compare(BASE, &moved);
    assert!(found.etc.is_empty(), "{found}");
    assert!(
        found.units.is_empty() && found.accounts.is_empty(),
        "{found}"
    );
    let told = found
        .notes
        .iter()
        .any(|note| note.contains("/etc of the old image and in /usr/etc"));
    assert!(told, "{:?}", found.notes);
}

#[test]
fn apk_is_read() {
    let with = |more: &str| format!("{BASE}{more}\n");
    let apk = |version: &str| {
        with(&format!(
            "/usr/lib/apk directory 0755 0:0 0.0\n/usr/lib/apk/db directory 0755 0:0 0.0\n\
             /usr/lib/apk/db/installed file 0644 0:0 0.0 C:Q1x=\\nP:busybox\\nV:{version}\\nF:bin\\nR:busybox\\n\\nP:musl\\nV:1.2\\n"
        ))
    };
    let found = compare(&apk("1.36"), &apk("1.37"));
    let packages: Vec<_> = found
        .packages
        .iter()
        .map(|p| (&*p.database, &*p.name, p.old.as_deref(), p.new.as_deref()))
        .collect();
    assert_eq!(packages, [("apk", "busybox", Some("1.36"), Some("1.37"))]);
    assert_eq!(found.notes, Vec::<String>::new());
}
