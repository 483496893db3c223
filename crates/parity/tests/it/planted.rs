//! A fault beside what each rule forgives. Whoever adds a rule adds a row; a test asks for it.

use std::collections::BTreeSet;

use pleach_booted_state::{SectionName, Snapshot};
use pleach_parity::{Capture, Control, Defect, Facts, Route, Verdict, judge, rules};
use serde_json::{Value, json};

use super::{file, snapshot};
use Route::{CloudInit, Credentials, Derive, Etc, Ignition, Split};

/// An entry of both sides; null is none.
struct Entry {
    section: &'static str,
    key: String,
    left: Value,
    right: Value,
}

fn entry(section: &'static str, key: &str, left: Value, right: Value) -> Entry {
    let key = key.to_owned();
    Entry {
        section,
        key,
        left,
        right,
    }
}

/// The same on both sides.
fn both(section: &'static str, key: &str, value: Value) -> Entry {
    entry(section, key, value.clone(), value)
}

/// What a rule covers, and what comes near it and is a fault.
struct Planted {
    rule: &'static str,
    section: SectionName,
    routes: (Route, Route),
    covered: Vec<Entry>,
    /// In place of the entries of the same section and key, or besides.
    fault: Vec<Entry>,
}

fn sides(entries: &[&Entry]) -> (Snapshot, Snapshot) {
    let side = |value: fn(&Entry) -> &Value| {
        let there = entries.iter().flat_map(|entry| {
            // A section that one side has is captured on both.
            let captured = (entry.section, "", Value::Null);
            let value = value(entry);
            let there = (!value.is_null()).then(|| (entry.section, &*entry.key, value.clone()));
            std::iter::once(captured).chain(there)
        });
        snapshot(&there.collect::<Vec<_>>())
    };
    (side(|entry| &entry.left), side(|entry| &entry.right))
}

fn verdict(row: &Planted, entries: &[&Entry]) -> Verdict {
    let (left, right) = sides(entries);
    let rules = rules::all();
    // Noise is what two boots of the base differ in: here, in just what the row covers.
    let (one, two) = sides(&row.covered.iter().collect::<Vec<_>>());
    let control = match row.routes.0 {
        Route::Base => Control::new(&one, &two, &rules),
        _ => Control::default(),
    };
    let routes = match row.routes {
        (Route::Base, right) => (Derive, right),
        routes => routes,
    };
    let left = Capture {
        route: routes.0,
        snapshot: &left,
    };
    let right = Capture {
        route: routes.1,
        snapshot: &right,
    };
    let base = snapshot(&[("config_diff", "", Value::Null)]);
    judge(left, right, &base, &facts(), &rules, &control)
}

fn facts() -> Facts {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Facts {
        users: set(&["alice"]),
        groups: set(&["alice"]),
        units: set(&["site.service"]),
        units_in_usr: true,
        masked: set(&["noisy.timer"]),
        declarations: set(&["/usr/lib/sysusers.d/50-pleach.conf"]),
        declared: set(&["/var/site"]),
        left_behind: set(&["/var/data"]),
        named_paths: set(&["/var/named/data/postmaster.pid"]),
        withdrawn: true,
        ..Facts::default()
    }
}

#[test]
fn no_rule_hides_a_planted_fault() {
    let rows = rows();
    for row in &rows {
        let what = format!("{} in {}", row.rule, row.section);
        let covered: Vec<_> = row.covered.iter().collect();
        let found = verdict(row, &covered);
        assert!(found.is_equal(), "{what} covers it: {:#?}", found.defects);
        let used =
            |e: &pleach_parity::Expected| e.rule == row.rule && e.difference.section == row.section;
        assert!(found.expected.iter().any(used), "{what}: {found:#?}");

        let mut entries: Vec<_> = row.covered.iter().collect();
        entries.retain(|old| {
            let same = |new: &&Entry| new.section == old.section && new.key == old.key;
            !row.fault.iter().any(|new| same(&new))
        });
        entries.extend(&row.fault);
        let found = verdict(row, &entries);
        let seen = |defect: &Defect| {
            match defect {
                Defect::Difference(difference) => difference.section == row.section,
                // What is forgiven of this section is held to its shape.
                _ => row.section == SectionName::ConfigDiff,
            }
        };
        assert!(
            found.defects.iter().any(seen),
            "{what} hides it: {found:#?}"
        );
    }
    let rule = |row: &Planted| (row.rule, row.section);
    let rows: BTreeSet<_> = rows.iter().map(rule).collect();
    let rules: BTreeSet<_> = rules::all().iter().map(|r| (r.name, r.section)).collect();
    let missing: Vec<_> = rules.difference(&rows).collect();
    assert!(missing.is_empty(), "rules without a row here: {missing:?}");
}

