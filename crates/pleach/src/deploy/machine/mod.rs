//! The deployments of a machine: of the one that runs this, or of a sysroot that is mounted somewhere.
//!
//! ```text
//! image ─ import ─► commit ─ stage ─► root ─ etc ─► merged ─ finalize ─► default ─ keep ─► old ones gone
//!                                                               └ the one moment that counts
//! ```

mod cleanup;
mod downgrade;
mod esp;
mod etc;
mod image;
mod kargs;
mod reset;
mod rollback;
mod space;
mod staged;
mod status;
mod upgrade;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::Args;
use pleach_deployment::{
    DeployOptions, Deployment, OwnedArguments, Record, Sysroot, Writer, kargs_d,
};

use crate::cli::exit::End;
use crate::cli::image::{open_dir, require_root};
use crate::cli::output;

pub(super) use cleanup::{Cleanup, Pin};
pub(super) use image::{bring, origin, record};
pub(super) use kargs::Kargs;
pub(super) use reset::FactoryReset;
pub(super) use rollback::Rollback;
pub(super) use staged::Finalize;
pub(super) use status::Status;
pub(super) use upgrade::{Switch, Upgrade};

/// Which machine.
#[derive(Args, Clone)]
pub(super) struct Where {
    /// The physical root that deployments are in [default: that of the machine that runs this]
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// The EFI system partition, mounted, on which systemd-boot finds its entries [default: /efi or
    /// /boot/efi of the machine that runs this, if there are any]
    #[arg(long, value_name = "DIR")]
    esp: Option<PathBuf>,
}

/// A machine's deployments.
pub(super) struct Machine {
    pub(super) dir: Dir,
    pub(super) path: PathBuf,
    pub(super) sysroot: Sysroot,
    /// The root of the deployment that runs this, below the sysroot.
    pub(super) booted: Option<PathBuf>,
    /// The EFI system partition, if the boot loader reads that.
    esp: Option<Dir>,
}

/// Where a booted deployment finds its physical root.
const BOOTED: &str = "/sysroot";

impl Where {
    /// Opens it to read.
    pub(super) fn open(&self) -> Result<Machine> {
        self.machine(Sysroot::open)
    }

    /// Opens it to write.
    pub(super) fn open_to_write(&self, verb: &str) -> Result<Machine> {
        require_root(verb)?;
        match self.sysroot {
            Some(_) => self.machine(Sysroot::open),
            None => {
                own_mount_namespace()?;
                let root = open_dir(Path::new("/"))?;
                self.machine(|dir| Sysroot::open_booted(dir, &root))
            }
        }
    }

    fn machine(
        &self,
        open: impl Fn(&Dir) -> pleach_deployment::Result<Sysroot>,
    ) -> Result<Machine> {
        let path = self.sysroot.as_deref().unwrap_or(Path::new(BOOTED));
        if self.sysroot.is_none() && !path.join("ostree/repo").is_dir() {
            bail!("this machine was not booted from a deployment; name a sysroot with --sysroot");
        }
        let (dir, root) = (open_dir(path)?, open_dir(Path::new("/"))?);
        let sysroot = open(&dir)
            .and_then(|sysroot| sysroot.with_running_root(&root))
            .with_context(|| format!("opening {}", path.display()))?;
        // Where / is not the directory itself (composefs), the kernel was told.
        let booted = match (sysroot.running_deployment()?, &self.sysroot) {
            (None, None) => booted(&dir)?,
            (running, _) => running,
        };
        Ok(Machine {
            dir,
            path: path.to_owned(),
            sysroot,
            booted,
            esp: esp::open(self.esp.as_deref(), self.sysroot.is_none())?,
        })
    }
}

/// Goes on in a mount namespace of its own, in which a booted machine's file systems can be made writable
/// without anybody else seeing it. There is no safe call for that, so unshare(1) makes it.
fn own_mount_namespace() -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let namespace = |pid| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    let (own, first) = (namespace("self"), namespace("1"));
    if own.context("reading /proc/self/ns/mnt")? != first.context("reading /proc/1/ns/mnt")? {
        return Ok(());
    }
    let program = std::env::current_exe().context("finding this program")?;
    let error = std::process::Command::new("unshare")
        .args(["--mount", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("running unshare (Debian package util-linux)")
}

/// The deployment that this runs in, by what the kernel was told.
fn booted(sysroot: &Dir) -> Result<Option<PathBuf>> {
    let line = std::fs::read_to_string("/proc/cmdline").context("reading /proc/cmdline")?;
    let mut words = line.split_ascii_whitespace();
    let Some(value) = words.find_map(|word| word.strip_prefix("ostree=")) else {
        return Ok(None);
    };
    let path = sysroot.canonicalize(value.trim_start_matches('/'));
    let path = path.with_context(|| format!("finding the booted deployment {value}"))?;
    Ok(Some(path))
}

/// What comes after the deployment that a machine has now.
pub(super) struct Next<'a> {
    pub(super) options: DeployOptions,
    /// How its kernel arguments come from those that there are.
    pub(super) arguments: &'a dyn Fn(&OwnedArguments, &OwnedArguments) -> OwnedArguments,
    pub(super) record: Record,
}

