//! `cargo xtask codegen`: files that are made from the code.

use anyhow::{Result, bail};
use clap::Args;
use xshell::cmd;

use crate::workspace::Workspace;

/// What `pleach generate` is asked for, and where it is kept.
const FILES: [(&str, &str); 8] = [
    ("reference", "docs/cli.md"),
    ("diff-schema", "docs/schemas/diff.json"),
    ("etc-schema", "docs/schemas/etc.json"),
    ("lint-schema", "docs/schemas/lint.json"),
    ("matrix-schema", "docs/schemas/matrix.json"),
    ("parity-schema", "docs/schemas/parity.json"),
    ("plan-schema", "docs/schemas/plan.json"),
    ("placement", "docs/placement.md"),
];

/// Documents that a test of a crate makes, since it can read both its data and the crate.
const BY_TESTS: [(&str, &str); 4] = [
    ("pleach-customization", "the_table_of_cases_is_current"),
    ("pleach-etc-merge", "the_table_of_profiles_is_current"),
    (
        "pleach-layer-merge",
        "the_table_of_hostile_images_is_current",
    ),
    ("pleach-image-lint", "the_table_of_rules_is_current"),
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
        for (package, test) in BY_TESTS {
            self.by_test(workspace, package, test)?;
        }
        Ok(())
    }

    fn file(&self, workspace: &Workspace, what: &str, file: &str) -> Result<()> {
        let sh = &workspace.sh;
        let made = cmd!(
            sh,
            "cargo run --quiet -p pleach --bin pleach-deploy -- generate {what}"
        )
        .read()?
            + "\n";
        let path = workspace.root().join(file);
        if sh.read_file(&path).unwrap_or_default() == made {
            return Ok(());
        }
        if self.check {
            bail!("{file} is not current; run: cargo xtask codegen");
        }
        sh.write_file(&path, made)?;
        println!("wrote {file}");
        Ok(())
    }

    fn by_test(&self, workspace: &Workspace, package: &str, test: &str) -> Result<()> {
        let sh = &workspace.sh;
        let write = (!self.check).then_some(("PLEACH_WRITE_DOCS", "1"));
        let _written = write.map(|(name, value)| sh.push_env(name, value));
        cmd!(sh, "cargo test --quiet -p {package} --test it {test}").run()?;
        Ok(())
    }
}
