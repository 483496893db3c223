//! Files, directories and links over a tree.

use pleach_customization::lower::LowerOptions;

use crate::support::lowered;

/// An ostree root, small.
const TREE: &str = "
d /etc 755
f /etc/hostname 644 0:0 old\\n
f /etc/secret 600 0:4 s
d /etc/conf.d 700 5:6
f /etc/conf.d/a 644 0:0 a
l /etc/link -> hostname
p /etc/fifo 600
l /home -> var/home
l /usr/local -> ../var/usrlocal
d /var 755
l /loop -> loop
l /etc/up -> ../../../var
";

#[track_caller]
fn check(storage: &str, expect: &str) {
    let got = lowered(
        &format!("storage:\n{storage}"),
        TREE,
        &LowerOptions::default(),
    );
    let trimmed =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    assert_eq!(trimmed(&got), trimmed(expect), "\n--- document\n{storage}");
}

fn file(given: &str, expect: &str) {
    check(&format!("  files: [{{{given}}}]"), expect);
}

#[test]
fn files() {
    file("path: /etc/new", "write /etc/new 0644 0:0 ");
    file(
        "path: /etc/new, contents: {inline: x}, mode: 0600, user: {id: 3}, group: {name: adm}",
        "write /etc/new 0600 3:4 x",
    );
    file(
        "path: /etc/new, append: [{inline: a}, {inline: b}]",
        "write /etc/new 0644 0:0 ab",
    );
    file(
        "path: /etc/new, contents: {inline: x}, append: [{inline: y}]",
        "write /etc/new 0644 0:0 xy",
    );
    file(
        "path: /etc/hostname, append: [{inline: more}]",
        "write /etc/hostname 0644 0:0 old\\nmore",
    );
    file(
        "path: /etc/secret, append: [{inline: t}], mode: 0640",
        "write /etc/secret 0640 0:4 st",
    );
    file("path: /etc/secret, mode: 0640", "meta /etc/secret 0640 0:4");
    file("path: /etc/secret, mode: 0600", "");
    file(
        "path: /etc/secret, user: {id: 7}",
        "meta /etc/secret 0600 7:4",
    );
    file(
        "path: /etc/hostname, contents: {inline: new}, overwrite: true",
        "write /etc/hostname 0644 0:0 new",
    );
    file(
        "path: /etc/secret, contents: {inline: new}, overwrite: true",
        "write /etc/secret 0644 0:0 new",
    );
    file(
        "path: /etc/link, contents: {inline: new}, overwrite: true",
        "write /etc/link 0644 0:0 new",
    );
    file(
        "path: /etc/conf.d, contents: {inline: new}, overwrite: true",
        "remove /etc/conf.d\nwrite /etc/conf.d 0644 0:0 new",
    );
}

#[test]
fn files_in_the_way() {
    let at = "t.bu:4:11 ($.storage.files.0): ";
    file(
        "path: /etc/hostname, contents: {inline: x}",
        &format!("{at}/etc/hostname: a file exists there already and overwrite is false"),
    );
    file(
        "path: /etc/link",
        &format!(
            "{at}/etc/link: something that is no regular file exists there already and overwrite is false"
        ),
    );
    file(
        "path: /etc/fifo",
        &format!(
            "{at}/etc/fifo: something that is no regular file exists there already and overwrite is false"
        ),
    );
    file(
        "path: /etc/hostname/x",
        &format!("{at}/etc/hostname/x: /etc/hostname is not a directory"),
    );
    file(
        "path: /etc/x, contents: {source: 'https://h/a?token'}",
        "t.bu:4:45 ($.storage.files.0.contents.source): /etc/x: https://h/a?… is fetched by Ignition alone: download it and give it as contents.local",
    );
    file(
        "path: /loop/x",
        &format!("{at}/loop/x: more than 40 symbolic links"),
    );
    file(
        "path: /etc/x, user: {name: nope}, group: {name: neither}",
        &format!(
            "{at}no user is called 'nope', in the image or in the document\n{at}no group is called 'neither', in the image or in the document"
        ),
    );
}

