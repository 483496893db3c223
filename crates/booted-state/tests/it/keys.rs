//! Which authorized keys are effective.

use crate::fake::{Root, Tools};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl alice";
const FINGERPRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
const FILE: &str = "var/home/alice/.ssh/authorized_keys";

/// Alice owns what is made here.
fn root() -> Root {
    let root = Root::with_kernel();
    root.directory("var", 0o755);
    root.directory("var/home", 0o755);
    root.link("home", "var/home");
    root.directory("var/home/alice", 0o750);
    root.file(FILE, format!("# mine\n{KEY}\n"), 0o600);
    root.directory("var/home/alice/.ssh", 0o700);
    root
}

fn tools(root: &Root, sshd: &str) -> Tools {
    let alice = format!(
        "alice:x:{}:{}::/home/alice:/bin/sh\n",
        root.uid(),
        root.gid()
    );
    let bob = format!(
        "bob:x:{}:{}::/home/bob:/bin/sh\n",
        root.uid() + 1,
        root.gid() + 1
    );
    Tools::default()
        .answer("getent passwd", &(alice + &bob))
        .answer("getent group", &format!("family:x:{}:bob\n", root.gid()))
        .answer("/usr/sbin/sshd -G", sshd)
}

const SSHD: &str = "authorizedkeysfile .ssh/authorized_keys\nstrictmodes yes\n";

/// What is said of the files and keys of a user, with the files' directory left out.
fn said(root: &Root, tools: &Tools, user: &str) -> Vec<String> {
    let snapshot = root.capture(tools);
    let status = snapshot.authorized_keys.status();
    let Some(keys) = snapshot.authorized_keys.get(user) else {
        panic!("nothing about {user}: {status}");
    };
    let mut out: Vec<String> = keys
        .files
        .iter()
        .map(|(path, file)| {
            let why = file.why.clone().unwrap_or_default();
            format!("{path} {} {why}", file.effective)
                .trim_end()
                .to_owned()
        })
        .collect();
    for (fingerprint, keys) in &keys.keys {
        for key in keys {
            let known = if fingerprint == FINGERPRINT {
                "KEY"
            } else {
                fingerprint
            };
            out.push(format!("{known} {} {}", key.comment, key.effective));
        }
    }
    out
}

#[test]
fn strict_modes() {
    let check = |change: fn(&Root), sshd: &str, expect: &str| {
        let root = root();
        change(&root);
        let said = said(&root, &tools(&root, sshd), "alice");
        let file = "/home/alice/.ssh/authorized_keys";
        let expect = match expect {
            "" => vec![format!("{file} true"), "KEY alice true".to_owned()],
            why => {
                let why = why.replace("OWNER", &format!("owner {}:{}", root.uid(), root.gid()));
                vec![format!("{file} false {why}"), "KEY alice false".to_owned()]
            }
        };
        assert_eq!(said, expect);
    };
    check(|_| {}, SSHD, "");
    check(|root| root.mode(FILE, 0o644), SSHD, "");
    check(
        |root| root.mode(FILE, 0o620),
        SSHD,
        "/var/home/alice/.ssh/authorized_keys can be changed by others: OWNER, mode 0620",
    );
    check(
        |root| root.mode("var/home/alice/.ssh", 0o777),
        SSHD,
        "/var/home/alice/.ssh can be changed by others: OWNER, mode 0777",
    );
    check(
        |root| root.mode("var/home/alice", 0o775),
        SSHD,
        "/var/home/alice can be changed by others: OWNER, mode 0775",
    );
    // What is above the home does not matter.
    check(|root| root.mode("var/home", 0o777), SSHD, "");
    check(
        |root| root.mode("var/home/alice", 0o777),
        "authorizedkeysfile .ssh/authorized_keys\nstrictmodes no\n",
        "",
    );
    check(
        |_| {},
        "authorizedkeysfile .ssh/authorized_keys\npubkeyauthentication no\n",
        "PubkeyAuthentication is no",
    );
}

/// sshd reads as the user. The directories above the root of the test do not count.
#[test]
fn files_of_somebody_else() {
    let check = |mode: u32, sshd: &str, as_root: &str, as_user: &str| {
        let root = root();
        let keys = "etc/ssh/keys/bob";
        root.file(keys, KEY, mode);
        let said = said(&root, &tools(&root, sshd), "bob");
        let expect = if root.uid() == 0 { as_root } else { as_user };
        assert!(
            said[0].starts_with(&format!("/{keys} {expect}")),
            "{mode:o}: {said:?}"
        );
    };
    let sshd = "authorizedkeysfile /etc/ssh/keys/%u\nstrictmodes yes\n";
    let foreign = "false /etc/ssh/keys/bob can be changed by others";
    check(0o644, sshd, "true", foreign);
    // Bob is in the group of the file.
    check(0o640, sshd, "true", foreign);
    check(
        0o604,
        sshd,
        "false /etc/ssh/keys/bob cannot be read",
        "false /etc/ssh/keys/bob cannot be read",
    );
    let loose = "authorizedkeysfile /etc/ssh/keys/%u\nstrictmodes no\n";
    check(0o644, loose, "true", "true");
}

