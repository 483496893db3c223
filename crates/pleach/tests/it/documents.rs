use crate::{pleach, scratch};

/// A document is refused with exit code 3, and the error begins like this.
fn check(arguments: &[&str], document: &str, expect: &str) {
    let folder = scratch();
    std::fs::write(folder.path().join("site.bu"), document).expect("written");
    for name in ["etc", "usr", "var"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    let (code, stdout, stderr) = pleach(folder.path(), arguments);
    assert_eq!(code, Some(3), "{document}\n{stdout}{stderr}");
    let first = stderr.strip_prefix("error: ").unwrap_or(&stderr);
    assert!(
        first.starts_with(expect),
        "{document}\n gave {first}\n not  {expect}…"
    );
}

const CHECK: &[&str] = &["config", "check", "--config", "site.bu"];
const INJECT: &[&str] = &[
    "inject",
    "etc",
    "--config",
    "site.bu",
    "--deployment",
    ".",
    "--dry-run",
];

#[test]
fn a_bad_document_is_refused_with_line_and_document_path() {
    let head = "variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n";
    let with = |rest: &str| format!("{head}{rest}");
    check(
        CHECK,
        &with("    - path: /etc/a\n      moed: 0644\n"),
        "site.bu:6:7: error: ",
    );
    check(
        CHECK,
        &with("    - path: /etc/../a\n"),
        "site.bu:5:13: error: ",
    );
    check(
        CHECK,
        &with("    - path: /etc/a\n      mode: 99999\n"),
        "site.bu:6:13: error: ",
    );
    check(
        CHECK,
        &with("    - path: /etc/a\n    - path: /etc/a\n"),
        "site.bu:6:7: error: ",
    );
    check(
        CHECK,
        "variant: fcos\nversion: 9.9.9\n",
        "site.bu:2:10: error: ",
    );
    check(CHECK, "{", "site.bu:");
    check(
        INJECT,
        &with("    - path: /usr/bin/x\n      contents: { inline: x }\n"),
        "site.bu:5:7 ($.storage.files.0): file /usr/bin/x: ",
    );
}

#[test]
fn every_error_names_its_place_in_the_document() {
    let folder = scratch();
    let document = "variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n    - path: etc/a\n      mode: 1\n      moed: 1\n  disks: [{ device: vda }]\n";
    std::fs::write(folder.path().join("site.bu"), document).expect("written");
    let (_, _, stderr) = pleach(folder.path(), CHECK);
    for place in [
        "$.storage.files.0.path",
        "$.storage.files.0.moed",
        "$.storage.disks.0.device",
    ] {
        assert!(stderr.contains(place), "{place} is not in\n{stderr}");
    }
}

#[test]
fn warnings_are_errors_where_that_is_asked_for() {
    let folder = scratch();
    let document = "variant: fcos\nversion: 1.5.0\nsystemd:\n  units:\n    - { name: a.service, enabled: true, mask: true }\n";
    std::fs::write(folder.path().join("site.bu"), document).expect("written");
    let warning = "site.bu:5:35: warning: a masked unit cannot be started, so enabling it has no effect ($.systemd.units.0.enabled)\n";
    let (code, _, stderr) = pleach(folder.path(), CHECK);
    assert_eq!((code, stderr.as_str()), (Some(0), warning));
    let (code, _, stderr) = pleach(folder.path(), &[CHECK, &["--strict"]].concat());
    let refused = format!("{warning}error: --strict takes warnings for errors, and there are 1\n");
    assert_eq!((code, stderr), (Some(3), refused));
}

#[test]
fn local_files_are_those_of_one_folder() {
    let folder = scratch();
    let files = folder.path().join("files");
    std::fs::create_dir_all(files.join("tree/etc/app")).expect("made");
    std::fs::write(files.join("tree/etc/app/conf"), "a = 1\n").expect("written");
    std::fs::write(folder.path().join("secret"), "outside").expect("written");
    std::os::unix::fs::symlink("../secret", files.join("out")).expect("linked");
    std::os::unix::fs::symlink("conf", files.join("tree/etc/app/link")).expect("linked");
    let say = [
        "config",
        "to-ignition",
        "--config",
        "site.bu",
        "--files-dir",
        "files",
    ];
    let written = |body: &str| {
        let document = format!("variant: fcos\nversion: 1.5.0\nstorage:\n  {body}\n");
        std::fs::write(folder.path().join("site.bu"), document).expect("written");
        pleach(folder.path(), &say)
    };
    let tree = "trees: [{ local: tree }]";
    let (code, first, stderr) = written(tree);
    assert_eq!(code, Some(0), "{stderr}");
    let said: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(
        said["storage"],
        serde_json::json!({
            "files": [{ "path": "/etc/app/conf", "mode": 420, "contents": { "source": "data:,a%20%3D%201%0A" } }],
            "links": [{ "path": "/etc/app/link", "target": "conf" }],
        })
    );
    assert_eq!(written(tree).1, first, "the same bytes again");
    for body in [
        "files: [{ path: /a, contents: { local: out } }]",
        "files: [{ path: /a, contents: { source: 'file:///out' } }]",
    ] {
        let (code, stdout, stderr) = written(body);
        assert_eq!(code, Some(3), "{stdout}");
        assert!(stderr.contains("local file 'out': "), "{stderr}");
    }
    // A link in a tree is a link, wherever it leads.
    let (_, stdout, stderr) = written("trees: [{ local: ., path: /opt }]");
    assert!(
        stdout.contains("\"target\": \"../secret\""),
        "{stdout}{stderr}"
    );
}

#[test]
fn what_ignition_fetches_is_refused_where_its_bytes_are_needed() {
    let body =
        "    - path: /etc/a\n      contents: { source: 'https://user:token@host/a?key=token' }\n";
    let document = format!("variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n{body}");
    check(
        INJECT,
        &document,
        "site.bu:5:7 ($.storage.files.0): file /etc/a: ",
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let folder = scratch();
    let (code, _, stderr) = pleach(folder.path(), CHECK);
    assert_eq!(code, Some(3));
    assert!(stderr.starts_with("error: reading site.bu"), "{stderr}");
}

#[test]
fn wrong_words_are_usage() {
    let folder = scratch();
    let (code, _, _) = pleach(folder.path(), &["parity", "--routes", "derive,magic"]);
    assert_eq!(code, Some(2));
    let (code, _, _) = pleach(folder.path(), &["no-such-verb"]);
    assert_eq!(code, Some(2));
}
