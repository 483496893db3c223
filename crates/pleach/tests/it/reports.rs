//! Two images, and reports for other programs and for people.

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_booted_state::{CaptureOptions, static_view};
use pleach_fs_tree::parse_dump;
use pleach_layer_merge::Layout;
use serde_json::{Value, json};

use crate::images::{is_root, put_scratch_image};
use crate::{pleach, scratch};

const V1: &str = "\
/ directory 0755 0:0 0.0
/etc directory 0755 0:0 0.0
/etc/app.conf file 0644 0:0 0.0 level=1\\n
/etc/group file 0644 0:0 0.0 root:x:0:\\n
/etc/motd file 0644 0:0 0.0 one
/etc/passwd file 0644 0:0 0.0 root:x:0:0::/root:/bin/bash\\nalice:x:1000:1000::/home/alice:/bin/bash\\n
/etc/ssh directory 0755 0:0 0.0
/etc/ssh/ssh_host_rsa_key file 0600 0:0 0.0 x
/etc/tls\\x20%.key file 0600 0:0 0.0 -----BEGIN\\x20RSA\\x20PRIVATE\\x20KEY-----\\nAAAA\\n-----END\\x20RSA\\x20PRIVATE\\x20KEY-----\\n
/usr directory 0755 0:0 0.0
/usr/bin directory 0755 0:0 0.0
/usr/bin/tool file 0755 0:0 0.0 x
/var directory 0755 0:0 0.0
/var/data file 0644 0:0 0.0 x
";

