//! The machine's ostree, with a system root of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use xshell::{Cmd, Shell, cmd};

use super::report::Cost;

/// A system root with a repository of the kind `bare`, as a machine has it.
pub(super) struct Sysroot<'a> {
    sh: &'a Shell,
    root: PathBuf,
}

impl<'a> Sysroot<'a> {
    pub(super) fn new(sh: &'a Shell, root: &Path) -> Result<Self> {
        let root = root.to_owned();
        sh.create_dir(&root)?;
        let sysroot = Self { sh, root };
        let path = &sysroot.root;
        sysroot.run(cmd!(sh, "ostree admin init-fs {path}"))?;
        sysroot.run(cmd!(sh, "ostree admin os-init --sysroot={path} test"))?;
        Ok(sysroot)
    }

    /// Commits a tree of `usr`. A kernel is put into it, and a release that sets it apart: two
    /// commits of one tree would be one deployment.
    pub(super) fn commit(&self, tree: &Path, branch: &str) -> Result<()> {
        let sh = self.sh;
        let modules = tree.join("usr/lib/modules/6.0");
        sh.write_file(modules.join("vmlinuz"), "kernel")?;
        sh.write_file(modules.join("initramfs.img"), "initramfs")?;
        let release = format!("PRETTY_NAME={branch}\nID=test\n");
        sh.write_file(tree.join("usr/lib/os-release"), release)?;
        let repo = self.root.join("ostree/repo");
        self.run(cmd!(
            sh,
            "ostree commit --repo={repo} --branch={branch} --fsync=false {tree}"
        ))?;
        Ok(())
    }

    /// Deploys a branch; where there is a deployment already, its `/etc` is merged into the new one
    /// if `merge` says so. What is there stays.
    pub(super) fn deploy(&self, branch: &str, merge: bool) -> Result<Cost> {
        let (sh, root) = (self.sh, &self.root);
        let how = if merge { None } else { Some("--no-merge") };
        // Pruning is the same with and without a merge, and takes as long.
        self.run(cmd!(
            sh,
            "ostree admin deploy --sysroot={root} --os=test --retain --no-prune {how...} {branch}"
        ))
    }

    /// Removes the newest deployment.
    pub(super) fn undeploy(&self) -> Result<()> {
        let (sh, root) = (self.sh, &self.root);
        self.run(cmd!(sh, "ostree admin undeploy --sysroot={root} 0"))?;
        Ok(())
    }

    /// The one deployment that is not among `others`.
    pub(super) fn deployment(&self, others: &[&Path]) -> Result<PathBuf> {
        let all = self.root.join("ostree/deploy/test/deploy");
        let mut found = Vec::new();
        for entry in fs::read_dir(&all)? {
            let path = entry?.path();
            if path.is_dir() && !others.contains(&&*path) {
                found.push(path);
            }
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            count => bail!("{}: {count} new deployments, expected one", all.display()),
        }
    }

    fn run(&self, command: Cmd<'_>) -> Result<Cost> {
        let command = command
            .quiet()
            .env("LC_ALL", "C.UTF-8")
            // Deployments can be removed like other directories.
            .env("OSTREE_SYSROOT_DEBUG", "mutable-deployments");
        let ticks = cmd!(self.sh, "getconf CLK_TCK").quiet().read()?;
        let ticks: f64 = ticks.parse().context("getconf CLK_TCK")?;
        let (began, cpu) = (Instant::now(), children()?);
        command.read()?;
        Ok(Cost {
            wall: began.elapsed().as_secs_f64(),
            cpu: (children()? - cpu) as f64 / ticks,
        })
    }
}

/// The processor time of all processes that were started and have ended, in ticks.
fn children() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    ticks_of_children(&stat).context("/proc/self/stat has fewer fields than proc(5) says")
}

fn ticks_of_children(stat: &str) -> Option<u64> {
    // The name may hold anything, also a parenthesis; the state after it is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(field(16)? + field(17)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_found() {
        let line = "42 (a) b) S 1 42 42 0 -1 4194560 10 20 0 0 7 8 123 45 20 0 1 0";
        assert_eq!(ticks_of_children(line), Some(123 + 45));
        assert_eq!(ticks_of_children("42 (a) S 1"), None);
    }
}
