//! What each route makes of each item.

use pleach_customization::{PlacementOptions, Route, Verdict, placement, placement_with};

use crate::support::accepted;

fn word(verdict: Verdict) -> char {
    match verdict {
        Verdict::Carried => 'c',
        Verdict::CarriedDifferently { .. } => 'd',
        Verdict::Refused { .. } => 'r',
    }
}

/// One letter each for derive, etc and ignition.
#[track_caller]
fn check(body: &str, expect: &[(&str, &str)]) {
    let c = accepted(body);
    let columns = [Route::Derive, Route::Etc, Route::Ignition].map(|route| placement(&c, route));
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
            &format!("storage: {{files: [{{path: {path}}}]}}"),
            &[(&format!("file {path}"), expect)],
        );
        check(
            &format!("storage: {{directories: [{{path: {path}}}]}}"),
            &[(&format!("directory {path}"), expect)],
        );
        check(
            &format!("storage: {{links: [{{path: {path}, target: x}}]}}"),
            &[(&format!("link {path}"), expect)],
        );
    };
    file("/etc/motd", "ccc");
    file("/etc/machine-id", "rcc");
    file("/etc/machine-identity", "ccc");
    file("/usr/bin/x", "crr");
    file("/usr/local/bin/x", "dcc");
    file("/usr/localx", "crr");
    file("/usr/etc/x", "rrr");
    file("/opt/x", "dcc");
    file("/var/lib/x", "dcc");
    file("/var/run/x", "rrr");
    file("/home/a/x", "dcc");
    file("/root/x", "dcc");
    file("/lib/x", "crr");
    file("/x", "crr");
    for path in [
        "/run/x",
        "/tmp/x",
        "/proc/x",
        "/sys/x",
        "/dev/x",
        "/boot/x",
        "/sysroot/x",
        "/ostree/x",
        "/efi/x",
    ] {
        file(path, "rrr");
    }
}

#[test]
fn hard_links_stay_where_they_are() {
    let link = |path: &str, target: &str, expect: &str| {
        check(
            &format!("storage: {{links: [{{path: {path}, target: {target}, hard: true}}]}}"),
            &[(&format!("hard link {path}"), expect)],
        );
    };
    link("/etc/a", "/etc/b", "ccc");
    link("/etc/a", "/usr/bin/b", "rrr");
    link("/usr/bin/a", "/usr/bin/b", "crr");
    link("/var/a", "/var/b", "rcc");
    link("/var/a", "/etc/b", "rrr");
}

#[test]
fn the_rest() {
    check(
        "storage: {files: [{path: /etc/x, mode: 04755}]}",
        &[("file /etc/x", "ccr")],
    );
    check(
        "systemd: {units: [{name: a.service, enabled: true, contents: '[Install]'}, {name: b.service, mask: true}]}",
        &[("unit a.service", "ccd"), ("unit b.service", "ccc")],
    );
    check(
        "passwd: {users: [{name: a, password_hash: x}, {name: b, should_exist: false}], groups: [{name: g, password_hash: x}, {name: h, should_exist: false}]}",
        &[
            ("group g", "dcc"),
            ("password of group g", "rcc"),
            ("group h", "rcc"),
            ("user a", "dcc"),
            ("password of user a", "rcc"),
            ("user b", "rcc"),
        ],
    );
    check(
        "passwd: {users: [{name: a, password_hash: ''}]}",
        &[("user a", "dcc")],
    );
    check(
        "kernel_arguments: {should_exist: [quiet], should_not_exist: [rhgb]}",
        &[
            ("kernel argument quiet", "ddc"),
            ("removal of kernel argument rhgb", "rdc"),
        ],
    );
    check("storage: {}", &[]);
}

#[test]
fn a_password_may_be_allowed() {
    let c = accepted("passwd: {users: [{name: a, password_hash: x}]}");
    let options = PlacementOptions {
        allow_password_hashes_in_image: true,
    };
    let placements = placement_with(&c, Route::Derive, &options);
    assert_eq!(word(placements[1].verdict), 'd');
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
