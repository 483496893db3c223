//! `pleach deploy upgrade` and `switch`.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_deployment::{DeployOptions, Deployment, ImageRecord, OwnedArguments, Record};

use super::downgrade::downgrade;
use super::image::{origin, record, reference};
use super::staged;
use super::{Machine, Next, Where};
use crate::cli::exit::End;
use crate::cli::fetch::Source;
use crate::cli::image;
use crate::cli::output;

/// Deploy what the machine's image is now, with the machine's /etc merged into it.
///
/// The machine boots it next; the deployment before it stays to roll back to. Until the new boot loader
/// entry is there the machine boots what it booted. Exit codes: 0 done, or nothing to do; 3 nothing is
/// changed; 4 done, and something old could not be removed.
#[derive(Args)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    machine: Where,
    #[command(flatten)]
    how: How,
}

/// Deploy another image, with the machine's /etc merged into it; later upgrades follow that one.
#[derive(Args)]
pub(crate) struct Switch {
    /// docker://HOST/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE, dir:DIR, …
    image: String,
    #[command(flatten)]
    machine: Where,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Deploy an image that is older than the one that is deployed.
    #[arg(long)]
    allow_downgrade: bool,
    /// Prepare all, and merge /etc and switch when the machine shuts down.
    #[arg(long)]
    stage: bool,
    #[command(flatten)]
    source: Source,
}

impl Upgrade {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy upgrade")?;
        let current = machine.current()?;
        let known = machine.sysroot.record(&current)?.and_then(|r| r.image);
        let image = match known {
            Some(image) => Some(image.reference),
            None => current.origin.as_ref().and_then(reference),
        };
        let image = image.context(
            "the deployment does not say which image it is of; name one with `pleach deploy switch`",
        )?;
        self.how.run(&machine, &current, &image)
    }
}

impl Switch {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy switch")?;
        let current = machine.current()?;
        self.how.run(&machine, &current, &self.image)
    }
}

impl How {
    fn run(&self, machine: &Machine, current: &Deployment, name: &str) -> Result<End> {
        let image = image::open(name, &self.source)?;
        let next = record(&image);
        let writer = machine.writer()?;
        // With the lock: what is there now is there until this ends.
        let all = machine.sysroot.deployments()?;
        let held = images(machine, &all)?;
        if held
            .first()
            .is_some_and(|held| held.as_ref().is_some_and(|h| h.digest == next.digest))
        {
            output::print(&format!("{name}@{} is deployed already\n", next.digest))?;
            // What a run before this one could not remove, and what is staged: it is not asked for any more.
            staged::forget(machine)?;
            return machine.settle(&writer).map(super::Committed::end);
        }
        let mut here = held.iter().flatten();
        let now = all.iter().position(|d| d.path == current.path);
        let now = now.and_then(|now| held[now].as_ref());
        let older = now.and_then(|now| downgrade(now, &next));
        if let Some(why) = older
            && !self.allow_downgrade
            && !here.any(|held| held.digest == next.digest)
        {
            bail!(
                "{name}@{} is a downgrade: {why}; --allow-downgrade does it all the same",
                next.digest
            );
        }
        let commit = machine.import(&writer, &image)?;
        let options = DeployOptions::new(&current.stateroot, commit, origin(&next.reference));
        let record = Record {
            image: Some(next),
            ..Record::default()
        };
        let arguments =
            |now: &OwnedArguments, new: &OwnedArguments| now.with_image(new.image.clone());
        let next = Next {
            options,
            record,
            arguments: &arguments,
        };
        let shown = format!("{name}@{}", image.digest());
        if self.stage {
            staged::prepare(machine, &writer, current, next)?;
            output::print(&format!(
                "{shown}\n  staged: deployed when the machine shuts down\n"
            ))?;
            return Ok(End::Fine);
        }
        let done = machine.advance(&writer, Some(current), next)?;
        let done = done.then(staged::forget(machine));
        let told = format!("{shown}\n  deployed: the machine boots it next\n");
        Ok(done.then(output::print(&told)).end())
    }
}

/// The image of each deployment, where it is known.
fn images(machine: &Machine, all: &[Deployment]) -> Result<Vec<Option<ImageRecord>>> {
    let image = |deployment| anyhow::Ok(machine.sysroot.record(deployment)?.and_then(|r| r.image));
    all.iter().map(image).collect()
}
