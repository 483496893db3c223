//! The table of images, each with what is to be found in it.

use std::collections::BTreeSet;

use pleach_image_lint::{Policy, rules};

use crate::cases::CASES;
use crate::support::{SOUND, judge, shown, tree};

/// Rules that need layers or a policy; `layers` and `policy` have their images.
const ELSEWHERE: [&str; 3] = ["hidden-secret", "setuid-change", "require"];

#[test]
fn each_image_is_what_it_is() {
    let mut wrong = Vec::new();
    for case in CASES {
        let report = judge(&tree(SOUND, case.with), case.labels, &Policy::default());
        let found = shown(&report);
        if found.trim() != case.expect.trim() {
            wrong.push(format!(
                "{}:\n{found}expected:\n{}\n",
                case.name, case.expect
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_enough_images_and_each_rule_has_one() {
    assert!(CASES.len() >= 40, "{}", CASES.len());
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len(), "two have one name");
    let found = CASES.iter().flat_map(|case| case.expect.lines());
    let found: BTreeSet<&str> = found
        .filter_map(|line| line.strip_prefix("! ")?.split(' ').nth(1))
        .chain(ELSEWHERE)
        .collect();
    let all: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(found, all);
}

/// The default configuration in `/usr/etc` is that of `/etc`.
#[test]
fn usr_etc_is_read_where_etc_is_empty() {
    let below: Vec<String> = SOUND.iter().map(|entry| moved(entry)).collect();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    let mut tried = 0;
    for case in CASES
        .iter()
        .filter(|case| !case.expect.contains("/usr/etc"))
    {
        let with: Vec<String> = case.with.iter().map(|entry| moved(entry)).collect();
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        let report = judge(&tree(&below, &with), case.labels, &Policy::default());
        // Targets of links are those at boot.
        let found = shown(&report).replace("/usr/etc/", "/etc/");
        let sort = |text: &str| {
            let mut lines: Vec<_> = text.trim().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sort(&found), sort(case.expect), "{}", case.name);
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
}

/// An entry with what is in `/etc` in `/usr/etc`.
fn moved(entry: &str) -> String {
    let (path, rest) = match entry.find(" -> ").or_else(|| entry.find(" = ")) {
        Some(at) => entry.split_at(at),
        None => (entry, ""),
    };
    match path.find("/etc/") {
        Some(at) if !path[..at].contains('/') => {
            format!("{}/usr{}{rest}", &path[..at], &path[at..])
        }
        _ => entry.to_owned(),
    }
}
