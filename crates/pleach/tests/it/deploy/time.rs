//! Parity at later moments: what agrees at first boot can part later.

use std::fs;

use serde_json::Value;

use super::images::Scratch;
use crate::images::is_root;
use crate::pleach;

const HEAD: &str = "variant: fcos\nversion: 1.5.0\nkernel_arguments: { should_exist: [site=one] }\nstorage:\n  files:\n";
const FILES: &str = "    - { path: /etc/motd, overwrite: true, contents: { inline: \"site\\n\" } }\n\
                     \x20   - { path: /etc/site/own.conf, mode: 0640, contents: { inline: own } }\n";
/// What v1 ships there anyway: the machine has changed nothing, so the next image's is taken.
const DEFAULT: &str =
    "    - { path: /etc/conf.d/a, overwrite: true, contents: { inline: \"a=1\\n\" } }\n";

/// Exit code, report as text, report as JSON.
fn parity(scratch: &Scratch, files: &str, at: &str) -> (Option<i32>, String, Value) {
    fs::write(scratch.path("site.bu"), format!("{HEAD}{files}")).expect("written");
    let arguments = [
        "parity",
        "--base=oci:images:v1",
        "--config=site.bu",
        "--routes=derive,etc",
        "--upgrade=oci:images:v2",
        at,
    ];
    let (code, text, stderr) = pleach(&scratch.path(""), &arguments);
    assert!(matches!(code, Some(0 | 1)), "{code:?}: {stderr}");
    let json = fs::read(scratch.path("pleach-parity/report.json")).expect("a report");
    (code, text, serde_json::from_slice(&json).expect("JSON"))
}

#[test]
fn routes_agree_at_four_moments() {
    if !is_root("routes_agree_at_four_moments") {
        return;
    }
    let scratch = Scratch::new();
    let (code, text, json) = parity(&scratch, FILES, "--at=t0,t1,t2,t3");
    assert_eq!(code, Some(0), "{text}");
    let verdicts = json["verdicts"].as_array().expect("verdicts");
    let moments: Vec<_> = verdicts.iter().map(|v| v["moment"].as_str()).collect();
    assert_eq!(moments, ["t0", "t1", "t2", "t3"].map(Some));
    assert!(
        text.contains("derive and etc, t1: after the upgrade"),
        "{text}"
    );
    // It is the second image that was compared, and the first again.
    let seen = |moment: usize| {
        let equal = verdicts[moment]["equal"].as_object().expect("sections");
        equal.values().filter_map(Value::as_u64).sum::<u64>()
    };
    assert!(seen(0) > 20 && seen(1) > 20 && seen(3) > 20, "{json:#}");
}

#[test]
fn what_parts_later_is_told_with_what_mends_it() {
    if !is_root("what_parts_later_is_told_with_what_mends_it") {
        return;
    }
    let scratch = Scratch::new();
    let files = format!("{FILES}{DEFAULT}");
    let (code, text, json) = parity(&scratch, &files, "--at=t0,t1,t2");
    assert_eq!(code, Some(1), "{text}");
    let verdicts = json["verdicts"].as_array().expect("verdicts");
    let defects = |v: &Value| v["defects"].as_array().map_or(0, Vec::len);
    let counts: Vec<_> = verdicts.iter().map(defects).collect();
    assert_eq!((counts[0], counts[2]), (0, 0), "{text}");
    assert!(counts[1] > 0, "{text}");
    let partings = verdicts[1]["partings"].as_array().expect("partings");
    assert_eq!(partings.len(), 1, "{text}");
    assert_eq!(partings[0]["path"], "/etc/conf.d/a");
    assert_eq!(partings[0]["mend"], "pleach etc pin /etc/conf.d/a");
    let (derive, etc) = (&partings[0]["left"], &partings[0]["right"]);
    assert!(
        etc.as_str().is_some_and(|t| t.contains("image")),
        "{derive} | {etc}"
    );
    assert!(
        text.contains("mended by: pleach etc pin /etc/conf.d/a"),
        "{text}"
    );
}

#[test]
fn moments_that_cannot_be_had_are_refused() {
    let scratch = crate::scratch();
    fs::write(scratch.path().join("site.bu"), format!("{HEAD}{FILES}")).expect("written");
    let check = |more: &[&str], code: i32, why: &str| {
        let arguments = [
            "parity",
            "--base=oci:images:v1",
            "--config=site.bu",
            "--routes=derive,etc",
        ];
        let (found, _, stderr) = pleach(scratch.path(), &[&arguments, more].concat());
        assert_eq!(found, Some(code), "{more:?}: {stderr}");
        assert!(stderr.contains(why), "{more:?}: {stderr}");
    };
    check(&["--at=t1"], 3, "--at t1 needs --upgrade");
    check(&["--at=t9"], 2, "is no moment");
}
