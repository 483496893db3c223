//! The binary, from outside.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "tests run programs in their own temporary directories, and say what they skip"
)]

mod confext;
#[cfg(feature = "deploy")]
mod deploy;
mod documents;
mod etc;
#[cfg(feature = "deploy")]
mod generated;
mod hello_image;
mod images;
mod lint;
mod parts;
mod reports;
mod secrecy;

use std::path::Path;
use std::process::Command;

/// What `pleach` answered: exit code, standard output, standard error.
fn pleach(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pleach"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