/// A row: the rule, its section, the routes, what is covered, and the fault.
macro_rules! row {
    ($rule:literal $section:ident, $left:expr => $right:expr, $covered:expr, $fault:expr) => {
        Planted {
            rule: $rule,
            section: SectionName::$section,
            routes: ($left, $right),
            covered: Vec::from($covered),
            fault: Vec::from($fault),
        }
    };
}

const NONE: Value = Value::Null;

fn rows() -> Vec<Planted> {
    [
        noise(),
        definition(),
        image_units(),
        accounts(),
        machine(),
        tools(),
        podman(),
        database(),
        credentials(),
        cloud_init(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Routes from `Base` on: the control saw what is covered.
fn noise() -> Vec<Planted> {
    let sysctl = |key, left: &str, right: &str| {
        let value = |text: &str| json!({ "value": text });
        entry("sysctls", key, value(left), value(right))
    };
    let random = "/var/lib/systemd/random-seed";
    let (open, seed) = (
        with(file("sha256:b"), "mode", json!("0644")),
        with(file("sha256:a"), "mode", json!("0600")),
    );
    vec![
        row!("boot-identity" Boot, Route::Base => Etc,
            [entry("boot", "boot_id", json!("1"), json!("2"))],
            [entry("boot", "boot_id", json!("1"), NONE)]),
        row!("kernel-counters" Sysctls, Route::Base => Etc,
            [sysctl("fs.inode-nr", "1", "2")],
            [sysctl("fs.inotify.max_user_watches", "1", "2")]),
        row!("secret-bytes" Paths, Route::Base => Etc,
            [entry("paths", random, file("sha256:a"), file("sha256:b"))],
            [entry("paths", random, seed, open)]),
    ]
}

fn definition() -> Vec<Planted> {
    let declared = "/usr/lib/sysusers.d/50-pleach.conf";
    let path = |digit: char, serial: u32| {
        let checksum = digit.to_string().repeat(64);
        json!([format!("/ostree/boot.1/default/{checksum}/{serial}")])
    };
    let mount = |root: &str| json!([{ "fs_type": "ext4", "source": { "device": "/dev/vda" }, "root": root, "options": [], "fs_options": [] }]);
    let checksum = entry("ostree", "checksum", json!("aaaa"), json!("bbbb"));
    let checksum_again = entry("ostree", "checksum", json!("aaaa"), json!("bbbb"));
    vec![
        row!("image-declarations" Usr, Derive => Etc,
            [entry("usr", declared, file("sha256:a"), NONE)],
            [entry("usr", declared, file("sha256:a"), file("sha256:b"))]),
        row!("image-declarations" Usr, Split => Etc,
            [entry("usr", declared, file("sha256:a"), NONE)],
            [entry("usr", "/usr/lib/sysusers.d/other.conf", file("sha256:a"), NONE)]),
        row!("split-declarations" Usr, Derive => Split,
            [entry("usr", declared, file("sha256:a"), file("sha256:b"))],
            [entry("usr", declared, file("sha256:a"), with(file("sha256:b"), "mode", json!("0600")))]),
        row!("split-declarations" Usr, Derive => Split,
            [entry("usr", declared, file("sha256:a"), file("sha256:b"))],
            [entry("usr", "/usr/lib/os-release", file("sha256:a"), file("sha256:b"))]),
        row!("declared-for-first-boot" Paths, Split => Etc,
            [entry("paths", "/var/site", NONE, file("sha256:a"))],
            [entry("paths", "/var/other", NONE, file("sha256:a"))]),
        row!("declared-for-first-boot" Paths, Derive => Etc,
            [entry("paths", "/var/site", NONE, file("sha256:a"))],
            [entry("paths", "/var/site", file("sha256:b"), file("sha256:a"))]),
        row!("deployment-identity" KernelArguments, Derive => Etc,
            [entry("kernel_arguments", "ostree", path('a', 0), path('b', 0))],
            [entry("kernel_arguments", "ostree", path('a', 0), path('b', 1))]),
        row!("deployment-identity" Ostree, Derive => Etc,
            [checksum],
            [entry("ostree", "stateroot", json!("default"), json!("other"))]),
        row!("deployment-identity" Mounts, Derive => Etc,
            [checksum_again, entry("mounts", "/etc", mount("/deploy/aaaa.0/etc"), mount("/deploy/bbbb.0/etc"))],
            [entry("mounts", "/etc", mount("/deploy/aaaa.0/etc"), mount("/deploy/bbbb.0/usr"))]),
        row!("deployment-serial" Ostree, Derive => Etc,
            [entry("ostree", "serial", json!("0"), json!("1"))],
            [entry("ostree", "serial", json!("0"), NONE)]),
        row!("deployment-serial" Mounts, Derive => Etc,
            [both("ostree", "checksum", json!("aaaa")), entry("ostree", "serial", json!("0"), json!("1")),
             entry("mounts", "/etc", mount("/deploy/aaaa.0/etc"), mount("/deploy/aaaa.1/etc"))],
            [entry("mounts", "/etc", mount("/deploy/aaaa.0/etc"), mount("/deploy/aaaa.1/usr"))]),
        row!("config-diff-shape" ConfigDiff, Derive => Etc,
            [entry("config_diff", "/etc/passwd", NONE, json!("modified"))],
            [entry("config_diff", "/etc/issue", NONE, json!("modified"))]),
        row!("left-behind" Paths, Derive => Etc,
            [entry("paths", "/var/data", NONE, file("sha256:a"))],
            [entry("paths", "/var/data", file("sha256:b"), file("sha256:a"))]),
        row!("ownership-ledger" Paths, Derive => Etc,
            [entry("paths", "/etc/pleach/ownership.json", NONE, file("sha256:a"))],
            [entry("paths", "/etc/pleach/etc-merge.d", NONE, file("sha256:a"))]),
        row!("merge-bookkeeping" Paths, Derive => Etc,
            [entry("paths", "/etc.saved", NONE, file("sha256:a"))],
            [entry("paths", "/etc.prev", NONE, file("sha256:a"))]),
        row!("ignition-kernel-arguments" KernelArguments, Derive => Ignition,
            [entry("kernel_arguments", "ignition.firstboot", NONE, json!(["1"]))],
            [entry("kernel_arguments", "ignition.firstboot", json!(["1"]), NONE)]),
    ]
}

fn image_units() -> Vec<Planted> {
    let (etc, usr) = (
        "/etc/systemd/system/site.service",
        "/usr/lib/systemd/system/site.service",
    );
    let moved = |digest: &str, mode: &str| {
        let there = with(file("sha256:a"), "mode", json!("0644"));
        [
            entry("usr", usr, with(file(digest), "mode", json!(mode)), NONE),
            entry("paths", etc, NONE, there),
        ]
    };
    let right = || moved("sha256:a", "0644");
    let unit = |path: &str, state: &str| {
        json!({
            "enablement": "enabled",
            "loaded": { "load_state": "loaded", "active_state": state, "sub_state": "exited", "fragment_path": path },
        })
    };
    let unit = |path: &str, state: &str| {
        entry(
            "units",
            "site.service",
            unit(path, state),
            unit(etc, "active"),
        )
    };
    let presets = |word: &str| {
        let said = |folder: &str, word: &str| json!({ "directory": folder, "directives": [format!("{word} site.service")] });
        let (usr, etc) = (
            "/usr/lib/systemd/system-preset",
            "/etc/systemd/system-preset",
        );
        [
            entry(
                "presets",
                "20-pleach.preset",
                said(usr, word),
                said(etc, "enable"),
            ),
            entry(
                "paths",
                etc,
                NONE,
                with(file("sha256:d"), "type", json!("directory")),
            ),
        ]
    };
    let link = |target: &str| {
        let link = |target: &str| json!({ "type": "symlink", "mode": "0777", "uid": 0, "gid": 0, "target": target });
        let place = "/etc/systemd/system/multi-user.target.wants/site.service";
        entry("paths", place, link(target), link(etc))
    };
    vec![
        row!("image-unit-links" Paths, Derive => Etc, [link(usr)], [link("/usr/lib/systemd/system/other.service")]),
        row!("image-unit-links" Paths, Derive => Etc, [link(usr)], [link("/dev/null")]),
        row!("image-units" Paths, Derive => Etc, right(), moved("sha256:b", "0644")),
        row!("image-units" Paths, Derive => Etc, right(), moved("sha256:a", "0600")),
        row!("image-units" Usr, Derive => Etc, right(), moved("sha256:b", "0644")),
        row!("image-units" Usr, Split => Ignition, right(), moved("sha256:a", "0600")),
        row!("image-units" Units, Derive => Etc, [unit(usr, "active")], [unit(usr, "failed")]),
        row!("image-units" Units, Derive => Etc, [unit(usr, "active")], [unit("/usr/lib/systemd/system/other.service", "active")]),
        row!("image-units" Presets, Derive => Etc, presets("enable"), presets("disable")),
        row!("image-units" Paths, Derive => Etc, presets("enable"), presets("disable")),
    ]
}

fn accounts() -> Vec<Planted> {
    let shadow = |word: &str, day: u32| json!({ "password": { "unusable": word }, "last_change": { "day": day } });
    let usable = json!({ "password": { "set": { "digest": "sha256:a", "method": "$y$" } }, "last_change": { "day": 1 } });
    let group = |word: &str, members: &[&str]| json!({ "password": { "unusable": word }, "administrators": [], "members": members });
    let aged = |days: u32| with(shadow("*", 1), "maximum", json!(days));
    let passwd = "/etc/passwd";
    vec![
        row!("account-file-bytes" Paths, Derive => Etc,
            [entry("paths", passwd, file("sha256:a"), file("sha256:b"))],
            [entry("paths", passwd, file("sha256:a"), with(file("sha256:b"), "uid", json!(1)))]),
        row!("account-backup-files" Paths, Derive => Etc,
            [entry("paths", "/etc/shadow-", file("sha256:a"), NONE)],
            [entry("paths", "/etc/sudoers-", file("sha256:a"), NONE)]),
        row!("unusable-password-spelling" Shadow, Derive => Etc,
            [entry("shadow", "alice", shadow("!*", 1), shadow("*", 1))],
            [entry("shadow", "alice", shadow("!*", 1), usable)]),
        row!("unusable-password-spelling" Gshadow, Derive => Etc,
            [entry("gshadow", "alice", group("!*", &[]), group("!", &[]))],
            [entry("gshadow", "alice", group("!*", &[]), group("!", &["eve"]))]),
        row!("password-ageing-defaults" Shadow, Derive => Etc,
            [entry("shadow", "alice", shadow("*", 1), aged(99_999))],
            [entry("shadow", "root", shadow("*", 1), aged(99_999))]),
        row!("password-change-day" Shadow, Derive => Etc,
            [entry("shadow", "alice", shadow("*", 1), shadow("*", 2))],
            [entry("shadow", "alice", shadow("*", 1), shadow("*", 3))]),
    ]
}

fn machine() -> Vec<Planted> {
    let sysctl = |key, left: &str, right: &str| {
        let value = |text: &str| json!({ "value": text });
        entry("sysctls", key, value(left), value(right))
    };
    let tmpfs = |size: &str| json!([{ "fs_type": "tmpfs", "source": { "named": "tmpfs" }, "root": "/", "options": [], "fs_options": [], "amounts": { "size": size } }]);
    let manager =
        |left: &str, right: &str| entry("manager", "DefaultTasksMax", json!(left), json!(right));
    let udev = "unix seqpacket /run/udev/control";
    let worker = ("systemd-udevd.service", "(udev-worker)");
    let lasting = ("systemd-udevd.service", "systemd-udevd");
    let held = |owners: &[(&str, &str)]| {
        let owners = owners
            .iter()
            .map(|(unit, process)| json!({ "unit": unit, "process": process }));
        json!({ "count": 1, "owners": owners.collect::<Vec<_>>() })
    };
    vec![
        row!("share-of-memory" Sysctls, Derive => Etc,
            [sysctl("kernel.threads-max", "1000", "1005")],
            [sysctl("kernel.threads-max", "1000", "1050")]),
        row!("share-of-memory" Sysctls, Derive => Etc,
            [sysctl("net.ipv4.udp_mem", r"20931\x0927910\x0941862", r"20931\x0927911\x0941862")],
            [sysctl("net.ipv4.udp_mem", r"20931\x0927910\x0941862", r"20931\x0937911\x0941862")]),
        row!("share-of-memory" Mounts, Derive => Etc,
            [entry("mounts", "/run", tmpfs("1000k"), tmpfs("1005k"))],
            [entry("mounts", "/run", tmpfs("1000k"), tmpfs("1050k"))]),
        row!("share-of-memory" Manager, Derive => Etc,
            [manager("1000", "1005")],
            [manager("1000", "1050")]),
        row!("udev-workers" ListeningSockets, Derive => Etc,
            [entry("listening_sockets", udev, held(&[worker, lasting]), held(&[lasting]))],
            [entry("listening_sockets", udev, held(&[worker, lasting]), held(&[]))]),
        row!("udev-workers" ListeningSockets, Derive => Etc,
            [entry("listening_sockets", udev, held(&[lasting]), held(&[worker, lasting]))],
            [entry("listening_sockets", udev, held(&[lasting]), held(&[worker, ("a.service", "a")]))]),
        row!("udev-workers" ListeningSockets, Derive => Etc,
            [entry("listening_sockets", udev, held(&[lasting]), held(&[worker, lasting]))],
            [entry("listening_sockets", udev, held(&[lasting]), held(&[lasting, ("a.service", "(udev-worker)")]))]),
        row!("udev-workers" ListeningSockets, Derive => Etc,
            [entry("listening_sockets", udev, held(&[lasting]), held(&[worker, lasting]))],
            [entry("listening_sockets", "unix seqpacket /run/other", held(&[lasting]), held(&[worker, lasting]))]),
        row!("work-of-ignition" Sysctls, Derive => Ignition,
            [sysctl("fs.quota.syncs", "8", "16")],
            [sysctl("fs.quota.warnings", "0", "1")]),
    ]
}

fn tools() -> Vec<Planted> {
    let ours = "/etc/systemd/system-preset/20-pleach.preset";
    let theirs = "/etc/systemd/system-preset/20-ignition.preset";
    let presets = |word: &str| {
        let said = |line: String| json!({ "directory": "/etc/systemd/system-preset", "directives": [line] });
        [
            entry("paths", ours, file("sha256:a"), NONE),
            entry("paths", theirs, NONE, file("sha256:a")),
            entry(
                "presets",
                "20-pleach.preset",
                said("enable a.timer".to_owned()),
                NONE,
            ),
            entry(
                "presets",
                "20-ignition.preset",
                NONE,
                said(format!("{word} a.timer")),
            ),
        ]
    };
    let result = "/etc/.ignition-result.json";
    let keys = |name: &str, effective: bool| {
        let file = format!("/home/alice/.ssh/{name}");
        let key =
            json!({ "file": file, "type": "ssh-ed25519", "comment": "a", "effective": effective });
        json!({ "patterns": [".ssh/authorized_keys"], "keys": { "SHA256:x": [key] } })
    };
    let alice = json!({ "password": { "unusable": "x" }, "uid": 1001, "gid": 1001, "gecos": "", "home": "/home/alice", "shell": "/bin/sh" });
    let fragment = "authorized_keys.d/ignition";
    let placed = |effective: bool| {
        [
            both("users", "alice", alice.clone()),
            entry(
                "authorized_keys",
                "alice",
                keys("authorized_keys", true),
                keys(fragment, effective),
            ),
            entry(
                "paths",
                "/home/alice/.ssh/authorized_keys",
                file("sha256:a"),
                NONE,
            ),
            entry(
                "paths",
                "/home/alice/.ssh/authorized_keys.d/ignition",
                NONE,
                file("sha256:a"),
            ),
        ]
    };
    vec![
        row!("preset-file-name" Paths, Derive => Ignition, presets("enable"), presets("disable")),
        row!("preset-file-name" Presets, Derive => Ignition, presets("enable"), presets("disable")),
        row!("ignition-result" Paths, Derive => Ignition,
            [entry("paths", result, NONE, file("sha256:a"))],
            [entry("paths", result, file("sha256:a"), NONE)]),
        row!("authorized-keys-place" Paths, Derive => Ignition, placed(true), placed(false)),
        row!("authorized-keys-place" AuthorizedKeys, Derive => Ignition, placed(true), placed(false)),
    ]
}

fn podman() -> Vec<Planted> {
    const STORAGE: &str = "/var/lib/containers/storage";
    let id = |digit: char| digit.to_string().repeat(64);
    let link = |digit: char| digit.to_string().repeat(26);
    let mount = |fs_type: &str, option: &str, fs_option: String| {
        json!([{
            "fs_type": fs_type, "source": { "named": "x" }, "root": "/",
            "options": [option], "fs_options": [fs_option],
        }])
    };
    let merged = |digit: char| format!("{STORAGE}/overlay/{}/merged", id(digit));
    let shm = |digit: char| format!("{STORAGE}/overlay-containers/{}/userdata/shm", id(digit));
    let root = |letter: char, option: &str| {
        let lower = format!("lowerdir={STORAGE}/overlay/l/{}", link(letter));
        mount("overlay", option, lower)
    };
    let memory = |option: &str| mount("tmpfs", option, "mode=1777".to_owned());
    let left = || {
        [
            entry("mounts", &merged('a'), root('X', "rw"), NONE),
            entry("mounts", &shm('a'), memory("nosuid"), NONE),
        ]
    };
    let right = |root_option: &str, memory_option: &str| {
        let mut all = Vec::from(left());
        all.push(entry("mounts", &merged('b'), NONE, root('Y', root_option)));
        all.push(entry("mounts", &shm('b'), NONE, memory(memory_option)));
        all
    };
    let same = || right("rw", "nosuid");
    let more = |key: String, value: Value| [entry("mounts", &key, NONE, value)];
    let unit = |digit: char| {
        let name = r"var-lib-containers-storage-overlay\x2dcontainers";
        format!("{name}-{}-userdata-shm.mount", id(digit))
    };
    let state = |sub: &str| json!({ "loaded": { "load_state": "loaded", "active_state": "active", "sub_state": sub } });
    let units = |sub: &str| {
        [
            entry("units", &unit('a'), state("mounted"), NONE),
            entry("units", &unit('b'), NONE, state(sub)),
        ]
    };
    let root_unit = |digit: char, side: Value| {
        let name = format!(
            "var-lib-containers-storage-overlay-{}-merged.mount",
            id(digit)
        );
        [entry("units", &name, NONE, side)]
    };
    vec![
        row!("container-mounts" Mounts, Derive => Etc, same(), right("ro", "nosuid")),
        row!("container-mounts" Mounts, Derive => Etc, same(), right("rw", "suid")),
        // One more, and one of the other kind.
        row!("container-mounts" Mounts, Derive => Etc, same(), more(shm('c'), memory("nosuid"))),
        row!("container-mounts" Mounts, Derive => Etc, same(), more(shm('b'), root('Y', "rw"))),
        row!("container-mounts" Mounts, Derive => Etc, same(),
            more(format!("{STORAGE}/other/{}/merged", id('b')), root('Y', "rw"))),
        row!("container-mounts" Units, Derive => Etc, units("mounted"), units("tentative")),
        row!("container-mounts" Units, Derive => Etc, units("mounted"), root_unit('b', state("mounted"))),
    ]
}

/// A cluster as initdb makes it on two machines, and what is wrong with one of its files.
fn database() -> Vec<Planted> {
    const CLUSTER: &str = "/var/lib/site/data";
    const CONTROL: &str = "global/pg_control";
    const SEGMENT: &str = "pg_wal/000000010000000000000001";
    const LOCK: &str = "postmaster.pid";
    let owned =
        |kind: &str, mode: &str| json!({ "type": kind, "mode": mode, "uid": 102, "gid": 103 });
    let sized = |size: u64, digest: &str| {
        let file = with(owned("file", "0600"), "size", json!(size));
        with(file, "digest", json!(digest))
    };
    let (a, b, c) = (
        |size| sized(size, "sha256:a"),
        |size| sized(size, "sha256:b"),
        |size| sized(size, "sha256:c"),
    );
    let at = |top: &str, name: &str, left: Value, right: Value| {
        let path = format!("{top}/{name}");
        entry("paths", path.trim_end_matches('/'), left, right)
    };
    let segment = 16 << 20;
    let files = |top: &str| {
        let directories = ["", "base", "global", "pg_wal", "pg_xact"];
        let directories = directories.map(|name| {
            let directory = owned("directory", "0700");
            at(top, name, directory.clone(), directory)
        });
        let files = [
            ("PG_VERSION", c(3), c(3)),
            ("pg_hba.conf", c(100), c(100)),
            (CONTROL, a(8192), b(8192)),
            (SEGMENT, a(segment), b(segment)),
            (LOCK, a(99), b(100)),
        ];
        let files = files.map(|(name, left, right)| at(top, name, left, right));
        Vec::from_iter(directories.into_iter().chain(files))
    };
    let row =
        |fault: Vec<Entry>| row!("database-cluster" Paths, Derive => Etc, files(CLUSTER), fault);
    let fault = |name, left, right| row(vec![at(CLUSTER, name, left, right)]);
    let both = |name, value: Value| fault(name, value.clone(), value);
    vec![
        // A file of the cluster that is the same on each machine.
        fault("pg_hba.conf", a(100), b(100)),
        fault("PG_VERSION", a(3), b(3)),
        fault("pg_wal/000000010000000000000002", a(segment), b(segment)),
        // One of its own that is not there, or not as it should be.
        fault(CONTROL, a(8192), NONE),
        fault(SEGMENT, NONE, b(segment)),
        fault(LOCK, a(99), NONE),
        fault(CONTROL, a(8192), with(b(8192), "mode", json!("0644"))),
        fault(SEGMENT, a(segment), with(b(segment), "gid", json!(0))),
        fault(
            LOCK,
            a(99),
            with(b(99), "xattrs", json!({ "user.note": "x" })),
        ),
        fault(
            LOCK,
            with(a(99), "uid", json!(0)),
            with(b(99), "uid", json!(0)),
        ),
        // Sizes that none of them has: one that was cut, empty, or grew.
        fault(CONTROL, a(8192), b(4096)),
        fault(CONTROL, a(4096), b(4096)),
        fault(SEGMENT, a(segment), b(2 * segment)),
        fault(SEGMENT, a(0), b(0)),
        fault(SEGMENT, a(segment + 1), b(segment + 1)),
        fault(LOCK, a(99), b(199)),
        // The cluster is one and the same, and its WAL is not.
        both(CONTROL, a(8192)),
        // No cluster: what every one has is missing, it is open to others, or no directory.
        both("PG_VERSION", NONE),
        both("pg_xact", NONE),
        both("pg_wal", with(owned("directory", "0700"), "uid", json!(0))),
        both("", owned("directory", "0755")),
        both("", owned("symlink", "0777")),
        both("base", owned("file", "0700")),
        row(vec![at("/var/other", CONTROL, a(8192), b(8192))]),
        row(vec![at("/var/other", LOCK, a(99), b(99))]),
        // One that is no machine's data, and one with a file that the document brings.
        row(files("/etc/data")),
        row(files("/var/named/data")),
    ]
}

fn credentials() -> Vec<Planted> {
    let (etc, run) = (
        "/etc/systemd/system/site.service",
        "/run/systemd/generator.early/site.service",
    );
    let placed = |digest: &str| {
        [
            entry("paths", etc, file("sha256:a"), NONE),
            entry("paths", run, NONE, file(digest)),
        ]
    };
    let unit = |enablement: &str, path: &str, state: &str| {
        json!({
            "enablement": enablement,
            "loaded": {
                "load_state": "loaded", "active_state": state, "sub_state": "exited",
                "unit_file_state": enablement, "fragment_path": path,
            },
        })
    };
    let runs = |path: &str, state: &str| {
        entry(
            "units",
            "site.service",
            unit("enabled", etc, "active"),
            unit("generated", path, state),
        )
    };
    let timer = |load: &str, active: &str| {
        json!({
            "enablement": "masked",
            "loaded": { "load_state": load, "active_state": active, "sub_state": "dead" },
        })
    };
    let masked = |active: &str| {
        entry(
            "units",
            "noisy.timer",
            timer("masked", "inactive"),
            timer("loaded", active),
        )
    };
    // What the masked timer would start.
    let looked_up = |active: &str| {
        let loaded = with(timer("loaded", active), "enablement", json!("static"));
        entry(
            "units",
            "noisy.service",
            json!({ "enablement": "static" }),
            loaded,
        )
    };
    let preset = "/etc/systemd/system-preset/20-pleach.preset";
    let presets = |line: &str| {
        let says = |word: &str| json!({ "enablement": "static", "preset": word });
        [
            entry("paths", preset, file("sha256:a"), NONE),
            entry(
                "presets",
                "20-pleach.preset",
                json!({ "directory": "/etc/systemd/system-preset", "directives": [line] }),
                NONE,
            ),
            entry("units", "site.service", says("enabled"), says("disabled")),
        ]
    };
    let (own, more) = ("enable site.service", "enable debug-shell.service");
    let subids = |digest: &str, size: u64| {
        let made = with(file(digest), "size", json!(size));
        entry("paths", "/etc/subuid", file("sha256:a"), made)
    };
    let unresolved = |source: &str, message: String| {
        let problem = json!({ "source": source, "message": message, "priority": 3, "count": 1 });
        let account = json!({ "password": { "unusable": "x" }, "uid": 1001, "gid": 1001, "gecos": "", "home": "/home/alice", "shell": "/bin/sh" });
        [
            both("users", "alice", account),
            entry(
                "journal_problems",
                &format!("{source}: {message}"),
                NONE,
                problem,
            ),
        ]
    };
    let by_tmpfiles = |name: &str| {
        let message =
            format!("/run/x/tmpfiles.extra:2: Failed to resolve user '{name}': No such process");
        unresolved("systemd-tmpfiles-setup.service", message)
    };
    let by_udev = |name: &str| {
        let message = format!("/etc/udev/rules.d/70-x.rules:3 Unknown user '{name}', ignoring.");
        unresolved("systemd-udevd.service", message)
    };
    vec![
        row!("credential-subids" Paths, Etc => Credentials, [subids("sha256:0", 0)], [subids("sha256:b", 9)]),
        row!("credential-initramfs" JournalProblems, Etc => Credentials, by_tmpfiles("alice"), by_tmpfiles("bob")),
        row!("credential-initramfs" JournalProblems, Etc => Credentials, by_udev("alice"), by_udev("bob")),
        row!("credential-units" Paths, Etc => Credentials, placed("sha256:a"), placed("sha256:b")),
        row!("credential-units" Units, Etc => Credentials, [runs(run, "active")], [runs(run, "failed")]),
        row!("credential-mask" Units, Etc => Credentials, [looked_up("inactive")], [looked_up("active")]),
        row!("credential-mask" Units, Etc => Credentials, [masked("inactive")], [masked("active")]),
        row!("credential-presets" Paths, Etc => Credentials, presets(own), presets(more)),
        row!("credential-presets" Presets, Etc => Credentials, presets(own), presets(more)),
        row!("credential-presets" Units, Etc => Credentials, presets(own), presets(more)),
    ]
}

fn cloud_init() -> Vec<Planted> {
    let state = |active: &str, ran: &str| {
        json!({
            "enablement": "enabled",
            "loaded": { "load_state": "loaded", "active_state": active, "sub_state": "dead", "condition_result": ran },
        })
    };
    let unit = |name: &str, left: &str, right: &str| {
        entry(
            "units",
            name,
            state("inactive", left),
            state("inactive", right),
        )
    };
    let stamp = |enablement: &str, size: u64| {
        let note = with(file("sha256:0"), "size", json!(size));
        [
            both("units", "trim.timer", json!({ "enablement": enablement })),
            entry(
                "paths",
                "/var/lib/systemd/timers/stamp-trim.timer",
                NONE,
                note,
            ),
        ]
    };
    let wants = "/run/systemd/generator.early/multi-user.target.wants/cloud-init.target";
    let device = json!({ "loaded": { "load_state": "loaded", "active_state": "active", "sub_state": "plugged" } });
    let module = json!({ "state": "Live", "used_by": [] });
    vec![
        row!("cloud-init-state" Paths, Etc => CloudInit,
            [entry("paths", "/var/lib/cloud/data", NONE, file("sha256:a"))],
            [entry("paths", "/var/lib/cloudy", NONE, file("sha256:a"))]),
        row!("cloud-init-late" Paths, Etc => CloudInit, stamp("disabled", 0), stamp("enabled", 0)),
        row!("cloud-init-late" Paths, Etc => CloudInit, stamp("masked", 0), stamp("masked", 7)),
        row!("cloud-init-runs" Units, Etc => CloudInit,
            [unit("cloud-final.service", "no", "yes")],
            [unit("ssh.service", "yes", "no")]),
        row!("cloud-init-runs" Units, Etc => CloudInit,
            [entry("units", "chronyd.service", NONE, json!({ "loaded": { "load_state": "not-found", "active_state": "inactive", "sub_state": "dead" } }))],
            [entry("units", "chronyd.service", NONE, json!({ "loaded": { "load_state": "loaded", "active_state": "active", "sub_state": "running" } }))]),
        row!("cloud-init-runs" Paths, Etc => CloudInit,
            [entry("paths", wants, NONE, file("sha256:a"))],
            [entry("paths", wants, file("sha256:a"), NONE)]),
        row!("cloud-init-disk" Units, Etc => CloudInit,
            [entry("units", "dev-vdc.device", NONE, device.clone())],
            [entry("units", "dev-vdd.device", NONE, device)]),
        row!("cloud-init-disk" Modules, Etc => CloudInit,
            [entry("modules", "vfat", NONE, module.clone())],
            [entry("modules", "nfs", NONE, module)]),
        row!("second-boot" Sysctls, Etc => CloudInit,
            [entry("sysctls", "fs.quota.syncs", json!({ "value": "8" }), json!({ "value": "2" }))],
            [entry("sysctls", "fs.quota.drops", json!({ "value": "8" }), json!({ "value": "2" }))]),
        row!("second-boot" Units, Etc => CloudInit,
            [unit("systemd-update-done.service", "yes", "no")],
            [unit("systemd-sysctl.service", "yes", "no")]),
    ]
}

/// The object with another member.
fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}
