//! `pleach deploy`: an image onto a disk.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cap_std::fs::Dir;
use clap::{Args, Subcommand};

use crate::cli::exit::End;
use crate::cli::fetch::Source;
use crate::cli::image::{self, OpenImage, make};
use crate::cli::output;
use crate::cli::private::make_private;
use crate::compose::Composed;
use crate::files::{self, materialize};
use crate::machine;

/// Install images as ostree deployments, and go from one to the next.
#[derive(Args)]
pub(crate) struct Deploy {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write a bootable disk image with one deployment of an image.
    Install(Install),
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

#[derive(Args)]
struct Install {
    image: String,
    /// The disk image to write; replaced if it is there.
    #[arg(long, value_name = "FILE")]
    disk: PathBuf,
    /// A kernel argument behind those of the image; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    karg: Vec<String>,
    /// An image that the repository holds too, as the branch pleach/next, and that is not deployed: the
    /// machine's own ostree can do that without a network (`ostree admin deploy pleach/next`).
    #[arg(long, value_name = "IMAGE")]
    next: Option<String>,
    #[command(flatten)]
    source: Source,
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

impl Install {
    fn run(&self) -> Result<()> {
        image::require_root("deploy install")?;
        let image = image::open(&self.image, &self.source)?;
        let next = self.next.as_ref();
        let next = next
            .map(|next| image::open(next, &self.source))
            .transpose()?;
        let mut work = self.disk.clone().into_os_string();
        work.push(format!(".work-{}", std::process::id()));
        let work = PathBuf::from(work);
        if work.exists() {
            bail!("{} is in the way", work.display());
        }
        let written = self.write(&image, next.as_ref(), &work);
        files::remove(&work)?;
        written?;
        output::print(&format!(
            "{}@{}\n  on {}\n",
            image.reference(),
            image.digest(),
            self.disk.display()
        ))
    }

    fn write(&self, image: &OpenImage, next: Option<&OpenImage>, work: &Path) -> Result<()> {
        make_private(work)?;
        let tree = unpack(image, work, "")?;
        output::step("deploying");
        let composed = Composed::new(&tree, image, &self.karg, None, &work.join("sysroot"))?;
        if let Some(next) = next {
            composed.add(&unpack(next, work, "-next")?, next)?;
        }
        output::step("writing the disk");
        composed.write_disk(&self.disk)
    }
}

fn unpack(image: &OpenImage, work: &Path, suffix: &str) -> Result<Dir> {
    let merged = image.merge(&make(&work.join(format!("spool{suffix}")))?)?;
    let tree = make(&work.join(format!("tree{suffix}")))?;
    output::step(&format!("unpacking {}", image.reference()));
    materialize(&merged, &tree)?;
    Ok(tree)
}
