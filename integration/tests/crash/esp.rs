//! The EFI system partition of a machine: what a cut leaves of it, as firmware and a boot loader read it.
//!
//! `pleach deploy` writes to a directory, and is watched by strace; what it did is done again to a vfat
//! that is modelled ([`vfat`](pleach_integration::crash::vfat)), since the kernels of build machines have
//! none. mtools, which know nothing of the model, read the states: nothing is repaired or replayed.

mod judge;
mod watch;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{Outcome, side_by_side};
use pleach_integration::crash::mount::{FileSystem, Mounted, run};
use pleach_integration::crash::state::{Asked, Cut, Recording};
use pleach_integration::crash::vfat::{Operation, Vfat};

use crate::ours::{Pleach, UPGRADE};
use crate::{Room, all, barriers, seed, with};
use judge::Judge;

/// As large as is needed for clusters of 4 KiB, which an installation makes.
const BYTES: u64 = 280 << 20;

/// How eagerly the kernel writes what nobody synced, of eight.
const EAGER: [usize; 3] = [0, 2, 6];

const CLEANUP: &[&str] = &["cleanup", "--sysroot", "AT", "--esp", "ESP"];
const SWITCH_2: &[&str] = &["switch", "--sysroot", "AT", "--esp", "ESP", "v2"];
const SWITCH_3: &[&str] = &["switch", "--sysroot", "AT", "--esp", "ESP", "v3"];
const ROLLBACK: &[&str] = &["rollback", "--sysroot", "AT", "--esp", "ESP"];

/// What is done to a machine that has an ESP.
struct Doing {
    name: &'static str,
    /// Before, from a machine with one deployment, whose ESP follows.
    before: &'static [&'static [&'static str]],
    /// Without the older entries of the root, with things on the ESP that another run left.
    alone: bool,
    what: &'static [&'static str],
}

const DOINGS: &[Doing] = &[
    Doing {
        name: "second",
        before: &[CLEANUP],
        alone: false,
        what: SWITCH_2,
    },
    // The oldest one goes.
    Doing {
        name: "third",
        before: &[CLEANUP, SWITCH_2],
        alone: false,
        what: SWITCH_3,
    },
    Doing {
        name: "back",
        before: &[CLEANUP, SWITCH_2],
        alone: false,
        what: ROLLBACK,
    },
    // Of one entry another one: what is written is all that there is to boot.
    Doing {
        name: "only",
        before: &[CLEANUP, UPGRADE],
        alone: true,
        what: CLEANUP,
    },
];

/// What a run did to an ESP.
struct Watched {
    name: &'static str,
    /// The disk before, as a file.
    base: PathBuf,
    operations: Vec<Operation>,
    judge: Judge,
    /// The machine's disk when it was done, for second runs.
    disk: PathBuf,
}

impl Watched {
    /// A machine is brought to where it begins, and what is done then is watched.
    fn new(room: &Room, pleach: &Pleach, doing: &'static Doing) -> Result<Self> {
        let esp = pleach.esp();
        let _ = std::fs::remove_dir_all(esp);
        std::fs::create_dir_all(esp)?;
        let disk = room.folder.join(format!("{}.img", doing.name));
        std::fs::rename(pleach.disk(room, FileSystem::Ext4, doing.before)?, &disk)?;
        let mounted = Mounted::new(&disk, &room.folder.join("machine"), FileSystem::Ext4)?;
        let at = mounted.path();
        if doing.alone {
            leave_one(at)?;
            leftovers(esp)?;
        }
        let base = room.folder.join(format!("esp-{}.img", doing.name));
        make_vfat(&base, esp)?;
        let before = judge::Tree::read(esp)?;
        let trace = room.folder.join("trace");
        let operations = watch::watch(&pleach.command(at, doing.what), esp, &trace)?;
        ensure!(!operations.is_empty(), "{} writes nothing", doing.name);
        let judge = Judge::new(before, judge::Tree::read(esp)?);
        mounted.unmount()?;
        Ok(Self {
            name: doing.name,
            base,
            operations,
            judge,
            disk,
        })
    }

    /// What is written when these operations are done.
    fn recording(&self, operations: &[Operation], eager: usize) -> Result<Recording> {
        let mut vfat = Vfat::new(std::fs::read(&self.base)?, 1, eager)?;
        operations
            .iter()
            .try_for_each(|operation| vfat.run(operation))?;
        vfat.finish()
    }

    /// The operations, for people.
    fn shown(&self) -> String {
        let lines = self
            .operations
            .iter()
            .map(|operation| format!("{operation}\n"));
        lines.collect()
    }
}

/// The root as if somebody had undeployed all but the default.
fn leave_one(at: &Path) -> Result<()> {
    let folder = at.join("boot/loader/entries");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    names.sort();
    let last = names.pop().context("there is an entry")?;
    ensure!(!names.is_empty(), "{} is alone already", last.display());
    names
        .iter()
        .try_for_each(|name| Ok(std::fs::remove_file(name)?))
}

