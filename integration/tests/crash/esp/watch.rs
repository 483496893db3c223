//! What a program does to a directory, by strace.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use pleach_integration::crash::campaign::Outcome;
use pleach_integration::crash::vfat::Operation;

const CALLS: &[&str] = &[
    "openat",
    "openat2",
    "creat",
    "mkdir",
    "mkdirat",
    "write",
    "pwrite64",
    "writev",
    "copy_file_range",
    "sendfile",
    "splice",
    "truncate",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "syncfs",
    "sync_file_range",
];

/// Runs a command, which has to succeed, and tells what it did below a directory.
pub(super) fn watch(command: &Command, directory: &Path, trace: &Path) -> Result<Vec<Operation>> {
    let _ = std::fs::remove_dir_all(trace);
    std::fs::create_dir_all(trace)?;
    let mut strace = Command::new("strace");
    // A file for each thread, so that no call is in two parts; strings whole, in digits.
    strace.args([
        "-f",
        "-ff",
        "-qq",
        "-y",
        "-xx",
        "-s",
        "1048576",
        "--seccomp-bpf",
    ]);
    strace.args(["-e", &format!("trace={}", CALLS.join(","))]);
    strace.arg("-o").arg(trace.join("thread"));
    strace.arg(command.get_program()).args(command.get_args());
    let outcome = Outcome::of(&mut strace)?;
    ensure!(outcome.done, "{}", outcome.said);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(trace)? {
        let text = std::fs::read_to_string(entry?.path())?;
        let operations = parse(&text, directory)?;
        ensure!(
            all.is_empty() || operations.is_empty(),
            "two threads write to {}",
            directory.display()
        );
        all.extend(operations);
    }
    Ok(all)
}

/// `NAME(ARGUMENTS) = RESULT`, in order.
fn parse(trace: &str, directory: &Path) -> Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for line in trace.lines() {
        let operation = one(line, directory);
        operations.extend(operation.with_context(|| line.chars().take(300).collect::<String>())?);
    }
    Ok(operations)
}

fn one(line: &str, directory: &Path) -> Result<Option<Operation>> {
    let call = line.split_once('(').zip(line.rsplit_once(" = "));
    let Some(((name, _), (head, result))) = call else {
        return Ok(None);
    };
    if result.starts_with('-') {
        return Ok(None);
    }
    let arguments: Vec<&str> = head[name.len() + 1..]
        .trim_end()
        .trim_end_matches(')')
        .split(", ")
        .collect();
    let below = |path: &str| -> Option<String> {
        let path = Path::new(path).strip_prefix(directory).ok()?;
        Some(path.to_string_lossy().into_owned())
    };
    // Of a descriptor, and of a name in it.
    let of = |index: usize| {
        bytes(arguments.get(index)?, '<', '>').and_then(|path| below(&path_of(path)))
    };
    let named = |index: usize| {
        let folder = path_of(bytes(arguments.get(index)?, '<', '>')?);
        let name = path_of(bytes(arguments.get(index + 1)?, '"', '"')?);
        below(&Path::new(&folder).join(name).to_string_lossy())
    };
    let plain = |index: usize| below(&path_of(bytes(arguments.get(index)?, '"', '"')?));
    Ok(match name {
        "openat" | "openat2" => {
            let made = bytes(result, '<', '>').and_then(|path| below(&path_of(path)));
            match (made, head.contains("O_CREAT")) {
                (Some(path), true) => Some(Operation::Create(path)),
                (Some(path), false) if head.contains("O_TRUNC") => bail!("{path} is emptied"),
                _ => None,
            }
        }
        "mkdirat" => named(0).map(Operation::MakeDirectory),
        "write" => match of(0) {
            None => None,
            Some(path) => {
                let written = bytes(arguments[1], '"', '"').context("what is written")?;
                ensure!(
                    result.parse().ok() == Some(written.len()),
                    "a part of it is written"
                );
                Some(Operation::Write(path, written))
            }
        },
        "renameat" | "renameat2" => match (named(0), named(2)) {
            (Some(from), Some(to)) => Some(Operation::Rename(from, to)),
            (None, None) => None,
            _ => bail!("it is moved into or out of there"),
        },
        "unlinkat" if head.contains("AT_REMOVEDIR") => named(0).map(Operation::RemoveDirectory),
        "unlinkat" => named(0).map(Operation::Remove),
        "fsync" | "fdatasync" => of(0).map(Operation::Sync),
        "syncfs" => of(0).map(|_| Operation::SyncAll),
        other => {
            let there = (0..arguments.len())
                .any(|i| of(i).is_some() || named(i).is_some() || plain(i).is_some());
            ensure!(!there, "{other} is not known here");
            None
        }
    })
}

fn path_of(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `\x41\x42` between two signs.
fn bytes(text: &str, from: char, to: char) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(from)?;
    let (digits, _) = rest.split_once(to)?;
    let digits = digits.split("\\x").skip(1);
    digits
        .map(|digit| u8::from_str_radix(digit.get(..2)?, 16).ok())
        .collect()
}

#[test]
fn calls_become_operations() {
    let hex = |text: &str| -> String { text.bytes().map(|b| format!("\\x{b:02x}")).collect() };
    // What is between hooks or quotes is shown in digits.
    let shown = |line: &str| -> String {
        let parts = line.split('|').enumerate();
        let parts = parts.map(|(number, part)| match number % 2 {
            1 => hex(part),
            _ => part.to_owned(),
        });
        parts.collect()
    };
    let check = |line: &str, expected: Option<&str>| {
        let found = one(&shown(line), Path::new("/e")).expect(line);
        let found = found.map(|operation| operation.to_string());
        assert_eq!(found.as_deref(), expected, "{line}");
    };
    check(
        "openat(3<|/e|>, \"|a|\", O_WRONLY|O_CREAT, 0666) = 4<|/e/a|>"
            .replace("|O_CREAT", "+O_CREAT")
            .as_str(),
        Some("create a"),
    );
    check("openat(3<|/e|>, \"|a|\", O_RDONLY) = 4<|/e/a|>", None);
    check("openat(3<|/f|>, \"|a|\", O_CREAT, 0666) = 4<|/f/a|>", None);
    check("mkdirat(3<|/e/a|>, \"|b|\", 0777) = 0", Some("mkdir a/b"));
    check(
        "mkdirat(3<|/e/a|>, \"|b|\", 0777) = -1 EEXIST (File exists)",
        None,
    );
    check(
        "write(3<|/e/a|>, \"|abc|\", 3) = 3",
        Some("write 3 bytes to a"),
    );
    check("write(1<|/dev/null|>, \"|abc|\", 3) = 3", None);
    check(
        "renameat(3<|/e|>, \"|a|\", 3<|/e|>, \"|b|\") = 0",
        Some("rename a b"),
    );
    check("unlinkat(3<|/e|>, \"|a|\", 0) = 0", Some("unlink a"));
    check(
        "unlinkat(3<|/e|>, \"|a|\", AT_REMOVEDIR) = 0",
        Some("rmdir a"),
    );
    check("fsync(3<|/e|>)                    = 0", Some("fsync /"));
    check("syncfs(3<|/e|>) = 0", Some("syncfs"));
    for line in [
        "ftruncate(3<|/e/a|>, 0) = 0",
        "write(3<|/e/a|>, \"|abc|\", 3) = 2",
    ] {
        one(&shown(line), Path::new("/e")).expect_err(line);
    }
}
