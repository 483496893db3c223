//! A document of which a layer holds a part, and a layer in other clothes.

use pleach_customization::lower::UnitsIn;
use pleach_customization::{Route, placement};
use pleach_derive::{Containerfile, Options, divide, plan};
use pleach_fs_tree::{Timestamp, dump};

use crate::{EVERYTHING, base, site};

const OPTIONS: Options = Options {
    mtime: Timestamp::from_seconds(9),
    units_in: UnitsIn::Etc,
};

#[expect(clippy::ptr_arg, reason = "it is called with what the tree holds")]
fn read(bytes: &Vec<u8>) -> Option<Vec<u8>> {
    Some(bytes.clone())
}

#[track_caller]
fn check(body: &str, left: &[&str]) {
    let (parts, derivation) =
        divide(&site(body), &base(), &read, &OPTIONS).unwrap_or_else(|e| panic!("{body}: {e}"));
    let names: Vec<String> = placement(&parts.remainder, Route::Ignition)
        .into_iter()
        .map(|p| p.item)
        .collect();
    assert_eq!(names, left, "{body}");
    let alone =
        plan(&parts.carried, &base(), &read, &OPTIONS).unwrap_or_else(|e| panic!("{body}: {e}"));
    assert_eq!(
        dump(&alone.tree.map(bytes), Clone::clone),
        dump(&derivation.tree.map(bytes), Clone::clone)
    );
}

fn bytes(content: pleach_derive::Content<Vec<u8>>) -> Vec<u8> {
    match content {
        pleach_derive::Content::Base(bytes) | pleach_derive::Content::New(bytes) => bytes,
    }
}

#[test]
fn what_a_layer_on_this_base_cannot_hold_is_left() {
    check(EVERYTHING, &[]);
    check(
        "kernel_arguments: { should_exist: [a], should_not_exist: [b] }",
        &["removal of kernel argument b"],
    );
    // Only the base shows that there is something already.
    check(
        "storage: { files: [{ path: /var/lib/site/conf, overwrite: true, contents: { inline: new } }, { path: /var/lib/site/new, contents: { inline: new } }] }",
        &["file /var/lib/site/conf"],
    );
    check(
        "storage: { files: [{ path: /etc/x, contents: { inline: x }, user: { name: ann } }] }\npasswd: { users: [{ name: root, shell: /bin/sh }, { name: ann }] }",
        &["file /etc/x", "user root", "user ann"],
    );
    check(
        "passwd: { users: [{ name: ann, password_hash: $y$x }] }",
        &["user ann", "password of user ann"],
    );
}

#[test]
fn a_mistake_is_not_left_to_ignition() {
    let error = divide(
        &site("systemd: { units: [{ name: none.service, enabled: true }] }"),
        &base(),
        &read,
        &OPTIONS,
    );
    let error = error.expect_err("the unit is nowhere").to_string();
    assert!(
        error.contains("'none.service' is enabled, but neither"),
        "{error}"
    );
}

