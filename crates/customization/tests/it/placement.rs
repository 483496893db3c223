//! What each route makes of each item.

use pleach_customization::{Customization, Route, Verdict, placement, rules};

use crate::support::accepted;

fn word(verdict: Verdict) -> char {
    match verdict {
        Verdict::Carried => 'c',
        Verdict::CarriedDifferently { .. } => 'd',
        Verdict::Refused { .. } => 'r',
    }
}

/// One letter for each route: derive, etc, ignition, cloud-init, kickstart, credentials, confext.
#[track_caller]
fn check(body: &str, expect: &[(&str, &str)]) {
    let c = accepted(body);
    let columns = Route::ALL.map(|route| placement(&c, route));
    let items: Vec<String> = columns[0]
        .iter()
        .map(|placement| placement.item.clone())
        .collect();
    let words: Vec<String> = (0..items.len())
        .map(|row| {
            columns
                .iter()
                .map(|column| word(column[row].verdict))
                .collect()
        })
        .collect();
    let got: Vec<(&str, &str)> = items
        .iter()
        .map(String::as_str)
        .zip(words.iter().map(String::as_str))
        .collect();
    assert_eq!(got, expect);
}

#[test]
fn paths() {
    let file = |path: &str, expect: &str| {
        check(
            &format!("storage: {{files: [{{path: {path}, contents: {{inline: x}}}}]}}"),
            &[(&format!("file {path}"), expect)],
        );
        // cloud-init makes directories and links by commands; all else is the same.
        let mut letters: Vec<char> = expect.chars().collect();
        if letters[3] == 'c' {
            letters[3] = 'd';
        }
        let expect = &*letters.into_iter().collect::<String>();
        check(
            &format!("storage: {{directories: [{{path: {path}}}]}}"),
            &[(&format!("directory {path}"), expect)],
        );
        check(
            &format!("storage: {{links: [{{path: {path}, target: x}}]}}"),
            &[(&format!("link {path}"), expect)],
        );
    };
    file("/etc/motd", "ccccccc");
    file("/etc/machine-id", "rccrcrr");
    file("/etc/machine-identity", "ccccccc");
    file("/etc/ssh/ssh_host_ed25519_key", "rcccccc");
    file("/etc/ssh/sshd_config", "ccccccc");
    file("/etc/shadow", "rcccccr");
    file("/etc/gshadow-", "rcccccr");
    file("/etc/shadow.d", "ccccccc");
    file("/etc/modules-load.d/x.conf", "cccccdc");
    file("/etc/modules-load.conf", "ccccccc");
    for path in [
        "/etc/fstab",
        "/etc/crypttab",
        "/etc/containers/systemd/x.container",
        "/etc/systemd/system/x.service",
        "/etc/systemd/system.conf.d/x.conf",
        "/etc/systemd/system-generators/x",
        "/etc/systemd/zram-generator.conf",
        "/etc/systemd/zram-generator.conf.d/x.conf",
        "/etc/netplan/x.yaml",
        "/etc/init.d/x",
        "/etc/rc.local",
    ] {
        file(path, "cccdcrr");
    }
    file("/etc/containers/systemd/users/x.container", "ccccccc");
    file("/etc/containers/storage.conf", "ccccccc");
    file("/etc/fstab.d", "ccccccc");
    file("/etc/systemd/user-generators/x", "ccccccc");
    file("/etc/passwd", "ccccccr");
    file("/usr/bin/x", "crrrrrr");
    file("/usr/local/bin/x", "dcccccr");
    file("/usr/localx", "crrrrrr");
    file("/usr/etc/x", "rrrrrrr");
    file("/opt/x", "dcccccr");
    file("/var/lib/x", "dcccccr");
    file("/var/run/x", "rrrrrrr");
    file("/home/a/x", "dcccccr");
    file("/root/x", "dcccccr");
    file("/lib/x", "crrrrrr");
    file("/x", "crrrrrr");
    for path in [
        "/run/x",
        "/tmp/x",
        "/proc/x",
        "/sys/x",
        "/dev/x",
        "/sysroot/x",
        "/ostree/x",
    ] {
        file(path, "rrrrrrr");
    }
    // Ignition writes to the boot file system, which it mounts.
    file("/boot/x", "rrcrrrr");
    file("/efi/x", "rrcrrrr");
}

#[test]
fn hard_links_stay_where_they_are() {
    let link = |path: &str, target: &str, expect: &str| {
        check(
            &format!("storage: {{links: [{{path: {path}, target: {target}, hard: true}}]}}"),
            &[(&format!("hard link {path}"), expect)],
        );
    };
    link("/etc/a", "/etc/b", "cccdcrr");
    link("/etc/a", "/etc/passwd", "cccdcrr");
    link("/etc/a", "/etc/fstab", "cccdcrr");
    link("/etc/a", "/usr/bin/b", "rrrrrrr");
    link("/usr/bin/a", "/usr/bin/b", "crrrrrr");
    link("/var/a", "/var/b", "rccdcrr");
    link("/var/a", "/etc/b", "rrrrrrr");
}

