//! The guest's side: units, script and payload tar, all as plain bytes.

use crate::Error;
use crate::boot::{Boot, Credential, Payload, Recovery, Shutdown};
use crate::watchdog::Limits;

/// Names of the two virtio ports and the serial of the payload disk, as `agent.sh` looks for them.
pub(crate) const PROGRESS_PORT: &str = "pleach.progress";
pub(crate) const RESULT_PORT: &str = "pleach.result";
pub(crate) const PAYLOAD_SERIAL: &str = "pleach-payload";

const SCRIPT: &str = include_str!("agent.sh");
const HEARTBEAT_SECONDS: u64 = 5;
/// How long the screen is left as it is once the command has left, for its picture to be taken.
const SCREEN_SECONDS: u64 = 2;

/// The credentials that bring the agent into the guest.
///
/// `exec` rather than `oneshot`: the start job of a one-shot service would keep the system `starting`,
/// and the agent waits for it not to be. In emergency or rescue mode a second unit sends the journal and
/// powers off, so that such a boot ends with an explanation and not with a time limit; unless the machine
/// is to help itself.
pub(crate) fn credentials(boot: &Boot, limits: &Limits) -> Vec<Credential> {
    // When the machine reboots, the agent is stopped, which is a success.
    let (at_end, mode) = match boot.shutdown {
        Shutdown::Orderly => (actions("poweroff"), "run"),
        Shutdown::Forced => (actions(FORCED), "run"),
        Shutdown::Awaited => (format!("FailureAction={FORCED}\n"), "await"),
    };
    let service = |what: &str, requires: &str, actions: &str, mode: &str| {
        format!(
            "[Unit]\n\
             Description=Pleach {what}\n\
             DefaultDependencies=no\n\
             {requires}\
             Conflicts=shutdown.target\n\
             Before=shutdown.target\n\
             {actions}\
             [Service]\n\
             Type=exec\n\
             ImportCredential=pleach.agent\n\
             ExecStart=/bin/sh ${{CREDENTIALS_DIRECTORY}}/pleach.agent {mode}\n"
        )
    };
    let settle = limits.settle.as_secs();
    let screen = match boot.display {
        Some(_) => SCREEN_SECONDS,
        None => 0,
    };
    let wants = |unit| format!("[Unit]\nWants={unit}\n");
    let mut all = vec![
        Credential::new(
            "pleach.agent",
            format!(
                "settle_seconds={settle} heartbeat_seconds={HEARTBEAT_SECONDS} screen_seconds={screen}\n{SCRIPT}"
            ),
        ),
        Credential::unit(
            "pleach-agent.service",
            service(
                "agent",
                "Requires=basic.target\nAfter=basic.target\n",
                &at_end,
                mode,
            ),
        ),
        Credential::drop_in("multi-user.target", wants("pleach-agent.service")),
    ];
    if boot.recovery == Recovery::None {
        all.extend([
            Credential::unit(
                "pleach-emergency.service",
                service("emergency report", "", &actions(FORCED), "emergency"),
            ),
            Credential::drop_in("emergency.target", wants("pleach-emergency.service")),
            Credential::drop_in("rescue.target", wants("pleach-emergency.service")),
        ]);
    }
    all
}

const FORCED: &str = "poweroff-force";

/// What happens when a unit comes to its end.
fn actions(power_off: &str) -> String {
    format!("SuccessAction={power_off}\nFailureAction={power_off}\n")
}

