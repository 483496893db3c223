//! One binary for all integration tests of the crate.

mod matrix;
mod planted;

use pleach_booted_state::Snapshot;
use pleach_parity::{Capture, Control, Facts, Report, Route, Verdict, judge, rules};
use serde_json::{Value, json};

/// A snapshot with the entries `section/key = JSON`; every section that is named is captured.
fn snapshot(entries: &[(&str, &str, Value)]) -> Snapshot {
    let mut whole: Value = serde_json::from_slice(&Snapshot::empty().to_json()).expect("JSON");
    // What rules about accounts lean on is there unless a test takes it away.
    for section in ["users", "groups", "shadow", "gshadow"] {
        whole[section] = json!({ "entries": {} });
    }
    whole["sshd"] = json!({ "entries": { "usepam": ["yes"] } });
    for (section, key, value) in entries {
        let section = &mut whole[*section];
        if !section.is_object() {
            *section = json!({ "entries": {} });
        }
        if !key.is_empty() {
            section["entries"][*key] = value.clone();
        }
    }
    Snapshot::from_json(whole.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}\n{whole:#}"))
}

fn file(digest: &str) -> Value {
    json!({ "type": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 1, "digest": digest })
}

fn facts() -> Facts {
    Facts {
        users: ["alice".to_owned()].into(),
        groups: ["alice".to_owned()].into(),
        declarations: ["/usr/lib/sysusers.d/50-pleach.conf".to_owned()].into(),
        ..Facts::default()
    }
}

fn verdict(left: (Route, &Snapshot), right: (Route, &Snapshot), control: &Control) -> Verdict {
    let base = Snapshot::empty();
    let (left, right) = (
        Capture {
            route: left.0,
            snapshot: left.1,
        },
        Capture {
            route: right.0,
            snapshot: right.1,
        },
    );
    judge(left, right, &base, &facts(), &rules::all(), control)
}

/// `rule: difference` for what is expected, `DEFECT difference` for the rest.
fn lines(verdict: &Verdict) -> Vec<String> {
    let expected = verdict
        .expected
        .iter()
        .map(|e| format!("{}: {}", e.rule, e.difference));
    expected
        .chain(verdict.defects.iter().map(|d| format!("DEFECT {d}")))
        .collect()
}

type Entries<'a> = &'a [(&'a str, &'a str, Value)];

fn check(left: (Route, Entries<'_>), right: (Route, Entries<'_>), expect: &[&str]) {
    let (l, r) = (snapshot(left.1), snapshot(right.1));
    let verdict = verdict((left.0, &l), (right.0, &r), &Control::default());
    assert_eq!(
        lines(&verdict),
        expect,
        "{:?} against {:?}",
        left.1,
        right.1
    );
}

use Route::{Derive, Etc, Ignition};

#[test]
fn a_difference_that_no_rule_covers_is_a_defect() {
    let path = |value| [("paths", "/etc/motd", value)];
    check(
        (Derive, &path(file("sha256:a"))),
        (Etc, &path(file("sha256:b"))),
        &["DEFECT paths /etc/motd digest: sha256:a | sha256:b"],
    );
    let mut mode = file("sha256:a");
    mode["mode"] = json!("0600");
    check(
        (Derive, &path(file("sha256:a"))),
        (Etc, &path(mode)),
        &["DEFECT paths /etc/motd mode: 0644 | 0600"],
    );
    check(
        (Derive, &path(file("sha256:a"))),
        (Etc, &path(file("sha256:a"))),
        &[],
    );
}

/// For each rule: what it covers, and the nearest thing that it must not hide.
#[test]
fn a_rule_covers_no_more_than_it_says() {
    let one = |section, key, value: Value| [(section, key, value)];
    let unusable =
        |word: &str| json!({ "password": { "unusable": word }, "last_change": { "day": 1 } });
    let day = |day: u32| json!({ "password": { "unusable": "*" }, "last_change": { "day": day } });
    let set = json!({ "password": { "set": { "digest": "sha256:a", "method": "$y$" } }, "last_change": { "day": 1 } });

    let sysusers = "/usr/lib/sysusers.d/50-pleach.conf";
    let declared = |key| one("usr", key, file("sha256:a"));
    let none = [("usr", "", Value::Null)];
    let show = |value: &Value| serde_json::to_string(value).expect("JSON");
    let text = show(&file("sha256:a"));
    let row = |rule: &str, rest: String| format!("{rule}{rest}");
    check(
        (Derive, &declared(sysusers)),
        (Etc, &none),
        &[&row(
            "image-declarations: usr ",
            format!("{sysusers}: {text} | -"),
        )],
    );
    check(
        (Derive, &none),
        (Etc, &declared(sysusers)),
        &[&row("DEFECT usr ", format!("{sysusers}: - | {text}"))],
    );
    check(
        (Derive, &declared("/usr/bin/extra")),
        (Etc, &none),
        &[&row("DEFECT usr /usr/bin/extra", format!(": {text} | -"))],
    );

    let paths = |key, digest: &str| one("paths", key, file(digest));
    check(
        (Derive, &paths("/etc/passwd", "sha256:a")),
        (Etc, &paths("/etc/passwd", "sha256:b")),
        &["account-file-bytes: paths /etc/passwd digest: sha256:a | sha256:b"],
    );
    let mut open = file("sha256:a");
    open["mode"] = json!("0666");
    check(
        (Derive, &paths("/etc/passwd", "sha256:a")),
        (Etc, &one("paths", "/etc/passwd", open)),
        &["DEFECT paths /etc/passwd mode: 0644 | 0666"],
    );
    check(
        (Derive, &paths("/etc/subuid", "sha256:a")),
        (Etc, &paths("/etc/subuid", "sha256:b")),
        &["DEFECT paths /etc/subuid digest: sha256:a | sha256:b"],
    );
    check(
        (Derive, &paths("/etc/passwd-", "sha256:a")),
        (Etc, &paths("/etc/passwd-", "sha256:b")),
        &["account-backup-files: paths /etc/passwd- digest: sha256:a | sha256:b"],
    );

    check(
        (Derive, &one("shadow", "alice", unusable("!*"))),
        (Etc, &one("shadow", "alice", unusable("*"))),
        &["unusable-password-spelling: shadow alice password.unusable: !* | *"],
    );
    check(
        (Derive, &one("shadow", "bob", unusable("!*"))),
        (Etc, &one("shadow", "bob", unusable("*"))),
        &["DEFECT shadow bob password.unusable: !* | *"],
    );
    check(
        (Derive, &one("shadow", "alice", unusable("*"))),
        (Etc, &one("shadow", "alice", set)),
        &[
            "DEFECT shadow alice password.set.digest: - | sha256:a",
            "DEFECT shadow alice password.set.method: - | $y$",
            "DEFECT shadow alice password.unusable: * | -",
        ],
    );
    check(
        (Derive, &one("shadow", "alice", day(20000))),
        (Etc, &one("shadow", "alice", day(20001))),
        &["password-change-day: shadow alice last_change.day: 20000 | 20001"],
    );

    let gshadow = |word: &str| json!({ "password": { "unusable": word }, "administrators": [], "members": [] });
    check(
        (Derive, &one("gshadow", "alice", gshadow("!*"))),
        (Etc, &one("gshadow", "alice", gshadow("!"))),
        &["unusable-password-spelling: gshadow alice password.unusable: !* | !"],
    );
    let mut member = gshadow("!");
    member["members"] = json!(["eve"]);
    check(
        (Derive, &one("gshadow", "alice", gshadow("!"))),
        (Etc, &one("gshadow", "alice", member)),
        &[r#"DEFECT gshadow alice members: [] | ["eve"]"#],
    );

    let no_pam = |word: &str| {
        [
            ("shadow", "alice", unusable(word)),
            ("sshd", "usepam", json!(["no"])),
        ]
    };
    check(
        (Derive, &no_pam("!*")),
        (Etc, &no_pam("*")),
        &["DEFECT shadow alice password.unusable: !* | *"],
    );
    let mut ageing = unusable("*");
    ageing["maximum"] = json!(99999);
    check(
        (Derive, &one("shadow", "alice", unusable("*"))),
        (Etc, &one("shadow", "alice", ageing.clone())),
        &["password-ageing-defaults: shadow alice maximum: - | 99999"],
    );
    check(
        (Derive, &one("shadow", "bob", unusable("*"))),
        (Etc, &one("shadow", "bob", ageing)),
        &["DEFECT shadow bob maximum: - | 99999"],
    );
    check(
        (Derive, &one("shadow", "alice", day(20000))),
        (Etc, &one("shadow", "alice", day(20009))),
        &["DEFECT shadow alice last_change.day: 20000 | 20009"],
    );
    let sysctl = |key, value: &str| one("sysctls", key, json!({ "value": value }));
    check(
        (Derive, &sysctl("fs.quota.syncs", "8")),
        (Ignition, &sysctl("fs.quota.syncs", "16")),
        &["work-of-ignition: sysctls fs.quota.syncs value: 8 | 16"],
    );
    check(
        (Derive, &sysctl("fs.quota.syncs", "8")),
        (Etc, &sysctl("fs.quota.syncs", "16")),
        &["DEFECT sysctls fs.quota.syncs value: 8 | 16"],
    );
    check(
        (Derive, &sysctl("vm.min_free_kbytes", "1000")),
        (Etc, &sysctl("vm.min_free_kbytes", "1005")),
        &["share-of-memory: sysctls vm.min_free_kbytes value: 1000 | 1005"],
    );
    check(
        (Derive, &sysctl("vm.min_free_kbytes", "1000")),
        (Etc, &sysctl("vm.min_free_kbytes", "1050")),
        &["DEFECT sysctls vm.min_free_kbytes value: 1000 | 1050"],
    );
    let skel = "/etc/skel/.ssh/authorized_keys";
    check(
        (Derive, &one("paths", skel, file("sha256:a"))),
        (Ignition, &[("paths", "", Value::Null)]),
        &[&row("DEFECT paths ", format!("{skel}: {text} | -"))],
    );

    let boot = |digit: char, serial: u32| {
        format!(
            "/ostree/boot.1/default/{}/{serial}",
            digit.to_string().repeat(64)
        )
    };
    let argument = |key, value: &str| one("kernel_arguments", key, json!([value]));
    check(
        (Derive, &argument("ostree", &boot('a', 0))),
        (Etc, &argument("ostree", &boot('b', 0))),
        &[&format!(
            "deployment-identity: kernel_arguments ostree value: [\"{}\"] | [\"{}\"]",
            boot('a', 0),
            boot('b', 0)
        )],
    );
    check(
        (Derive, &argument("ostree", &boot('a', 0))),
        (Etc, &argument("ostree", &boot('a', 1))),
        &[&format!(
            "DEFECT kernel_arguments ostree value: [\"{}\"] | [\"{}\"]",
            boot('a', 0),
            boot('a', 1)
        )],
    );
    let nothing = [("kernel_arguments", "", Value::Null)];
    check(
        (Derive, &nothing),
        (Ignition, &argument("ignition.firstboot", "1")),
        &[r#"ignition-kernel-arguments: kernel_arguments ignition.firstboot: - | ["1"]"#],
    );
    check(
        (Derive, &argument("ignition.firstboot", "1")),
        (Ignition, &nothing),
        &[r#"DEFECT kernel_arguments ignition.firstboot: ["1"] | -"#],
    );
    check(
        (Derive, &argument("site.name", "one")),
        (Ignition, &nothing),
        &[r#"DEFECT kernel_arguments site.name: ["one"] | -"#],
    );

    let result = "/etc/.ignition-result.json";
    let no_paths = [("paths", "", Value::Null)];
    check(
        (Derive, &no_paths),
        (Ignition, &paths(result, "sha256:a")),
        &[&row(
            "ignition-result: paths ",
            format!("{result}: - | {text}"),
        )],
    );
    check(
        (Derive, &no_paths),
        (Etc, &paths(result, "sha256:a")),
        &[&row("DEFECT paths ", format!("{result}: - | {text}"))],
    );

    let (theirs, ours) = (
        "/etc/systemd/system-preset/20-ignition.preset",
        "/etc/systemd/system-preset/20-pleach.preset",
    );
    let preset = |path: &'static str, name: &'static str, lines: [&str; 2]| {
        let said = json!({ "directory": "/etc/systemd/system-preset", "directives": lines });
        [("paths", path, file("sha256:a")), ("presets", name, said)]
    };
    let lines = |word: &str| {
        [
            format!("disable {word}.timer"),
            "enable a.service".to_owned(),
        ]
    };
    let judged = |theirs_say: [&str; 2]| {
        let ours_say = lines("b");
        let ours_say = [ours_say[0].as_str(), ours_say[1].as_str()];
        let l = snapshot(&preset(ours, "20-pleach.preset", ours_say));
        let r = snapshot(&preset(theirs, "20-ignition.preset", theirs_say));
        verdict((Derive, &l), (Ignition, &r), &Control::default())
    };
    let same = judged(["enable a.service", "disable b.timer"]);
    assert!(same.is_equal() && same.expected.len() == 4, "{same:?}");
    let other = judged(["enable a.service", "enable b.timer"]);
    assert_eq!(other.defects.len(), 4, "{other:?}");
}

#[test]
fn keys_may_stand_in_another_file_but_must_work_as_well() {
    let keys = |file: &str, effective: bool| {
        let key =
            json!({ "file": file, "type": "ssh-ed25519", "comment": "a", "effective": effective });
        let user = json!({
            "patterns": [".ssh/authorized_keys"],
            "keys": { "SHA256:x": [key] },
        });
        [("authorized_keys", "alice", user)]
    };
    let (ours, theirs) = (
        "/home/alice/.ssh/authorized_keys",
        "/home/alice/.ssh/authorized_keys.d/ignition",
    );
    check((Derive, &keys(ours, true)), (Etc, &keys(ours, true)), &[]);
    check(
        (Derive, &keys(ours, true)),
        (Ignition, &keys(theirs, true)),
        &[&format!(
            "authorized-keys-place: authorized_keys alice keys.SHA256:x.0.file: {ours} | {theirs}"
        )],
    );
    let (l, r) = (snapshot(&keys(ours, true)), snapshot(&keys(theirs, false)));
    let verdict = verdict((Derive, &l), (Ignition, &r), &Control::default());
    assert_eq!(verdict.defects.len(), 2, "{:?}", lines(&verdict));
}

#[test]
fn noise_is_forgiven_only_where_the_control_saw_it() {
    let boot = |id: &str, uuid: &str| {
        snapshot(&[
            ("boot", "boot_id", json!(id)),
            ("sysctls", "kernel.random.uuid", json!({ "value": uuid })),
            ("sysctls", "vm.swappiness", json!({ "value": "60" })),
        ])
    };
    let (one, two) = (boot("1", "a"), boot("2", "b"));
    let control = Control::new(&one, &two, &rules::all());
    assert_eq!(
        control.noise.keys().collect::<Vec<_>>(),
        ["boot-identity", "kernel-counters"]
    );
    assert_eq!(control.unused, ["secret-bytes"]);
    assert!(!control.is_sound(), "a rule that was not needed");

    let judged = verdict((Derive, &one), (Etc, &two), &control);
    assert!(judged.is_equal(), "{:?}", lines(&judged));
    // The same differences, but nothing is known to be noise.
    let judged = verdict((Derive, &one), (Etc, &two), &Control::default());
    assert_eq!(judged.defects.len(), 2);

    // Memory may differ by a page, or not; the control needs neither.
    let sized =
        |kib: &str| snapshot(&[("sysctls", "vm.user_reserve_kbytes", json!({ "value": kib }))]);
    let control = Control::new(&sized("29862"), &sized("29864"), &rules::all());
    assert!(
        control.unexplained.is_empty() && control.machine.len() == 1,
        "{control:?}"
    );
    let control = Control::new(&sized("29862"), &sized("19864"), &rules::all());
    assert_eq!(control.unexplained.len(), 1, "that is not a page");

    let mut other = two.clone();
    other
        .sysctls
        .entries_mut()
        .expect("captured")
        .remove("vm.swappiness");
    let control = Control::new(&one, &other, &rules::all());
    assert_eq!(control.unexplained.len(), 1);
}

#[test]
fn a_unit_that_fails_only_when_customized_is_a_defect_on_both_sides_alone() {
    let failed = json!({ "result": "exit-code", "exec_main_status": 1 });
    let make = |entries: Entries<'_>| snapshot(entries);
    let base = make(&[("failed_units", "", Value::Null)]);
    let broken = [("failed_units", "site.service", failed)];
    let Ok(broken) = std::panic::catch_unwind(|| make(&broken)) else {
        panic!("the shape of a failed unit has changed");
    };
    let side = |route| Capture {
        route,
        snapshot: &broken,
    };
    let verdict = judge(
        side(Derive),
        side(Etc),
        &base,
        &Facts::default(),
        &rules::all(),
        &Control::default(),
    );
    let text = "site.service failed; with the base image alone it does not";
    assert_eq!(
        lines(&verdict),
        [
            format!("DEFECT derive: {text}"),
            format!("DEFECT etc: {text}")
        ]
    );
}

#[test]
fn what_was_booted_must_have_been_looked_at() {
    let mut whole: Value = serde_json::from_slice(&Snapshot::empty().to_json()).expect("JSON");
    for section in pleach_booted_state::SectionName::ALL {
        whole[section.as_str()] = json!({ "entries": {} });
    }
    whole["paths"]["entries"]["/etc/named"] = file("sha256:a");
    let read =
        |whole: &Value| Snapshot::from_json(whole.to_string().as_bytes()).expect("a snapshot");
    let sound = read(&whole);
    let judged = |snapshot: &Snapshot| {
        let named_paths = ["/etc/named".to_owned()].into();
        let facts = Facts {
            booted: true,
            named_paths,
            ..Facts::default()
        };
        let side = |route| Capture { route, snapshot };
        let (rules, control) = (rules::all(), Control::default());
        let verdict = judge(side(Derive), side(Etc), &sound, &facts, &rules, &control);
        verdict
            .defects
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert!(judged(&sound).is_empty(), "{:?}", judged(&sound));

    let mut blind = whole.clone();
    blind["sshd"] = json!({ "unavailable": { "why": "no sshd" } });
    let text = "section sshd cannot be compared: unavailable: no sshd";
    assert_eq!(
        judged(&read(&blind)),
        [format!("derive: {text}"), format!("etc: {text}")]
    );

    let mut lacking = whole.clone();
    lacking["paths"]["entries"] = json!({});
    let text = "/etc/named is not there, but the document names it";
    assert_eq!(
        judged(&read(&lacking)),
        [format!("derive: {text}"), format!("etc: {text}")]
    );

    let mut empty = whole;
    empty["paths"]["entries"]["/etc/named"] =
        json!({ "type": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 1 });
    let text = "the content of /etc/named was not captured, so it cannot be compared";
    assert_eq!(
        judged(&read(&empty)),
        [format!("derive: {text}"), format!("etc: {text}")]
    );
}

#[test]
fn nothing_compared_is_not_equal() {
    let report = Report {
        format_version: pleach_parity::FORMAT_VERSION,
        subject: Default::default(),
        control: None,
        verdicts: Vec::new(),
        not_compared: Default::default(),
    };
    assert!(!report.is_equal());
    assert!(
        report
            .to_string()
            .contains("parity: unknown, nothing was compared")
    );
}

#[test]
fn config_diff_must_have_its_shape() {
    let changed = |paths: &[&str]| -> Snapshot {
        let entries: Vec<_> = paths
            .iter()
            .map(|path| ("config_diff", *path, json!("added")))
            .collect();
        let mut all = vec![("config_diff", "", Value::Null)];
        all.extend(entries);
        snapshot(&all)
    };
    let base = changed(&["/etc/machine-id"]);
    let facts = Facts {
        etc_paths: ["/etc/motd".to_owned()].into(),
        ..Facts::default()
    };
    let check = |derive: &[&str], etc: &[&str], expect: &[&str]| {
        let (derive, etc) = (changed(derive), changed(etc));
        let verdict = judge(
            Capture {
                route: Derive,
                snapshot: &derive,
            },
            Capture {
                route: Etc,
                snapshot: &etc,
            },
            &base,
            &facts,
            &rules::all(),
            &Control::default(),
        );
        let defects: Vec<_> = verdict.defects.iter().map(ToString::to_string).collect();
        assert_eq!(defects, expect);
    };
    check(
        &["/etc/machine-id", "/etc/passwd", "/etc/passwd-"],
        &["/etc/machine-id", "/etc/motd", "/etc/group"],
        &[],
    );
    check(
        &["/etc/machine-id", "/etc/motd"],
        &["/etc/machine-id", "/etc/motd"],
        &["derive: config-diff has /etc/motd, but a derived image's own /etc is its default"],
    );
    check(
        &[],
        &["/etc/machine-id", "/etc/issue"],
        &[
            "etc: config-diff has /etc/issue, but the customization does not name it",
            "etc: config-diff lacks /etc/motd, which the customization names",
        ],
    );
}

#[test]
fn the_report_says_it_all() {
    let (l, r) = (
        snapshot(&[
            ("paths", "/etc/a", file("sha256:a")),
            ("paths", "/etc/passwd", file("sha256:p")),
        ]),
        snapshot(&[
            ("paths", "/etc/a", file("sha256:b")),
            ("paths", "/etc/passwd", file("sha256:q")),
        ]),
    );
    let report = Report {
        format_version: pleach_parity::FORMAT_VERSION,
        subject: [("base".to_owned(), "oci:x@sha256:1".to_owned())].into(),
        control: Some(Control::new(&l, &l, &[])),
        verdicts: vec![verdict((Derive, &l), (Etc, &r), &Control::default())],
        not_compared: [("ignition".to_owned(), "it was not booted".to_owned())].into(),
    };
    insta::assert_snapshot!(report.to_string(), @r###"
    base           oci:x@sha256:1

    A/A control: the base image booted twice, 0 differences explained

    derive and etc
      equal     1 entries in 6 sections
      expected  1 differences by 1 rules
           1  account-file-bytes (tool): the order and spelling of entries; the entries themselves are compared one by one, in users, groups, gshadow and shadow
      defects   1
              paths /etc/a digest: sha256:a | sha256:b

    ignition: not compared: it was not booted

    parity: 1 defect
    "###);
    let again: Report = serde_json::from_str(&report.to_json()).expect("its own JSON");
    assert_eq!(again, report);
    assert!(!report.is_equal());
}
