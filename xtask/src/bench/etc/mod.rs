//! The three-way merge of `/etc`: us, and the machine's ostree, over the same trees in the same run.
//!
//! What ostree's merge takes is what `ostree admin deploy` takes more than the same with
//! `--no-merge`. We merge into the deployment that `--no-merge` made. In the first round, which
//! does not count, the two results are compared: nothing may differ but modification times.

mod report;
mod sysroot;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Kinds, ScanOptions, Tree, diff, scan};
use xshell::{Shell, cmd};

use super::volume::Volume;
use crate::workspace::Workspace;
use report::{Measured, Size, acceptance};
use sysroot::Sysroot;
use trees::Trees;

/// How many files, if nobody says.
pub(super) const SIZES: [usize; 4] = [2_000, 10_000, 50_000, 250_000];
/// Above this many files there are at most [`FEW`] pairs: one takes minutes.
const MANY: usize = 100_000;
const FEW: usize = 3;

/// What changed so lately might change again unseen, so nobody calls it known. An update is staged
/// long before it is finalized.
const YOUNG: Duration = Duration::from_secs(3);

/// One thing that we are measured at, on a deployment as `--no-merge` made it.
struct Step {
    /// Its row in the table.
    name: &'static str,
    /// What the example `measure` calls it.
    mode: &'static str,
    /// The new tree was copied beside the target before, which is not measured.
    prepared: bool,
}

/// The bare minimum, in one thread.
const WALK: &str = "bare walk";
const PLAN: &str = "plan";
const PLAN_ONE: &str = "plan, one thread";
/// What is held against ostree's merge: it begins where that does, with a copy of the new tree, and
/// does all that is left, the plan included.
const APPLY: &str = "apply, prepared";
/// As ostree's merge is measured: a deploy syncs once, with a merge or without, so the difference of
/// the two has no sync in it.
const UNSYNCED: &str = "apply, caller syncs";

const STEPS: [Step; 9] = [
    step(WALK, "walk"),
    step(PLAN, "plan"),
    step(PLAN_ONE, "plan-one-thread"),
    step("plan, pairs known", "plan-known"),
    step("prepare", "prepare"),
    step(APPLY, "apply").prepared(),
    step(UNSYNCED, "apply-unsynced").prepared(),
    step("same, pairs known", "apply-known").prepared(),
    step("apply, prepare in it", "apply"),
];

const fn step(name: &'static str, mode: &'static str) -> Step {
    Step {
        name,
        mode,
        prepared: false,
    }
}

impl Step {
    const fn prepared(self) -> Self {
        Self {
            prepared: true,
            ..self
        }
    }
}

pub(super) fn run(workspace: &Workspace, pairs: usize, sizes: &[usize]) -> Result<()> {
    let sh = &workspace.sh;
    cmd!(
        sh,
        "cargo build --release -p pleach-etc-merge --example measure"
    )
    .run()?;
    let measure = workspace.release().join("examples/measure");
    let version = cmd!(sh, "ostree --version").quiet().read()?;
    let version = version
        .lines()
        .find_map(|line| line.trim().strip_prefix("Version: "))
        .context("ostree --version says no version")?;
    println!("ostree {}", version.trim_matches('\''));
    let mut done = Vec::new();
    for &files in sizes {
        let pairs = match files > MANY {
            true => pairs.min(FEW),
            false => pairs,
        };
        let size = measured(workspace, &measure, files, pairs)?;
        print!("\n{size}");
        done.push(size);
    }
    println!("\nacceptance");
    for line in acceptance(&done) {
        println!("  {line}");
    }
    Ok(())
}

fn measured(workspace: &Workspace, measure: &Path, files: usize, pairs: usize) -> Result<Size> {
    let sh = &workspace.sh;
    // Six times all files; one of 2 KiB takes a block of 4. Two copies to spare, and the journal.
    let bytes = files * 8 * 4096 + (1 << 30);
    let volume = Volume::new(workspace, "bench-etc", bytes, 4096)?;
    let machine = Machine::new(sh, &volume, measure, files)?;
    let new = || Size::new(files, volume.what(), STEPS.iter().map(|step| step.name));
    let mut size = new();
    for round in 0..=pairs {
        let warm_up = round == 0;
        match warm_up {
            true => eprintln!("bench: {files} files, warming up"),
            false => eprintln!("bench: {files} files, pair {round} of {pairs}"),
        }
        let mut unused = new();
        let into = if warm_up { &mut unused } else { &mut size };
        let mut results = Vec::new();
        for ours in [round % 2 == 1, round % 2 == 0] {
            results.extend(match ours {
                true => machine.ours(into, warm_up, round % 2 == 1)?,
                false => machine.ostrees(into, warm_up)?,
            });
        }
        if warm_up {
            let [a, b] = &results[..] else {
                bail!("{} results to compare, expected two", results.len());
            };
            same_merge(a, b)?;
        }
    }
    Ok(size)
}

/// A system root with a deployment that has run for a while, and the next image.
struct Machine<'a> {
    sh: &'a Shell,
    volume: &'a Volume<'a>,
    sysroot: Sysroot<'a>,
    running: PathBuf,
    measure: &'a Path,
}

