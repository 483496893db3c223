//! `cargo xtask codegen`: files that are made from the code.

use anyhow::{Result, bail};
use clap::Args;
use xshell::cmd;

use crate::workspace::Workspace;

/// Write the generated files.
#[derive(Args)]
pub(crate) struct Codegen {
    /// Write nothing; fail if a file is not what it would be.
    #[arg(long)]
    check: bool,
}

impl Codegen {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let sh = &workspace.sh;
        let reference =
            cmd!(sh, "cargo run --quiet -p pleach -- generate reference").read()? + "\n";
        let path = workspace.root().join("docs/cli.md");
        let current = sh.read_file(&path).unwrap_or_default();
        if current == reference {
            return Ok(());
        }
        if self.check {
            bail!("docs/cli.md is not current; run: cargo xtask codegen");
        }
        sh.write_file(&path, reference)?;
        println!("wrote docs/cli.md");
        Ok(())
    }
}
