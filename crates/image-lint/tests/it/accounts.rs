//! Accounts that are made at boot.

use pleach_image_lint::Policy;

use crate::support::{SOUND, judge, shown, tree};

#[test]
fn accounts_made_at_boot_are_evidence() {
    let check = |file: &str, line: &str, found: bool| {
        let path = format!("/usr/lib/sysusers.d/{file}");
        let entry = format!("{path} = # a\n{line}\n");
        let report = judge(&tree(SOUND, &[&entry]), &[], &Policy::default());
        let expect = match found {
            true => format!(
                "final hint, specific certain\n+ specific certain {path}:2: user kiosk can log in\n"
            ),
            false => "final hint, generic likely\n".to_owned(),
        };
        assert_eq!(shown(&report), expect, "{file}: {line}");
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

/// Of drop-ins with one name only the first counts, as systemd reads them.
#[test]
fn a_masked_drop_in_is_not_read() {
    let kiosk = "/usr/lib/sysusers.d/k.conf = u kiosk 1000 - - /bin/sh\n";
    let check = |above: &str, expect: &str| {
        let report = judge(&tree(SOUND, &[kiosk, above]), &[], &Policy::default());
        assert_eq!(report.scope.to_string(), expect, "{above}");
    };
    check("/etc/sysusers.d/other.conf = # nothing\n", "specific");
    check("/etc/sysusers.d/k.conf = # nothing\n", "generic");
    check("/etc/sysusers.d/k.conf -> /dev/null", "generic");
}
