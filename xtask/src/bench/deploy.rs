//! A machine is installed from an image, and upgraded to one of which one layer is another: us, and
//! ostree-ext's importer with libostree's own deploy. In pairs, each on a file system that is new.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::cmd;

use super::figures::Spread;
use super::layers::report::Cost;
use super::layers::subject::{Subject, UPGRADE, for_ostree_ext};
use super::layers::{ostree_base, usage};
use super::volume::Volume;
use crate::workspace::Workspace;

/// Both write each content once; and what is on its way.
const BYTES: usize = 4 << 30;
const BYTES_PER_INODE: usize = 16 << 10;

/// How many times as fast as the peer an install and an upgrade must be.
const FASTER: [(&str, f64); 2] = [("install", 2.0), ("upgrade", 5.0)];

/// What one of the two does that the other does not.
const UNLIKE: [&str; 5] = [
    "both: no boot loader, the same kernel arguments, /etc merged on the upgrade, old things collected",
    "pleach alone: fills /var, keeps a record of image, arguments and the plan of /etc, checks the room",
    "ostree-ext alone: one layer more (of the directories that any root has), which it asks for",
    "syncs are each one's own defaults: pleach's install ends with one syncfs, its upgrade syncs on the way;",
    "libostree syncs on the way in both",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Pleach,
    OstreeExt,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Pleach => "pleach deploy",
            Self::OstreeExt => "ostree-ext 0.15.3",
        }
    }
}

/// What is there when a run has ended; both must have left the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    deployments: usize,
    /// Files and links.
    etc: usize,
    usr: usize,
}

/// An install, and an upgrade after it.
type Costs = [Cost; 2];

struct Machine<'a> {
    workspace: &'a Workspace,
    subject: Subject,
}

pub(super) fn run(workspace: &Workspace, pairs: usize, images: &[String]) -> Result<()> {
    let sh = &workspace.sh;
    cmd!(sh, "cargo build --release -p pleach").run()?;
    cmd!(sh, "cargo build --release -p pleach-bench-peers").run()?;
    let commit = ostree_base(workspace)?;
    let images = match images {
        [] => vec![workspace.base_image()?],
        images => images.to_vec(),
    };
    for image in images {
        let subject = Subject::gzip(workspace, &image)?;
        subject.make_upgrade()?;
        subject.make_for_ostree_ext(&commit, &UPGRADE)?;
        let machine = Machine { workspace, subject };
        machine.measured(pairs)?;
    }
    Ok(())
}

