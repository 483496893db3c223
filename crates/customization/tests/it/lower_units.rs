//! Units over a tree. What enabling and disabling do to the links was compared with what
//! `systemctl` 257 did to the same unit files.

use pleach_customization::lower::LowerOptions;

use crate::support::lowered;

const TREE: &str = "
f /usr/lib/systemd/system/ssh.service 644 0:0 [Unit]\\n[Install]\\nWantedBy=multi-user.target\\nAlias=sshd.service\\n
f /usr/lib/systemd/system/getty@.service 644 0:0 [Install]\\nWantedBy=getty.target\\nDefaultInstance=tty1\\n
f /usr/lib/systemd/system/static.service 644 0:0 [Service]\\n
f /usr/lib/systemd/system/net.service 644 0:0 [Install]\\nWantedBy=a.target\\nAlso=net.socket\\nAlias=dbus-net.service\\n
f /usr/lib/systemd/system/net.socket 644 0:0 [Install]\\nWantedBy=sockets.target\\n
l /usr/lib/systemd/system/other.service -> ssh.service
f /usr/lib/elsewhere/linked.service 644 0:0 [Install]\\nWantedBy=multi-user.target\\n
l /usr/lib/systemd/system/linked.service -> ../../elsewhere/linked.service
f /usr/lib/systemd/system/empty.service 644 0:0
l /etc/systemd/system/masked.service -> /dev/null
l /etc/systemd/system/sshd.service -> /usr/lib/systemd/system/ssh.service
l /etc/systemd/system/multi-user.target.wants/ssh.service -> /usr/lib/systemd/system/ssh.service
l /etc/systemd/system/x.target.requires/sshd.service -> /etc/systemd/system/sshd.service
l /etc/systemd/system/getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service
l /etc/systemd/system/getty.target.wants/getty@tty2.service -> /usr/lib/systemd/system/getty@.service
l /etc/systemd/system/dbus-net.service -> /usr/lib/systemd/system/net.service
l /etc/systemd/system/a.target.wants/net.service -> /usr/lib/systemd/system/net.service
l /etc/systemd/system/sockets.target.wants/net.socket -> /usr/lib/systemd/system/net.socket
d /etc/systemd/system-preset 755
";

const PRESET: &str = "write /etc/systemd/system-preset/20-pleach.preset 0644 0:0 ";

#[track_caller]
fn check(units: &str, expect: &[&str], preset: &str) {
    let got = lowered(
        &format!("systemd:\n  units: [{units}]"),
        TREE,
        &LowerOptions::default(),
    );
    let mut lines: Vec<&str> = got.lines().collect();
    let found = lines
        .iter()
        .position(|line| line.starts_with(PRESET))
        .map(|at| lines.remove(at));
    let found = found.map_or("", |line| &line[PRESET.len()..]);
    lines.sort_unstable();
    let mut expect: Vec<&str> = expect.to_vec();
    expect.sort_unstable();
    assert_eq!((lines, found), (expect, preset), "\n--- units\n{units}");
}

#[test]
fn files_and_masks() {
    check(
        "{name: a.service, contents: \"[Unit]\\n\", dropins: [{name: b.conf, contents: x=1}, {name: c.conf}]}".replace("x=1", "''").as_str(),
        &["mkdir /etc/systemd/system/a.service.d 0755 0:0", "write /etc/systemd/system/a.service 0644 0:0 [Unit]\\n", "write /etc/systemd/system/a.service.d/b.conf 0644 0:0 "],
        "",
    );
    check("{name: a.service, contents: ''}", &[], "");
    check(
        "{name: ssh.service, mask: true}",
        &["link /etc/systemd/system/ssh.service -> /dev/null 0:0"],
        "",
    );
    check("{name: masked.service, mask: true}", &[], "");
    check(
        "{name: masked.service, mask: false}",
        &["remove /etc/systemd/system/masked.service"],
        "",
    );
    check("{name: ssh.service, mask: false}", &[], "");
    // Contents take the place of a mask or an alias.
    check(
        "{name: masked.service, contents: '[Unit]'}",
        &["write /etc/systemd/system/masked.service 0644 0:0 [Unit]"],
        "",
    );
    check(
        "{name: a.service, mask: true, enabled: true}",
        &["link /etc/systemd/system/a.service -> /dev/null 0:0"],
        "enable a.service\\n",
    );
}