impl Machine {
    pub(super) fn writer(&self) -> Result<Writer<'_>> {
        match self.sysroot.writer() {
            Err(pleach_deployment::Error::Locked) => {
                output::step("waiting for another process that changes the deployments");
                Ok(self.sysroot.writer_when_free()?)
            }
            writer => Ok(writer?),
        }
    }

    /// The one whose `/etc` and kernel arguments the next one takes over: the booted one; of a machine
    /// that is not running, the one that it boots.
    pub(super) fn current(&self) -> Result<Deployment> {
        let all = self.sysroot.deployments()?;
        let booted = |d: &&Deployment| self.booted.as_ref() == Some(&d.path);
        let found = all.iter().find(booted).or(all.first());
        found
            .cloned()
            .with_context(|| format!("{} has no deployment", self.path.display()))
    }

    /// Its kernel arguments by owner.
    pub(super) fn arguments(&self, deployment: &Deployment) -> Result<OwnedArguments> {
        let entry = deployment.boot_entry.as_ref();
        let line = &entry
            .context("the deployment has no boot loader entry")?
            .options;
        let root = self.sysroot.deployment_root(deployment)?;
        let fragments = kargs_d::read(&root, &kargs_d::Options::default())?;
        let image = kargs_d::kernel_arguments(&fragments);
        let record = self.sysroot.record(deployment)?;
        let known = record.map(|record| record.kernel_arguments);
        Ok(OwnedArguments::read(line, &image, known.as_ref()))
    }

    /// Deploys what comes next, with the `/etc` of `current` merged into its own, or with its own alone.
    pub(super) fn advance(
        &self,
        writer: &Writer<'_>,
        current: Option<&Deployment>,
        next: Next<'_>,
    ) -> Result<Committed> {
        let mut staged = writer.stage(&next.options)?;
        if let Some(current) = current {
            let now = self.arguments(current)?;
            staged.kernel_arguments = (next.arguments)(&now, &staged.kernel_arguments);
        }
        let mut record = next.record;
        if let Some(current) = current {
            let merged = etc::merge(&self.sysroot, current, &staged)?;
            output::step(&merged.summary);
            record.etc = Some(merged.plan);
        }
        self.commit(writer, &staged, &record)
    }

    /// The last step of all that make a deployment.
    pub(super) fn commit(
        &self,
        writer: &Writer<'_>,
        staged: &pleach_deployment::Staged,
        record: &Record,
    ) -> Result<Committed> {
        let done = Committed::from(writer.finalize(staged, record).map(drop))?;
        Ok(match self.settle(writer)? {
            Committed::Clean => done,
            Committed::Pending => Committed::Pending,
        })
    }

    /// When the root's entries are what they should be: the ESP follows, and what is neither booted, nor the
    /// default, nor the way back, nor pinned is removed.
    pub(super) fn settle(&self, writer: &Writer<'_>) -> Result<Committed> {
        self.mirror(&[]).map_err(esp::named_in)?;
        let kept: Vec<PathBuf> = self.booted.iter().cloned().collect();
        let lost = writer.not_kept(&kept)?;
        let rest = self.mirror(&lost).and_then(|()| Ok(writer.remove(&lost)?));
        Ok(Committed::Clean.then(rest))
    }
}

/// The machine boots what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// And nothing is left to do.
    Clean,
    /// And something is left to clean up.
    Pending,
}

impl Committed {
    /// Of a step that may have come past the moment that counts.
    pub(super) fn from(done: pleach_deployment::Result<()>) -> Result<Self> {
        match done {
            Ok(()) => Ok(Self::Clean),
            Err(error @ pleach_deployment::Error::AfterCommit(_)) => {
                output::step(&format!("{error}; `pleach deploy cleanup` goes on with it"));
                Ok(Self::Pending)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What was still to do, when the machine boots what was asked for already.
    pub(super) fn then(self, rest: Result<()>) -> Self {
        match rest {
            Ok(()) => self,
            Err(error) => {
                output::step(&format!("done, but not cleaned up: {error:#}"));
                Self::Pending
            }
        }
    }

    pub(super) fn end(self) -> End {
        match self {
            Self::Clean => End::Fine,
            Self::Pending => End::CleanupPending,
        }
    }
}
