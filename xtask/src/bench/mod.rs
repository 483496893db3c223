//! `cargo xtask bench`: us and a peer, in turns, in one run.

mod etc;
mod figures;
mod layers;

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
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// An image's layers into a directory; the peer is umoci.
    Layers,
    /// The three-way merge of /etc; the peer is ostree.
    Etc,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        if self.pairs == 0 {
            bail!("--pairs must be at least 1");
        }
        match (self.what, &self.sizes[..]) {
            (What::Layers, []) => {
                setup::setup(workspace)?;
                layers::run(workspace, self.pairs)
            }
            (What::Layers, _) => bail!("--sizes is for etc; layers has those of the image"),
            (What::Etc, sizes) if sizes.contains(&0) => bail!("--sizes must be at least 1 each"),
            (What::Etc, sizes) => {
                setup::setup(workspace)?;
                let sizes = if sizes.is_empty() { &etc::SIZES } else { sizes };
                etc::run(workspace, self.pairs, sizes)
            }
        }
    }
}
