//! `pleach compare`: two captures, like diff(1).

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_booted_state::{Snapshot, compare};

use super::exit::End;
use super::output::{self, Format};

/// Compare two captures, leaf by leaf, without forgiving anything.
#[derive(Args)]
pub(crate) struct Compare {
    left: PathBuf,
    right: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Compare {
    pub(crate) fn run(&self) -> Result<End> {
        let differences = compare(&read(&self.left)?, &read(&self.right)?);
        match self.format {
            Format::Json => {
                output::print(&(serde_json::to_string_pretty(&differences)? + "\n"))?;
            }
            Format::Human => {
                let lines: String = differences.iter().map(|d| format!("{d}\n")).collect();
                output::print(&lines)?;
            }
        }
        Ok(if differences.is_empty() {
            End::Fine
        } else {
            End::Differs
        })
    }
}

/// Reads a capture.
pub(crate) fn read(path: &std::path::Path) -> Result<Snapshot> {
    let json = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Snapshot::from_json(&json).with_context(|| format!("reading {}", path.display()))
}
