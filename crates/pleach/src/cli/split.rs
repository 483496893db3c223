//! `pleach split`: what derives into an image, and the rest for first boot.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::config::Document;
use super::derive::{self, Placing};
use super::exit::End;
use super::fetch::Source;
use super::image::{self, make};
use super::output;
use super::remainder::{self, Remainder};

/// Build an image that holds what a layer can, and an Ignition document for the rest.
///
/// Together they are the whole document: what neither can do is refused.
#[derive(Args)]
pub(crate) struct Split {
    /// The base image.
    #[arg(long, value_name = "IMAGE")]
    base: String,
    #[command(flatten)]
    document: Document,
    /// Where the image is written: oci:DIR[:TAG]
    #[arg(long, value_name = "IMAGE")]
    output: String,
    /// Where the Ignition document is written, readable by its owner alone. It is empty where nothing
    /// is left.
    #[arg(long, value_name = "FILE")]
    remainder: PathBuf,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    source: Source,
}

impl Split {
    pub(crate) fn run(&self) -> Result<End> {
        let mut customization = self.document.read()?;
        self.placing.publish(&mut customization)?;
        let (folder, tag) = image::layout_name(&self.output)?;
        let base = image::open(&self.base, &self.source)?;
        let merged = base.merge(&make(&folder)?)?;
        let (parts, derivation) = derive::divide(&customization, &merged, &base, &self.placing)?;
        remainder::nothing_is_lost(&parts)?;
        let derived = derive::write(&base, &merged, &derivation, &folder, tag)?;
        let remainder = Remainder {
            allow_remainder: true,
            remainder: Some(self.remainder.clone()),
        };
        remainder.finish(&parts)?;
        output::print(&format!("{}@{}\n", derived.reference(), derived.digest()))?;
        Ok(End::Fine)
    }
}