/// What is there when a run was cut short: its room is what the next one takes.
fn leftovers(esp: &Path) -> Result<()> {
    let folder = esp.join("ostree/small-0");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("vmlinuz.part"), vec![7; 300_000])?;
    std::fs::write(
        esp.join("loader/entries/ostree-9-small.conf.old"),
        "title gone\n",
    )?;
    Ok(())
}

/// A vfat with what is in a directory.
fn make_vfat(image: &Path, content: &Path) -> Result<()> {
    std::fs::File::create(image)?.set_len(BYTES)?;
    run(Command::new("mkfs.vfat")
        .args(["--invariant", "-F", "32", "-s", "8"])
        .arg(image))?;
    let mut command = Command::new("mcopy");
    command.env("MTOOLSRC", "/dev/null").arg("-i").arg(image);
    command.args(["-s", "-Q", "-m"]);
    for entry in std::fs::read_dir(content)? {
        command.arg(entry?.path());
    }
    run(command.arg("::")).map(drop)
}

/// A state in which something is wrong.
struct Failure {
    eager: usize,
    cut: Cut,
    problems: Vec<String>,
}

/// How many entries of the log behind an operation are looked at closely.
const NEAR: usize = 60;

/// Looks at so many different states of each way to write these operations; of all of them, or right
/// behind the first so many.
fn look(
    room: &Room,
    watched: &Watched,
    operations: &[Operation],
    behind: Option<usize>,
    wanted: usize,
    until: usize,
) -> Result<(usize, Vec<Failure>)> {
    let (mut seen, mut failures) = (HashSet::new(), Vec::new());
    for eager in EAGER {
        let recording = watched.recording(operations, eager)?;
        let within = match behind {
            Some(number) => {
                let place = watched.recording(&operations[..number], eager)?.len();
                place..place + NEAR
            }
            None => 0..usize::MAX,
        };
        let mut cuts = recording.cuts(&Asked {
            within,
            ..Asked::of_all(wanted, seed())
        });
        cuts.retain(|cut| seen.insert(recording.disk(*cut).digest()));
        let next = AtomicUsize::new(0);
        let found = Mutex::new(&mut failures);
        let worker = |number: usize| -> Result<()> {
            let image = room.folder.join(format!("esp-state-{number}.img"));
            while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if found.lock().expect("no panic").len() >= until {
                    break;
                }
                recording
                    .disk(*cut)
                    .write(&std::fs::File::create(&image)?)?;
                let done = cut.at == recording.len();
                let problems = watched.judge.problems(&image, done)?;
                if !problems.is_empty() {
                    let cut = *cut;
                    let failure = Failure {
                        eager,
                        cut,
                        problems,
                    };
                    found.lock().expect("no panic").push(failure);
                }
            }
            let _ = std::fs::remove_file(&image);
            Ok(())
        };
        side_by_side(worker)?;
    }
    Ok((seen.len(), failures))
}

/// Keeps failures as images for mtools, with what was done.
fn keep(room: &Room, watched: &Watched, failures: &[Failure]) -> Result<PathBuf> {
    let kept = room.kept(&format!("esp-{}", watched.name))?;
    std::fs::write(kept.join("operations.txt"), watched.shown())?;
    for failure in failures.iter().take(5) {
        let recording = watched.recording(&watched.operations, failure.eager)?;
        let stem = format!("{}-{}", failure.eager, failure.cut).replace(':', "-");
        let image = std::fs::File::create(kept.join(format!("{stem}.img")))?;
        recording.disk(failure.cut).write(&image)?;
        std::fs::write(
            kept.join(format!("{stem}.txt")),
            failure.problems.join("\n"),
        )?;
    }
    Ok(kept)
}

#[test]
fn the_esp_boots_after_a_cut() {
    with("esp", true, |room| {
        let pleach = Pleach::new(room)?;
        let started = Instant::now();
        let wanted = if all() { 320 } else { 32 };
        let (mut states, mut again) = (0, 0);
        for doing in DOINGS {
            let watched = Watched::new(room, &pleach, doing)?;
            whole(room, &watched)?;
            let (number, failures) = look(room, &watched, &watched.operations, None, wanted, 20)?;
            states += number;
            if !failures.is_empty() {
                let kept = keep(room, &watched, &failures)?;
                let lines = failures
                    .iter()
                    .map(|f| format!("{}: {}", f.cut, f.problems.join("; ")));
                let lines: Vec<_> = lines.collect();
                let number = lines.len();
                anyhow::bail!(
                    "{}: {number} states, see {}:\n{}",
                    watched.name,
                    kept.display(),
                    lines.join("\n")
                );
            }
            again += second_runs(room, &pleach, &watched)?;
        }
        room.say(&format!(
            "vfat: {states} states, {again} second runs, 0 failures, {:.0} s",
            started.elapsed().as_secs_f64()
        ));
        ensure!(states * 4 >= wanted * 31, "only {states} different states");
        Ok(())
    });
}