#[test]
fn parents_are_resolved_and_made() {
    file(
        "path: /home/a/b/c",
        "mkdir /var/home 0755 0:0\nmkdir /var/home/a 0755 0:0\nmkdir /var/home/a/b 0755 0:0\nwrite /var/home/a/b/c 0644 0:0 ",
    );
    file(
        "path: /usr/local/bin/x, mode: 0755",
        "mkdir /var/usrlocal 0755 0:0\nmkdir /var/usrlocal/bin 0755 0:0\nwrite /var/usrlocal/bin/x 0755 0:0 ",
    );
    // A link does not lead out of the root.
    file("path: /etc/up/x", "write /var/x 0644 0:0 ");
    check(
        "  files: [{path: /home/x}, {path: /var/home/x}]",
        "t.bu:4:28 ($.storage.files.1): /var/home/x resolves to /var/home/x, which /home/x uses too",
    );
}

#[test]
fn directories() {
    let directory =
        |given: &str, expect: &str| check(&format!("  directories: [{{{given}}}]"), expect);
    directory("path: /etc/d", "mkdir /etc/d 0755 0:0");
    directory(
        "path: /etc/d/e, mode: 0700, user: {id: 1}",
        "mkdir /etc/d 0755 0:0\nmkdir /etc/d/e 0700 1:0",
    );
    directory("path: /etc/conf.d", "");
    directory(
        "path: /etc/conf.d, mode: 0750",
        "mkdir /etc/conf.d 0750 5:6",
    );
    directory(
        "path: /etc/conf.d, overwrite: true",
        "remove /etc/conf.d\nmkdir /etc/conf.d 0755 0:0",
    );
    directory(
        "path: /etc/hostname, overwrite: true",
        "remove /etc/hostname\nmkdir /etc/hostname 0755 0:0",
    );
    directory(
        "path: /etc/link",
        "t.bu:4:17 ($.storage.directories.0): /etc/link: something that is no directory exists there already and overwrite is false",
    );
}

#[test]
fn links() {
    let link = |given: &str, expect: &str| check(&format!("  links: [{{{given}}}]"), expect);
    link(
        "path: /etc/l, target: ../x, user: {id: 1}",
        "link /etc/l -> ../x 1:0",
    );
    link("path: /etc/link, target: ./hostname", "");
    link(
        "path: /etc/link, target: /hostname",
        "t.bu:4:11 ($.storage.links.0): /etc/link: a link to something else exists there already and overwrite is false",
    );
    link(
        "path: /etc/link, target: x, overwrite: true",
        "link /etc/link -> x 0:0",
    );
    link(
        "path: /etc/hostname, target: x",
        "t.bu:4:11 ($.storage.links.0): /etc/hostname: something that is no link exists there already and overwrite is false",
    );
    link(
        "path: /etc/conf.d, target: x, overwrite: true",
        "remove /etc/conf.d\nlink /etc/conf.d -> x 0:0",
    );
    link(
        "path: /etc/h, target: /etc/hostname, hard: true",
        "hard /etc/h = /etc/hostname",
    );
    link(
        "path: /etc/h, target: /etc/conf.d, hard: true",
        "t.bu:4:11 ($.storage.links.0): hard link /etc/h: no regular file at /etc/conf.d",
    );
    link(
        "path: /etc/secret, target: /etc/hostname, hard: true",
        "t.bu:4:11 ($.storage.links.0): /etc/secret: something exists there already and overwrite is false",
    );
}

#[test]
fn order_is_from_the_shallowest_with_hard_links_last() {
    check(
        "  links: [{path: /etc/h, target: /etc/n/deep/f, hard: true}, {path: /etc/l, target: x}]
  files: [{path: /etc/n/deep/f, contents: {inline: f}}, {path: /etc/a}]
  directories: [{path: /etc/n/deep, mode: 0700}, {path: /etc/n, mode: 0711}]",
        "mkdir /etc/n 0711 0:0
         write /etc/a 0644 0:0
         link /etc/l -> x 0:0
         mkdir /etc/n/deep 0700 0:0
         write /etc/n/deep/f 0644 0:0 f
         hard /etc/h = /etc/n/deep/f",
    );
    // A directory that is removed hides what the base has in it.
    check(
        "  directories: [{path: /etc/conf.d, overwrite: true}]\n  files: [{path: /etc/conf.d/a, contents: {inline: b}}]",
        "remove /etc/conf.d\nmkdir /etc/conf.d 0755 0:0\nwrite /etc/conf.d/a 0644 0:0 b",
    );
}