#[test]
fn patterns() {
    let check = |pattern: &str, files: &[&str], expect: &[&str]| {
        let root = root();
        for file in files {
            root.file(file, KEY, 0o600);
        }
        let sshd = format!("authorizedkeysfile {pattern}\nstrictmodes no\n");
        let said = said(&root, &tools(&root, &sshd), "alice");
        let found: Vec<&str> = said
            .iter()
            .filter_map(|line| line.strip_suffix(" true"))
            .collect();
        let keys = vec!["KEY alice"; expect.len()];
        assert_eq!(found, [expect, &keys].concat(), "{pattern}");
    };
    check("none", &[], &[]);
    check(".ssh/missing", &[], &[]);
    check(
        "%h/.ssh/authorized_keys",
        &[],
        &["/home/alice/.ssh/authorized_keys"],
    );
    check("/etc/%%/%u", &["etc/%/alice"], &["/etc/%/alice"]);
    check(
        ".ssh/authorized_keys /etc/keys/%u .ssh/authorized_keys",
        &["etc/keys/alice"],
        &["/etc/keys/alice", "/home/alice/.ssh/authorized_keys"],
    );
    check(
        ".ssh/authorized_keys.d/*",
        &[
            "var/home/alice/.ssh/authorized_keys.d/a",
            "var/home/alice/.ssh/authorized_keys.d/.hidden",
            "var/home/alice/.ssh/authorized_keys.d/b",
        ],
        &[
            "/home/alice/.ssh/authorized_keys.d/a",
            "/home/alice/.ssh/authorized_keys.d/b",
        ],
    );
}

#[test]
fn bad_lines_are_counted_and_commands_noted() {
    let root = root();
    root.file(
        FILE,
        format!("what is this\n{KEY}\nrestrict {KEY}\n\n"),
        0o600,
    );
    let sshd = format!("{SSHD}authorizedkeyscommand /bin/k %u\nauthorizedkeyscommanduser nobody\n");
    let snapshot = root.capture(&tools(&root, &sshd));
    let alice = snapshot.authorized_keys.get("alice").expect("alice");
    assert_eq!(alice.command.as_deref(), Some("/bin/k %u as nobody"));
    assert_eq!(alice.files["/home/alice/.ssh/authorized_keys"].bad_lines, 1);
    let options: Vec<&Vec<String>> = alice.keys[FINGERPRINT]
        .iter()
        .map(|key| &key.options)
        .collect();
    assert_eq!(options, [&vec![], &vec!["restrict".to_owned()]]);
}

#[test]
fn each_user_is_asked_for_only_if_it_matters() {
    let asked = |config: &str, included: &str| {
        let root = root();
        root.file("etc/ssh/sshd_config", config, 0o644);
        root.file("etc/ssh/sshd_config.d/a.conf", included, 0o644);
        let tools = tools(&root, SSHD);
        root.capture(&tools);
        let asked = tools.asked.into_inner();
        asked
            .into_iter()
            .filter(|command| command.contains("sshd"))
            .collect::<Vec<_>>()
    };
    let once = ["/usr/sbin/sshd -G"];
    let each = [
        "/usr/sbin/sshd -G",
        "/usr/sbin/sshd -G -C user=alice,host=localhost,addr=127.0.0.1",
        "/usr/sbin/sshd -G -C user=bob,host=localhost,addr=127.0.0.1",
    ];
    assert_eq!(
        asked("Port 22\n", "Match all\n"),
        once,
        "the file is not included"
    );
    assert_eq!(
        asked("Include /etc/ssh/sshd_config.d/*.conf\n", "Match all\n"),
        each
    );
    assert_eq!(asked("Include sshd_config.d/*.conf\n", "Port 1\n"), once);
    assert_eq!(asked("match user alice\n", ""), each);
    assert_eq!(
        asked("Include sshd_config\n", ""),
        once,
        "it includes itself"
    );
}

#[test]
fn an_older_sshd_is_asked_in_its_way() {
    let root = root();
    let old = || {
        let alice = format!(
            "alice:x:{}:{}::/home/alice:/bin/sh\n",
            root.uid(),
            root.gid()
        );
        Tools::default()
            .answer("getent passwd", &alice)
            .answer("getent group", "")
            .fail("/usr/sbin/sshd -G", 1, "unknown option -- G")
    };
    let said = said(&root, &old().answer("/usr/sbin/sshd -T", SSHD), "alice");
    assert_eq!(said[1], "KEY alice true");
    let snapshot = root.capture(&old().fail("/usr/sbin/sshd -T", 255, "no hostkeys available"));
    let expect = "unavailable: /usr/sbin/sshd: ended with code 1: unknown option -- G; \
                  /usr/sbin/sshd: ended with code 255: no hostkeys available";
    assert_eq!(snapshot.sshd.status().to_string(), expect);
    assert_eq!(snapshot.authorized_keys.status().to_string(), expect);
}
