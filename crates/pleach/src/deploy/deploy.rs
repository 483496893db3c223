//! `pleach deploy`: an image onto a disk.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::cli::exit::End;
use crate::cli::fetch::Source;
use crate::cli::image::{self, OpenImage, make};
use crate::cli::output;
use crate::compose::Composed;
use crate::files::{self, make_private, materialize};

/// Install images as ostree deployments.
#[derive(Args)]
pub(crate) struct Deploy {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write a bootable disk image with one deployment of an image.
    Install(Install),
}

#[derive(Args)]
struct Install {
    image: String,
    /// The disk image to write; replaced if it is there.
    #[arg(long, value_name = "FILE")]
    disk: PathBuf,
    /// A kernel argument behind those of the image; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    karg: Vec<String>,
    #[command(flatten)]
    source: Source,
}

impl Deploy {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.what {
            What::Install(install) => install.run()?,
        }
        Ok(End::Fine)
    }
}

impl Install {
    fn run(&self) -> Result<()> {
        image::require_root("deploy install")?;
        let image = image::open(&self.image, &self.source)?;
        let mut work = self.disk.clone().into_os_string();
        work.push(format!(".work-{}", std::process::id()));
        let work = PathBuf::from(work);
        if work.exists() {
            bail!("{} is in the way", work.display());
        }
        let written = self.write(&image, &work);
        files::remove(&work)?;
        written?;
        output::print(&format!(
            "{}@{}\n  on {}\n",
            image.reference(),
            image.digest(),
            self.disk.display()
        ))
    }

    fn write(&self, image: &OpenImage, work: &Path) -> Result<()> {
        make_private(work)?;
        let merged = image.merge(&make(&work.join("spool"))?)?;
        let tree = make(&work.join("tree"))?;
        output::step("unpacking");
        materialize(&merged, &tree)?;
        output::step("deploying");
        let composed = Composed::new(&tree, image, &self.karg, None, &work.join("sysroot"))?;
        output::step("writing the disk");
        composed.write_disk(&self.disk)
    }
}