impl Machine<'_> {
    fn measured(&self, pairs: usize) -> Result<()> {
        let what = self.subject.what();
        eprintln!("bench: {what}, warming up");
        let (mut arguments, mut all) = (Vec::new(), Vec::new());
        let (_, ours) = self.both(Who::Pleach, &mut arguments)?;
        let (_, theirs) = self.both(Who::OstreeExt, &mut arguments)?;
        ensure!(
            ours == theirs,
            "not the same was deployed: {ours:?}, and by the peer {theirs:?}"
        );
        for pair in 1..=pairs {
            eprintln!("bench: {what}, pair {pair} of {pairs}");
            let mut run = |who| -> Result<Costs> {
                let (costs, whole) = self.both(who, &mut arguments)?;
                ensure!(whole == ours, "{}: {whole:?}, not {ours:?}", who.name());
                Ok(costs)
            };
            // Who begins alternates.
            let (ours, theirs) = match pair % 2 {
                0 => (run(Who::Pleach)?, run(Who::OstreeExt)?),
                _ => {
                    let theirs = run(Who::OstreeExt)?;
                    (run(Who::Pleach)?, theirs)
                }
            };
            all.push((ours, theirs));
        }
        println!("\n{what}: deploy; ext4 on a loop device, new for each run; {pairs} pairs");
        println!(
            "  each: {} deployments, {} files in /usr, {} in /etc; {}",
            ours.deployments,
            ours.usr,
            ours.etc,
            arguments.join(" ")
        );
        for line in UNLIKE {
            println!("  {line}");
        }
        println!("{}", report(&all));
        Ok(())
    }

    /// Installs, upgrades, and looks at what is there then. What we boot with is what the peer is told.
    fn both(&self, who: Who, arguments: &mut Vec<String>) -> Result<(Costs, Whole)> {
        let volume = Volume::new(self.workspace, "bench-deploy", BYTES, BYTES_PER_INODE)?;
        ensure!(
            volume.what() == "ext4 on a loop device",
            "deploy needs root and a loop device"
        );
        let at = volume.path();
        let mut costs = Vec::new();
        for tag in UPGRADE {
            volume.settle()?;
            let words = self.words(who, tag, at, arguments)?;
            let usage = at.with_extension("usage");
            let (cost, _) = usage::run(&words, &usage, false)
                .with_context(|| format!("{} failed", who.name()))?;
            costs.push(cost);
        }
        let whole = self.look(at)?;
        if who == Who::Pleach {
            *arguments = kernel_arguments(&default_entry(at)?)?;
        }
        let costs = costs.try_into().ok().context("an install and an upgrade")?;
        Ok((costs, whole))
    }

    fn words(&self, who: Who, tag: &str, at: &Path, arguments: &[String]) -> Result<Vec<String>> {
        let release = self.workspace.release();
        let at = at
            .to_str()
            .context("the target directory's name is no text")?;
        let [install, _] = UPGRADE;
        let (program, words) = match who {
            Who::Pleach if tag == install => (
                "pleach",
                format!("deploy install --layout direct --root LABEL=root --target {at}"),
            ),
            Who::Pleach => ("pleach", format!("deploy switch --sysroot {at}")),
            Who::OstreeExt => ("peer-ostree-ext", "deploy".to_owned()),
        };
        let program = release.join(program).display().to_string();
        let mut words: Vec<String> = std::iter::once(program)
            .chain(words.split(' ').map(str::to_owned))
            .collect();
        match who {
            Who::Pleach => words.push(self.subject.reference(tag)),
            Who::OstreeExt => {
                words.push(self.subject.reference(&for_ostree_ext(tag)));
                words.push(at.to_owned());
                words.extend(arguments.iter().cloned());
            }
        }
        Ok(words)
    }

    /// A run that failed early would be a fast one.
    fn look(&self, at: &Path) -> Result<Whole> {
        let sh = &self.workspace.sh;
        let status = cmd!(sh, "ostree admin status --sysroot={at}")
            .quiet()
            .read()?;
        let names = deployments(&status);
        let next = names
            .first()
            .with_context(|| format!("ostree admin status: {status}"))?;
        let deployment = at.join("ostree/deploy/default/deploy").join(next);
        let [_, new] = UPGRADE;
        let changed = deployment.join("usr/share/bench-upgrade/0");
        let changed = sh.read_file(changed)?;
        ensure!(changed.starts_with(new), "{next} is not of the new image");
        let entry = default_entry(at)?;
        for key in ["linux", "initrd"] {
            let path = value(&entry, key).with_context(|| format!("no {key}: {entry}"))?;
            let path = path.trim_start_matches("/boot").trim_start_matches('/');
            let kernel = std::fs::metadata(at.join("boot").join(path))?;
            ensure!(kernel.len() > 0, "{path} is empty");
        }
        let files = |name: &str| -> Result<usize> {
            let below = deployment.join(name);
            let found = cmd!(sh, "find {below} ( -type f -o -type l ) -printf .").quiet();
            Ok(found.read()?.len())
        };
        Ok(Whole {
            deployments: names.len(),
            etc: files("etc")?,
            usr: files("usr")?,
        })
    }
}

/// The boot loader entry that sorts last is the newest.
fn default_entry(at: &Path) -> Result<String> {
    let folder = at.join("boot/loader/entries");
    let entries = std::fs::read_dir(&folder)?;
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in entries {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let version = value(&text, "version").and_then(|v| v.parse().ok());
        let version = version.with_context(|| format!("{}: no version", path.display()))?;
        if newest.as_ref().is_none_or(|(known, _)| *known < version) {
            newest = Some((version, path));
        }
    }
    let Some((_, path)) = newest else {
        bail!("{}: no boot loader entry", folder.display());
    };
    Ok(std::fs::read_to_string(path)?)
}

fn value<'a>(entry: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = entry.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(found, _)| *found == key)
        .map(|(_, v)| v.trim())
}

/// But for what says which deployment it is.
fn kernel_arguments(entry: &str) -> Result<Vec<String>> {
    let options = value(entry, "options").context("a boot loader entry without options")?;
    let words = options.split_whitespace();
    let of_all = words.filter(|word| !word.starts_with("ostree="));
    Ok(of_all.map(str::to_owned).collect())
}