#[test]
fn what_else_a_file_asks_for() {
    let file = |fields: &str, expect: &str| {
        check(
            &format!("storage: {{files: [{{path: /etc/x, {fields}}}]}}"),
            &[("file /etc/x", expect)],
        );
    };
    file("mode: 04755", "ccrdccr");
    file("mode: 0600", "cccdccr");
    file("contents: {inline: x}, mode: 02755", "ccrdccr");
    file("contents: {inline: x}, mode: 0600", "rcccccc");
    file("contents: {inline: x}, mode: 0400", "rcccccc");
    file("contents: {inline: x}, mode: 0700", "rcccccc");
    file("append: [{inline: x}], mode: 0600", "rccccrr");
    file("contents: {inline: x}, mode: 0640", "ccccccc");
    file("contents: {inline: x}, mode: 0604", "ccccccc");
    let key =
        |kind: &str| format!("contents: {{inline: \"x\\n-----BEGIN {kind}-----\\nAAAA\\n\"}}");
    for kind in [
        "PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        file(&key(kind), "rcccccc");
    }
    file(&key("PUBLIC KEY"), "ccccccc");
    file(&key("CERTIFICATE"), "ccccccc");
    file("contents: {inline: x}, user: {name: root}", "ccccccc");
    file("contents: {inline: x}, user: {id: 7}", "ccccccc");
    file("contents: {inline: x}, user: {name: a}", "cccdccr");
    file("contents: {inline: x}, group: {name: a}", "cccdccr");
    file("append: [{inline: x}]", "cccccrr");
}

#[test]
fn a_private_file_is_in_a_layer_where_somebody_vouches_for_it() {
    let file = "storage: {files: [{path: /etc/x, mode: 0600, contents: {inline: x}}]}";
    let mut c = accepted(file);
    let refused = |c: &Customization| placement(c, Route::Derive)[0].refused().is_some();
    assert!(refused(&c));
    assert!(!c.publish("/etc/y") && refused(&c));
    assert!(c.publish("/etc/x") && !refused(&c));
    // Nobody vouches for a file that is no other's than the machine's.
    let mut c =
        accepted("storage: {files: [{path: /etc/shadow, mode: 0600, contents: {inline: x}}]}");
    assert!(c.publish("/etc/shadow") && refused(&c));
}

#[test]
fn units() {
    check(
        "systemd: {units: [{name: a.service, enabled: true, contents: '[Install]'}, {name: b.service, mask: true}]}",
        &[
            ("unit a.service", "cccdcdd"),
            ("enabling of a.service", "ccddcdd"),
            ("masking of b.service", "cccdcdd"),
        ],
    );
    check(
        "systemd: {units: [{name: a.service, enabled: false, mask: false, dropins: [{name: x.conf, contents: '[Unit]'}, {name: y.conf}]}]}",
        &[
            ("drop-in x.conf of a.service", "cccdcdd"),
            ("disabling of a.service", "cccdcrr"),
            ("unmasking of a.service", "cccdcrr"),
        ],
    );
    check("systemd: {units: [{name: a.service}]}", &[]);
}

#[test]
fn accounts_and_kernel_arguments() {
    check(
        "passwd: {users: [{name: a, password_hash: x}, {name: b, should_exist: false}], groups: [{name: g, password_hash: x}, {name: h, should_exist: false}]}",
        &[
            ("group g", "dccdcdr"),
            ("password of group g", "rccdcrr"),
            ("removal of group h", "rccdcrr"),
            ("user a", "dccccdr"),
            ("password of user a", "rccccdr"),
            ("removal of user b", "rccdcrr"),
        ],
    );
    check(
        "passwd: {users: [{name: a, password_hash: ''}]}",
        &[("user a", "dccccdr")],
    );
    check(
        "kernel_arguments: {should_exist: [quiet], should_not_exist: [rhgb]}",
        &[
            ("kernel argument quiet", "ddcrdrr"),
            ("removal of kernel argument rhgb", "rdcrrrr"),
        ],
    );
    check("storage: {}", &[]);
}

#[test]
fn every_kind_of_item_has_one_rule() {
    for (index, rule) in rules().enumerate() {
        let first = rules().position(|other| other.subject == rule.subject);
        assert_eq!(first, Some(index), "{:?} has two rules", rule.subject);
    }
}

#[test]
fn routes_are_spelled_one_way() {
    for route in Route::ALL {
        assert_eq!(route.as_str().parse(), Ok(route));
    }
    let error = "cloudinit".parse::<Route>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"cloudinit\" is no route; there are derive, etc, ignition, cloud-init, kickstart, credentials and confext"
    );
}

#[test]
fn a_refusal_says_why_what_instead_and_where() {
    let c = accepted("storage:\n  files:\n    - path: /usr/bin/x");
    let placements = placement(&c, Route::Etc);
    let (why, instead) = placements[0].refused().unwrap();
    assert_eq!(
        why,
        "it belongs to the image and is read-only on the machine"
    );
    assert_eq!(
        instead,
        "derive it, or use a place in /etc, /var or /usr/local"
    );
    assert_eq!(
        placements[0].origin.to_string(),
        "t.bu:5:7 ($.storage.files.0)"
    );
    assert!(!placements[0].is_carried());
}