/// The payload as a tar archive whose length is a whole number of disk sectors.
pub(crate) fn payload_image(payload: &Payload, limits: &Limits) -> Result<Vec<u8>, Error> {
    if payload.command.is_empty() {
        return Err(Error::Invalid {
            what: "payload command",
            value: String::new(),
            rule: "needs a program",
        });
    }
    let bytes = payload
        .files
        .iter()
        .map(|file| file.bytes.len() as u64)
        .sum();
    if bytes > limits.payload_bytes {
        return Err(Error::Limit {
            what: "payload bytes",
            limit: limits.payload_bytes,
            actual: bytes,
        });
    }
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "files", tar::EntryType::Directory, 0o755, &[])?;
    for (index, file) in payload.files.iter().enumerate() {
        check_name(&file.name)?;
        if payload.files[..index]
            .iter()
            .any(|earlier| earlier.name == file.name)
        {
            return Err(Error::Duplicate {
                what: "payload file",
                name: file.name.clone(),
            });
        }
        let name = format!("files/{}", file.name);
        append(
            &mut tar,
            &name,
            tar::EntryType::Regular,
            file.mode & 0o7777,
            &file.bytes,
        )?;
    }
    let command = format!("exec {}\n", shell_words(&payload.command)?);
    append(
        &mut tar,
        "command.sh",
        tar::EntryType::Regular,
        0o644,
        command.as_bytes(),
    )?;
    tar.into_inner()
        .map_err(crate::error::io_error("write", "payload tar"))
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
        .map_err(crate::error::io_error("append", name))
}

fn check_name(name: &str) -> Result<(), Error> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if name.split('/').any(bad) {
        return Err(Error::Invalid {
            what: "payload file",
            value: name.to_owned(),
            rule: "needs a relative name without empty, `.` or `..` parts",
        });
    }
    Ok(())
}

/// Words that a POSIX shell reads back as they are.
pub(crate) fn shell_words(words: &[String]) -> Result<String, Error> {
    let mut line = String::new();
    for word in words {
        if word.contains('\0') {
            return Err(Error::Invalid {
                what: "command word",
                value: word.clone(),
                rule: "cannot contain a zero byte",
            });
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push('\'');
        line.push_str(&word.replace('\'', r"'\''"));
        line.push('\'');
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)] // runs a shell on a temporary folder
    use std::io::Read;

    use super::*;
    use crate::host::Accelerator;

    fn limits() -> Limits {
        Limits::for_accelerator(Accelerator::Tcg)
    }

    #[test]
    fn payload_is_whole_sectors_and_reads_back() {
        let payload = Payload::command(["./a b", "it's"])
            .file("a b", "x", 0o755)
            .file("d/e", "", 0o600);
        let image = payload_image(&payload, &limits()).unwrap();
        assert_eq!(image.len() % 512, 0, "QEMU refuses part of a sector");
        let mut found = String::new();
        for entry in tar::Archive::new(&image[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found += &format!("{path} {mode:o} {text:?}\n");
        }
        insta::assert_snapshot!(found, @r#"
        files 755 ""
        files/a b 755 "x"
        files/d/e 600 ""
        command.sh 644 "exec './a b' 'it'\\''s'\n"
        "#);
    }

    #[test]
    fn payload_names_stay_below_the_folder() {
        let check = |name: &str, good| {
            let payload = Payload::command(["x"]).file(name, "", 0o644);
            assert_eq!(payload_image(&payload, &limits()).is_ok(), good, "{name:?}");
        };
        check("agent", true);
        check("a/b", true);
        check("..a", true);
        check("", false);
        check("/etc/passwd", false);
        check("a/../b", false);
        check("./a", false);
        check("a/", false);
        check("a\0b", false);
    }

    #[test]
    fn payload_is_refused() {
        let check = |payload: &Payload, expect: &str| {
            let error = payload_image(
                payload,
                &Limits {
                    payload_bytes: 3,
                    ..limits()
                },
            )
            .unwrap_err();
            assert_eq!(error.to_string(), expect);
        };
        check(&Payload::default(), "payload command \"\": needs a program");
        check(
            &Payload::command(["x"])
                .file("a", "12", 0)
                .file("b", "34", 0),
            "payload bytes: 4 is over the limit of 3",
        );
        check(
            &Payload::command(["x"]).file("a", "", 0).file("a", "", 0),
            "payload file \"a\" is given twice or is one the agent uses",
        );
        check(
            &Payload::command(["\0"]),
            "command word \"\\0\": cannot contain a zero byte",
        );
    }

    proptest::proptest! {
        #[test]
        fn shell_reads_words_back(words in proptest::collection::vec("[ -~\n\t'é]{0,12}", 1..5)) {
            let script = format!("printf '%s\\0' {}", shell_words(&words).unwrap());
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            let expect: String = words.iter().map(|word| format!("{word}\0")).collect();
            proptest::prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), expect);
        }
    }
}
