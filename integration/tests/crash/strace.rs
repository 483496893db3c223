//! Faults at system calls, by strace: a process that it starts knows nothing of it, whatever it is
//! written in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pleach_integration::crash::campaign::Outcome;

/// All calls that change a file system, or that make such a change last.
pub(crate) const CHANGING: &[&str] = &[
    "openat",
    "creat",
    "mkdir",
    "mkdirat",
    "mknodat",
    "write",
    "pwrite64",
    "pwritev",
    "writev",
    "copy_file_range",
    "sendfile",
    "splice",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "chmod",
    "fchmod",
    "fchmodat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "utimensat",
    "truncate",
    "ftruncate",
    "fallocate",
    "ioctl",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync",
    "sync_file_range",
    "flock",
    "mount",
    "umount2",
];

/// Those that make changes last, or visible.
pub(crate) const BARRIERS: &[&str] = &[
    "fsync",
    "fdatasync",
    "syncfs",
    "sync",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "ioctl",
];

/// One call of a process: its thread counted in the order of their first call, its name, the number of
/// its calls so far, and how strace shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Counted from 1 in its thread, as strace's `when=` does.
    pub(crate) nth: usize,
    /// When it began, by the clock.
    pub(crate) time: Duration,
    /// Arguments and result.
    pub(crate) shown: String,
    /// Whether strace says that it did something to it.
    pub(crate) injected: bool,
}

/// Runs a command under strace.
pub(crate) struct Strace {
    /// Where the trace goes.
    pub(crate) file: PathBuf,
}

impl Strace {
    /// The command, with only these calls traced and perhaps something done to them.
    pub(crate) fn wrap(&self, command: &Command, calls: &[&str], inject: &[&str]) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-y", "-ttt", "-s", "200"]);
        // It stops only at the calls in question; but strace 6.1 then sends no signal at a later one.
        if !inject.iter().any(|inject| inject.contains("signal=")) {
            strace.arg("--seccomp-bpf");
        }
        strace.args(["-e", &format!("trace={}", calls.join(","))]);
        for inject in inject {
            strace.args(["-e", &format!("inject={inject}")]);
        }
        strace.arg("-o").arg(&self.file);
        strace.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => strace.env(name, value),
                None => strace.env_remove(name),
            };
        }
        strace
    }

    /// Runs it, and reads the trace.
    pub(crate) fn run(
        &self,
        command: &Command,
        calls: &[&str],
        inject: Option<&str>,
    ) -> Result<(Outcome, Vec<Call>)> {
        let outcome = Outcome::of(&mut self.wrap(command, calls, inject.as_slice()))?;
        Ok((outcome, self.calls()?))
    }

    pub(crate) fn calls(&self) -> Result<Vec<Call>> {
        let trace = std::fs::read(&self.file).context("reading the trace")?;
        Ok(parse(&String::from_utf8_lossy(&trace)))
    }
}

/// `PID TIME NAME(ARGUMENTS) = RESULT`, or the first part of it with `<unfinished ...>`.
fn parse(trace: &str) -> Vec<Call> {
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let mut calls = Vec::<Call>::new();
    let mut open = BTreeMap::<&str, usize>::new();
    for line in trace.lines() {
        let Some((process, rest)) = line.split_once(' ') else {
            continue;
        };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else {
            continue;
        };
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some(index) = open.remove(process) {
                calls[index]
                    .shown
                    .push_str(resumed.split_once("resumed>").map_or("", |(_, rest)| rest));
                calls[index].injected |= rest.contains("(INJECTED)");
            }
            continue;
        }
        // `+++ killed by SIGKILL +++` and what else is no call.
        let Some((name, arguments)) = rest.split_once('(') else {
            continue;
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let count = counts.entry((process, name)).or_default();
        *count += 1;
        if arguments.contains("<unfinished ...>") {
            open.insert(process, calls.len());
        }
        calls.push(Call {
            name: name.to_owned(),
            nth: *count,
            time: time
                .parse()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .unwrap_or_default(),
            shown: arguments.trim_end_matches("<unfinished ...>").to_owned(),
            injected: rest.contains("(INJECTED)"),
        });
    }
    calls
}

impl Call {
    /// What it is about, without what is another in each run.
    pub(crate) fn subject(&self, at: &Path) -> String {
        plain(&self.path(at))
    }

