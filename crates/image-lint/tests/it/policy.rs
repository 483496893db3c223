//! What a release asks for, and what it accepts.

use pleach_image_lint::{Allow, Own, Policy};

use crate::support::{SOUND, judge, shown, tree};

#[test]
fn a_requirement_that_is_not_met_is_a_finding_for_each_contradiction() {
    let check = |with: &[&str], require: &[&str], expect: &str| {
        let require = require.iter().map(|word| word.parse().expect("a word"));
        let policy = Policy {
            require: require.collect(),
            ..Policy::default()
        };
        let report = judge(&tree(SOUND, with), &[], &policy);
        let found = shown(&report);
        let found: Vec<_> = found.lines().filter(|line| line.starts_with('!')).collect();
        assert_eq!(found.join("\n"), expect, "{with:?}");
    };
    check(&[], &["generic", "final"], "");
    check(&["/etc/hostname = a\n"], &["specific"], "");
    check(
        &["/etc/hostname = a\n"],
        &["generic", "final"],
        "! error require /etc/hostname:1: the name a speaks for specific, and generic is required",
    );
    check(
        &["/usr/bin/gcc = x", "/usr/bin/make = x"],
        &["final"],
        "! error require /usr/bin/gcc: a compiler speaks for base, and final is required
! error require /usr/bin/make: a build tool speaks for base, and final is required",
    );
    check(
        &[],
        &["base"],
        "! error require /: nothing speaks for base, which is required",
    );
    assert!("both".parse::<pleach_image_lint::Requirement>().is_err());
}

const OWN: &str = r#"
[[rule]]
id = "site-telnet"
severity = "error"
why = "nobody should"
fix = "use ssh"
deny-path = ["/usr/bin/telnet*", "/usr/**/rsh"]

[[rule]]
id = "site-banner"
why = "the law"
fix = "install it"
require-path = ["/etc/banner"]

[[rule]]
id = "site-root"
severity = "note"
why = "policy 7"
fix = "say no"
deny-content = [{ path = "/usr/share/ssh/**", line = "PermitRootLogin*yes*" }]

[[allow]]
rule = "site-banner"
reason = "comes later"

[[allow]]
rule = "kernel"
reason = "it has one"
"#;

#[test]
fn own_rules_find_what_they_name() {
    let (own, allow) = Own::parse("own.toml", OWN).expect("rules");
    let policy = Policy {
        own,
        allow,
        ..Policy::default()
    };
    policy.check().expect("all rules are there");
    let with = [
        "/usr/bin/telnet.netkit = x",
        "/usr/lib/a/rsh = x",
        "/usr/share/ssh/a/b.conf = # PermitRootLogin no\nPermitRootLogin = yes, a/b\n",
    ];
    let report = judge(&tree(SOUND, &with), &[], &policy);
    assert_eq!(
        shown(&report),
        "final hint, generic likely
! error site-telnet /usr/bin/telnet.netkit: must not be in the image
! error site-telnet /usr/lib/a/rsh: must not be in the image
! note site-root /usr/share/ssh/a/b.conf:2: has a line that must not be
~ site-banner /etc/banner: comes later
"
    );
    assert_eq!(report.idle, ["kernel (own.toml: it has one)"]);
    assert_eq!(report.findings[0].why, "nobody should");
    let report = judge(&tree(SOUND, &["/etc/banner = x"]), &[], &policy);
    assert_eq!(shown(&report), "final hint, generic likely\n");
    assert_eq!(report.idle.len(), 2);
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let check = |text: &str, expect: &str| {
        let error = Own::parse("a.toml", text).expect_err(text).to_string();
        assert!(error.contains(expect), "{text}: {error}");
    };
    let rule = |rest: &str| format!("[[rule]]\nwhy = 'w'\nfix = 'f'\n{rest}");
    check("[[rules]]", "unknown field `rules`");
    check(&rule("id = 'a'"), "the rule \"a\" asks for nothing");
    check(
        &rule("id = 'a'\ndeny-paths = []"),
        "unknown field `deny-paths`",
    );
    check(
        &rule("id = 'kernel'\ndeny-path = ['/a']"),
        "has the name of a rule",
    );
    check(
        &rule("id = 'A b'\ndeny-path = ['/a']"),
        "is not named with small letters",
    );
    check(
        "[[rule]]\nid = 'a'\nwhy = ''\nfix = ''\ndeny-path = ['/a']",
        "says neither why",
    );
    check(
        "[[allow]]\nrule = 'kernel'\nreason = ' '",
        "accepted without a reason",
    );
    check("[[allow]]\nrule = 'kernel'", "missing field `reason`");
}

#[test]
fn what_is_accepted_is_shown_with_its_reason() {
    let check = |allow: &str, expect: &str, idle: usize| {
        let policy = Policy {
            allow: vec![allow.parse().expect("a suppression")],
            ..Policy::default()
        };
        let with = ["/boot/a = x", "/boot/b = x"];
        let report = judge(&tree(SOUND, &with), &[], &policy);
        let found = shown(&report);
        let found: Vec<_> = found.lines().skip(1).collect();
        assert_eq!(found.join("\n"), expect, "{allow}");
        assert_eq!(report.idle.len(), idle, "{allow}");
    };
    let (a, b) = (
        "! warning nonempty-boot /boot/a: hidden at run time",
        "! warning nonempty-boot /boot/b: hidden at run time",
    );
    check(
        "nonempty-boot=a loader's",
        "~ nonempty-boot /boot/a: a loader's\n~ nonempty-boot /boot/b: a loader's",
        0,
    );
    check(
        "nonempty-boot:/boot/b=a loader's",
        &format!("{a}\n~ nonempty-boot /boot/b: a loader's"),
        0,
    );
    check("nonempty-boot:/etc/**=none there", &format!("{a}\n{b}"), 1);
    check("kernel=none there", &format!("{a}\n{b}"), 1);
    let policy = Policy {
        allow: vec!["kernell=x".parse::<Allow>().expect("a suppression")],
        ..Policy::default()
    };
    let error = policy.check().expect_err("no such rule").to_string();
    assert_eq!(error, "the command line: there is no rule kernell");
}
