//! `pleach unpack`: an image's merged tree as a directory.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::Args;

use super::exit::End;
use super::fetch::Source;
use super::image;

/// Write the merged tree of an image into a directory.
#[derive(Args)]
pub(crate) struct Unpack {
    image: String,
    /// Must be missing or empty.
    directory: PathBuf,
    #[command(flatten)]
    source: Source,
}

impl Unpack {
    pub(crate) fn run(&self) -> Result<End> {
        let shown = self.directory.display();
        std::fs::create_dir_all(&self.directory).with_context(|| format!("creating {shown}"))?;
        if std::fs::read_dir(&self.directory)?.next().is_some() {
            bail!("{shown} is not empty");
        }
        let target = Dir::open_ambient_dir(&self.directory, cap_std::ambient_authority())?;
        let image = image::open(&self.image, &self.source)?;
        image.merge(&target)?.materialize(&target)?;
        Ok(End::Fine)
    }
}
