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
        self.keep(workspace, "docs/cli.md", reference)?;
        // Made by a test of the crate, which is what can read both the vectors and the crate.
        let write = (!self.check).then_some(("PLEACH_WRITE_DOCS", "1"));
        let _written = write.map(|(name, value)| sh.push_env(name, value));
        let test = "the_table_of_profiles_is_current";
        cmd!(
            sh,
            "cargo test --quiet -p pleach-etc-merge --test it {test}"
        )
        .run()?;
        Ok(())
    }

    fn keep(&self, workspace: &Workspace, file: &str, text: String) -> Result<()> {
        let sh = &workspace.sh;
        let path = workspace.root().join(file);
        if sh.read_file(&path).unwrap_or_default() == text {
            return Ok(());
        }
        if self.check {
            bail!("{file} is not current; run: cargo xtask codegen");
        }
        sh.write_file(&path, text)?;
        println!("wrote {file}");
        Ok(())
    }
}
