//! One binary for all integration tests of the crate.

use pleach_fs_tree::parse_dump;
use pleach_image_lint::lint;

/// A sound generic final image.
const SOUND: &str = "\
/ directory 0755 0:0 0.0
/etc directory 0755 0:0 0.0
/etc/machine-id file 0444 0:0 0.0 uninitialized\\n
/etc/passwd file 0644 0:0 0.0 root:x:0:0::/root:/bin/bash\\nnobody:x:65534:65534::/:/usr/sbin/nologin\\n
/etc/shadow file 0640 0:42 0.0 root:*:20000::::::\\n
/etc/ssh directory 0755 0:0 0.0
/etc/systemd directory 0755 0:0 0.0
/etc/systemd/system directory 0755 0:0 0.0
/etc/systemd/system/a.service symlink 0777 0:0 0.0 /usr/lib/systemd/system/a.service
/etc/systemd/system/b.service symlink 0777 0:0 0.0 /dev/null
/usr directory 0755 0:0 0.0
/usr/bin directory 0755 0:0 0.0
/usr/lib directory 0755 0:0 0.0
/usr/lib/modules directory 0755 0:0 0.0
/usr/lib/modules/6.12 directory 0755 0:0 0.0
/usr/lib/modules/6.12/initramfs.img file 0600 0:0 0.0 i
/usr/lib/modules/6.12/vmlinuz file 0644 0:0 0.0 k
/usr/lib/systemd directory 0755 0:0 0.0
/usr/lib/systemd/system directory 0755 0:0 0.0
/usr/lib/systemd/system/a.service file 0644 0:0 0.0 -
/var directory 0755 0:0 0.0
";

fn report(dump: &str) -> String {
    let mut lines: Vec<_> = dump.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_by_key(|line| {
        line.split(' ')
            .next()
            .map(|p| p.split('/').collect::<Vec<_>>())
    });
    let tree = parse_dump(&lines.join("\n"), Some).unwrap_or_else(|e| panic!("{e}\n{dump}"));
    lint(&tree, &|bytes| Some(bytes.clone())).to_string()
}

#[test]
fn each_fault_is_found_alone() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(
            from.is_empty() || SOUND.contains(from),
            "{from} is not in the image"
        );
        let dump = if from.is_empty() {
            format!("{SOUND}{to}\n")
        } else {
            SOUND.replace(from, to)
        };
        assert_eq!(report(&dump).trim(), expect, "with {to}");
    };
    check("", "", "final, generic\nno findings");
    check(
        "/usr/lib/modules/6.12/vmlinuz file 0644 0:0 0.0 k\n",
        "",
        "final, generic\n1 finding\n  kernel: /usr/lib/modules: no kernel: the image cannot boot",
    );
    check(
        "/usr/lib/modules/6.12/initramfs.img file 0600 0:0 0.0 i\n",
        "",
        "final, generic\n1 finding\n  kernel: /usr/lib/modules/6.12: no initramfs.img beside the kernel",
    );
    check(
        "uninitialized",
        "0123",
        "final, generic\n1 finding\n  machine-id: /etc/machine-id: set: every machine would have the same identity",
    );
    check(
        "",
        "/usr/etc directory 0755 0:0 0.0\n/usr/etc/a file 0644 0:0 0.0 -",
        "final, generic\n1 finding\n  both-etc: /usr/etc: /etc is filled too: ostree refuses such a tree",
    );
    check(
        "",
        "/etc/ssh/ssh_host_rsa_key file 0600 0:0 0.0 x",
        "final, generic\n1 finding\n  host-key: /etc/ssh/ssh_host_rsa_key: a host key in an image is everybody's: whoever pulls it can pose as the machine",
    );
    check(
        "",
        "/etc/tls.key file 0600 0:0 0.0 a\\n-----BEGIN\\x20RSA\\x20PRIVATE\\x20KEY-----\\nAAAA\\n",
        "final, generic\n1 finding\n  private-key: /etc/tls.key: a private key in an image is everybody's who pulls it; inject it",
    );
    check(
        "",
        "/etc/tls.pem file 0644 0:0 0.0 -----BEGIN\\x20CERTIFICATE-----\\nAAAA\\n",
        "final, generic\nno findings",
    );
    check(
        "",
        "/var/data file 0644 0:0 0.0 x",
        "final, generic\n1 finding\n  var-content: /var/data: is unpacked at the first install only; declare it in tmpfiles.d",
    );
    check(
        "",
        "/usr/bin/\\xff file 0644 0:0 0.0 x",
        "final, generic\n1 finding\n  utf8-name: /usr/bin/\\xff: its name is not UTF-8, which ostree refuses",
    );
    check(
        "/usr/lib/systemd/system/a.service file 0644 0:0 0.0 -\n",
        "",
        "final, generic\n1 finding\n  dangling-unit: /etc/systemd/system/a.service: a link to a unit that is not in the image",
    );
}

#[test]
fn evidence_has_its_place() {
    let check = |added: &str, expect: &str| {
        let report = report(&format!("{SOUND}{added}\n"));
        assert_eq!(report, format!("{expect}\nno findings\n"), "with {added}");
    };
    check("", "final, generic");
    check(
        "/usr/bin/gcc file 0755 0:0 0.0 x",
        "base, generic\n  base: /usr/bin/gcc: a compiler",
    );
    check(
        "/etc/netplan directory 0755 0:0 0.0\n/etc/netplan/1.yaml file 0600 0:0 0.0 x",
        "final, specific\n  specific: /etc/netplan/1.yaml: network configuration",
    );
    check(
        "/etc/containers directory 0755 0:0 0.0\n/etc/containers/systemd directory 0755 0:0 0.0\n/etc/containers/systemd/web.container file 0644 0:0 0.0 x",
        "final, specific\n  specific: /etc/containers/systemd/web.container: an application",
    );
    let with = |from: &str, to: &str| report(&SOUND.replace(from, to));
    assert_eq!(
        with("root:*:", "root:$y$j9T$x:"),
        "final, specific\n  specific: /etc/shadow:1: user root has a password\nno findings\n"
    );
    assert_eq!(
        with(
            "nobody:x:65534:65534::/:/usr/sbin/nologin",
            "kiosk:x:1000:1000::/home:/bin/sh"
        ),
        "final, specific\n  specific: /etc/passwd:2: user kiosk can log in\nno findings\n"
    );
}

