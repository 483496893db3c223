//! File modes, in both spellings.

use pleach_customization::Format;

use crate::support::{butane, parse_text, said};

/// The mode that a spelling means, and what is said about it.
fn read(kind: &str, mode: &str, format: Format) -> (Option<u32>, String) {
    let text = match format {
        Format::Butane => butane(&format!(
            "storage:\n  {kind}:\n    - path: /a\n      mode: {mode}"
        )),
        Format::Ignition => format!(
            r#"{{"ignition":{{"version":"3.5.0"}},"storage":{{"{kind}":[{{"path":"/a","mode":{mode}}}]}}}}"#
        ),
    };
    match parse_text(&text, format) {
        Err(errors) => (
            None,
            errors
                .split(" error: ")
                .nth(1)
                .unwrap_or(&errors)
                .to_owned(),
        ),
        Ok(parsed) => {
            let c = &parsed.customization;
            let mode = c
                .files
                .first()
                .map(|f| f.mode)
                .or_else(|| c.directories.first().map(|d| d.mode));
            let warnings: Vec<String> = parsed
                .warnings
                .iter()
                .map(|w| {
                    w.message.clone()
                        + &w.help
                            .clone()
                            .map_or(String::new(), |help| format!("; {help}"))
                })
                .collect();
            (mode.flatten(), warnings.join("|"))
        }
    }
}

#[track_caller]
fn check(kind: &str, mode: &str, format: Format, expect: Option<u32>, says: &str) {
    assert_eq!(
        read(kind, mode, format),
        (expect, says.to_owned()),
        "{kind} {mode}"
    );
    said(says);
}

#[test]
pub(crate) fn butane_modes() {
    let check = |mode, expect, says| check("files", mode, Format::Butane, expect, says);
    check("0644", Some(0o644), "");
    check("0o644", Some(0o644), "");
    check("420", Some(0o644), "");
    check("0x1a4", Some(0o644), "");
    check("0b110100100", Some(0o644), "");
    check("0_644", Some(0o644), "");
    check("0", Some(0), "");
    check("null", None, "");
    check(
        "644",
        Some(0o1204),
        "mode 644 is decimal, octal 1204: octal 644 would make more sense; write 0644|setuid, setgid and sticky bits are applied by the routes that write files themselves, and not by every version of Ignition",
    );
    check(
        "600",
        Some(0o1130),
        "mode 600 is decimal, octal 1130: octal 600 would make more sense; write 0600|setuid, setgid and sticky bits are applied by the routes that write files themselves, and not by every version of Ignition",
    );
    check("0755", Some(0o755), "");
    check(
        "04755",
        Some(0o4755),
        "setuid, setgid and sticky bits are applied by the routes that write files themselves, and not by every version of Ignition",
    );
    check(
        "010000",
        None,
        "4096 is no file mode ($.storage.files.0.mode)\n  help: the largest mode is 07777, which is 4095",
    );
    check(
        "7777",
        None,
        "7777 is no file mode ($.storage.files.0.mode)\n  help: octal 7777 is written as 07777",
    );
    check(
        "-1",
        None,
        "-1 is no file mode ($.storage.files.0.mode)\n  help: the largest mode is 07777, which is 4095",
    );
    check(
        "0899",
        None,
        "a number that begins with 0 is octal, and has no digit 8 or 9 ($.storage.files.0.mode)",
    );
    check(
        "'0644'",
        None,
        "an integer is expected here, not a string ($.storage.files.0.mode)",
    );
    check(
        "rw-r--r--",
        None,
        "an integer is expected here, not a plain value ($.storage.files.0.mode)",
    );
    check(
        "1.5",
        None,
        "an integer is expected here, not a plain value ($.storage.files.0.mode)",
    );
    check(
        "99999999999999999999",
        None,
        "this number is too large ($.storage.files.0.mode)",
    );
}

#[test]
pub(crate) fn json_modes() {
    let check = |mode, expect, says| check("files", mode, Format::Ignition, expect, says);
    check("420", Some(0o644), "");
    check(
        "755",
        Some(0o1363),
        "mode 755 is decimal, octal 1363: octal 755 would make more sense; JSON has decimal numbers only: write 493|setuid, setgid and sticky bits are applied by the routes that write files themselves, and not by every version of Ignition",
    );
    check(
        "4755",
        None,
        "4755 is no file mode ($.storage.files.0.mode)\n  help: octal 4755 is 2541 in decimal",
    );
    check(
        "\"420\"",
        None,
        "an integer is expected here, not a string ($.storage.files.0.mode)",
    );
    check(
        "4.2e2",
        None,
        "an integer is expected here, not a number ($.storage.files.0.mode)",
    );
    check(
        "0644",
        None,
        "not JSON: a number does not begin with 0 ($)\n  help: JSON has no octal numbers: 0644 is written as 420",
    );
}

#[test]
pub(crate) fn what_is_usual_depends_on_what_it_is_for() {
    let warns = |kind: &str, mode: &str| !read(kind, mode, Format::Butane).1.is_empty();
    let check = |kind: &str, mode: &str, expect: bool| {
        assert_eq!(warns(kind, mode), expect, "{kind} {mode}");
    };
    // Decimal 493 is 0755: nothing to warn of, as nothing better is near.
    check("directories", "493", false);
    check("directories", "755", true);
    check("directories", "01777", true); // For its sticky bit.
    // 448 is 0700; read as octal, 448 has an 8.
    check("files", "448", false);
    // 292 is 0444.
    check("files", "292", false);
    check("files", "400", true);
}
