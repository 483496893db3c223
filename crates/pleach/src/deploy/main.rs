//! `pleach-deploy`: what `pleach` becomes for the verbs that need libostree.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "only binaries open ambient paths, read the environment and talk to a person"
)]

mod boot;
mod capture;
#[path = "../cli/mod.rs"]
mod cli;
mod compose;
mod deploy;
mod files;
mod first_boot;
mod generate;
mod install;
mod machine;
mod parity;
mod policy;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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

/// All of them, since the reference is made from this.
#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    There(cli::Verb),
    Deploy(deploy::Deploy),
    Capture(capture::Capture),
    Parity(parity::Parity),
    #[command(hide = true)]
    Generate(generate::Generate),
}

fn main() -> ExitCode {
    let end = match Pleach::parse().verb {
        Verb::There(verb) => verb.run(),
        Verb::Deploy(verb) => verb.run(),
        Verb::Capture(verb) => verb.run(),
        Verb::Parity(verb) => verb.run(),
        Verb::Generate(verb) => verb.run(&Pleach::command()),
    };
    match end {
        Ok(end) => end.into(),
        Err(error) => cli::exit::trouble(&error),
    }
}
