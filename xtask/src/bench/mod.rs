//! `cargo xtask bench`: us and a peer, in turns, in one run.

mod deploy;
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
    /// An image in a layout, oci:DIR:TAG, only of layers and deploy [default: the base image, and for layers
    /// a larger one too]
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
    /// A machine is installed, and upgraded to an image of which one layer is another; the peer is ostree-ext
    /// with libostree's own deploy. As root.
    Deploy,
    /// A look into an image of a gigabyte; the peer is gzip with sha256sum.
    Inspect,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        self.check()?;
        match (self.what, &self.sizes[..]) {
            (What::Deploy, _) => {
                setup::setup(workspace)?;
                deploy::run(workspace, self.pairs, &self.image)
            }
            (What::Inspect, _) => inspect::run(workspace, self.pairs),
            (What::Layers, _) => {
                setup::setup(workspace)?;
                let (images, rows) = (&self.image, &self.rows);
                layers::run(workspace, self.pairs, images, rows, &self.compression)
            }
            (What::Etc, sizes) => {
                setup::setup(workspace)?;
                let sizes = if sizes.is_empty() { &etc::SIZES } else { sizes };
                etc::run(workspace, self.pairs, sizes)
            }
        }
    }

    /// Refuses options that are for something else.
    fn check(&self) -> Result<()> {
        if self.pairs == 0 {
            bail!("--pairs must be at least 1");
        }
        match (self.what, &self.sizes[..]) {
            (What::Layers, [_, ..]) => bail!("--sizes is for etc; layers has those of the image"),
            (What::Deploy, [_, ..]) => bail!("--sizes is for etc; deploy has those of the image"),
            (What::Deploy, []) if !(self.rows.is_empty() && self.compression.is_empty()) => {
                bail!("--rows and --compression are for layers")
            }
            (What::Inspect, [_, ..]) => bail!("inspect makes its own image"),
            (What::Inspect, []) if self.of_layers() => bail!("inspect makes its own image"),
            (What::Etc, _) if self.of_layers() => {
                bail!("--image, --rows and --compression are for layers")
            }
            (What::Etc, sizes) if sizes.contains(&0) => bail!("--sizes must be at least 1 each"),
            _ => Ok(()),
        }
    }

    fn of_layers(&self) -> bool {
        !(self.image.is_empty() && self.rows.is_empty() && self.compression.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bench: Bench,
    }

    #[test]
    fn options_for_something_else_are_refused() {
        let check = |arguments: &str, expected: Option<&str>| {
            let words = std::iter::once("bench").chain(arguments.split_whitespace());
            let refused = Cli::parse_from(words).bench.check().err();
            let said = refused.map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{arguments}");
        };
        let layers = "--rows and --compression are for layers";
        check("", None);
        check("--pairs 0", Some("--pairs must be at least 1"));
        check(
            "--sizes 2",
            Some("--sizes is for etc; layers has those of the image"),
        );
        check("--rows upgrade --compression gzip", None);
        check("deploy --image oci:a:b", None);
        check("deploy --rows upgrade", Some(layers));
        check("deploy --compression zstd", Some(layers));
        check(
            "deploy --sizes 2",
            Some("--sizes is for etc; deploy has those of the image"),
        );
        check("inspect", None);
        check("inspect --sizes 2", Some("inspect makes its own image"));
        check("inspect --image x", Some("inspect makes its own image"));
        check("etc --sizes 2", None);
        check("etc --sizes 0", Some("--sizes must be at least 1 each"));
        check(
            "etc --image x",
            Some("--image, --rows and --compression are for layers"),
        );
    }
}
