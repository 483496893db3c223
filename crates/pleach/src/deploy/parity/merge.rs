//! `pleach parity merge`: the reports of all parts of a matrix become one.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use pleach_parity::merge;

use super::format::{ParityFormat, print_matrix};
use crate::cli::exit::End;
use crate::cli::report::read_matrix;
use crate::files;

/// Put the reports of all parts of a matrix together.
///
/// A cell that is missing or there twice is an error that names it; so are reports of other matrices,
/// and a tag or a document that was another one when another part ran. Exit code 1 if there is a
/// defect.
#[derive(Args)]
pub(crate) struct Merge {
    /// The report.json of each part.
    #[arg(required = true, value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Write the whole there, as JSON.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: ParityFormat,
}

impl Merge {
    pub(crate) fn run(&self) -> Result<End> {
        let read = self.reports.iter().map(|path| {
            let report = read_matrix(path)?;
            Ok((path.display().to_string(), report))
        });
        let whole = merge(read.collect::<Result<_>>()?)?;
        if let Some(path) = &self.output {
            files::write(path, whole.to_json().as_bytes())?;
        }
        print_matrix(&whole, self.format)?;
        Ok(match whole.is_equal() {
            true => End::Fine,
            false => End::Differs,
        })
    }
}