#[test]
fn enable() {
    let etc = "/etc/systemd/system";
    let own = |install: &str| {
        format!("{{name: a.service, enabled: true, contents: \"[Install]\\n{install}\"}}")
    };
    let links = |install: &str, expect: &[&str]| {
        let text = format!("write {etc}/a.service 0644 0:0 [Install]\\n{install}");
        let mut all: Vec<String> = vec![text];
        for dir in expect
            .iter()
            .filter_map(|link| link.split_once('/'))
            .map(|(dir, _)| dir)
        {
            let line = format!("mkdir {etc}/{dir} 0755 0:0");
            let there = [
                "multi-user.target.wants",
                "a.target.wants",
                "sockets.target.wants",
                "getty.target.wants",
            ];
            if !all.contains(&line) && !there.contains(&dir) {
                all.push(line);
            }
        }
        all.extend(
            expect
                .iter()
                .map(|link| format!("link {etc}/{link} -> {etc}/a.service 0:0")),
        );
        check(
            &own(install),
            &all.iter().map(String::as_str).collect::<Vec<_>>(),
            "enable a.service\\n",
        );
    };
    links(
        "WantedBy=multi-user.target",
        &["multi-user.target.wants/a.service"],
    );
    links(
        "WantedBy=x.target y.target\\nRequiredBy=z.target\\nUpheldBy=u.target",
        &[
            "x.target.wants/a.service",
            "y.target.wants/a.service",
            "z.target.requires/a.service",
            "u.target.upholds/a.service",
        ],
    );
    links(
        "WantedBy=x.target\\nWantedBy=\\nWantedBy=y.target",
        &["y.target.wants/a.service"],
    );
    links("Alias=b.service c.service", &["b.service", "c.service"]);
    links(
        "WantedBy=%p-x.target %N.target %n.wants.target",
        &[
            "a-x.target.wants/a.service",
            "a.target.wants/a.service",
            "a.service.wants.target.wants/a.service",
        ],
    );
    links(
        "# WantedBy=no.target\\nWantedBy=x.target \\\\\\n  y.target"
            .replace("\\\\\\n", "")
            .as_str(),
        &["x.target.wants/a.service", "y.target.wants/a.service"],
    );
    // Nothing to do for what is enabled, or never can be.
    check(
        "{name: ssh.service, enabled: true}",
        &[],
        "enable ssh.service\\n",
    );
    check(
        "{name: sshd.service, enabled: true}",
        &[],
        "enable sshd.service\\n",
    );
    check(
        "{name: static.service, enabled: true}",
        &[],
        "enable static.service\\n",
    );
    check(
        "{name: other.service, enabled: true}",
        &[],
        "enable other.service\\n",
    );
    check(
        "{name: linked.service, enabled: true}",
        &[
            "link /etc/systemd/system/multi-user.target.wants/linked.service -> /usr/lib/elsewhere/linked.service 0:0",
            "link /etc/systemd/system/linked.service -> /usr/lib/elsewhere/linked.service 0:0",
        ],
        "enable linked.service\\n",
    );
    // An [Install] section in a drop-in counts.
    check(
        "{name: static.service, enabled: true, dropins: [{name: x.conf, contents: \"[Install]\\nWantedBy=multi-user.target\"}]}",
        &[
            "mkdir /etc/systemd/system/static.service.d 0755 0:0",
            "write /etc/systemd/system/static.service.d/x.conf 0644 0:0 [Install]\\nWantedBy=multi-user.target",
            "link /etc/systemd/system/multi-user.target.wants/static.service -> /usr/lib/systemd/system/static.service 0:0",
        ],
        "enable static.service\\n",
    );
}

#[test]
fn templates() {
    let getty = "-> /usr/lib/systemd/system/getty@.service 0:0";
    check(
        "{name: getty@tty7.service, enabled: true}",
        &[&format!(
            "link /etc/systemd/system/getty.target.wants/getty@tty7.service {getty}"
        )],
        "enable getty@.service tty7\\n",
    );
    check(
        "{name: getty@.service, enabled: true}",
        &[],
        "enable getty@.service \\n",
    );
    check(
        "{name: getty@b.service, enabled: true}, {name: getty@a.service, enabled: true}",
        &[
            &format!("link /etc/systemd/system/getty.target.wants/getty@a.service {getty}"),
            &format!("link /etc/systemd/system/getty.target.wants/getty@b.service {getty}"),
        ],
        "enable getty@.service b a\\n",
    );
    // The same unit file as was given to systemctl, with the same links.
    let template = "{name: foo@.service, contents: \"[Install]\\nWantedBy=multi-user.target sub-%i.target getty@.service\\nRequiredBy=basic.target\\nUpheldBy=sysinit.target\\nAlias=bar@.service\\nAlso=net.socket\\nDefaultInstance=def\"}";
    let text = "write /etc/systemd/system/foo@.service 0644 0:0 [Install]\\nWantedBy=multi-user.target sub-%i.target getty@.service\\nRequiredBy=basic.target\\nUpheldBy=sysinit.target\\nAlias=bar@.service\\nAlso=net.socket\\nDefaultInstance=def";
    let made = |instance: &str, alias: &str| -> Vec<String> {
        let mut lines = vec![text.to_owned()];
        for dir in [
            format!("sub-{instance}.target.wants"),
            "getty@.service.wants".into(),
            "basic.target.requires".into(),
            "sysinit.target.upholds".into(),
        ] {
            lines.push(format!("mkdir /etc/systemd/system/{dir} 0755 0:0"));
            lines.push(format!("link /etc/systemd/system/{dir}/foo@{instance}.service -> /etc/systemd/system/foo@.service 0:0"));
        }
        lines.push(format!("link /etc/systemd/system/multi-user.target.wants/foo@{instance}.service -> /etc/systemd/system/foo@.service 0:0"));
        lines.push(format!(
            "link /etc/systemd/system/{alias} -> /etc/systemd/system/foo@.service 0:0"
        ));
        lines
    };
    let lines = made("x", "bar@x.service");
    check(
        &format!("{template}, {{name: foo@x.service, enabled: true}}"),
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        "enable foo@.service x\\n",
    );
    let lines = made("def", "bar@.service");
    let enabled = template.replacen("{name", "{enabled: true, name", 1);
    check(
        &enabled,
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        "enable foo@.service \\n",
    );
}

