//! `pleach deploy cleanup`, `pin` and `unpin`: what is kept.

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::{Where, staged};
use crate::cli::exit::End;
use crate::cli::output;

/// Remove deployments that are neither booted, nor the default, nor the one before it, nor pinned, and
/// all that only they needed.
#[derive(Args)]
pub(crate) struct Cleanup {
    #[command(flatten)]
    machine: Where,
    /// Remove what `upgrade --stage` prepared, too.
    #[arg(long)]
    staged: bool,
    /// Remove a stateroot, as factory-reset leaves one: its deployments, and its /var with all data.
    #[arg(long, value_name = "STATEROOT")]
    stateroot: Option<String>,
}

impl Cleanup {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy cleanup")?;
        let writer = machine.writer()?;
        if self.staged {
            staged::forget(&machine)?;
        } else if staged::is_waiting(&machine) {
            bail!("an upgrade is staged, which this would remove: say so with --staged");
        }
        if let Some(stateroot) = &self.stateroot {
            let current = machine.current()?;
            if current.stateroot == *stateroot {
                bail!("{stateroot} is the stateroot that the machine runs");
            }
            writer.remove_stateroot(stateroot)?;
        }
        let done = machine.settle(&writer)?;
        // What could not be cleaned up may still need its objects.
        let done = match done {
            super::Committed::Clean => done.then(writer.prune().map_err(Into::into)),
            super::Committed::Pending => done,
        };
        Ok(done.end())
    }
}

/// Keep a deployment until it is unpinned.
#[derive(Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    machine: Where,
    /// Its number in `pleach deploy status`, from 0.
    deployment: usize,
}

impl Pin {
    pub(crate) fn run(&self, pinned: bool) -> Result<End> {
        let machine = self.machine.open_to_write("deploy pin")?;
        let writer = machine.writer()?;
        let all = machine.sysroot.deployments()?;
        let found = all.get(self.deployment).with_context(|| {
            format!(
                "there is no deployment {}; there are {}, from 0",
                self.deployment,
                all.len()
            )
        })?;
        writer.set_pinned(found, pinned)?;
        let word = if pinned { "pinned" } else { "unpinned" };
        output::print(&format!("{}\n  {word}\n", found.path.display()))?;
        Ok(End::Fine)
    }
}