const RUNNING: &str = "v1";
const NEXT: &str = "v2";

impl<'a> Machine<'a> {
    fn new(sh: &'a Shell, volume: &'a Volume<'a>, measure: &'a Path, files: usize) -> Result<Self> {
        eprintln!("bench: {files} files, making the images");
        let sysroot = Sysroot::new(sh, &volume.path().join("sysroot"))?;
        let trees = Trees { files };
        let image = volume.path().join("image");
        let etc = image.join("usr/etc");
        trees.pristine(&etc)?;
        sysroot.commit(&image, RUNNING)?;
        trees.upgrade(&etc)?;
        sysroot.commit(&image, NEXT)?;
        sh.remove_path(&image)?;
        sysroot.deploy(RUNNING, false)?;
        let running = sysroot.deployment(&[])?;
        trees.customize(&running.join("etc"))?;
        Ok(Self {
            sh,
            volume,
            sysroot,
            running,
            measure,
        })
    }

    /// Deploys with a merge.
    fn ostrees(&self, size: &mut Size, read: bool) -> Result<Option<Tree<FileContent>>> {
        self.warm(&self.running)?;
        size.deploy.push(self.sysroot.deploy(NEXT, true)?);
        let made = self.sysroot.deployment(&[&self.running])?;
        let result = read.then(|| result(&made)).transpose()?;
        self.sysroot.undeploy()?;
        Ok(result)
    }

    /// Deploys without, and merges with what we have.
    fn ours(
        &self,
        size: &mut Size,
        read: bool,
        backwards: bool,
    ) -> Result<Option<Tree<FileContent>>> {
        self.warm(&self.running)?;
        size.no_merge.push(self.sysroot.deploy(NEXT, false)?);
        let made = self.sysroot.deployment(&[&self.running])?;
        std::thread::sleep(YOUNG);
        let mut steps: Vec<_> = STEPS.iter().collect();
        if backwards {
            steps.reverse();
        }
        let (mut found, mut merged) = (None, None);
        for step in steps {
            if step.prepared {
                self.child("prepare", &made)?;
            }
            self.warm(&made)?;
            let line = self.child(step.mode, &made)?;
            let measured = Measured::parse(&line)
                .with_context(|| format!("measure {} printed {line:?}", step.mode))?;
            if let Some(seen) = measured.seen {
                let before = *found.get_or_insert(seen);
                ensure!(
                    before == seen,
                    "{}: {seen:?}, the steps before had {before:?}",
                    step.name
                );
            }
            size.add(step.name, measured);
            if step.name == APPLY && read {
                merged = Some(result(&made)?);
            }
            reset(&made)?;
        }
        self.sysroot.undeploy()?;
        Ok(merged)
    }

    /// Nothing is left to be written, and all is cached that is about to be read: what else runs on
    /// this machine may have pushed it out.
    fn warm(&self, made: &Path) -> Result<()> {
        self.volume.settle()?;
        self.child("walk", made)?;
        Ok(())
    }

    fn child(&self, mode: &str, made: &Path) -> Result<String> {
        let (measure, running) = (self.measure, &self.running);
        let (pristine, current) = (running.join("usr/etc"), running.join("etc"));
        let new = made.join("usr/etc");
        Ok(cmd!(
            self.sh,
            "{measure} {mode} {pristine} {current} {new} {made}"
        )
        .quiet()
        .read()?)
    }
}

/// Brings a deployment back to what it was before a step.
fn reset(deployment: &Path) -> Result<()> {
    let (etc, previous) = (deployment.join("etc"), deployment.join("etc.prev"));
    if previous.exists() {
        fs::remove_dir_all(&etc)?;
        fs::rename(&previous, &etc)?;
    }
    for entry in fs::read_dir(deployment)? {
        let path = entry?.path();
        match path.file_name().map(|name| name.as_encoded_bytes()) {
            Some(name) if name.starts_with(b"etc.") && path.is_dir() => fs::remove_dir_all(&path)?,
            Some(name) if name.starts_with(b"etc.") => fs::remove_file(&path)?,
            _ => {}
        }
    }
    Ok(())
}

fn result(deployment: &Path) -> Result<Tree<FileContent>> {
    let etc = deployment.join("etc");
    let dir = Dir::open_ambient_dir(&etc, ambient_authority())?;
    scan(&dir, &ScanOptions::default()).with_context(|| etc.display().to_string())
}

/// Fails where the two did not do the same: then it means nothing how long each took.
fn same_merge(a: &Tree<FileContent>, b: &Tree<FileContent>) -> Result<()> {
    let mut differences = diff(a, b, FileContent::eq);
    differences.retain_mut(|difference| match &mut difference.kinds {
        Kinds::Both(_, _, changed) => {
            changed.mtime = false;
            !changed.is_empty()
        }
        _ => true,
    });
    let Some(first) = differences.first() else {
        return Ok(());
    };
    bail!(
        "ostree and we merged differently: {} paths, the first is {}: {:?}",
        differences.len(),
        first.path,
        first.kinds
    )
}
