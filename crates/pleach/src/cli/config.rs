//! Customization documents: read, checked, and said again.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use pleach_customization::{Customization, Format, Input, ParseOptions, Parsed};

use super::exit::End;
use super::local::FilesDir;
use super::output;

/// Check a customization document, or turn it into Ignition JSON.
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what is wrong with a document.
    Check(Document),
    /// Print the document as Ignition JSON of the lowest version that holds it; the same document gives the same bytes.
    ToIgnition(Document),
}

/// A customization document.
#[derive(Args, Clone)]
pub(crate) struct Document {
    /// Butane YAML (`variant: fcos`) or Ignition JSON (`.ign`, `.json`).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Where local files and trees are looked for, and what `file:` URLs are absolute in.
    #[arg(long, value_name = "DIR")]
    pub(crate) files_dir: Option<PathBuf>,
    /// Take the document's warnings for errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Config {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.what {
            What::Check(document) => {
                document.read()?;
            }
            What::ToIgnition(document) => {
                let ignition = pleach_inject::to_ignition(&document.read_as_written()?);
                output::print(ignition.as_str())?;
            }
        }
        Ok(End::Fine)
    }
}

impl Document {
    /// Reads and checks the document, and merges into it the documents that it refers to, which every
    /// route but Ignition needs. Warnings go to standard error.
    pub(crate) fn read(&self) -> Result<Customization> {
        let written = self.parse()?;
        let mut merged = written.customization.merged()?;
        let known = &written.warnings;
        merged.warnings.retain(|warning| !known.contains(warning));
        merged.warnings.splice(0..0, written.warnings);
        self.accepted(merged)
    }

    /// Reads and checks the document, and leaves references to other documents as they are.
    pub(crate) fn read_as_written(&self) -> Result<Customization> {
        self.accepted(self.parse()?)
    }

    fn parse(&self) -> Result<Parsed> {
        let name = self.config.display().to_string();
        let text =
            std::fs::read_to_string(&self.config).with_context(|| format!("reading {name}"))?;
        let json = self
            .config
            .extension()
            .is_some_and(|x| x == "ign" || x == "json");
        let format = if json {
            Format::Ignition
        } else {
            Format::Butane
        };
        let input = Input {
            name: &name,
            text: &text,
            format,
        };
        let files = FilesDir(self.files_dir.as_deref());
        let options = ParseOptions::default();
        Ok(pleach_customization::parse(&input, &files, &options)?)
    }

    fn accepted(&self, parsed: Parsed) -> Result<Customization> {
        for warning in &parsed.warnings {
            output::say(&warning.to_string());
        }
        let count = parsed.warnings.len();
        if self.strict && count > 0 {
            anyhow::bail!("--strict takes warnings for errors, and there are {count}");
        }
        Ok(parsed.customization)
    }
}
