//! `pleach etc`: the three-way merge of /etc, who put what, and the way back to the default.

mod apply;
pub(crate) mod beneath;
mod entry;
pub(crate) mod json;
pub(crate) mod ledger_file;
mod own;
pub(in crate::cli) mod plan;
pub(crate) mod policy;
mod record;
mod show;
pub(in crate::cli) mod sides;
mod write;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::exit::End;
use super::output::{self, Format};

pub(crate) use record::Recorder;

/// The three-way merge of /etc: what the image shipped, what the machine has, what the next ships.
///
/// Exit codes: 0 nothing to tell, 1 differences as with diff(1), conflicts or something that was kept,
/// 2 wrong usage, 3 trouble.
#[derive(Args)]
pub(crate) struct Etc {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Diff(show::Diff),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Undo(apply::Undo),
    Restore(own::Restore),
    Why(show::Why),
    Pin(own::Pin),
    Adopt(own::Adopt),
    Release(own::Release),
    Policies(show::Policies),
}

impl Etc {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.verb {
            Verb::Diff(verb) => verb.run(),
            Verb::Plan(verb) => verb.run(),
            Verb::Apply(verb) => verb.run(),
            Verb::Undo(verb) => verb.run(),
            Verb::Restore(verb) => verb.run(),
            Verb::Why(verb) => verb.run(),
            Verb::Pin(verb) => verb.run(),
            Verb::Adopt(verb) => verb.run(),
            Verb::Release(verb) => verb.run(),
            Verb::Policies(verb) => verb.run(),
        }
    }
}

/// Prints a report as text or as JSON.
fn print(
    format: Format,
    human: impl FnOnce() -> String,
    json: impl FnOnce() -> json::Report,
) -> Result<()> {
    match format {
        Format::Human => output::print(&human()),
        Format::Json => output::print(&(serde_json::to_string_pretty(&json())? + "\n")),
    }
}