#[test]
fn accounts_made_at_boot_are_evidence() {
    let check = |file: &str, line: &str, found: bool| {
        let text: String = line
            .bytes()
            .map(|b| match b {
                b' ' | b'"' | b'\\' | b'\'' => format!("\\x{b:02x}"),
                b => char::from(b).to_string(),
            })
            .collect();
        let report = report(&format!(
            "{SOUND}/usr/lib/sysusers.d directory 0755 0:0 0.0\n\
             /usr/lib/sysusers.d/{file} file 0644 0:0 0.0 #\\x20a\\n{text}\\n\n"
        ));
        let expect = match found {
            true => format!(
                "final, specific\n  specific: /usr/lib/sysusers.d/{file}:2: user kiosk can log in\n"
            ),
            false => "final, generic\n".to_owned(),
        };
        assert_eq!(report, format!("{expect}no findings\n"), "{file}: {line}");
    };
    check(
        "a.conf",
        r#"u kiosk 1000 "The kiosk" /home/k /bin/sh"#,
        true,
    );
    check(
        "a.conf",
        r#"u kiosk 1000:1000 "A \"b\" c" /home/k /bin/sh"#,
        true,
    );
    check("a.conf", "u  'kiosk'  1000  -  -  /bin/bash", true);
    check("a.conf", "u kiosk 1000 - - /usr/sbin/nologin", false);
    check("a.conf", "u kiosk 1000 - - -", false);
    check("a.conf", r#"u kiosk 1000 "/home /bin/sh""#, false);
    check("a.conf", "u! kiosk 1000 - - /bin/sh", false);
    check("a.conf", "u kiosk 999 - - /bin/sh", false);
    check("a.conf", "u kiosk - - - /bin/sh", false);
    check("a.conf", "g kiosk 1000 - - /bin/sh", false);
    check("README", "u kiosk 1000 - - /bin/sh", false);
}

/// The default configuration in `/usr/etc` is that of `/etc`.
#[test]
fn usr_etc_is_read_where_etc_is_empty() {
    let moved = SOUND.replace("\n/etc", "\n/usr/etc");
    let check = |from: &str, to: &str, expect: &str| {
        assert!(moved.contains(from), "{from} is not in the image");
        for etc in [
            "",
            "/etc directory 0755 0:0 0.0\n",
            "/etc symlink 0777 0:0 0.0 usr/etc\n",
        ] {
            let dump = format!("{}{etc}", moved.replace(from, to));
            assert_eq!(report(&dump).trim(), expect, "with {to} and {etc:?}");
        }
    };
    let a = "/usr/etc/systemd/system/a.service symlink 0777 0:0 0.0 ";
    let unit = format!("{a}/usr/lib/systemd/system/a.service");
    let sound = "final, generic\nno findings";
    check(a, a, sound);
    check(
        &unit,
        &format!("{a}../../../usr/lib/systemd/system/a.service"),
        sound,
    );
    check(
        &unit,
        &format!("{a}/etc/systemd/system/b.service"),
        "final, generic\n1 finding\n  \
        dangling-unit: /usr/etc/systemd/system/a.service: a link to a unit that is not in the image",
    );
    check(
        &unit,
        &format!(
            "{a}/etc/systemd/system/c.service\n/usr/etc/systemd/system/c.service file 0644 0:0 0.0 -"
        ),
        sound,
    );
    check(
        &unit,
        &format!("{a}/usr/lib/systemd/system/none.service"),
        "final, generic\n1 finding\n  \
        dangling-unit: /usr/etc/systemd/system/a.service: a link to a unit that is not in the image",
    );
    check(
        "uninitialized",
        "0123",
        "final, generic\n1 finding\n  \
        machine-id: /usr/etc/machine-id: set: every machine would have the same identity",
    );
    check(
        "/usr/etc/ssh directory 0755 0:0 0.0",
        "/usr/etc/ssh directory 0755 0:0 0.0\n/usr/etc/ssh/ssh_host_rsa_key file 0600 0:0 0.0 x",
        "final, generic\n1 finding\n  host-key: /usr/etc/ssh/ssh_host_rsa_key: a host key in an image \
         is everybody's: whoever pulls it can pose as the machine",
    );
    check(
        "nobody:x:65534:65534::/:/usr/sbin/nologin",
        "kiosk:x:1000:1000::/home:/bin/sh",
        "final, specific\n  specific: /usr/etc/passwd:2: user kiosk can log in\nno findings",
    );
    check(
        "root:*:",
        "root:$y$j9T$x:",
        "final, specific\n  specific: /usr/etc/shadow:1: user root has a password\nno findings",
    );
    check(
        "/usr/etc/ssh directory 0755 0:0 0.0",
        "/usr/etc/netplan directory 0755 0:0 0.0\n/usr/etc/netplan/1.yaml file 0600 0:0 0.0 x",
        "final, specific\n  specific: /usr/etc/netplan/1.yaml: network configuration\nno findings",
    );
}
