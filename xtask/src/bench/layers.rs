//! An image's layers become a directory: us, and umoci.

use std::time::{Duration, Instant};

use anyhow::Result;
use xshell::cmd;

use super::figures::Spread;
use crate::workspace::Workspace;

pub(super) fn run(workspace: &Workspace, pairs: usize) -> Result<()> {
    let sh = &workspace.sh;
    let base = workspace.base_image()?;
    cmd!(sh, "cargo build --release -p pleach").run()?;
    let pleach = workspace.release().join("pleach");
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
    for pair in 0..pairs {
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
    let Spread { min, median, max } = Spread::of(ratios);
    println!(
        "layers → directory, umoci / pleach: median {median:.2}, min {min:.2}, max {max:.2} over {pairs} pairs"
    );
    Ok(())
}
