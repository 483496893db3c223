//! An upgrade in two parts: all that takes time now, `/etc` and the switch when the machine shuts down.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::{OpenOptions, OpenOptionsExt as _};
use clap::Args;
use pleach_deployment::{Deployment, Record, Staged, Writer};
use serde::{Deserialize, Serialize};

use super::{Machine, Next, Where, etc};
use crate::cli::exit::End;
use crate::cli::output;

/// Where it is remembered, below the sysroot; what libostree remembers in /run would not outlast a shutdown
/// that went wrong.
const FILE: &str = "ostree/pleach/staged.json";
const FOLDER: &str = "ostree/pleach";

/// Carry out what `upgrade --stage` prepared; a machine does so when it shuts down.
///
/// /etc is planned anew, since it may have changed. What fails is told by `status` until the next upgrade.
#[derive(Args)]
pub(crate) struct Finalize {
    #[command(flatten)]
    machine: Where,
}

/// What is prepared.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prepared {
    staged: Staged,
    /// The deployment whose /etc is to be merged into it.
    from: std::path::PathBuf,
    pub(super) record: Record,
    /// Why it was not carried out, if it was tried.
    pub(super) failed: Option<String>,
}

/// What is prepared on a machine, or was and failed.
pub(super) fn read(machine: &Machine) -> Result<Option<Prepared>> {
    let text = match machine.dir.read(FILE) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("reading {FILE}"))?,
    };
    let prepared = serde_json::from_slice(&text).with_context(|| format!("reading {FILE}"))?;
    Ok(Some(prepared))
}

/// Checks the next deployment out and plans its /etc.
pub(super) fn prepare(
    machine: &Machine,
    writer: &Writer<'_>,
    current: &Deployment,
    next: Next<'_>,
) -> Result<()> {
    // One that was prepared before this one is no longer wanted.
    forget(machine)?;
    writer.remove(&[])?;
    let mut staged = writer.stage(&next.options)?;
    let now = machine.arguments(current)?;
    staged.kernel_arguments = (next.arguments)(&now, &staged.kernel_arguments);
    let planned = etc::preview(&machine.sysroot, current, &staged)?;
    output::step(&planned.summary);
    let mut record = next.record;
    record.etc = Some(planned.plan);
    write(
        machine,
        &Prepared {
            staged,
            from: current.path.clone(),
            record,
            failed: None,
        },
    )?;
    if machine.booted.is_some() {
        unit::start()?;
    }
    Ok(())
}

/// Nothing is prepared any more.
pub(super) fn forget(machine: &Machine) -> Result<()> {
    let remove = || match machine.dir.remove_file(FILE) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| machine.dir.open(FOLDER)?.sync_all()),
    };
    remove().with_context(|| format!("removing {FILE}"))
}

fn write(machine: &Machine, prepared: &Prepared) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let part = format!("{FILE}.part");
        machine.dir.create_dir_all(FOLDER)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = machine.dir.open_with(&part, &options)?;
        file.write_all(&serde_json::to_vec_pretty(prepared)?)?;
        file.sync_all()?;
        machine.dir.rename(&part, &machine.dir, FILE)?;
        machine.dir.open(FOLDER)?.sync_all()
    };
    write().with_context(|| format!("writing {FILE}"))
}

impl Finalize {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open_to_write("deploy finalize")?;
        let writer = machine.writer()?;
        let Some(mut prepared) = read(&machine)? else {
            output::print("nothing is staged\n")?;
            return Ok(End::Fine);
        };
        match carry_out(&machine, &writer, &prepared) {
            Ok(done) => {
                forget(&machine)?;
                let image = prepared.record.image.as_ref();
                let shown = image.map(|image| format!("{}@{}", image.reference, image.digest));
                let shown = shown.unwrap_or_else(|| prepared.staged.path.display().to_string());
                output::print(&format!("{shown}\n  deployed: the machine boots it next\n"))?;
                Ok(done.end())
            }
            Err(error) => {
                prepared.failed = Some(format!("{error:#}"));
                write(&machine, &prepared)?;
                Err(error)
            }
        }
    }
}

fn carry_out(
    machine: &Machine,
    writer: &Writer<'_>,
    prepared: &Prepared,
) -> Result<super::Committed> {
    let all = machine.sysroot.deployments()?;
    // The entry was written, and then the power failed.
    if all.iter().any(|d| d.path == prepared.staged.path) {
        return machine.settle(writer);
    }
    let find = |path: &Path| all.iter().find(|d| d.path == path);
    let current = find(&prepared.from).with_context(|| {
        format!(
            "{} is gone, whose /etc was to be merged: run `pleach deploy upgrade` again",
            prepared.from.display()
        )
    })?;
    if machine.sysroot.staged_root(&prepared.staged).is_err() {
        bail!(
            "{} is gone: another program has cleaned up. Run `pleach deploy upgrade` again",
            prepared.staged.path.display()
        );
    }
    let mut staged = prepared.staged.clone();
    // Kernel arguments that were changed since.
    let now = machine.arguments(current)?;
    staged.kernel_arguments = now.with_image(staged.kernel_arguments.image);
    writer.reopen(&staged)?;
    let before = prepared.record.etc.as_ref();
    let merged = etc::merge(&machine.sysroot, current, &staged, before)?;
    output::step(&merged.summary);
    let mut record = prepared.record.clone();
    record.etc = Some(merged.plan);
    machine.commit(writer, &staged, &record)
}

/// The unit that finalizes. It is made where it is needed, so an image need not bring it.
mod unit {
    use std::path::Path;
    use std::process::Command;

    use anyhow::{Context as _, Result, bail};

    const NAME: &str = "pleach-finalize-staged.service";
    const FOLDER: &str = "/run/systemd/system";

    /// What runs when it stops, which is when the machine shuts down: everything that writes to /etc has
    /// ended then, and the file systems are still there.
    pub(super) fn text(program: &Path) -> String {
        let program = program.display();
        format!(
            "[Unit]\n\
             Description=Deploy what pleach staged\n\
             DefaultDependencies=no\n\
             RequiresMountsFor=/sysroot /boot\n\
             After=local-fs.target\n\
             Before=basic.target final.target\n\
             Conflicts=final.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/bin/true\n\
             ExecStop={program} deploy finalize\n\
             TimeoutStopSec=5m\n\
             ProtectHome=no\n\
             MountFlags=slave\n"
        )
    }

    pub(super) fn start() -> Result<()> {
        let program = std::env::current_exe().context("finding this program")?;
        std::fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
        let path = Path::new(FOLDER).join(NAME);
        std::fs::write(&path, text(&program))
            .with_context(|| format!("writing {}", path.display()))?;
        for arguments in [&["daemon-reload"][..], &["start", NAME]] {
            let status = Command::new("systemctl").args(arguments).status();
            let status = status.context("running systemctl")?;
            if !status.success() {
                bail!(
                    "systemctl {} failed ({status}), so nothing will finalize at shutdown; `pleach deploy finalize` does it by hand",
                    arguments.join(" ")
                );
            }
        }
        Ok(())
    }
}
