//! A test of this binary, run by another of its tests: under a tool, or as somebody else.

use std::path::Path;
use std::process::{Command, Output};

use pleach_etc_merge::{
    ApplyOptions, Error, Policies, Sides, apply, known, plan_dirs, prepare, release, undo,
};

use crate::disk::{self, open};

/// The command that runs one test, after those words of a tool, if any.
pub(crate) fn command(tool: &[&str], binary: &Path, test: &str) -> Command {
    let mut words = tool.iter();
    let mut command = match words.next() {
        Some(first) => Command::new(first),
        None => Command::new(binary),
    };
    command.args(words);
    if !tool.is_empty() {
        command.arg(binary);
    }
    command
        .args(["--ignored", "--exact", test, "--nocapture"])
        .arg("--test-threads=1")
        .env("RUST_BACKTRACE", "0");
    command
}

pub(crate) fn binary() -> std::path::PathBuf {
    std::env::current_exe().expect("a path")
}

/// What it said, or why it failed.
pub(crate) fn told(output: &Output) -> Result<String, String> {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    match output.status.success() && text.contains("1 passed") {
        true => Ok(text),
        false => Err(text),
    }
}

const AT: &str = "PLEACH_ETC_MERGE_TEST_AT";
const VERBS: &str = "PLEACH_ETC_MERGE_TEST_VERBS";

/// The command that does those things, one after the other, to the directories `pristine`,
/// `current`, `new` and `deployment` of one directory.
pub(crate) fn work_at(tool: &[&str], binary: &Path, at: &Path, verbs: &str) -> Command {
    let mut command = command(tool, binary, "itself::work");
    command.env(AT, at).env(VERBS, verbs);
    command
}

pub(crate) fn options() -> ApplyOptions {
    ApplyOptions {
        materialize: disk::options(),
        // The calls of several threads would come in any order.
        threads: 1,
        ..ApplyOptions::default()
    }
}

#[test]
#[ignore = "run by other tests"]
fn work() {
    let (Some(at), Some(verbs)) = (std::env::var_os(AT), std::env::var_os(VERBS)) else {
        return;
    };
    let at = Path::new(&at);
    for verb in verbs.to_str().expect("plain words").split(',') {
        do_verb(at, verb).unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
}

pub(crate) fn do_verb(at: &Path, verb: &str) -> Result<(), Error> {
    let dir = |name: &str| open(&at.join(name));
    let deployment = dir("deployment");
    let (policies, mut options) = (Policies::default(), options());
    match verb {
        "prepare" => return prepare(&dir("new"), &deployment, &options),
        "undo" => return undo(&deployment, &options),
        "release" => return release(&deployment, &options),
        "peak" => {
            let status = std::fs::read_to_string("/proc/self/status").expect("of this process");
            eprintln!("{status}");
            return Ok(());
        }
        _ => {}
    }
    let (pristine, current, new) = (dir("pristine"), dir("current"), dir("new"));
    let sides = Sides {
        pristine: &pristine,
        current: &current,
        new: &new,
    };
    match verb {
        "apply" => apply(sides, &policies, None, &deployment, &options).map(drop),
        "plan" => plan_dirs(sides, &policies, &options).map(drop),
        "plan-known" => {
            // What the merge knew that made the current tree.
            options.known = known(&dir("before"), &options)?;
            plan_dirs(sides, &policies, &options).map(drop)
        }
        other => panic!("{other}: no such verb"),
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
