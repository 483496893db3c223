//! `cargo xtask bench`: us and a peer, in turns, in one run.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use xshell::cmd;

use crate::setup;
use crate::workspace::Workspace;

/// Measure us and a peer side by side.
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(default_value = "layers", value_parser = ["layers"])]
    what: String,
    /// Pairs of runs; which of the two begins alternates.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

impl Bench {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        if self.pairs == 0 {
            bail!("--pairs must be at least 1");
        }
        setup::setup(workspace)?;
        let sh = &workspace.sh;
        let base = workspace.base_image()?;
        cmd!(sh, "cargo build --release -p pleach").run()?;
        let pleach = workspace
            .artifacts()
            .with_file_name("release")
            .join("pleach");
        let layout = base.strip_prefix("oci:").unwrap_or(&base);
        let scratch = workspace.artifacts().join("bench");
        let mut fresh = 0;
        // A new directory each time: removing the last one first would make the file system slow.
        let mut timed = |peer: bool| -> Result<Duration> {
            fresh += 1;
            let out = scratch.join(format!("run-{fresh}"));
            sh.create_dir(&scratch)?;
            let started = Instant::now();
            if peer {
                cmd!(sh, "umoci raw unpack --image {layout} {out}")
                    .quiet()
                    .ignore_stderr()
                    .run()?;
            } else {
                cmd!(sh, "{pleach} unpack oci:{layout} {out}")
                    .quiet()
                    .run()?;
            }
            Ok(started.elapsed())
        };
        let mut ratios = Vec::new();
        for pair in 0..self.pairs {
            let peer_first = pair % 2 == 0;
            let (first, second) = (timed(peer_first)?, timed(!peer_first)?);
            let (peer, us) = if peer_first {
                (first, second)
            } else {
                (second, first)
            };
            println!(
                "pair {}: umoci {:.2} s, pleach {:.2} s",
                pair + 1,
                peer.as_secs_f64(),
                us.as_secs_f64()
            );
            ratios.push(peer.as_secs_f64() / us.as_secs_f64());
        }
        sh.remove_path(&scratch)?;
        ratios.sort_by(f64::total_cmp);
        println!(
            "layers → directory, umoci / pleach: median {:.2}, min {:.2}, max {:.2} over {} pairs",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1],
            ratios.len()
        );
        Ok(())
    }
}
