//! A capture of a root directory that is made up.

use std::io::ErrorKind;
use std::time::Duration;

use pleach_booted_state::{
    CaptureOptions, CommandRunner, Section, SectionName, Snapshot, Status, SystemRunner, capture,
};

use crate::fake::{Root, Tools};

fn root() -> Root {
    let root = Root::with_kernel();
    root.file("proc/sys/net/ipv4/conf/eth0.7/forwarding", "1\n", 0o644);
    root.file("proc/sys/net/ipv4/tcp_fastopen_key", "secret\n", 0o600);
    root.file("proc/sys/net/ipv4/route/flush", "", 0o200);
    root.file("proc/sys/fs/binfmt_misc/status", "never\n", 0o444);
    root.file("proc/sys/kernel/random/boot_id", "b00t\n", 0o444);
    root.file(
        "proc/1/net/unix",
        "Num\n0: 2 0 00010000 0001 01 77 /run/a\n",
        0o444,
    );
    root.file("proc/44/cgroup", "0::/system.slice/a.service\n", 0o444);
    root.file("proc/44/comm", "a d\n", 0o444);
    root.link("proc/44/fd/3", "socket:[77]");
    root.link("proc/44/fd/4", "/dev/null");
    root.file("etc/hostname", "one\n", 0o644);
    root.file("etc/machine-info", "PRETTY_HOSTNAME=\"The one\"\n", 0o644);
    root.file("etc/machine-id", "0123\n", 0o444);
    root.link("etc/localtime", "../usr/share/zoneinfo/Europe/Berlin");
    root.file("etc/adjtime", "0 0 0\n0\nLOCAL\n", 0o644);
    root.file(
        "usr/lib/os-release",
        "ID=debian\nNAME=\"Debian Linux\"\n",
        0o644,
    );
    root.link("etc/os-release", "../usr/lib/os-release");
    root.file("etc/locale.conf", "LANG=C.UTF-8\n", 0o644);
    root.link("etc/default/locale", "../locale.conf");
    root.file(
        "etc/systemd/system-preset/10-a.preset",
        "enable a.service\n",
        0o644,
    );
    root.link("etc/systemd/system-preset/90-b.preset", "/dev/null");
    root.file(
        "usr/lib/systemd/system-preset/10-a.preset",
        "disable a.service\n",
        0o644,
    );
    root.file(
        "usr/lib/systemd/system-preset/90-b.preset",
        "disable *\n",
        0o644,
    );
    root.file(
        "usr/lib/systemd/system-preset/99-c.preset",
        "disable *\n",
        0o644,
    );
    root.link("etc/resolv.conf", "/run/resolv.conf");
    root.file("etc/hosts", "127.0.0.1 localhost\n", 0o644);
    root
}

fn tools() -> Tools {
    Tools::default()
        .answer("systemctl is-system-running --wait", "degraded\n")
        .answer("systemctl list-jobs", "1 b.service start waiting\n")
        .answer("systemctl get-default", "multi-user.target\n")
        .answer("systemctl list-unit-files", "a.service enabled enabled\nb.service masked enabled\n")
        .answer("systemctl list-units", "a.service loaded failed failed A\nx.device loaded active plugged X\n")
        .answer(
            "systemctl show --all",
            "Id=a.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n\
             ExecMainStatus=1\nNRestarts=0\nExecMainStartTimestampMonotonic=5\n",
        )
        .answer("systemctl show --no-pager", "Version=257\nFinishTimestampMonotonic=9\nNNames=3\n")
        .answer("journalctl", "{\"MESSAGE\":\"boom\",\"PRIORITY\":\"3\",\"UNIT\":\"a.service\"}\n")
        .answer("getent passwd", "root:x:0:0:root:/root:/bin/sh\n")
        .answer("getent group", "root:x:0:\n")
        .answer("getent shadow", "root:*:19000:0:99999:7:::\n")
        .answer("getent gshadow", "root:*::\nwheel:!:root:bob,alice\n")
        .answer("ostree admin status", "* debian 12ab.0\n    origin refspec: debian/base\n")
        .answer("ostree admin config-diff", "M    hostname\n")
        .answer("ip -json address show", "[{\"ifname\":\"lo\",\"mtu\":65536}]")
        .answer("/usr/sbin/sshd -G", "port 22\nauthorizedkeysfile .ssh/authorized_keys\n")
}

