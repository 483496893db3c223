//! A snapshot in which every section has an entry and every field a value.

use std::collections::{BTreeMap, BTreeSet};

use pleach_booted_state::model::*;
use pleach_booted_state::{Section, Snapshot};

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn section<T>(entries: impl IntoIterator<Item = (&'static str, T)>) -> Section<T> {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn path(path_type: PathType) -> PathEntry {
    PathEntry {
        path_type,
        mode: Mode(0o644),
        uid: 0,
        gid: 42,
        size: Some(7),
        digest: text("sha256:00"),
        target: text("../usr/lib/os-release"),
        device: text("1:3"),
        xattrs: BTreeMap::from([("user.a.note".to_owned(), "v\\x00".to_owned())]),
        hard_link: text("/etc/other"),
        unlisted: Some(Unlisted::Rule),
    }
}

fn shadow(password: Password, last_change: LastChange) -> Shadow {
    Shadow {
        password,
        last_change,
        minimum: Some(0),
        maximum: Some(99_999),
        warning: Some(7),
        inactive: Some(1),
        expires: Some(20_000),
    }
}

fn mount(source: MountSource) -> Mount {
    Mount {
        fs_type: "tmpfs".to_owned(),
        source,
        root: "/".to_owned(),
        options: strings(&["nodev", "rw"]),
        fs_options: strings(&["mode=755", "ro"]),
        amounts: BTreeMap::from([("size".to_owned(), "100k".to_owned())]),
        propagation: strings(&["shared"]),
    }
}

fn unit() -> Unit {
    Unit {
        enablement: text("enabled"),
        preset: text("disabled"),
        loaded: Some(LoadedUnit {
            load_state: "loaded".to_owned(),
            active_state: "active".to_owned(),
            sub_state: "exited".to_owned(),
            unit_file_state: text("enabled"),
            result: text("success"),
            fragment_path: text("/etc/systemd/system/a.service"),
            source_path: text("/etc/fstab"),
            drop_in_paths: strings(&["/etc/systemd/system/a.service.d/1.conf"]),
            condition_result: text("yes"),
            started: Some(true),
            exec_main_status: Some(0),
            restarts: Some(0),
        }),
    }
}

fn digest() -> String {
    "sha256:11".to_owned()
}

fn method() -> String {
    "$y$".to_owned()
}

fn accounts(snapshot: &mut Snapshot) {
    snapshot.users = section([(
        "alice",
        User {
            password: Password::Shadowed,
            uid: 1001,
            gid: 1001,
            gecos: "A".to_owned(),
            home: "/home/alice".to_owned(),
            shell: "/bin/sh".to_owned(),
        },
    )]);
    snapshot.groups = section([(
        "wheel",
        Group {
            password: Password::None,
            gid: 10,
            members: BTreeSet::from(["alice".to_owned()]),
        },
    )]);
    let (digest, method) = (digest(), method());
    snapshot.shadow = section([
        (
            "alice",
            shadow(
                Password::Set {
                    digest: digest.clone(),
                    method: method.clone(),
                },
                LastChange::Day(19_000),
            ),
        ),
        (
            "bob",
            shadow(Password::Locked { digest, method }, LastChange::Never),
        ),
        (
            "root",
            shadow(Password::Unusable("*".to_owned()), LastChange::Forced),
        ),
    ]);
    let names = |names: &[&str]| strings(names).into_iter().collect();
    snapshot.gshadow = section([(
        "wheel",
        GroupShadow {
            password: Password::Unusable("!".to_owned()),
            administrators: names(&["root"]),
            members: names(&["alice", "bob"]),
        },
    )]);
    snapshot.authorized_keys = section([(
        "alice",
        UserKeys {
            patterns: strings(&[".ssh/authorized_keys"]),
            command: text("/usr/bin/userdbctl root"),
            files: BTreeMap::from([(
                "/home/alice/.ssh/authorized_keys".to_owned(),
                KeyFile {
                    effective: false,
                    why: text("mode 0666"),
                    bad_lines: 1,
                },
            )]),
            keys: BTreeMap::from([(
                "SHA256:x".to_owned(),
                vec![AuthorizedKey {
                    file: "/home/alice/.ssh/authorized_keys".to_owned(),
                    key_type: "ssh-ed25519".to_owned(),
                    comment: "alice@laptop".to_owned(),
                    options: strings(&["restrict"]),
                    effective: false,
                    why: text("mode 0666"),
                }],
            )]),
        },
    )]);
}

fn network(snapshot: &mut Snapshot) {
    snapshot.network = section([(
        "ens3",
        Interface {
            link_type: "ether".to_owned(),
            state: "UP".to_owned(),
            flags: BTreeSet::from(["MULTICAST".to_owned()]),
            mtu: 1500,
            hardware_address: text("52:54:00:00:00:01"),
            controller: text("br0"),
            addresses: vec![Address {
                family: "inet".to_owned(),
                address: "10.0.2.15/24".to_owned(),
                scope: "global".to_owned(),
                dynamic: true,
            }],
        },
    )]);
    snapshot.network_files = section([(
        "/etc/resolv.conf",
        NetworkFile {
            target: text("../run/resolv.conf"),
            digest: text("sha256:22"),
        },
    )]);
    snapshot.listening_sockets = section([(
        "tcp 0.0.0.0:22",
        ListeningSocket {
            count: 1,
            owners: vec![SocketOwner {
                unit: "ssh.service".to_owned(),
                process: "sshd".to_owned(),
            }],
        },
    )]);
}

/// See the module.
pub(crate) fn full() -> Snapshot {
    let mut snapshot = Snapshot::empty();
    let value = |key| section([(key, "one".to_owned())]);
    snapshot.paths = section([
        ("/etc/a\\xff", path(PathType::File)),
        ("/etc/b", path(PathType::Symlink)),
    ]);
    snapshot.usr = section([("/usr/bin/su", path(PathType::File))]);
    snapshot.etc_defaults = section([("/usr/etc/a", path(PathType::File))]);
    snapshot.units = section([("a.service", unit())]);
    snapshot.failed_units = section([(
        "a.service",
        FailedUnit {
            result: "exit-code".to_owned(),
            exec_main_status: Some(1),
        },
    )]);
    snapshot.jobs = section([(
        "a.service",
        Job {
            job_type: "start".to_owned(),
            state: "waiting".to_owned(),
        },
    )]);
    snapshot.system = value("state");
    snapshot.manager = value("Version");
    snapshot.presets = section([(
        "90-a.preset",
        PresetFile {
            directory: "/usr/lib/systemd/system-preset".to_owned(),
            directives: strings(&["enable a.service"]),
        },
    )]);
    accounts(&mut snapshot);
    snapshot.sshd = section([("acceptenv", strings(&["LANG", "LC_*"]))]);
    snapshot.kernel_arguments = section([("console", KernelArgument(vec![text("ttyS0"), None]))]);
    snapshot.kernel = value("release");
    snapshot.modules = section([(
        "virtio_blk",
        Module {
            state: "Live".to_owned(),
            used_by: strings(&["x"]),
        },
    )]);
    snapshot.sysctls = section([
        ("kernel.a", Sysctl::Value("1".to_owned())),
        ("kernel.b", Sysctl::Secret(digest())),
        ("kernel.c", Sysctl::Unreadable("EIO".to_owned())),
    ]);
    snapshot.mounts = section([(
        "/",
        MountStack(vec![
            mount(MountSource::Device("/dev/vda".to_owned())),
            mount(MountSource::Named("tmpfs".to_owned())),
        ]),
    )]);
    snapshot.hostname = value("static");
    snapshot.locale = value("LANG");
    snapshot.time_zone = value("zone");
    network(&mut snapshot);
    snapshot.os_release = value("ID");
    snapshot.machine_id = value("etc");
    snapshot.ostree = value("checksum");
    snapshot.config_diff = section([("/etc/a", ConfigChange::Modified)]);
    snapshot.boot = value("boot_id");
    snapshot.journal_problems = section([(
        "a.service: boom",
        JournalProblem {
            source: "a.service".to_owned(),
            message: "boom".to_owned(),
            priority: 3,
            count: 1,
        },
    )]);
    snapshot
}