    /// The last path of its arguments, below `at`.
    pub(crate) fn path(&self, at: &Path) -> String {
        let at = format!("{}/", at.display());
        let mut paths = Vec::new();
        // `3</a/b>` of a descriptor, `"c"` of a name.
        let mut folder = None;
        for part in self.shown.split(", ") {
            if let Some((_, rest)) = part.split_once('<') {
                folder = rest
                    .split_once('>')
                    .map(|(path, _)| path.trim_end_matches(" (deleted)").to_owned());
                paths.extend(folder.clone());
            } else if let Some(name) = part.split('"').nth(1) {
                // What is written is no name, nor is an attribute's.
                if self.name.contains("write") || self.name.contains("xattr") && !paths.is_empty() {
                    continue;
                }
                match folder.take() {
                    Some(folder) if !name.starts_with('/') => {
                        paths.pop();
                        paths.push(format!("{folder}/{name}"));
                    }
                    _ => paths.push(name.to_owned()),
                }
            }
        }
        let last = paths.pop().unwrap_or_default() + "/";
        let below = last.strip_prefix(&at).unwrap_or(&last);
        match below {
            "" => ".".to_owned(),
            below => below.trim_end_matches('/').to_owned(),
        }
    }
}

/// Without checksums and names by chance.
fn plain(path: &str) -> String {
    let word = |part: &str| {
        let stem: String = part.chars().take_while(|c| c.is_ascii_hexdigit()).collect();
        match stem.len() {
            _ if part.starts_with('#') => "#NUMBER".to_owned(),
            _ if part.starts_with("pipe:[") => "pipe".to_owned(),
            64 => format!("CHECKSUM{}", &part[64..]),
            62 => format!("OBJECT{}", &part[62..]),
            _ => part.to_owned(),
        }
    };
    let part = |part: &str| match part.rsplit_once('-') {
        Some((before, last)) if last.len() >= 64 => format!("{before}-{}", word(last)),
        Some((before, last)) if before.starts_with("staging") => {
            let lock = if last == "lock" { "-lock" } else { "" };
            format!("staging-RANDOM{lock}")
        }
        Some((before, last)) if last.len() == 6 && before.starts_with("tmp") => {
            format!("{before}-RANDOM")
        }
        Some((before, _)) if before.starts_with("pleach-") => "pleach-PROCESS".to_owned(),
        _ if part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()) => "XX".to_owned(),
        _ => word(part),
    };
    let parts: Vec<String> = path.split('/').map(part).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_their_threads() {
        let trace = "10 1.5 fsync(3</m/a>) = 0\n\
            11 1.6 fsync(4</m/b>) = 0 (INJECTED)\n\
            10 1.7 fsync(5</m/c> <unfinished ...>\n\
            11 1.8 write(1</dev/null>, \"x\", 1) = 1\n\
            10 1.9 <... fsync resumed>) = -1 EIO (Input/output error) (INJECTED)\n\
            10 2.0 +++ killed by SIGKILL +++\n";
        assert_eq!(parse(trace)[0].time, Duration::from_millis(1500));
        let shown: Vec<_> = parse(trace)
            .iter()
            .map(|call| {
                (
                    call.name.clone(),
                    call.nth,
                    call.injected,
                    call.subject(Path::new("/m")),
                )
            })
            .collect();
        let row = |name: &str, nth, injected, path: &str| {
            (name.to_owned(), nth, injected, path.to_owned())
        };
        assert_eq!(
            shown,
            [
                row("fsync", 1, false, "a"),
                row("fsync", 1, true, "b"),
                row("fsync", 2, true, "c"),
                row("write", 1, false, "/dev/null"),
            ]
        );
    }

    #[test]
    fn a_subject_is_the_same_in_each_run() {
        let long = "0123456789abcdef".repeat(4);
        let check = |arguments: &str, expected: &str| {
            let call = Call {
                name: String::new(),
                nth: 1,
                time: Duration::ZERO,
                shown: arguments.to_owned(),
                injected: false,
            };
            assert_eq!(call.subject(Path::new("/m")), expected, "{arguments}");
        };
        check("3</m/boot>, \".a.part\", 3</m/boot>, \"a\") = 0", "boot/a");
        check("3</m>, _IOC(_IOC_WRITE, 0x66, 0x2b, 0x4), 0x7ffd) = 0", ".");
        check("3</m/repo/#395 (deleted)>) = 0", "repo/#NUMBER");
        check("3<pipe:[395]>) = 0", "pipe");
        check(
            "3</m/tmp/pleach-20672-0/new>) = 0",
            "tmp/pleach-PROCESS/new",
        );
        check(
            "3</m/t>, \"staging-1f-23-aBcDeF\", 0) = 0",
            "t/staging-RANDOM",
        );
        check(
            "3</m/t>, \"staging-1f-23-aBcDeF-lock\", 0) = 0",
            "t/staging-RANDOM-lock",
        );
        check("AT_FDCWD</tmp>, \"/m/x\", 0) = 0", "x");
        check(
            &format!("3</m/boot/ostree/default-{long}>) = 0"),
            "boot/ostree/default-CHECKSUM",
        );
        check(&format!("3</m/d/{long}.0>) = 0"), "d/CHECKSUM.0");
        check(
            &format!("3</m/repo/objects/ab>, \"{}.file\") = 0", &long[..62]),
            "repo/objects/XX/OBJECT.file",
        );
    }
}
