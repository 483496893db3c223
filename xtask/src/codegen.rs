//! `cargo xtask codegen`: files that are made from the code.

use anyhow::{Result, bail};
use clap::Args;
use xshell::cmd;

use crate::workspace::Workspace;

/// What `pleach generate` is asked for, and where it is kept.
const FILES: [(&str, &str); 2] = [
    ("reference", "docs/cli.md"),
    ("etc-schema", "docs/schemas/etc.json"),
];

/// Write the generated files.
#[derive(Args)]
pub(crate) struct Codegen {
    /// Write nothing; fail if a file is not what it would be.
    #[arg(long)]
    check: bool,
}

impl Codegen {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        for (what, file) in FILES {
            self.file(workspace, what, file)?;
        }
        Ok(())
    }

    fn file(&self, workspace: &Workspace, what: &str, file: &str) -> Result<()> {
        let sh = &workspace.sh;
        let made = cmd!(sh, "cargo run --quiet -p pleach -- generate {what}").read()? + "\n";
        let path = workspace.root().join(file);
        let current = sh.read_file(&path).unwrap_or_default();
        if current == made {
            return Ok(());
        }
        if self.check {
            bail!("{file} is not current; run: cargo xtask codegen");
        }
        sh.write_file(&path, made)?;
        println!("wrote {file}");
        Ok(())
    }
}
