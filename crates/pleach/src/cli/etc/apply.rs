//! `pleach etc apply`, and `undo`, which takes it back.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_etc_merge::{ApplyOptions, MergePlan, Sides, apply, plan_dirs, release, undo};
use pleach_fs_tree::{Digest, Name};

use super::json::{self, FORMAT_VERSION, Report};
use super::show::{effective, mounted};
use super::sides::Machine;
use super::{beneath, ledger_file, print};
use crate::cli::exit::End;
use crate::cli::image::open_dir;
use crate::cli::output::Format;

/// Conflicts are a difference.
pub(super) fn ended(plan: &MergePlan) -> End {
    match plan.conflicts().next() {
        None => End::Fine,
        Some(_) => End::Differs,
    }
}

/// Merge into the /etc of a deployment; exit code 1 if there were conflicts.
///
/// The old one stays beside it as etc.prev until `undo` brings it back or discards it; sides that
/// were not taken are in etc.saved.
#[derive(Args)]
pub(super) struct Apply {
    #[command(flatten)]
    directories: Machine,
    /// What the next image ships: the usr/etc of its deployment.
    #[arg(long, value_name = "DIR")]
    new: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Without the policies that come with pleach.
    #[arg(long)]
    no_shipped_policies: bool,
    /// Merge anew into an /etc that is the result of a merge already; what was changed there since
    /// is in etc.prev then.
    #[arg(long)]
    again: bool,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args)]
struct Target {
    /// The root of the deployment that is not booted yet.
    #[arg(long, value_name = "DIR")]
    deployment: PathBuf,
    /// The name of its /etc.
    #[arg(long, value_name = "NAME", default_value = "etc")]
    target: String,
}

impl Target {
    fn options(&self) -> Result<ApplyOptions> {
        Ok(ApplyOptions {
            target: Name::new(self.target.as_bytes())?,
            ..ApplyOptions::default()
        })
    }
}

impl Apply {
    pub(super) fn run(&self) -> Result<End> {
        let open = self.directories.open()?;
        let effective = effective(&open, !self.no_shipped_policies)?;
        let ledger: pleach_etc_merge::Ledger<Digest> =
            ledger_file::read(&open.current, &open.current_path)?;
        let policies = effective.policies(ledger.pins());
        let new = open_dir(&self.new)?;
        let sides = Sides {
            pristine: &open.pristine,
            current: &open.current,
            new: &new,
        };
        let options = ApplyOptions {
            known: open.options().known,
            again: self.again,
            ..self.target.options()?
        };
        let (plan, mounts, unchanged) = if self.dry_run {
            let planned = plan_dirs(sides, &policies, &options)?;
            planned.plan.accepted()?;
            (planned.plan, planned.mounts, false)
        } else {
            let shown = self.target.deployment.display();
            let deployment = open_dir(&self.target.deployment)?;
            if is_same(&deployment, &self.target.target, &open.current)? {
                bail!(
                    "{shown}/{} is the /etc that the machine has now: merge into a deployment that is not booted",
                    self.target.target
                );
            }
            let applied = apply(sides, &policies, None, &deployment, &options);
            let applied = applied.map_err(|error| {
                let again = matches!(error, pleach_etc_merge::Error::AlreadyMerged { .. });
                let error = anyhow::Error::from(error);
                match again {
                    true => error.context(format!("{shown} (--again does it all the same)")),
                    false => error.context(format!("merging into {shown}")),
                }
            })?;
            (applied.plan, applied.mounts, applied.unchanged)
        };
        let human = || {
            let done = match (self.dry_run, unchanged) {
                (true, _) => "nothing was written\n",
                (_, true) => "it was so already\n",
                _ => "merged\n",
            };
            format!("{plan}{}{done}", mounted(&mounts))
        };
        print(self.format, human, || Report::Apply {
            format_version: FORMAT_VERSION,
            dry_run: self.dry_run,
            unchanged,
            plan: json::plan(&plan, &mounts),
        })?;
        Ok(ended(&plan))
    }
}

/// Whether a name in a directory is that very directory.
fn is_same(above: &cap_std::fs::Dir, name: &str, dir: &cap_std::fs::Dir) -> Result<bool> {
    use rustix::fs::AtFlags;
    let there = match rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        found => found?,
    };
    let here = rustix::fs::statat(dir, "", AtFlags::EMPTY_PATH)?;
    Ok((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
}

/// Bring back the /etc that a deployment had before `apply`. Called a second time, it
/// brings the new one back.
#[derive(Args)]
pub(super) struct Undo {
    #[command(flatten)]
    target: Target,
    /// Remove the old one instead, and with it the way back.
    #[arg(long)]
    discard: bool,
    /// Print what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Undo {
    pub(super) fn run(&self) -> Result<End> {
        let options = self.target.options()?;
        let deployment = open_dir(&self.target.deployment)?;
        let name = &self.target.target;
        let shown = self.target.deployment.display();
        let previous = format!("{name}.prev");
        let there = beneath::file_type(&deployment, previous.as_bytes());
        if there
            .with_context(|| format!("looking for {previous} in {shown}"))?
            .is_none()
        {
            bail!("there is no {previous} in {shown}: nothing to go back to");
        }
        let done = match (self.dry_run, self.discard) {
            (true, _) => Ok(()),
            (false, true) => release(&deployment, &options),
            (false, false) => undo(&deployment, &options),
        };
        done.with_context(|| format!("the deployment {shown}"))?;
        let human = || match self.discard {
            true => format!("remove {previous}\n"),
            false => format!("exchange {name} and {previous}\n"),
        };
        print(self.format, human, || Report::Undo {
            format_version: FORMAT_VERSION,
            dry_run: self.dry_run,
            discarded: self.discard,
        })?;
        Ok(End::Fine)
    }
}
