//! The EFI system partition of a machine whose boot loader reads no other file system.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use pleach_deployment::Deployment;
use pleach_deployment::esp::{self, BootState, PlanOptions};

use super::Machine;
use crate::cli::image::open_dir;

/// Where a running machine has it.
const PLACES: [&str; 2] = ["/efi", "/boot/efi"];
/// How often a new deployment may try to come up, where its image says when it did.
const TRIES: u32 = 3;
/// What says so.
const BLESSES: &str = "usr/lib/systemd/system/systemd-bless-boot.service";

/// The ESP that was named; else that of the machine that runs this, if it has entries.
pub(super) fn open(named: Option<&Path>, booted: bool) -> Result<Option<Dir>> {
    if let Some(path) = named {
        return open_dir(path).map(Some);
    }
    let mut places = PLACES.iter().map(Path::new).filter(|_| booted);
    let found = places.find(|path| path.join("loader/entries").is_dir());
    found.map(open_dir).transpose()
}

/// Without it, a machine with such a boot loader boots what it booted.
pub(super) fn named_in(error: anyhow::Error) -> anyhow::Error {
    error
        .context("writing the EFI system partition: the machine boots what it booted; run it again")
}

impl Machine {
    /// Brings the root's entries onto the ESP, if there is one, but for those of deployments that are to
    /// go.
    pub(super) fn mirror(&self, lost: &[Deployment]) -> Result<()> {
        let Some(esp) = &self.esp else { return Ok(()) };
        let ids: Vec<PathBuf> = lost.iter().filter_map(id).collect();
        let mut entries = esp::read_root(&self.dir)?;
        entries.retain(|entry| !ids.iter().any(|id| *id == Path::new(&entry.id)));
        let mut options = PlanOptions::default();
        if let Some(default) = self.sysroot.deployments()?.first() {
            let root = self.sysroot.deployment_root(default)?;
            options.tries = root.exists(BLESSES).then_some(TRIES);
        }
        let plan = esp::plan(&entries, &esp::read(esp)?, &options)?;
        Ok(esp::apply(&self.dir, esp, &plan)?)
    }

    /// How often a deployment may still try to come up, as the boot loader counts it.
    pub(super) fn tries_left(&self, deployment: &Deployment) -> Result<Option<u32>> {
        let Some(esp) = &self.esp else {
            let entry = deployment.boot_entry.as_ref();
            return Ok(entry
                .and_then(|entry| entry.tries())
                .map(|tries| tries.left));
        };
        let own = id(deployment);
        let found = esp::read(esp).context("reading the EFI system partition")?;
        let mut entries = found.entries.iter();
        let entry = entries.find(|entry| own.as_deref() == Some(Path::new(&entry.name.id)));
        Ok(entry.and_then(|entry| match entry.name.state() {
            BootState::Good => None,
            BootState::Trying { left, .. } => Some(left),
            BootState::Failed { .. } => Some(0),
        }))
    }
}

/// The name of an entry, without a counter.
fn id(deployment: &Deployment) -> Option<PathBuf> {
    let stem = deployment.boot_entry.as_ref()?.file_name.file_stem()?;
    let stem = stem.to_string_lossy().into_owned();
    Some(pleach_deployment::Tries::split(&stem).0.into())
}
