//! `pleach deploy`: images as ostree deployments.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::exit::End;
use crate::install::Install;
use crate::machine;

/// Install images as ostree deployments, and go from one to the next.
#[derive(Args)]
pub(crate) struct Deploy {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Install(Box<Install>),
    Upgrade(machine::Upgrade),
    Switch(machine::Switch),
    Rollback(machine::Rollback),
    Status(machine::Status),
    Kargs(machine::Kargs),
    Pin(machine::Pin),
    /// Keep a deployment no longer.
    Unpin(machine::Pin),
    Cleanup(machine::Cleanup),
    FactoryReset(machine::FactoryReset),
    Finalize(machine::Finalize),
}

impl Deploy {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.what {
            What::Install(install) => install.run().map(|()| End::Fine),
            What::Upgrade(verb) => verb.run(),
            What::Switch(verb) => verb.run(),
            What::Rollback(verb) => verb.run(),
            What::Status(verb) => verb.run(),
            What::Kargs(verb) => verb.run(),
            What::Pin(verb) => verb.run(true),
            What::Unpin(verb) => verb.run(false),
            What::Cleanup(verb) => verb.run(),
            What::FactoryReset(verb) => verb.run(),
            What::Finalize(verb) => verb.run(),
        }
    }
}
