//! Where nothing can be printed any more, an exit code says still what became of the machine.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use super::Test;

/// Exit code of a verb whose output goes to a disk that is full.
fn full(test: &Test, verb: &[&str], output: bool, error: bool) -> Option<i32> {
    let to = |full: bool| match full {
        true => Stdio::from(
            OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .expect("opened"),
        ),
        false => Stdio::null(),
    };
    let status = Command::new(env!("CARGO_BIN_EXE_pleach"))
        .args(["deploy", verb[0], "--sysroot=sysroot"])
        .args(&verb[1..])
        .current_dir(test.scratch.path(""))
        .stdout(to(output))
        .stderr(to(error))
        .status();
    status.expect("the binary runs").code()
}

#[test]
fn what_cannot_be_printed_ends_nothing() {
    let Some(test) = Test::new("what_cannot_be_printed_ends_nothing") else {
        return;
    };
    let switch = |image| ["switch", image];
    let code = full(&test, &switch("oci:images:none"), false, true);
    assert_eq!(code, Some(3), "an error that nobody reads");
    assert_eq!(test.numbers(), ["1"]);
    let code = full(&test, &switch("oci:images:v2"), false, true);
    assert_eq!(code, Some(0), "progress that nobody reads");
    assert_eq!(test.numbers(), ["2", "1"]);
    let code = full(&test, &["rollback"], true, false);
    assert_eq!(code, Some(4), "it boots another one, and cannot say so");
    assert_eq!(test.numbers(), ["1", "2"]);
}
