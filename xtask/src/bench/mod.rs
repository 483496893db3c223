//! `cargo xtask bench`: us and a peer, in turns, in one run.

mod etc;
mod figures;
mod inspect;
mod layers;
mod volume;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::setup;
use crate::workspace::Workspace;

/// Measure us and a peer side by side.
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(default_value = "layers")]
    what: What,
    /// Pairs of runs; which of the two begins alternates.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// How many files, only of etc [default: 2000,10000,50000,250000]
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// An image in a layout, oci:DIR:TAG, only of layers [default: the base image, and a larger one]
    #[arg(long)]
    image: Vec<String>,
    /// What of layers to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<layers::Row>,
    /// How the layers are compressed [default: both]
    #[arg(long, value_enum, value_delimiter = ',')]
    compression: Vec<layers::Compression>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// An image's layers into a directory or an ostree repository; the peers are umoci, podman, skopeo
    /// with tar, ostree-ext and composefs.
    Layers,
    /// The three-way merge of /etc; the peer is ostree.
    Etc,
    /// A look into an image of a gigabyte; the peer is gzip with sha256sum.
    Inspect,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        if self.pairs == 0 {
            bail!("--pairs must be at least 1");
        }
        match (self.what, &self.sizes[..]) {
            (What::Layers, []) => {
                setup::setup(workspace)?;
                let (images, rows) = (&self.image, &self.rows);
                layers::run(workspace, self.pairs, images, rows, &self.compression)
            }
            (What::Layers, _) => bail!("--sizes is for etc; layers has those of the image"),
            (What::Inspect, []) if !self.of_layers() => inspect::run(workspace, self.pairs),
            (What::Inspect, _) => bail!("inspect makes its own image"),
            (What::Etc, _) if self.of_layers() => {
                bail!("--image, --rows and --compression are for layers")
            }
            (What::Etc, sizes) if sizes.contains(&0) => bail!("--sizes must be at least 1 each"),
            (What::Etc, sizes) => {
                setup::setup(workspace)?;
                let sizes = if sizes.is_empty() { &etc::SIZES } else { sizes };
                etc::run(workspace, self.pairs, sizes)
            }
        }
    }

    fn of_layers(&self) -> bool {
        !(self.image.is_empty() && self.rows.is_empty() && self.compression.is_empty())
    }
}