/// The model, held to what is real: done to its end, it is a file system in order, with what is in the
/// directory that was written to.
fn whole(room: &Room, watched: &Watched) -> Result<()> {
    let image = room.folder.join("esp-whole.img");
    let file = std::fs::File::create(&image)?;
    let recording = watched.recording(&watched.operations, EAGER[1])?;
    let end = Cut {
        at: recording.len(),
        seed: None,
    };
    recording.disk(end).write(&file)?;
    run(Command::new("fsck.vfat").arg("-n").arg(&image))?;
    let (tree, unreadable) = judge::Tree::of_image(&image)?;
    ensure!(
        tree == watched.judge.end && unreadable.is_empty(),
        "{tree:#?}\n{unreadable:?}\n{:#?}",
        watched.judge.end
    );
    std::fs::remove_file(&image)?;
    Ok(())
}

/// On some states a plain second run: it comes to the end.
fn second_runs(room: &Room, pleach: &Pleach, watched: &Watched) -> Result<usize> {
    let recording = watched.recording(&watched.operations, EAGER[2])?;
    let cuts = recording.cuts(&Asked::of_all(40, seed() + 1));
    let mounted = Mounted::new(
        &watched.disk,
        &room.folder.join("machine"),
        FileSystem::Ext4,
    )?;
    let image = room.folder.join("esp-again.img");
    let cuts: Vec<_> = cuts.iter().step_by(cuts.len().div_ceil(4)).collect();
    for cut in &cuts {
        recording
            .disk(**cut)
            .write(&std::fs::File::create(&image)?)?;
        let _ = std::fs::remove_dir_all(pleach.esp());
        judge::Tree::of_image(&image)?.0.write(pleach.esp())?;
        let outcome = Outcome::of(&mut pleach.command(mounted.path(), CLEANUP))?;
        ensure!(
            outcome.done,
            "{}: {cut}: again: {}",
            watched.name,
            outcome.said
        );
        let found = judge::Tree::read(pleach.esp())?;
        let problems = watched.judge.problems_again(&found);
        ensure!(
            problems.is_empty(),
            "{}: {cut}: again: {problems:#?}",
            watched.name
        );
    }
    mounted.unmount()?;
    Ok(cuts.len())
}

/// What has to be on the disk before what comes next, by what comes before a sync.
fn moment(operations: &[Operation], sync: usize) -> &'static str {
    let is_sync = |o: &&Operation| matches!(o, Operation::Sync(_) | Operation::SyncAll);
    let (before, after) = operations.split_at(sync);
    let more = after.iter().any(|o| matches!(o, Operation::Write(..)));
    match before.iter().rev().find(|o| !is_sync(o)) {
        Some(Operation::Write(path, _)) if path.starts_with("ostree/") => "kernels are whole",
        Some(Operation::Write(..)) => "kernels have their names, entries are whole",
        Some(Operation::Rename(_, to)) if to.ends_with(".conf") => "entries have their names",
        Some(Operation::Rename(..)) => "old entries are hidden",
        Some(Operation::Remove(_) | Operation::RemoveDirectory(_)) if more => "leftovers are gone",
        Some(Operation::Remove(_) | Operation::RemoveDirectory(_)) => "what is old is gone",
        _ => "something else",
    }
}

#[test]
#[ignore = "run by hand: it takes some minutes"]
fn no_sync_of_the_esp_is_there_for_nothing() {
    with("esp-syncs", true, |room| {
        let pleach = Pleach::new(room)?;
        let mut found: BTreeMap<(&str, &str), Option<String>> = BTreeMap::new();
        for doing in DOINGS {
            let watched = Watched::new(room, &pleach, doing)?;
            for (index, operation) in watched.operations.iter().enumerate() {
                let call = match operation {
                    Operation::Sync(_) => "fsync",
                    Operation::SyncAll => "syncfs",
                    _ => continue,
                };
                let known = found
                    .entry((moment(&watched.operations, index), call))
                    .or_default();
                if known.is_some() {
                    continue;
                }
                let mut without = watched.operations.clone();
                without.remove(index);
                let (_, mut failures) = look(room, &watched, &without, Some(index), 60, 1)?;
                if failures.is_empty() {
                    failures = look(room, &watched, &without, None, 120, 1)?.1;
                }
                let first = failures.first().map(|failure| &failure.problems[0]);
                *known = first.map(|problem| format!("{}: {problem}", doing.name));
            }
        }
        let mut table = "| moment | without | what is found |\n|---|---|---|\n".to_owned();
        for ((moment, call), found) in &found {
            let found = found.as_deref().unwrap_or("NOTHING");
            room.say(&format!("{moment}: without {call}: {found}"));
            table += &format!("| {moment} | {call} | {found} |\n");
        }
        barriers::fill("no_sync_of_the_esp_is_there_for_nothing", &table)?;
        let missed = found.values().filter(|found| found.is_none()).count();
        ensure!(
            missed == 0,
            "{missed} of {} are missed by nobody",
            found.len()
        );
        ensure!(
            found.len() == 12,
            "{} syncs, and 6 moments have two",
            found.len()
        );
        Ok(())
    });
}