/// A section in one line an entry.
fn shown<T: serde::Serialize>(section: &Section<T>) -> String {
    let entries = section
        .entries()
        .unwrap_or_else(|| panic!("{}", section.status()));
    let line = |(key, value): (&String, &T)| {
        format!("{key} = {}", serde_json::to_string(value).expect("JSON"))
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_whole_system() {
    let snapshot = root().capture(&tools());
    let sections = [
        shown(&snapshot.units),
        shown(&snapshot.failed_units),
        shown(&snapshot.jobs),
        shown(&snapshot.system),
        shown(&snapshot.manager),
        shown(&snapshot.boot),
        shown(&snapshot.presets),
        shown(&snapshot.users),
        shown(&snapshot.groups),
        shown(&snapshot.shadow),
        shown(&snapshot.gshadow),
        shown(&snapshot.sshd),
        shown(&snapshot.authorized_keys),
        shown(&snapshot.kernel_arguments),
        shown(&snapshot.modules),
        shown(&snapshot.sysctls),
        shown(&snapshot.mounts),
        shown(&snapshot.hostname),
        shown(&snapshot.locale),
        shown(&snapshot.time_zone),
        shown(&snapshot.network),
        shown(&snapshot.network_files),
        shown(&snapshot.os_release),
        shown(&snapshot.machine_id),
        shown(&snapshot.listening_sockets),
        shown(&snapshot.ostree),
        shown(&snapshot.config_diff),
        shown(&snapshot.journal_problems),
    ];
    insta::assert_snapshot!(sections.join("\n--\n"), @r##"
    a.service = {"enablement":"enabled","preset":"enabled","loaded":{"load_state":"loaded","active_state":"failed","sub_state":"failed","result":"exit-code","started":true,"exec_main_status":1,"restarts":0}}
    b.service = {"enablement":"masked","preset":"enabled"}
    x.device = {"loaded":{"load_state":"loaded","active_state":"active","sub_state":"plugged"}}
    --
    a.service = {"result":"exit-code","exec_main_status":1}
    --
    b.service = {"type":"start","state":"waiting"}
    --
    default_target = "multi-user.target"
    state = "degraded"
    --
    Version = "257"
    --
    FinishTimestampMonotonic = "9"
    boot_id = "b00t"
    --
    10-a.preset = {"directory":"/etc/systemd/system-preset","directives":["enable a.service"]}
    90-b.preset = {"directory":"/etc/systemd/system-preset","directives":[]}
    99-c.preset = {"directory":"/usr/lib/systemd/system-preset","directives":["disable *"]}
    --
    root = {"password":"shadowed","uid":0,"gid":0,"gecos":"root","home":"/root","shell":"/bin/sh"}
    --
    root = {"password":"shadowed","gid":0,"members":[]}
    --
    root = {"password":{"unusable":"*"},"last_change":{"day":19000},"minimum":0,"maximum":99999,"warning":7}
    --
    root = {"password":{"unusable":"*"},"administrators":[],"members":[]}
    wheel = {"password":{"unusable":"!"},"administrators":["root"],"members":["alice","bob"]}
    --
    authorizedkeysfile = [".ssh/authorized_keys"]
    port = ["22"]
    --
    root = {"patterns":[".ssh/authorized_keys"]}
    --
    quiet = [null]
    root = ["/dev/vda"]
    rw = [null]
    --
    ext4 = {"state":"Live"}
    --
    kernel.hostname = {"value":"one"}
    kernel.random.boot_id = {"value":"b00t"}
    net.ipv4.conf.eth0/7.forwarding = {"value":"1"}
    net.ipv4.tcp_fastopen_key = {"secret":"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}
    --
    / = [{"fs_type":"ext4","source":{"device":"/dev/vda"},"root":"/","options":["rw"],"fs_options":["rw"],"propagation":["shared"]}]
    --
    pretty = "The one"
    static = "one"
    transient = "one"
    --
    LANG = "C.UTF-8"
    --
    localtime = "../usr/share/zoneinfo/Europe/Berlin"
    rtc = "LOCAL"
    zone = "Europe/Berlin"
    --
    lo = {"link_type":"","state":"","flags":[],"mtu":65536}
    --
    /etc/hosts = {"digest":"sha256:081ef9d5367595d16e30b4b4549d9f43537320508b4ce0788963e10e4f808857"}
    /etc/resolv.conf = {"target":"/run/resolv.conf"}
    --
    ID = "debian"
    NAME = "Debian Linux"
    --
    etc = "0123"
    --
    unix stream /run/a = {"count":1,"owners":[{"unit":"a.service","process":"a d"}]}
    --
    checksum = "12ab"
    origin = "debian/base"
    serial = "0"
    stateroot = "debian"
    --
    /etc/hostname = "modified"
    --
    a.service: boom = {"source":"a.service","message":"boom","priority":3,"count":1}
    "##);
}

#[test]
fn the_same_system_twice_has_no_difference() {
    let root = root();
    let (left, right) = (root.capture(&tools()), root.capture(&tools()));
    assert_eq!(pleach_booted_state::compare(&left, &right), []);
}

/// Neither as a value nor in the reason why a section could not be had.
#[test]
fn no_hash_is_kept() {
    const HASH: &str = "$y$j9T$abcdefgh$ijklmnopqrstuvwxyz";
    for secret in [HASH, "abcdefgh", "*abcdefgh", "$abcdefgh$i"] {
        no_secret_is_kept(secret);
    }
}

fn no_secret_is_kept(secret: &str) {
    for (database, rest, length) in [
        ("passwd", ":0:0:root:/root:/bin/sh", 7),
        ("group", ":0:", 4),
        ("shadow", ":19000:0:99999:7:::", 9),
        ("gshadow", ":root:alice", 4),
    ] {
        for (lock, rest, status) in [
            ("", rest, "1 entries".to_owned()),
            ("!", rest, "1 entries".to_owned()),
            (
                "",
                "",
                format!("unavailable: {database}: a line of 2 fields, {length} expected"),
            ),
        ] {
            let line = format!("root:{lock}{secret}{rest}\n");
            let tools = Tools::default().answer(&format!("getent {database}"), &line);
            let snapshot = root().capture(&tools);
            let found = match database {
                "passwd" => snapshot.users.status(),
                "group" => snapshot.groups.status(),
                "shadow" => snapshot.shadow.status(),
                _ => snapshot.gshadow.status(),
            };
            assert_eq!(found.to_string(), status, "{line}");
            let json = String::from_utf8(snapshot.to_json()).expect("JSON");
            assert!(!json.contains("abcdefgh"), "{line}{json}");
        }
    }
}

#[test]
fn missing_tools_are_named() {
    let snapshot = root().capture(&Tools::default());
    let unavailable: Vec<String> = snapshot
        .statuses()
        .into_iter()
        .filter(|(_, status)| matches!(status, Status::Unavailable(_)))
        .map(|(name, status)| format!("{name} {status}"))
        .collect();
    insta::assert_snapshot!(unavailable.join("\n"), @r##"
    units unavailable: systemctl: not found
    failed_units unavailable: systemctl: not found
    jobs unavailable: systemctl: not found
    system unavailable: systemctl: not found
    manager unavailable: systemctl: not found
    users unavailable: getent: not found
    groups unavailable: getent: not found
    shadow unavailable: getent: not found
    gshadow unavailable: getent: not found
    sshd unavailable: /usr/sbin/sshd: not found
    authorized_keys unavailable: /usr/sbin/sshd: not found
    network unavailable: ip: not found
    ostree unavailable: ostree: not found
    config_diff unavailable: ostree: not found
    boot unavailable: systemctl: not found
    journal_problems unavailable: journalctl: not found
    "##);
    for (name, status) in snapshot.statuses() {
        // That one only where it was asked for.
        let asked = name != SectionName::EtcDefaults;
        assert_eq!(status != Status::NotCaptured, asked, "{name}");
    }
}

/// [`tools`], of which one answers something else.
fn tools_with(command: &str, stdout: &str) -> Tools {
    let mut tools = Tools::default().answer(command, stdout);
    tools.append(self::tools());
    tools
}

#[test]
fn failing_tools_say_why() {
    let check = |tools: Tools, status: fn(&Snapshot) -> Status, expect: &str| {
        let snapshot = root().capture(&tools);
        assert_eq!(
            status(&snapshot).to_string(),
            format!("unavailable: {expect}")
        );
    };
    let none = Tools::default;
    check(
        none().fail("getent shadow", 2, "no\n"),
        |s| s.shadow.status(),
        "getent: ended with code 2: no",
    );
    check(
        none().fail("getent gshadow", 1, "Unknown database: gshadow\n"),
        |s| s.gshadow.status(),
        "getent: ended with code 1: Unknown database: gshadow",
    );
    check(
        none().error("getent group", ErrorKind::TimedOut),
        |s| s.groups.status(),
        "getent: took longer than 120 s",
    );
    check(
        none().error("ip ", ErrorKind::PermissionDenied),
        |s| s.network.status(),
        "ip: permission denied",
    );
    check(
        none().answer("getent passwd", "no user\n"),
        |s| s.users.status(),
        "passwd: a line of 1 fields, 7 expected",
    );
    check(
        none().answer("ostree admin status", "  debian 1.0\n"),
        |s| s.ostree.status(),
        "ostree admin status: nothing booted",
    );
    check(
        none().answer("ostree admin config-diff", "M    a\nnoise\n"),
        |s| s.config_diff.status(),
        "ostree admin config-diff: line 2 is not understood",
    );
    check(
        tools_with("systemctl list-units", "noise\n"),
        |s| s.units.status(),
        "systemctl list-units: line 1 is not understood",
    );
    check(
        tools_with("systemctl list-units", "noise\n"),
        |s| s.failed_units.status(),
        "systemctl list-units: line 1 is not understood",
    );
    check(
        none().answer("systemctl list-jobs", "noise\n"),
        |s| s.jobs.status(),
        "systemctl list-jobs: line 1 is not understood",
    );
    check(
        none().answer("systemctl show --no-pager", "noise\n"),
        |s| s.boot.status(),
        "systemctl show: line 1 is not understood",
    );
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let root = Root::new();
    root.directory("etc", 0o755);
    let snapshot = root.capture(&tools());
    for (status, expect) in [
        (
            snapshot.kernel_arguments.status(),
            "unavailable: /proc/cmdline: not found",
        ),
        (
            snapshot.mounts.status(),
            "unavailable: /proc/1/mountinfo: not found",
        ),
        (
            snapshot.sysctls.status(),
            "unavailable: /proc/sys: not found",
        ),
        (
            snapshot.listening_sockets.status(),
            "unavailable: /proc/1/net/tcp: not found",
        ),
        (
            snapshot.os_release.status(),
            "unavailable: /etc/os-release, /usr/lib/os-release: not found",
        ),
    ] {
        assert_eq!(status.to_string(), expect);
    }
}

#[test]
fn waiting_for_the_boot() {
    let root = root();
    let check = |wait: Option<Duration>, tools: Tools, expect: &[(&str, &str)]| {
        let options = CaptureOptions {
            wait_for_boot: wait,
            ..CaptureOptions::default()
        };
        let snapshot = capture(&root.dir("."), &tools, &options).expect("a snapshot");
        let found: Vec<_> = snapshot
            .system
            .entries()
            .expect("entries")
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(|(key, _)| *key != "default_target")
            .collect();
        assert_eq!(found, expect, "{:?}", tools.asked.borrow());
    };
    let target = || Tools::default().answer("systemctl get-default", "a.target");
    let limit = Some(Duration::from_secs(7));
    check(
        limit,
        target().answer("systemctl is-system-running --wait", "running\n"),
        &[("state", "running")],
    );
    check(
        limit,
        target()
            .error("systemctl is-system-running --wait", ErrorKind::TimedOut)
            .answer("systemctl is-system-running", "starting\n"),
        &[
            ("state", "starting"),
            ("wait", "systemctl: took longer than 7 s"),
        ],
    );
    // No answer is none.
    let silent = target().fail("systemctl is-system-running", 1, "Failed to connect to bus");
    let snapshot = root.capture(&silent);
    assert_eq!(
        snapshot.system.status().to_string(),
        "unavailable: systemctl is-system-running: no answer"
    );
    // Without waiting nobody asks for it.
    check(
        None,
        target()
            .answer("systemctl is-system-running --wait", "wrong\n")
            .answer("systemctl is-system-running", "starting\n"),
        &[("state", "starting")],
    );
}

#[test]
fn running_real_programs() {
    let runner = SystemRunner {
        max_output_bytes: 1000,
    };
    let minute = Duration::from_secs(60);
    let output = runner
        .run(
            "sh",
            &[
                "-c",
                "echo out; echo err >&2; echo $LC_ALL $HOME $SYSTEMD_BUS_TIMEOUT; exit 3",
            ],
            minute,
        )
        .expect("sh runs");
    assert_eq!(
        (output.code, &*output.stdout, &*output.stderr),
        (Some(3), &b"out\nC / 60000000us\n"[..], &b"err\n"[..])
    );
    let output = runner
        .run("sh", &["-c", "kill -9 $$"], minute)
        .expect("sh runs");
    assert_eq!(output.code, None);
    let check = |command: &[&str], timeout: Duration, expect: ErrorKind| {
        let error = runner
            .run(command[0], &command[1..], timeout)
            .expect_err("must fail");
        assert_eq!(error.kind(), expect, "{command:?}: {error}");
    };
    check(&["no-such-program-here"], minute, ErrorKind::NotFound);
    check(
        &["sleep", "600"],
        Duration::from_millis(50),
        ErrorKind::TimedOut,
    );
    // One that closes its output and goes on.
    check(
        &["sh", "-c", "exec >&- 2>&-; exec sleep 600"],
        Duration::from_millis(300),
        ErrorKind::TimedOut,
    );
    check(
        &["sh", "-c", "yes | head -c 2000"],
        minute,
        ErrorKind::FileTooLarge,
    );
}