#[test]
fn units_may_be_the_images() {
    let units = |units_in| {
        let options = Options {
            units_in,
            ..OPTIONS
        };
        let body = "
systemd:
  units:
    - {name: site.service, enabled: true, contents: \"[Install]\\nWantedBy=multi-user.target\\n\", dropins: [{name: a.conf, contents: \"[Unit]\\n\"}]}
    - {name: old.timer, enabled: false}
    - {name: loud.service, mask: true}
";
        let tree = plan(&site(body), &base(), &read, &options)
            .unwrap_or_else(|e| panic!("{e}"))
            .tree
            .map(bytes);
        let lines: Vec<String> = dump(&tree, Clone::clone)
            .lines()
            .filter(|line| line.contains("systemd/"))
            .map(str::to_owned)
            .collect();
        lines.join("\n")
    };
    let (etc, usr) = (units(UnitsIn::Etc), units(UnitsIn::Usr));
    let only = |a: &str, b: &str| {
        a.lines()
            .filter(|line| !b.lines().any(|other| other == *line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(only(&etc, &usr), @r"
    /etc/systemd/system/multi-user.target.wants/site.service symlink 0777 0:0 9.0 /etc/systemd/system/site.service
    /etc/systemd/system/site.service file 0644 0:0 9.0 [Install]\nWantedBy\x3dmulti\x2duser.target\n
    /etc/systemd/system/site.service.d directory 0755 0:0 9.0
    /etc/systemd/system/site.service.d/a.conf file 0644 0:0 9.0 [Unit]\n
    /etc/systemd/system-preset directory 0755 0:0 9.0
    /etc/systemd/system-preset/20-pleach.preset file 0644 0:0 9.0 disable\x20old.timer\nenable\x20site.service\n
    ");
    insta::assert_snapshot!(only(&usr, &etc), @r"
    /etc/systemd/system/multi-user.target.wants/site.service symlink 0777 0:0 9.0 /usr/lib/systemd/system/site.service
    /usr/lib/systemd/system/site.service file 0644 0:0 9.0 [Install]\nWantedBy\x3dmulti\x2duser.target\n
    /usr/lib/systemd/system/site.service.d directory 0755 0:0 9.0
    /usr/lib/systemd/system/site.service.d/a.conf file 0644 0:0 9.0 [Unit]\n
    /usr/lib/systemd/system-preset directory 0755 0:0 9.0
    /usr/lib/systemd/system-preset/20-pleach.preset file 0644 0:0 9.0 disable\x20old.timer\nenable\x20site.service\n
    ");
}

#[test]
fn what_hides_a_unit_of_the_image_goes() {
    let mut tree = base();
    let mask = pleach_fs_tree::Inode::symlink(pleach_fs_tree::Metadata::default(), "/dev/null");
    let path = pleach_fs_tree::TreePath::new("/etc/systemd/system/site.service").expect("a path");
    tree.put(&path, mask).expect("put");
    let options = Options {
        units_in: UnitsIn::Usr,
        ..OPTIONS
    };
    let body = "systemd: { units: [{ name: site.service, contents: '[Unit]' }] }";
    let derived = plan(&site(body), &tree, &read, &options).unwrap_or_else(|e| panic!("{e}"));
    assert!(derived.tree.lookup(&path).is_none());
    let path =
        pleach_fs_tree::TreePath::new("/usr/lib/systemd/system/site.service").expect("a path");
    assert!(derived.tree.lookup(&path).is_some());
}

#[test]
fn a_containerfile_says_what_it_does() {
    let text = |body: &str| {
        let base = base();
        let derivation =
            plan(&site(body), &base, &read, &OPTIONS).unwrap_or_else(|e| panic!("{e}"));
        let from = "registry.example/os@sha256:0";
        let made = Containerfile::new(&base, &derivation, |a, b| a == b, from);
        made.expect("a Containerfile").text().to_owned()
    };
    let body = "
storage:
  files:
    - { path: /etc/motd, overwrite: true, contents: { inline: hello } }
    - { path: /usr/bin/tool, mode: 0755, contents: { inline: x } }
  links: [{ path: /etc/l, target: motd }]
systemd: { units: [{ name: old.timer, enabled: false }] }
";
    insta::assert_snapshot!(text(body), @r#"
    # Made by pleach. Change the document rather than this file.
    ARG BASE=registry.example/os@sha256:0
    FROM ${BASE}

    # Taken away:
    #   /etc/systemd/system/timers.target.wants/old.timer  site.bu:9:20 ($.systemd.units.0)
    # The build mounts over these and leaves them, empty; the base has none:
    #   /dev /etc/hostname /etc/hosts /etc/resolv.conf /proc /run /sys
    RUN ["rm", "-rf", "--", "/etc/systemd/system/timers.target.wants/old.timer"]

    # Added or changed:
    #   /etc/l -> motd  site.bu:8:11 ($.storage.links.0)
    #   /etc/motd 0644 0:0  site.bu:6:7 ($.storage.files.0)
    #   /etc/systemd/system-preset 0755 0:0  site.bu:9:20 ($.systemd.units.0)
    #   /etc/systemd/system-preset/20-pleach.preset 0644 0:0  site.bu:9:20 ($.systemd.units.0)
    #   /usr/bin 0755 0:0  site.bu:7:7 ($.storage.files.1)
    #   /usr/bin/tool 0755 0:0  site.bu:7:7 ($.storage.files.1)
    ADD ["layer.tar", "/"]
    "#);
    insta::assert_snapshot!(text("storage: {}"), @r"
    # Made by pleach. Change the document rather than this file.
    ARG BASE=registry.example/os@sha256:0
    FROM ${BASE}
    ");
}