#[test]
fn disable() {
    let etc = "remove /etc/systemd/system";
    // The alias, what links to the alias, and the unit itself.
    let ssh = [
        format!("{etc}/multi-user.target.wants/ssh.service"),
        format!("{etc}/sshd.service"),
        format!("{etc}/x.target.requires/sshd.service"),
    ];
    let ssh: Vec<&str> = ssh.iter().map(String::as_str).collect();
    check(
        "{name: ssh.service, enabled: false}",
        &ssh,
        "disable ssh.service\\n",
    );
    check(
        "{name: sshd.service, enabled: false}",
        &ssh,
        "disable sshd.service\\n",
    );
    // Also names another unit to disable.
    let net = [
        format!("{etc}/a.target.wants/net.service"),
        format!("{etc}/dbus-net.service"),
        format!("{etc}/sockets.target.wants/net.socket"),
    ];
    check(
        "{name: net.service, enabled: false}",
        &net.iter().map(String::as_str).collect::<Vec<_>>(),
        "disable net.service\\n",
    );
    let one = format!("{etc}/getty.target.wants/getty@tty2.service");
    check(
        "{name: getty@tty2.service, enabled: false}",
        &[&one],
        "disable getty@tty2.service\\n",
    );
    let both = [
        format!("{etc}/getty.target.wants/getty@tty1.service"),
        one.clone(),
    ];
    check(
        "{name: getty@.service, enabled: false}",
        &both.iter().map(String::as_str).collect::<Vec<_>>(),
        "disable getty@.service\\n",
    );
    check(
        "{name: masked.service, enabled: false}",
        &[],
        "disable masked.service\\n",
    );
    check(
        "{name: absent.service, enabled: false}",
        &[],
        "disable absent.service\\n",
    );
}

#[test]
fn preset_lines_are_sorted_as_ignition_sorts_them() {
    check(
        "{name: static.service, enabled: true}, {name: absent.service, enabled: false}, {name: other.service, enabled: true}",
        &[],
        "disable absent.service\\nenable other.service\\nenable static.service\\n",
    );
    let tree = format!(
        "{TREE}f /etc/systemd/system-preset/20-pleach.preset 644 0:0 enable before.service\\n\n"
    );
    let got = lowered(
        "systemd: {units: [{name: static.service, enabled: true}]}",
        &tree,
        &LowerOptions::default(),
    );
    assert_eq!(
        got,
        format!("{PRESET}enable before.service\\nenable static.service\\n\n")
    );
}

#[test]
fn refusals() {
    let at = "t.bu:4:11 ($.systemd.units.0): ";
    let fails = |unit: &str, expect: &str| check(unit, &[&format!("{at}{expect}")], "");
    fails(
        "{name: nope.service, enabled: true}",
        "unit 'nope.service' is enabled, but neither the document nor the image has it",
    );
    fails(
        "{name: masked.service, enabled: true}",
        "unit 'masked.service' is enabled, but the image masks it: say mask: false too",
    );
    let own = |name: &str, install: &str, expect: &str| {
        fails(
            &format!("{{name: {name}, enabled: true, contents: \"[Install]\\n{install}\"}}"),
            &format!("unit '{name}': [Install] {expect}"),
        );
    };
    own(
        "a.service",
        "WantedBy=%H.target",
        "WantedBy=%H.target: the specifier %H depends on the machine",
    );
    own(
        "a.service",
        "WantedBy=nonsense",
        "WantedBy=nonsense: has no suffix such as '.service'",
    );
    own(
        "a.service",
        "Alias=a.socket",
        "Alias=a.socket: 'a.service' cannot have this alias",
    );
    fails(
        "{name: a.service, enabled: true, contents: \"[Install]\\nAlias=sshd.service\"}",
        "/etc/systemd/system/sshd.service: a link to something else exists there already and overwrite is false",
    );
}
