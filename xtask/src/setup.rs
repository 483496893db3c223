//! Host packages, from the one list in `ci/packages.debian`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xshell::cmd;

use crate::workspace::Workspace;

const LIST: &str = "ci/packages.debian";

/// Installs what is missing when root, else fails with the line to run.
pub(crate) fn setup(workspace: &Workspace) -> Result<()> {
    let sh = &workspace.sh;
    let list = sh.read_file(workspace.root().join(LIST))?;
    let wanted = packages(&list);
    if !Path::new("/usr/bin/dpkg-query").exists() {
        eprintln!(
            "setup: not a Debian or Ubuntu system; {LIST} lists what must be there: {}",
            wanted.join(" ")
        );
        return Ok(());
    }
    let format = "${Package} ${db:Status-Status}\n";
    let names = &wanted;
    let known = cmd!(sh, "dpkg-query -W -f {format} {names...}")
        .quiet()
        .ignore_status()
        .ignore_stderr()
        .read()?;
    let missing = missing(&wanted, &known);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: missing packages: {}", missing.join(" "));
    let root = cmd!(sh, "id -u").quiet().read()? == "0";
    if !root {
        let names = missing.join(" ");
        bail!(
            "run this, then try again:\n  sudo apt-get update && sudo apt-get install --no-install-recommends {names}"
        );
    }
    let quiet = ("DEBIAN_FRONTEND", "noninteractive");
    cmd!(sh, "apt-get update -q").env(quiet.0, quiet.1).run()?;
    cmd!(
        sh,
        "apt-get install -q -y --no-install-recommends {names...}"
    )
    .env(quiet.0, quiet.1)
    .run()
    .context("installing host packages")
}

fn packages(list: &str) -> Vec<&str> {
    list.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect()
}

fn missing<'a>(wanted: &[&'a str], known: &str) -> Vec<&'a str> {
    let installed: Vec<_> = known
        .lines()
        .filter_map(|l| l.strip_suffix(" installed"))
        .collect();
    wanted
        .iter()
        .copied()
        .filter(|name| !installed.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let list = "# a comment\n\ngcc\nostree\n  skopeo\n";
        let known = "gcc installed\nostree not-installed\nskopeo config-files\n";
        assert_eq!(packages(list), ["gcc", "ostree", "skopeo"]);
        assert_eq!(missing(&packages(list), known), ["ostree", "skopeo"]);
        assert_eq!(missing(&packages(list), ""), ["gcc", "ostree", "skopeo"]);
    }
}
