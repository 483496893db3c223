//! `cargo xtask tidy`: what no compiler checks.

mod edges;
mod files;

use anyhow::{Result, bail};
use xshell::cmd;

use crate::workspace::Workspace;

/// Runs every check and reports all that is wrong, not only the first thing.
pub(crate) fn tidy(workspace: &Workspace) -> Result<()> {
    let metadata = workspace.metadata()?;
    let architecture = workspace
        .sh
        .read_file(workspace.root().join("ARCHITECTURE.md"))?;
    let mut problems = edges::check(&architecture, &metadata)?;
    let listed = cmd!(
        workspace.sh,
        "git ls-files --cached --others --exclude-standard"
    )
    .quiet()
    .read()?;
    problems.extend(files::check(workspace, listed.lines())?);
    problems.extend(formatting(workspace));
    if problems.is_empty() {
        println!("tidy: fine");
        return Ok(());
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    bail!("tidy: {} problems", problems.len())
}

/// A toolchain without rustfmt cannot say; it is said that it was not asked.
fn formatting(workspace: &Workspace) -> Option<String> {
    let sh = &workspace.sh;
    if cmd!(sh, "cargo fmt --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_err()
    {
        println!("tidy: rustfmt is missing, so the formatting was not checked");
        return None;
    }
    let check = cmd!(sh, "cargo fmt --all --check")
        .quiet()
        .ignore_stdout()
        .run();
    check
        .is_err()
        .then(|| "not formatted; run: cargo fmt --all".to_owned())
}
