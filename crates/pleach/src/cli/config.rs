//! Customization documents: read, checked, and said again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use pleach_customization::{Customization, Format, Input, LocalFiles, ParseOptions};

use super::exit::End;
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
    /// Print the document as Ignition JSON; the same document gives the same bytes.
    ToIgnition(Document),
}

/// A customization document.
#[derive(Args, Clone)]
pub(crate) struct Document {
    /// Butane YAML (`variant: fcos`) or Ignition JSON (`.ign`, `.json`).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Where `contents.local` is looked for.
    #[arg(long, value_name = "DIR")]
    pub(crate) files_dir: Option<PathBuf>,
}

impl Config {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.what {
            What::Check(document) => {
                document.read()?;
            }
            What::ToIgnition(document) => {
                let ignition = pleach_inject::to_ignition(&document.read()?);
                output::print(ignition.as_str())?;
            }
        }
        Ok(End::Fine)
    }
}

impl Document {
    /// Reads and checks the document; warnings go to standard error.
    pub(crate) fn read(&self) -> Result<Customization> {
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
        let files = Files(self.files_dir.as_deref());
        let parsed = pleach_customization::parse(&input, &files, &ParseOptions::default())?;
        for warning in &parsed.warnings {
            eprintln!("{warning}");
        }
        Ok(parsed.customization)
    }
}

struct Files<'a>(Option<&'a Path>);

impl LocalFiles for Files<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let Some(folder) = self.0 else {
            return Err("give the folder that it is in with --files-dir".to_owned());
        };
        // Nothing outside that folder, by no link either.
        let folder = cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority())
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        folder.read(path).map_err(|e| e.to_string())
    }
}
