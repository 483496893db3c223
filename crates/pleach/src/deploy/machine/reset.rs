//! `pleach deploy factory-reset`.

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_deployment::{DeployOptions, KernelArgument, OwnedArguments};

use super::{Next, Where, staged};
use crate::cli::exit::End;
use crate::cli::output;

/// Deploy the machine's image as if it were new: /etc and /var are the image's.
///
/// They are those of a new stateroot, so nothing is lost until `pleach deploy cleanup --stateroot` removes
/// the old one, and `rollback` is not needed to come back: the old deployment is in the boot menu. Of the
/// kernel arguments those stay that say where the root is and what the console is.
#[derive(Args)]
pub(crate) struct FactoryReset {
    #[command(flatten)]
    machine: Where,
}

/// Without these the machine would not find its disk, or be silent.
const HARDWARE: [&str; 7] = [
    "root",
    "rootflags",
    "rootfstype",
    "rw",
    "ro",
    "console",
    "rd.luks.uuid",
];

impl FactoryReset {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy factory-reset")?;
        let current = machine.current()?;
        let now = machine.arguments(&current)?;
        let keeps = |a: &&KernelArgument| HARDWARE.iter().any(|key| a.has_key(key));
        let kept: pleach_deployment::KernelArguments =
            now.machine.iter().filter(keeps).cloned().collect();
        let stateroot = free(&current.stateroot, &machine.sysroot.stateroots()?);
        machine.sysroot.init_stateroot(&stateroot)?;
        let writer = machine.writer()?;
        let origin = current
            .origin
            .clone()
            .context("the deployment does not say which image it is of")?;
        let mut options = DeployOptions::new(&stateroot, current.checksum.clone(), origin);
        options.kernel_arguments = kept;
        let mut record = machine.sysroot.record(&current)?.unwrap_or_default();
        record.etc = None;
        let next = Next {
            options,
            arguments: &|_: &OwnedArguments, new: &OwnedArguments| new.clone(),
            record,
        };
        let done = machine.advance(&writer, None, next)?;
        let done = done.then(staged::forget(&machine));
        let told = format!(
            "stateroot {stateroot}\n  the machine boots it next; {} stays until `pleach deploy cleanup --stateroot {}`\n",
            current.stateroot, current.stateroot
        );
        Ok(done.then(output::print(&told)).end())
    }
}

/// `default`, `default-2`, `default-3`, …
fn free(name: &str, taken: &[String]) -> String {
    let stem = match name.rsplit_once('-') {
        Some((stem, number)) if number.parse::<u64>().is_ok() => stem,
        _ => name,
    };
    let mut names = (2..).map(|number: u64| format!("{stem}-{number}"));
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}
