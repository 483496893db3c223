//! Programs that tests ask, and that Debian has no package of.

use std::path::PathBuf;

use anyhow::Result;
use xshell::cmd;

use crate::workspace::Workspace;

/// What checks kickstarts, and its version.
const PYKICKSTART: &str = "pykickstart==3.78";

/// `ksvalidator`, in a virtual environment of its own; none where it cannot be had, which the test
/// that needs it says.
pub(crate) fn ksvalidator(workspace: &Workspace) -> Option<PathBuf> {
    match install(workspace) {
        Ok(path) => Some(path),
        Err(error) => {
            eprintln!("tools: no {PYKICKSTART}: {error:#}");
            None
        }
    }
}

fn install(workspace: &Workspace) -> Result<PathBuf> {
    let sh = &workspace.sh;
    let folder = workspace.artifacts().join("tools").join(PYKICKSTART);
    let (program, done) = (folder.join("bin/ksvalidator"), folder.join("done"));
    if !done.exists() {
        sh.remove_path(&folder)?;
        cmd!(sh, "python3 -m venv {folder}").quiet().run()?;
        let pip = folder.join("bin/pip");
        cmd!(sh, "{pip} install --quiet {PYKICKSTART}")
            .quiet()
            .run()?;
        sh.write_file(&done, "")?;
    }
    Ok(program)
}
