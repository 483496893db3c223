//! `pleach lint`: what an image is, and what is wrong with it.

use anyhow::Result;
use clap::Args;
use pleach_layer_merge::ContentRef;

use super::exit::End;
use super::fetch::Source;
use super::image::{self, Reader, make};
use super::output::{self, Format};

/// Classify an image and check it, without running it.
#[derive(Args)]
pub(crate) struct Lint {
    image: String,
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Lint {
    pub(crate) fn run(&self) -> Result<End> {
        let image = image::open(&self.image, &self.source)?;
        let spool = make(&std::env::temp_dir())?;
        let merged = image.merge(&spool)?;
        let reader = Reader::default();
        let read = |content: &ContentRef| reader.read(content);
        let report = pleach_image_lint::lint(merged.tree(), &read);
        reader.finish()?;
        match self.format {
            Format::Human => output::print(&report.to_string())?,
            Format::Json => output::print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
        }
        Ok(if report.findings.is_empty() {
            End::Fine
        } else {
            End::Differs
        })
    }
}