/// Their names, as `ostree admin status` says them, the one that is booted next first.
fn deployments(status: &str) -> Vec<String> {
    let lines = status.lines().filter_map(|line| {
        let line = line.trim_start_matches(['*', ' ']);
        let mut words = line.strip_prefix("default ")?.split(' ');
        let name = words.next()?;
        name.contains('.').then(|| name.to_owned())
    });
    lines.collect()
}

/// The table, and whether what is asked is met; wall and CPU of both, pair by pair.
fn report(pairs: &[(Costs, Costs)]) -> String {
    type Clock = fn(&Cost) -> f64;
    let clocks: [(&str, Clock); 2] = [("wall", |c| c.wall), ("CPU", |c| c.cpu)];
    let (mut table, mut acceptance) = (String::new(), String::from("acceptance\n"));
    for (moment, (name, least)) in FASTER.into_iter().enumerate() {
        let of = |who: Who| -> Vec<Cost> {
            let side = |(ours, theirs): &(Costs, Costs)| match who {
                Who::Pleach => ours[moment],
                Who::OstreeExt => theirs[moment],
            };
            pairs.iter().map(side).collect()
        };
        let (ours, theirs) = (of(Who::Pleach), of(Who::OstreeExt));
        for (who, costs) in [(Who::Pleach, &ours), (Who::OstreeExt, &theirs)] {
            let [wall, cpu] = clocks.map(|(_, clock)| Spread::of(costs.iter().map(clock)));
            let peak = Spread::of(costs.iter().map(|cost| cost.peak)).max;
            let who = who.name();
            table +=
                &format!("  {name:9}{who:20}wall {wall:.2} s, CPU {cpu:.2} s, peak {peak:.1} MB\n");
        }
        for (clock, of) in clocks {
            let both = ours.iter().zip(&theirs);
            let ratio = Spread::of(both.map(|(ours, theirs)| of(theirs) / of(ours)));
            let met = if ratio.median >= least {
                "met"
            } else {
                "not met"
            };
            acceptance += &format!("  {name} ≥ {least} × faster, {clock}: {ratio:.2}: {met}\n");
        }
    }
    table + &acceptance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_found_in_what_ostree_says() {
        let status = "\
  default 1f.1 (pending)
    Version: v2
    origin: <unknown origin type>
* default 2e.0
    origin refspec: x
";
        assert_eq!(deployments(status), ["1f.1", "2e.0"]);
        assert!(deployments("No deployments.\n").is_empty());
    }

    #[test]
    fn kernel_arguments_are_those_of_any_deployment() -> Result<()> {
        let entry = "title x\nversion 1\noptions root=LABEL=root rw ostree=/ostree/boot.0/x\n";
        assert_eq!(kernel_arguments(entry)?, ["root=LABEL=root", "rw"]);
        assert!(kernel_arguments("title x\n").is_err());
        Ok(())
    }

    #[test]
    fn install_and_upgrade_are_judged_each_by_its_own_target() {
        let cost = |wall| Cost {
            wall,
            cpu: wall / 2.0,
            peak: 1.0,
            together: None,
        };
        let pair = |scale: f64| {
            let scaled = |wall| cost(wall * scale);
            ([scaled(2.0), scaled(1.0)], [scaled(4.0), scaled(4.0)])
        };
        let expected = "  install  pleach deploy       wall 2.00 (2.00 … 4.00) s, CPU 1.00 (1.00 … 2.00) s, peak 1.0 MB
  install  ostree-ext 0.15.3   wall 4.00 (4.00 … 8.00) s, CPU 2.00 (2.00 … 4.00) s, peak 1.0 MB
  upgrade  pleach deploy       wall 1.00 (1.00 … 2.00) s, CPU 0.50 (0.50 … 1.00) s, peak 1.0 MB
  upgrade  ostree-ext 0.15.3   wall 4.00 (4.00 … 8.00) s, CPU 2.00 (2.00 … 4.00) s, peak 1.0 MB
acceptance
  install ≥ 2 × faster, wall: 2.00 (2.00 … 2.00): met
  install ≥ 2 × faster, CPU: 2.00 (2.00 … 2.00): met
  upgrade ≥ 5 × faster, wall: 4.00 (4.00 … 4.00): not met
  upgrade ≥ 5 × faster, CPU: 4.00 (4.00 … 4.00): not met
";
        assert_eq!(report(&[pair(1.0), pair(2.0), pair(1.0)]), expected);
    }
}
