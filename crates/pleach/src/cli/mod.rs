//! Verbs. Each is a file; what several need is in `image`, `output` and `exit`.

#[cfg(feature = "deploy")]
mod boot;
#[cfg(feature = "deploy")]
mod capture;
mod compare;
#[cfg(feature = "deploy")]
mod compose;
mod config;
#[cfg(feature = "deploy")]
mod deploy;
mod derive;
mod etc;
mod exit;
mod fetch;
mod gc;
mod generate;
mod image;
mod inject;
mod inspect;
mod lint;
mod ostree;
mod output;
#[cfg(feature = "deploy")]
mod parity;
mod unpack;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// Build it in or inject it, and prove that it boots the same.
///
/// Image names are those of containers-transports(5): docker://, oci:DIR[:TAG], oci-archive:FILE,
/// dir:DIR. Exit codes: 0 fine or equal; 1 differs or findings; 2 usage; 3 trouble.
#[derive(Parser)]
#[command(name = "pleach", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Fetch(fetch::Fetch),
    Gc(gc::Gc),
    Inspect(inspect::Inspect),
    Lint(lint::Lint),
    Unpack(unpack::Unpack),
    Config(config::Config),
    Derive(derive::Derive),
    Inject(inject::Inject),
    Etc(etc::Etc),
    #[cfg(feature = "deploy")]
    Deploy(deploy::Deploy),
    #[cfg(feature = "deploy")]
    Capture(capture::Capture),
    Compare(compare::Compare),
    #[cfg(feature = "deploy")]
    Parity(parity::Parity),
    #[command(hide = true)]
    Generate(generate::Generate),
}

pub(crate) fn main() -> ExitCode {
    let end = match Cli::parse().verb {
        Verb::Fetch(verb) => verb.run(),
        Verb::Gc(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(),
        Verb::Lint(verb) => verb.run(),
        Verb::Unpack(verb) => verb.run(),
        Verb::Config(verb) => verb.run(),
        Verb::Derive(verb) => verb.run(),
        Verb::Inject(verb) => verb.run(),
        Verb::Etc(verb) => verb.run(),
        #[cfg(feature = "deploy")]
        Verb::Deploy(verb) => verb.run(),
        #[cfg(feature = "deploy")]
        Verb::Capture(verb) => verb.run(),
        Verb::Compare(verb) => verb.run(),
        #[cfg(feature = "deploy")]
        Verb::Parity(verb) => verb.run(),
        Verb::Generate(verb) => verb.run(&Cli::command()),
    };
    match end {
        Ok(end) => end.into(),
        Err(error) => exit::trouble(&error),
    }
}
