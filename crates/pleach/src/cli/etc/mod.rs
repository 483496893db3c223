//! `pleach etc`: the three-way merge of /etc, looked at.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use pleach_etc_merge::Policies;
use pleach_fs_tree::{FileContent, ScanOptions, Tree, scan};

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
        let (pristine, current, new) = (
            read(&sides.pristine)?,
            read(&sides.current)?,
            read(&sides.new)?,
        );
        let plan = pleach_etc_merge::plan(&pristine, &current, &new, &Policies::default())?;
        output::print(&plan.to_string())?;
        Ok(if plan.conflicts().next().is_none() {
            End::Fine
        } else {
            End::Differs
        })
    }
}

fn read(path: &Path) -> Result<Tree<FileContent>> {
    let dir = open_dir(path)?;
    scan(&dir, &ScanOptions::default()).with_context(|| format!("reading {}", path.display()))
}
