//! `pleach etc`: the three-way merge of /etc, looked at.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use pleach_etc_merge::{ApplyOptions, Policies, plan_dirs};

use super::exit::End;
use super::image::open_dir;
use super::output;

/// Look at the three-way merge of /etc that an upgrade would make.
#[derive(Args)]
pub(crate) struct Etc {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print what the merge would do with each path; exit code 1 if there are conflicts.
    Plan(Sides),
}

#[derive(Args)]
struct Sides {
    /// What the image that runs now shipped: `/usr/etc` of its deployment.
    #[arg(long, value_name = "DIR")]
    pristine: PathBuf,
    /// What the machine has.
    #[arg(long, value_name = "DIR", default_value = "/etc")]
    current: PathBuf,
    /// What the next image ships.
    #[arg(long, value_name = "DIR")]
    new: PathBuf,
}

impl Etc {
    pub(crate) fn run(&self) -> Result<End> {
        let What::Plan(sides) = &self.what;
        let pristine = open_dir(&sides.pristine)?;
        let current = open_dir(&sides.current)?;
        let new = open_dir(&sides.new)?;
        let dirs = pleach_etc_merge::Sides {
            pristine: &pristine,
            current: &current,
            new: &new,
        };
        let plan = plan_dirs(dirs, &Policies::default(), &ApplyOptions::default())?.plan;
        output::print(&plan.to_string())?;
        Ok(if plan.conflicts().next().is_none() {
            End::Fine
        } else {
            End::Differs
        })
    }
}
