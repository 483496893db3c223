//! `pleach capture`: a disk, booted, as a value.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::boot::{BootOptions, Machines};
use crate::cli::exit::End;
use crate::cli::output;
use crate::cli::private::make_private;
use crate::files::write;
use crate::first_boot::FirstBoot;

/// Boot a disk image and capture the state that it comes up with.
///
/// The image is not changed: the guest writes to a copy. Inside a running system, pleach-capture
/// does the same.
#[derive(Args)]
pub(crate) struct Capture {
    /// A raw disk image with a boot entry.
    disk: PathBuf,
    /// Where the capture, console, journal and the guest's disk are kept; must not exist.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    booting: BootOptions,
    /// A kernel argument behind those of the boot entry; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    karg: Vec<String>,
    /// Boot by UEFI firmware and the disk's own boot loader.
    #[arg(long)]
    uefi: bool,
    /// Where the firmware is: OVMF_CODE_4M.fd and OVMF_VARS_4M.fd.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/usr/share/OVMF",
        requires = "uefi"
    )]
    firmware: PathBuf,
    /// Leave a machine that does not come up to itself: not a panic or emergency mode is the end, and after
    /// a reset it is started again, up to eight times in all.
    #[arg(long)]
    restarts: bool,
    /// An Ignition document for the first boot.
    #[arg(long, value_name = "FILE")]
    ignition: Option<PathBuf>,
}

impl Capture {
    pub(crate) fn run(&self) -> Result<End> {
        if self.output.exists() {
            bail!("{} is there already", self.output.display());
        }
        let machines = Machines::find(&self.booting)?;
        make_private(&self.output)?;
        output::step(&machines.host.to_string());
        let mut first = FirstBoot {
            kernel_arguments: self.karg.clone(),
            firmware: self.uefi.then(|| self.firmware.clone()),
            restarts: self.restarts,
            ..FirstBoot::default()
        };
        if let Some(path) = &self.ignition {
            let document =
                std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            first.ignite(document);
        }
        let booted = machines.capture(&self.disk, &first, &self.output)?;
        let snapshot = self.output.join("snapshot.json");
        write(&snapshot, &booted.snapshot.to_json())?;
        output::step(booted.account.trim());
        output::print(&format!("{}\n", snapshot.display()))?;
        let Some(check) = booted.check else {
            return Ok(End::Fine);
        };
        output::print(&check.output)?;
        if check.exit != 0 {
            output::step(&format!("the check failed with {}", check.exit));
            return Ok(End::Differs);
        }
        Ok(End::Fine)
    }
}
