//! `pleach deploy rollback`.

use anyhow::{Context as _, Result};
use clap::Args;

use super::{Committed, Where, staged};
use crate::cli::exit::End;
use crate::cli::output;

/// Boot the deployment before this one, as it was left: its /etc and its kernel arguments are its own.
///
/// /var is shared by all deployments of a stateroot and stays what it is. Twice is back again.
#[derive(Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    machine: Where,
}

impl Rollback {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy rollback")?;
        let writer = machine.writer()?;
        let all = machine.sysroot.deployments()?;
        let default = all.first().context("there is no deployment")?;
        let current = machine.current()?;
        // Where another one than the booted one is the default, going back is staying.
        let target = match current.path == default.path {
            false => &current,
            true => all
                .iter()
                .skip(1)
                .find(|d| d.stateroot == default.stateroot)
                .with_context(|| {
                    format!("there is no deployment before {}", default.path.display())
                })?,
        };
        let done = Committed::from(writer.set_default(target))?;
        machine.mirror(&[]).map_err(super::esp::named_in)?;
        // What was prepared would go forward again.
        let done = done.then(staged::forget(&machine));
        let told = format!("{}\n  the machine boots it next\n", target.path.display());
        Ok(done.then(output::print(&told)).end())
    }
}
