//! Home directories and keys over a tree.

use pleach_customization::lower::{AuthorizedKeys, LowerOptions};

use crate::support::lowered;

const TREE: &str = "
f /etc/skel/.profile 644 0:0 p
d /etc/skel/bin 750
f /etc/skel/bin/run 755 0:0 r
l /etc/skel/.self -> /etc/skel/.profile
l /home -> var/home
l /root -> var/roothome
d /var/roothome 700
d /var/home/there 711 9:9
f /var/home/core/x 644 1000:1000 x
d /var/home/core 700 1000:1000
";

#[track_caller]
fn check(users: &str, keys: AuthorizedKeys, expect: &str) {
    let options = LowerOptions {
        authorized_keys: keys,
        ..LowerOptions::default()
    };
    let got = lowered(&format!("passwd:\n  users: [{users}]"), TREE, &options);
    assert_eq!(got, expect, "\n--- users\n{users}");
}

#[test]
fn a_home_with_the_skeleton() {
    check(
        "{name: a, ssh_authorized_keys: [k1, k2]}",
        AuthorizedKeys::File,
        "mkdir /var/home/a 0700 1001:1001
write /var/home/a/.profile 0644 1001:1001 p
link /var/home/a/.self -> /home/a/.profile 1001:1001
mkdir /var/home/a/bin 0750 1001:1001
write /var/home/a/bin/run 0755 1001:1001 r
mkdir /var/home/a/.ssh 0700 1001:1001
write /var/home/a/.ssh/authorized_keys 0600 1001:1001 k1\\nk2\\n
",
    );
}

#[test]
fn homes_that_are_not_made() {
    let file = AuthorizedKeys::File;
    check("{name: a, no_create_home: true}", file, "");
    check("{name: there}", file, "");
    check(
        "{name: root, ssh_authorized_keys: [k]}",
        file,
        "mkdir /var/roothome/.ssh 0700 0:0\nwrite /var/roothome/.ssh/authorized_keys 0600 0:0 k\\n\n",
    );
    check(
        "{name: a, no_create_home: true, ssh_authorized_keys: [k]}",
        AuthorizedKeys::IgnitionFragment,
        "mkdir /var/home/a 0700 1001:1001\nmkdir /var/home/a/.ssh 0700 1001:1001\nmkdir /var/home/a/.ssh/authorized_keys.d 0700 1001:1001\nwrite /var/home/a/.ssh/authorized_keys.d/ignition 0600 1001:1001 k\\n\n",
    );
    check(
        "{name: core, should_exist: false}",
        file,
        "remove /var/home/core\n",
    );
    // Not one that belongs to somebody else.
    check("{name: daemon, should_exist: false}", file, "");
}
