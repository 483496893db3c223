//! Verbs. Each is a file; what several need is in `image`, `output` and `exit`. Both programs are made
//! of them: `pleach`, and `pleach-deploy` with the verbs that need libostree besides.

mod compare;
pub(crate) mod config;
pub(crate) mod derive;
mod diff;
pub(crate) mod etc;
pub(crate) mod exit;
pub(crate) mod fetch;
mod gc;
pub(crate) mod image;
mod inject;
mod inspect;
pub(crate) mod judge;
mod lint;
mod local;
pub(crate) mod ostree;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod private;
mod remainder;
pub(crate) mod report;
mod split;
mod unpack;
pub(crate) mod verdicts;

use anyhow::Result;
use clap::Subcommand;

use self::exit::End;

/// The verbs that need no C library.
#[derive(Subcommand)]
pub(crate) enum Verb {
    Fetch(fetch::Fetch),
    Gc(gc::Gc),
    Inspect(inspect::Inspect),
    Lint(lint::Lint),
    Diff(diff::Diff),
    Report(report::Report),
    Unpack(unpack::Unpack),
    Config(config::Config),
    Plan(plan::Plan),
    Derive(derive::Derive),
    Split(split::Split),
    Inject(inject::Inject),
    Etc(etc::Etc),
    Compare(compare::Compare),
}

impl Verb {
    pub(crate) fn run(&self) -> Result<End> {
        match self {
            Self::Fetch(verb) => verb.run(),
            Self::Gc(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Lint(verb) => verb.run(),
            Self::Diff(verb) => verb.run(),
            Self::Report(verb) => verb.run(),
            Self::Unpack(verb) => verb.run(),
            Self::Config(verb) => verb.run(),
            Self::Plan(verb) => verb.run(),
            Self::Derive(verb) => verb.run(),
            Self::Split(verb) => verb.run(),
            Self::Inject(verb) => verb.run(),
            Self::Etc(verb) => verb.run(),
            Self::Compare(verb) => verb.run(),
        }
    }
}