/// A layout `images` with v1, v2 and again (which is v1 with other times), and the same as folders.
fn prepare(folder: &Path) {
    std::fs::create_dir(folder.join("images")).expect("made");
    let dir = Dir::open_ambient_dir(folder.join("images"), ambient_authority()).expect("opened");
    let layout = Layout::create(&dir).expect("a layout");
    let v2 = V1
        .replace("one", "two")
        .replace("level=1", "level=2")
        .replace(
            "/bin/bash\\n\n",
            "/bin/bash\\nweb:x:33:33::/:/usr/sbin/nologin\\n\n",
        )
        .replace(
            "/var/data file 0644 0:0 0.0 x",
            "/var/data file 0644 0:0 0.0 y",
        );
    assert!(v2.contains("web:x:33"));
    let again = V1.replace("0.0", "7.0");
    for (tag, dump) in [("v1", V1), ("v2", &v2), ("again", &again)] {
        let tree = parse_dump(dump, Some).expect("a dump");
        let config = json!({ "architecture": "amd64", "os": "linux" });
        put_scratch_image(&layout, tree, config, tag);
        let arguments = ["unpack", "--no-owners", &format!("oci:images:{tag}"), tag];
        let (code, _, stderr) = pleach(folder, &arguments);
        assert_eq!(code, Some(0), "{stderr}");
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Holds a report to the one that is kept, which `xtask` holds to its schema. Where
/// `PLEACH_WRITE_DOCS=1`, it is kept from now on. What differs from run to run is replaced before.
fn kept(value: &Value, name: &str) {
    let text = serde_json::to_string_pretty(value).expect("JSON") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/kept")
        .join(name);
    if std::env::var("PLEACH_WRITE_DOCS").is_ok_and(|write| write == "1") {
        std::fs::write(&path, &text).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == kept,
        "{} is not current, it would be:\n{text}",
        path.display()
    );
}

#[test]
fn diff_ends_as_diff_does() {
    let folder = scratch();
    prepare(folder.path());
    let check = |old: &str, new: &str, expect: i32, says: &str| {
        let (code, out, stderr) = pleach(folder.path(), &["diff", old, new]);
        assert_eq!(code, Some(expect), "{old} {new}: {out}{stderr}");
        let said = out + &stderr;
        assert!(said.contains(says), "{old} {new}: {said}");
    };
    check(
        "oci:images:v1",
        "oci:images:v1",
        0,
        "the images are the same",
    );
    check(
        "oci:images:v1",
        "oci:images:again",
        0,
        "the images are the same",
    );
    check(
        "oci:images:v1",
        "oci:images:v2",
        1,
        "changed /etc/motd: content",
    );
    check(
        "oci:images:v1",
        "oci:images:v2",
        1,
        "1 of it will not arrive",
    );
    check("rootfs:v1", "rootfs:v1", 0, "the images are the same");
    check(
        "rootfs:v1",
        "rootfs:v2",
        1,
        "changed /etc/app.conf: content",
    );
    check("oci:images:v1", "oci:images:v9", 3, "v9");
    check("rootfs:v1", "rootfs:nowhere", 3, "nowhere");
}

#[test]
fn diff_says_what_the_merge_does_on_a_machine() {
    // The machine's files have to be root's, as the images' are.
    if !is_root("diff_says_what_the_merge_does_on_a_machine") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    // The machine has changed one of the two files that the image changes.
    let etc = folder.path().join("v1/etc");
    std::fs::write(etc.join("app.conf"), "level=9\n").expect("written");
    let mut passwd = std::fs::read_to_string(etc.join("passwd")).expect("read");
    passwd.push_str("carol:x:1001:1001::/home/carol:/bin/bash\n");
    std::fs::write(etc.join("passwd"), passwd).expect("written");
    let merge = |machine: &str| {
        let arguments = [
            "diff",
            "oci:images:v1",
            "oci:images:v2",
            machine,
            "--format=json",
        ];
        let (code, out, stderr) = pleach(folder.path(), &arguments);
        assert_eq!(code, Some(1), "{machine}: {stderr}");
        parse(&out)
    };
    let found = merge("--etc=v1/etc");
    kept(&found, "diff.json");
    let entry = |found: &Value, path: &str| {
        let entries = found["etc_merge"]["entries"].as_array().expect("entries");
        let of = entries.iter().find(|entry| entry["path"] == path);
        of.unwrap_or_else(|| panic!("no {path} in {found:#}"))
            .clone()
    };
    assert_eq!(entry(&found, "/etc/motd")["resolution"], "image");
    assert_eq!(entry(&found, "/etc/app.conf")["conflict"], true);
    // Both sides have new accounts, which the machine keeps.
    assert_eq!(entry(&found, "/etc/passwd")["conflict"], false, "{found:#}");
    assert_eq!(found["etc_merge"]["conflicts"], 1, "{found:#}");
    // Of a capture the same is told, but for what hangs on contents that it has not.
    let open = |name: &str| {
        let path = folder.path().join(name);
        Dir::open_ambient_dir(path, ambient_authority()).expect(name)
    };
    let [root, etc, var] = ["v1", "v1/etc", "v1/var"].map(open);
    let capture = static_view(&root, &etc, &var, &CaptureOptions::default()).expect("a capture");
    std::fs::write(folder.path().join("capture.json"), capture.to_json()).expect("written");
    let afar = merge("--machine=capture.json");
    for path in ["/etc/motd", "/etc/app.conf"] {
        assert_eq!(entry(&afar, path), entry(&found, path));
    }
    let passwd = entry(&afar, "/etc/passwd");
    let needs = json!("note:needs-contents");
    assert!(
        passwd["findings"]
            .as_array()
            .is_some_and(|f| f.contains(&needs)),
        "{passwd}"
    );
}

#[test]
fn findings_are_sarif() {
    let folder = scratch();
    prepare(folder.path());
    let arguments = [
        "lint",
        "oci:images:v1",
        "--format=sarif",
        "--allow=host-key=a test of images",
    ];
    let (code, out, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{stderr}");
    let log = parse(&out);
    kept(&log, "lint.sarif");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("results");
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index");
        assert_eq!(rules[index as usize]["id"], result["ruleId"]);
    }
    let of = |rule: &str| results.iter().find(|r| r["ruleId"] == rule).expect(rule);
    let key = of("private-key");
    assert_eq!(
        key["locations"][0]["physicalLocation"]["artifactLocation"],
        json!({ "uri": "etc/tls%20%25.key", "uriBaseId": "IMAGE" })
    );
    assert!(
        key["properties"]["layer"]
            .as_str()
            .is_some_and(|l| l.starts_with("sha256:"))
    );
    assert!(key.get("suppressions").is_none());
    let accepted = &of("host-key")["suppressions"][0];
    let why = accepted["justification"].as_str().expect("a reason");
    assert!(why.starts_with("a test of images"), "{why}");
}

#[test]
fn findings_are_junit() {
    let folder = scratch();
    prepare(folder.path());
    let arguments = ["lint", "oci:images:v1", "--format=junit"];
    let (code, out, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(out.starts_with("<?xml"), "{out}");
    let case = |rule: &str| {
        let start = out
            .find(&format!("<testcase name=\"{rule}\""))
            .unwrap_or_else(|| panic!("{rule}: {out}"));
        let rest = &out[start..];
        let end = rest.find("<testcase ").map_or(rest.len(), |_| {
            rest[1..].find("<testcase ").map_or(rest.len(), |at| at + 1)
        });
        rest[..end].to_owned()
    };
    assert!(case("private-key").contains("<failure"), "{out}");
    assert!(!case("utf8").contains("<failure"), "{out}");
}

#[test]
fn a_release_is_one_page() {
    let folder = scratch();
    prepare(folder.path());
    std::fs::write(
        folder.path().join("site.bu"),
        "variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n    - { path: /etc/motd, overwrite: true, contents: { inline: x } }\n    - { path: /etc/own, contents: { inline: x } }\n",
    )
    .expect("written");
    let diff = [
        "diff",
        "oci:images:v1",
        "oci:images:v2",
        "--etc=v1/etc",
        "--format=json",
    ];
    let (_, out, _) = pleach(folder.path(), &diff);
    std::fs::write(folder.path().join("diff.json"), out).expect("written");
    let arguments = [
        "report",
        "oci:images:v1",
        "--config=site.bu",
        "--diff=diff.json",
        "--output=page.html",
    ];
    let (code, out, stderr) = pleach(folder.path(), &arguments);
    assert_eq!((code, &*out), (Some(0), ""), "{stderr}");
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("a page");
    for part in [
        "<html lang=\"en\">",
        "What the image is",
        "private-key",
        "image-updated",
        "will not arrive",
        "no layer has it: a machine gets it when it is injected",
        "site.bu:",
    ] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    // Another version of a report is refused by its name.
    std::fs::write(folder.path().join("diff.json"), r#"{"format_version":99}"#).expect("written");
    let (code, _, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(3));
    assert!(
        stderr.contains("diff.json: its format_version is 99"),
        "{stderr}"
    );
}
