//! What is secret in a document is never to be read by others, not for a moment: the system calls of
//! each injecting verb are looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::scratch;

/// Routes, as arguments; `etc` writes into a deployment, `ignition` to standard output.
const ROUTES: [&str; 5] = ["etc", "ignition", "cloud-init", "kickstart", "credentials"];

/// Documents for each route.
const DOCUMENTS: u64 = 5;

/// A hash and the contents of a private file, both with `token`.
fn document(token: &str) -> String {
    format!(
        r#"{{"ignition": {{"version": "3.4.0"}},
            "passwd": {{"users": [{{"name": "alice", "uid": 1001, "passwordHash": "$6$pleach${token}"}}]}},
            "storage": {{"files": [{{"path": "/etc/site.key", "mode": 384,
                "contents": {{"source": "data:,key%20{token}"}}}}]}}}}"#
    )
}

fn deployment(root: &Path) {
    let write = |path: &str, text: &str, mode| {
        let path = root.join(path);
        fs::write(&path, text).expect("the scratch folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for folder in ["etc", "usr", "var/home"] {
        fs::create_dir_all(root.join(folder)).expect("the scratch folder is ours");
    }
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    write("etc/group", "root:x:0:\nusers:x:100:\n", 0o644);
    write("etc/shadow", "root:!:20000::::::\n", 0o600);
    write("etc/gshadow", "root:*::\nusers:*::\n", 0o600);
    std::os::unix::fs::symlink("var/home", root.join("home")).expect("nothing is there yet");
}

#[test]
fn no_injected_secret_is_readable_by_others_for_a_moment() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "needs strace");
        return eprintln!("SKIP no_injected_secret_is_readable_by_others: needs strace");
    }
    for route in ROUTES {
        for number in 0..DOCUMENTS {
            // Nothing that a program would write of itself.
            let token = format!(
                "Pl3ach{:016x}",
                (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            );
            check(route, &token);
        }
    }
}

fn check(route: &str, token: &str) {
    let folder = scratch();
    let (config, root) = (folder.path().join("site.ign"), folder.path().join("root"));
    let (trace, output) = (folder.path().join("trace"), folder.path().join("out"));
    fs::write(&config, document(token)).expect("the scratch folder is ours");
    deployment(&root);
    let mut command = Command::new("strace");
    // Whatever the caller's umask, no file is made wider than its mode says.
    command
        .args(["-f", "-qq", "-s", "100000", "-o"])
        .arg(&trace);
    command.args([
        "-e",
        "trace=openat,openat2,write,pwrite64,writev,fchmod,execve,close",
    ]);
    command
        .arg(env!("CARGO_BIN_EXE_pleach"))
        .args(["inject", route, "--config"]);
    command.arg(&config);
    match route {
        "etc" => command.arg("--deployment").arg(&root),
        "ignition" => &mut command,
        _ => command.arg("--output").arg(&output),
    };
    let ran = command.output().expect("strace runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{route}: {said}");
    assert!(!said.contains(token), "{route} says the secret: {said}");
    let trace = fs::read_to_string(&trace).expect("strace writes text");
    if let Err(why) = private(&trace, token, route == "ignition") {
        panic!("{route}: {why}");
    }
}

/// Holds a trace to the rule: what the secret is written to has been made for its owner alone, and is
/// never given to everybody. To a group it may be, at the end: Debian's `shadow` is.
fn private(trace: &str, token: &str, by_stdout: bool) -> Result<(), String> {
    // The mode that each open descriptor's file was made with.
    let mut made: std::collections::BTreeMap<&str, u32> = Default::default();
    let mut done = 0;
    let mut written = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let call = line
            .split_once(' ')
            .map_or(line, |(_pid, call)| call.trim_start());
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        let descriptor = rest.split([',', ')']).next().unwrap_or_default();
        let result = call.rsplit_once(" = ").map_or("", |(_, result)| result);
        match name {
            "execve" if call.contains(token) => return Err(format!("an argument has it: {call}")),
            "openat" | "openat2" if rest.contains("O_CREAT") => {
                // The last argument of the one, `mode=` of the other.
                let mode = match name {
                    "openat" => rest
                        .rsplit_once(") = ")
                        .and_then(|(r, _)| r.rsplit_once(", ")),
                    _ => rest.split_once("mode="),
                };
                let digits = mode.and_then(|(_, mode)| mode.split([',', '}']).next());
                let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                made.insert(result, mode.ok_or_else(|| format!("no mode in {call}"))?);
            }
            "openat" | "openat2" => {
                made.remove(result);
            }
            "close" => {
                made.remove(descriptor);
                done += usize::from(written.remove(descriptor));
            }
            "fchmod" => {
                let mode = rest.split([',', ')']).nth(1).unwrap_or_default().trim();
                let mode = u32::from_str_radix(mode, 8).map_err(|e| format!("{call}: {e}"))?;
                if written.contains(descriptor) && mode & 0o007 != 0 {
                    return Err(format!("everybody may read it: {call}"));
                }
                made.entry(descriptor).and_modify(|made| *made |= mode);
            }
            "write" | "pwrite64" | "writev" if call.contains(token) => {
                written.insert(descriptor);
                match made.get(descriptor) {
                    Some(mode) if mode & 0o077 == 0 => {}
                    None if descriptor == "1" && by_stdout => {}
                    Some(mode) => return Err(format!("the file has {mode:o}: {call:.120}")),
                    None => return Err(format!("nobody knows this file: {call:.120}")),
                }
            }
            _ => {}
        }
    }
    match done + written.len() {
        0 => Err("the secret was written nowhere".to_owned()),
        _ => Ok(()),
    }
}

/// The rule can fail.
#[test]
fn a_trace_with_a_readable_secret_is_found() {
    let check = |trace: &str, expected: Result<(), &str>| {
        let found = private(trace, "T0ken", false);
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{trace}"),
            Err(words) => assert!(
                found.as_ref().is_err_and(|why| why.contains(words)),
                "{found:?}\n{trace}"
            ),
        }
    };
    let open2 = "7 openat2(4, \"f\", {flags=O_WRONLY|O_CREAT, mode=0644, resolve=0}, 24) = 5\n";
    let open = |mode| format!("7 openat(4, \"f\", O_WRONLY|O_CREAT|O_EXCL, {mode}) = 5\n");
    let write = "7 write(5, \"x T0ken\", 7) = 7\n";
    check(&format!("{}{write}", open("0600")), Ok(()));
    check(&format!("{}{write}", open("0644")), Err("the file has 644"));
    check(
        &format!("{}7 fchmod(5, 0640) = 0\n{write}", open("0600")),
        Err("the file has 640"),
    );
    check(&format!("{open2}{write}"), Err("the file has 644"));
    check(
        "7 write(2, \"T0ken\", 5) = 5\n",
        Err("nobody knows this file"),
    );
    check(
        "7 write(1, \"T0ken\", 5) = 5\n",
        Err("nobody knows this file"),
    );
    check(
        "7 execve(\"/bin/x\", [\"x\", \"T0ken\"], 0x0) = 0\n",
        Err("an argument has it"),
    );
    check(
        &format!("{}{write}7 fchmod(5, 0640) = 0\n", open("0600")),
        Ok(()),
    );
    check(
        &format!("{}{write}7 fchmod(5, 0644) = 0\n", open("0600")),
        Err("everybody may read it"),
    );
    check(&open("0600"), Err("written nowhere"));
}
