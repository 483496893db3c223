//! `cargo xtask demo`: the main job on real input.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use xshell::cmd;

use crate::setup;
use crate::workspace::Workspace;

/// The customization of the demo.
const SITE: &str = "fixtures/customizations/site.bu";

/// Boot one customization through every route and compare.
#[derive(Args)]
pub(crate) struct Demo {
    /// Where the disks, captures, consoles and the report are kept.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        setup::setup(workspace)?;
        let base = workspace.base_image()?;
        let (pleach, agent) = (workspace.build_pleach()?, workspace.build_agent()?);
        let output = self
            .output
            .clone()
            .unwrap_or_else(|| workspace.artifacts().join("demo"));
        cmd!(
            workspace.sh,
            "{pleach} parity --base {base} --config {SITE} --routes derive,etc,ignition --boot --agent {agent} --output {output}"
        )
        .run()?;
        Ok(())
    }
}
