//! Policies from drop-ins.

use std::path::Path;

use serde_json::{Value, json};

use super::{at, etc, json, machine, write};
use crate::scratch;

const IMAGE: &str = "root/usr/lib/pleach/etc-merge.d";
const MACHINE: &str = "root/etc/pleach/etc-merge.d";

fn put(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

fn rule(path: &str, action: &str) -> String {
    format!("[[rule]]\npaths = [{path:?}]\naction = {action:?}\nreason = \"test\"\n")
}

fn policies(folder: &Path) -> Value {
    let arguments = ["policies", "--root", "root", "--no-shipped-policies"];
    json(folder, &arguments, 0)
}

/// The rules in force, each as `PATH ACTION ORIGIN`.
fn rules(report: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let line = |rule: &Value| {
        let (path, action) = (text(&rule["paths"][0]), text(&rule["action"]));
        format!("{path} {action} {}", text(&rule["origin"]))
    };
    report["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .map(line)
        .collect()
}

#[test]
fn drop_ins_count_by_name_and_the_machines_mask_the_images() {
    let folder = scratch();
    machine(folder.path(), "", "");
    put(
        folder.path(),
        &format!("{IMAGE}/50-image.toml"),
        &rule("a", "image"),
    );
    put(
        folder.path(),
        &format!("{IMAGE}/60-masked.toml"),
        &rule("b", "image"),
    );
    put(
        folder.path(),
        &format!("{IMAGE}/70-empty.toml"),
        &rule("c", "image"),
    );
    put(
        folder.path(),
        &format!("{IMAGE}/80-null.toml"),
        &rule("d", "image"),
    );
    put(folder.path(), &format!("{IMAGE}/90-image.conf"), "not read");
    put(
        folder.path(),
        &format!("{MACHINE}/40-first.toml"),
        &rule("e", "fail"),
    );
    put(
        folder.path(),
        &format!("{MACHINE}/60-masked.toml"),
        &rule("b", "local"),
    );
    put(folder.path(), &format!("{MACHINE}/70-empty.toml"), "");
    let null = folder.path().join(format!("{MACHINE}/80-null.toml"));
    std::os::unix::fs::symlink("/dev/null", null).expect("a link");
    let report = policies(folder.path());
    assert_eq!(
        rules(&report),
        [
            format!("e fail {MACHINE}/40-first.toml:1"),
            format!("a image {IMAGE}/50-image.toml:1"),
            format!("b local {MACHINE}/60-masked.toml:1"),
        ]
    );
    let masked: Vec<_> = report["masked"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(masked.len(), 3);
    assert_eq!(masked[0]["file"], format!("{IMAGE}/60-masked.toml"));
    assert_eq!(masked[0]["by"], format!("{MACHINE}/60-masked.toml"));
}

#[test]
fn a_rule_decides_a_merge_and_is_named_in_the_plan() {
    let folder = scratch();
    let [one, two, three] = ["one", "two", "three"].map(|c| format!("/a file 0644 0:0 1.0 {c}"));
    machine(folder.path(), &one, &two);
    write(&folder.path().join("new"), &three);
    let plan = ["plan", "--root", "root", "--new", "new"];
    let resolution = |report: &Value| at(&report["plan"]["entries"], "/a")["resolution"].clone();
    assert_eq!(resolution(&json(folder.path(), &plan, 1)), "local");
    put(
        folder.path(),
        &format!("{IMAGE}/a.toml"),
        &rule("a", "image"),
    );
    let report = json(folder.path(), &plan, 1);
    assert_eq!(resolution(&report), "image");
    let policy = &at(&report["plan"]["entries"], "/a")["policy"];
    assert_eq!(
        *policy,
        json!({"action": "image", "format": null, "origin": format!("{IMAGE}/a.toml:1: test")})
    );
    put(
        folder.path(),
        &format!("{IMAGE}/a.toml"),
        &rule("a", "fail"),
    );
    let report = json(folder.path(), &plan, 1);
    assert_eq!(report["plan"]["refused"], json!(["/a"]));
    std::fs::create_dir(folder.path().join("deployment")).expect("made");
    let apply = [
        "apply",
        "--root",
        "root",
        "--new",
        "new",
        "--deployment",
        "deployment",
    ];
    let (_, error) = etc(folder.path(), &apply, 3);
    assert!(error.contains("refuses to merge /a"), "{error}");
}

/// A drop-in that is refused, and how the error begins behind the file's name.
#[track_caller]
fn check(text: &str, expect: &str) {
    let folder = scratch();
    machine(folder.path(), "", "");
    put(folder.path(), &format!("{IMAGE}/x.toml"), text);
    let (_, error) = etc(folder.path(), &["policies", "--root", "root"], 3);
    let expect = format!("error: {IMAGE}/x.toml:{expect}");
    assert!(error.starts_with(&expect), "{error} not\n{expect}");
}

#[test]
fn a_bad_drop_in_is_refused_with_its_place() {
    let with = |line: &str| format!("{}{line}\n", rule("a", "image"));
    check(&with("when = 1"), "5:1: unknown field `when`");
    check("[[rules]]\n", "1:3: unknown field `rules`");
    check("[[rule]]\npaths = [\n", "2:");
    check(
        "[[rule]]\npaths = ['a']\naction = 'image'\n",
        "1:1: missing field `reason`",
    );
    check(
        &rule("ok", "imgae"),
        "3:10: unknown action \"imgae\"; there are local, image,",
    );
    check(
        &rule("a//b", "image"),
        "2:10: pattern \"a//b\": an empty component",
    );
    check(
        &rule("/etc/a", "image"),
        "2:10: paths are below /etc: write \"a\"",
    );
    check(&rule("a", "keyed"), "3:10: keyed needs a format");
    check(&rule("a", "derived"), "3:10: derived needs regenerate");
    check(&with("format = 'ini'"), "5:10: image takes no format");
    check(&with("regenerate = 'x'"), "5:14: image takes no regenerate");
    let keyed = rule("a", "keyed");
    check(
        &format!("{keyed}format = 'xml'\n"),
        "5:10: unknown format \"xml\"",
    );
    check(
        "[[rule]]\npaths = []\naction = 'image'\nreason = ''\n",
        "1:1: a rule without paths",
    );
}

#[test]
fn a_drop_in_is_a_file() {
    let folder = scratch();
    machine(folder.path(), "", "");
    put(folder.path(), &format!("{IMAGE}/real"), &rule("a", "image"));
    let link = folder.path().join(format!("{IMAGE}/x.toml"));
    std::os::unix::fs::symlink("real", &link).expect("a link");
    let (_, error) = etc(folder.path(), &["policies", "--root", "root"], 3);
    assert!(error.contains("x.toml is a link to real"), "{error}");
    std::fs::remove_file(&link).expect("removed");
    std::fs::create_dir(&link).expect("made");
    let (_, error) = etc(folder.path(), &["policies", "--root", "root"], 3);
    assert!(error.contains("x.toml"), "{error}");
}

#[test]
fn each_shipped_rule_has_a_reason_and_a_source() {
    let folder = scratch();
    machine(folder.path(), "", "");
    let report = json(folder.path(), &["policies", "--root", "root"], 0);
    let rules = report["rules"].as_array().expect("a list");
    assert!(rules.len() > 5, "{report:#}");
    for rule in rules {
        for key in ["reason", "source"] {
            let text = rule[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {key}: {rule:#}");
        }
    }
}

#[test]
fn shipped_rules_keep_what_is_the_machines_own() {
    let folder = scratch();
    let [key, other] = ["mine", "theirs"].map(|c| {
        format!(
            "/machine-id file 0444 0:0 1.0 {c}\n/ssh directory 0755 0:0 1.0\n\
             /ssh/ssh_host_rsa_key file 0600 0:0 1.0 {c}"
        )
    });
    machine(folder.path(), &key, &key);
    write(&folder.path().join("new"), &other);
    let plan = ["plan", "--root", "root", "--new", "new"];
    let report = json(folder.path(), &plan, 0);
    let entries = &report["plan"]["entries"];
    for path in ["/machine-id", "/ssh/ssh_host_rsa_key"] {
        assert_eq!(at(entries, path)["resolution"], "local");
    }
    let report = json(
        folder.path(),
        &[&plan[..], &["--no-shipped-policies"]].concat(),
        0,
    );
    let entries = &report["plan"]["entries"];
    assert_eq!(at(entries, "/machine-id")["resolution"], "image");
}

/// The example and the verbs of docs/etc.md.
#[test]
fn the_guide_says_what_is_so() {
    const GUIDE: &str = include_str!("../../../../../docs/etc.md");
    let example = GUIDE.split("```toml\n").nth(1).expect("an example");
    let example = example.split("```").next().expect("its end");
    let folder = scratch();
    machine(folder.path(), "", "");
    put(folder.path(), &format!("{IMAGE}/x.toml"), example);
    assert_eq!(rules(&policies(folder.path())).len(), 3);
    let verbs = GUIDE.split("`pleach etc ").skip(1);
    let verbs: std::collections::BTreeSet<_> = verbs
        .map(|rest| rest.split([' ', '`']).next().expect("a verb"))
        .collect();
    assert!(verbs.len() > 8, "{verbs:?}");
    for verb in verbs {
        etc(folder.path(), &[verb, "--help"], 0);
    }
}
