//! The `pleach` command. The verbs that need libostree are `pleach-deploy`'s, so that no other starts
//! slower or holds more memory for its sake.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "only binaries open ambient paths, read the environment and talk to a person"
)]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build it in or inject it, and prove that it boots the same.
///
/// Image names are those of containers-transports(5): docker://, oci:DIR[:TAG], oci-archive:FILE,
/// dir:DIR. Exit codes: 0 fine or equal; 1 differs or findings; 2 usage; 3 trouble; 4 deployed, but
/// not cleaned up.
#[derive(Parser)]
#[command(name = "pleach", version)]
struct Pleach {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Here(Box<cli::Verb>),
    /// Install images as ostree deployments.
    #[cfg(feature = "deploy")]
    #[command(disable_help_flag = true)]
    Deploy(elsewhere::Arguments),
    /// Boot a disk image and capture the state that it comes up with.
    #[cfg(feature = "deploy")]
    #[command(disable_help_flag = true)]
    Capture(elsewhere::Arguments),
    /// Bring one customization onto a base image by several routes and compare what comes of it.
    #[cfg(feature = "deploy")]
    #[command(disable_help_flag = true)]
    Parity(elsewhere::Arguments),
}

fn main() -> ExitCode {
    let end = match Pleach::parse().verb {
        Verb::Here(verb) => verb.run(),
        #[cfg(feature = "deploy")]
        Verb::Deploy(_) | Verb::Capture(_) | Verb::Parity(_) => Err(elsewhere::run()),
    };
    match end {
        Ok(end) => end.into(),
        Err(error) => cli::exit::trouble(&error),
    }
}

/// The other program.
#[cfg(feature = "deploy")]
mod elsewhere {
    use std::ffi::OsString;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use anyhow::{Error, anyhow};

    /// Whatever follows the verb: `pleach-deploy` reads it.
    #[derive(clap::Args)]
    pub(crate) struct Arguments {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        _all: Vec<OsString>,
    }

    /// Becomes `pleach-deploy`, which is installed beside this program; returns only if it cannot.
    pub(crate) fn run() -> Error {
        let program = match std::env::current_exe() {
            Ok(this) => this.with_file_name("pleach-deploy"),
            Err(error) => return anyhow!(error).context("finding this program"),
        };
        let mut command = Command::new(&program);
        let error = command
            .args(std::env::args_os().skip(1))
            .arg0("pleach")
            .exec();
        anyhow!(error).context(format!(
            "starting {}: it belongs beside pleach, and deploy, capture and parity are in it",
            program.display()
        ))
    }
}
