//! `pleach unpack`: an image's merged tree as a directory, or as a commit of an ostree repository.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::Args;

use super::exit::End;
use super::fetch::Source;
use super::image;
use super::ostree::Ostree;

/// Write the merged tree of an image into a directory, or into an ostree repository.
#[derive(Args)]
pub(crate) struct Unpack {
    image: String,
    /// Must be missing or empty.
    #[arg(required_unless_present = "ostree_repo")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    ostree: Ostree,
    /// Leave owners and devices out: everything is the caller's. A new ostree repository gets the
    /// mode bare-user, which keeps them as attributes.
    #[arg(long)]
    no_owners: bool,
    /// Use one thread and hold no contents in memory; slower.
    #[arg(long)]
    low_memory: bool,
    #[command(flatten)]
    source: Source,
}

impl Unpack {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.directory {
            Some(directory) => self.directory(directory)?,
            None => {
                let image = image::open(&self.image, &self.source)?;
                self.ostree.run(&image, self.no_owners, self.low_memory)?;
            }
        }
        Ok(End::Fine)
    }

    fn directory(&self, directory: &Path) -> Result<()> {
        let shown = directory.display();
        std::fs::create_dir_all(directory).with_context(|| format!("creating {shown}"))?;
        if std::fs::read_dir(directory)?.next().is_some() {
            bail!("{shown} is not empty");
        }
        if !self.no_owners {
            image::require_root("unpack (without --no-owners)")?;
        }
        let image = image::open(&self.image, &self.source)?;
        // Beside it, and there in one step: half a tree must not look like a whole one.
        let mut part = directory.to_owned().into_os_string();
        part.push(format!(".part-{}", std::process::id()));
        let part = std::path::PathBuf::from(part);
        std::fs::create_dir(&part).with_context(|| format!("creating {}", part.display()))?;
        let written = Dir::open_ambient_dir(&part, cap_std::ambient_authority())
            .map_err(anyhow::Error::from)
            .and_then(|target| image.unpack(&target, !self.no_owners, self.low_memory))
            .and_then(|()| {
                std::fs::rename(&part, directory).with_context(|| format!("creating {shown}"))
            });
        if written.is_err() {
            let _ = std::fs::remove_dir_all(&part);
        }
        written
    }
}
