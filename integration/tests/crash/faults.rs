//! Every system call of an upgrade that changes something: the process is killed there, or the call
//! fails. Then a plain second run has to come to the end.
//!
//! `PLEACH_CASES=all` takes every call, and notes in `faults.seen` of which kinds all were right. What CI
//! takes is of these kinds alone, so that it says nothing new about a program that is the same.

mod harmless;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{Outcome, by_ostree, side_by_side};
use pleach_integration::crash::mount::{FileSystem, Mounted};
use pleach_integration::crash::oracle::Expected;
use pleach_integration::crash::view::View;

use crate::ours::{Pleach, doing};
use crate::strace::{CHANGING, Call, Strace};
use crate::{Room, all, with};
use harmless::{Hit, is_harmless};
use seen::Seen;

/// The errors first: only they can be swallowed.
const FAULTS: &[&str] = &["ENOSPC", "EIO", "KILL", "EINTR"];

/// How many points are tried where not all are.
const SOME: usize = 48;

/// Where a fault is put.
#[derive(Debug, Clone)]
struct Point {
    call: String,
    nth: usize,
    fault: &'static str,
    /// What it is to hit: of each thread that comes so far.
    kinds: BTreeSet<String>,
}

impl Point {
    fn inject(&self) -> String {
        let how = match self.fault {
            "KILL" => "signal",
            _ => "error",
        };
        format!("{}:{how}={}:when={}", self.call, self.fault, self.nth)
    }
}

#[test]
fn every_fault_leaves_the_old_or_the_new() {
    with("faults", true, |room| {
        let (pleach, upgrade) = (Pleach::new(room)?, doing("upgrade"));
        let base = upgrade.disk(room, &pleach, FileSystem::Ext4)?;
        let rig = Rig::new(room, &pleach, &base)?;
        let (total, points) = points(&rig.calls, &Seen::read()?);
        let (told, next) = (Mutex::new(Told::new(room)?), AtomicUsize::new(0));
        let worker = |number: usize| -> Result<()> {
            while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                rig.one(point, &format!("point-{number}"), &told)
                    .with_context(|| format!("{point:?}"))?;
            }
            Ok(())
        };
        side_by_side(worker)?;
        let told = told.into_inner().expect("no panic");
        room.say(&format!(
            "{} of {total} points, {} reached, ends {:?}, said to be done in spite of an error {:?}",
            points.len(),
            told.reached,
            told.ends,
            told.swallowed
        ));
        if all() {
            told.seen()?.write()?;
        }
        ensure!(told.problems.is_empty(), "{}", told.problems.join("\n"));
        ensure!(points.len() >= SOME / 2, "only {} points", points.len());
        ensure!(
            told.reached * 10 >= points.len() * 9,
            "only {} were reached",
            told.reached
        );
        Ok(())
    });
}

/// How many points there are, and those to be tried: all of them, those first of which there are few; or
/// some of each fault, at calls of which all were right before.
fn points(calls: &[(Call, String)], seen: &Seen) -> (usize, Vec<Point>) {
    let mut places = BTreeMap::<(&str, usize), BTreeSet<String>>::new();
    for (call, kind) in calls {
        let place = places.entry((&call.name, call.nth)).or_default();
        place.insert(kind.clone());
    }
    // Of calls that are alike the first, then the second of each.
    let (mut ranked, mut alike) = (Vec::new(), BTreeMap::<_, usize>::new());
    for ((call, nth), kinds) in places {
        let rank = alike.entry(kinds.clone()).or_default();
        ranked.push((*rank, call, nth, kinds));
        *rank += 1;
    }
    ranked.sort();
    let total = ranked.len() * FAULTS.len();
    let wanted = std::env::var("PLEACH_FAULTS").unwrap_or_default();
    let wanted = |fault: &str| wanted.is_empty() || wanted.split(',').any(|word| word == fault);
    let mut points = Vec::new();
    for (rank, call, nth, kinds) in &ranked {
        for fault in FAULTS.iter().filter(|fault| wanted(fault)) {
            let known = kinds.iter().all(|kind| seen.has(kind, fault));
            if all() || *rank == 0 && known {
                points.push(Point {
                    call: (*call).to_owned(),
                    nth: *nth,
                    fault,
                    kinds: kinds.clone(),
                });
            }
        }
    }
    if !all() && points.len() > SOME {
        // The number of faults has nothing in common with the step, or it would be always the same one.
        let step = (points.len() / SOME) | 1;
        points = points.into_iter().step_by(step).collect();
    }
    (total, points)
}

/// Whether it may change something: a file that is opened to be read does not.
fn changes(call: &Call) -> bool {
    let opens = ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TMPFILE"];
    call.name != "openat" || opens.iter().any(|flag| call.shown.contains(flag))
}

/// Whether it is how rustix asks if /proc is a real one: a rename there is refused, and any other error it
/// takes for the end of the world.
fn asks(call: &Call, at: &Path) -> bool {
    call.path(at).starts_with("/proc/")
}

/// What came of it.
struct Told {
    reached: usize,
    /// By fault and exit code.
    ends: BTreeMap<(&'static str, Option<i32>), usize>,
    /// Calls that failed and that it did without.
    swallowed: BTreeMap<String, usize>,
    problems: Vec<String>,
    /// Kinds and faults of all that was hit, and of what was wrong.
    hit: BTreeSet<(String, &'static str)>,
    wrong: BTreeSet<(String, &'static str)>,
    /// A line for each point, for whoever waits or ends it.
    log: std::fs::File,
}

impl Told {
    fn new(room: &Room) -> Result<Self> {
        Ok(Self {
            reached: 0,
            ends: BTreeMap::new(),
            swallowed: BTreeMap::new(),
            problems: Vec::new(),
            hit: BTreeSet::new(),
            wrong: BTreeSet::new(),
            log: std::fs::File::create(room.kept("faults")?.join("points.txt"))?,
        })
    }

    /// What is known now: of kinds that were tried what came of it, of the others what was known.
    fn seen(&self) -> Result<Seen> {
        let mut seen = Seen::read()?;
        for (kind, fault) in &self.hit {
            let faults = seen.0.entry(kind.clone()).or_default();
            match self.wrong.contains(&(kind.clone(), *fault)) {
                true => faults.remove(*fault),
                false => faults.insert((*fault).to_owned()),
            };
        }
        seen.0.retain(|_, faults| !faults.is_empty());
        Ok(seen)
    }
}

struct Rig<'a> {
    room: &'a Room,
    pleach: &'a Pleach,
    base: &'a Path,
    expected: Expected,
    directories: BTreeSet<PathBuf>,
    /// With their kinds.
    calls: Vec<(Call, String)>,
}

fn kind(call: &Call, at: &Path) -> String {
    format!("{} {}", call.name, call.subject(at))
}

impl<'a> Rig<'a> {
    /// Once without a fault: what there is to be hit, and where it leads.
    fn new(room: &'a Room, pleach: &'a Pleach, base: &'a Path) -> Result<Self> {
        let disk = room.folder.join("plain.img");
        std::fs::copy(base, &disk)?;
        let mounted = Mounted::new(&disk, &room.folder.join("plain"), FileSystem::Ext4)?;
        let at = mounted.path();
        let start = View::read(at)?;
        let mut directories = BTreeSet::new();
        find_directories(at, at, &mut directories)?;
        let strace = Strace {
            file: room.folder.join("plain.trace"),
        };
        let command = pleach.command(at, doing("upgrade").what);
        let (outcome, calls) = strace.run(&command, CHANGING, None)?;
        ensure!(outcome.done, "{}", outcome.said);
        // A fault hits the call of that number in each thread.
        let beside = |call: &Call| {
            let mut others = calls.iter().filter(|other| asks(other, at));
            others.any(|other| (&other.name, other.nth) == (&call.name, call.nth))
        };
        let wanted = calls.iter().filter(|call| changes(call) && !beside(call));
        let wanted = wanted.map(|call| (call.clone(), kind(call, at)));
        let calls: Vec<(Call, String)> = wanted.collect();
        let end = View::read(at)?;
        mounted.unmount()?;
        Ok(Self {
            room,
            pleach,
            base,
            expected: Expected { start, end }.essential(),
            directories,
            calls,
        })
    }

    fn one(&self, point: &Point, name: &str, told: &Mutex<Told>) -> Result<()> {
        let disk = self.room.folder.join(format!("{name}.img"));
        std::fs::copy(self.base, &disk)?;
        let mounted = Mounted::new(&disk, &self.room.folder.join(name), FileSystem::Ext4)?;
        let at = mounted.path();
        let strace = Strace {
            file: self.room.folder.join(format!("{name}.trace")),
        };
        let command = self.pleach.command(at, doing("upgrade").what);
        let inject = point.inject();
        let (outcome, calls) = strace.run(&command, &[&point.call], Some(&inject))?;
        let mut hits: Vec<&Call> = calls.iter().filter(|call| call.injected).collect();
        if hits.is_empty() && outcome.code.is_none() {
            hits.extend(calls.last());
        }
        let kinds: BTreeSet<String> = hits.iter().map(|call| kind(call, at)).collect();
        let mut problems = Vec::new();
        if hits.is_empty() {
            if !outcome.done {
                problems.push(format!("nothing was injected, and: {}", outcome.said));
            }
        } else {
            problems.extend(self.problems(&outcome, &kinds, at)?);
            let error = !["KILL", "EINTR"].contains(&point.fault);
            if error && outcome.code == Some(0) {
                let mut told = told.lock().expect("no panic");
                for kind in &kinds {
                    *told.swallowed.entry(kind.clone()).or_default() += 1;
                }
                drop(told);
                problems.extend(self.swallowed(&hits, at));
            }
            problems.extend(self.problems_again(at)?);
        }
        mounted.unmount()?;
        let mut told = told.lock().expect("no panic");
        if !hits.is_empty() {
            told.reached += 1;
            *told.ends.entry((point.fault, outcome.code)).or_default() += 1;
        }
        use std::io::Write as _;
        let word = if problems.is_empty() {
            "right"
        } else {
            "WRONG"
        };
        let (code, shown) = (outcome.code, problems.join("\n    "));
        writeln!(told.log, "{word} {inject} {kinds:?} {code:?} {shown}")?;
        for kind in kinds {
            if !problems.is_empty() {
                told.wrong.insert((kind.clone(), point.fault));
            }
            told.hit.insert((kind, point.fault));
        }
        if !problems.is_empty() {
            let text = format!("inject={inject}, {:?}\n    {shown}", point.kinds);
            told.problems.push(text);
        }
        Ok(())
    }

    /// What is wrong with how it ended, and with the disk.
    fn problems(
        &self,
        outcome: &Outcome,
        kinds: &BTreeSet<String>,
        at: &Path,
    ) -> Result<Vec<String>> {
        let whole = View::read(at)?;
        let view = whole.essential();
        let mut problems = self.expected.problems(&view, false);
        problems.extend(by_ostree(at, &whole)?);
        let new = view.chosen() == self.expected.end.chosen();
        let truth = match outcome.code {
            Some(0) | Some(4) => new,
            Some(3) => !new,
            None => true,
            // The loader of programs ends so, before there is one.
            Some(127) => !new && kinds.iter().all(|kind| kind.contains(".so")),
            Some(_) => false,
        };
        if !truth {
            problems.push(format!(
                "it ended with {:?}, new: {new}: {}",
                outcome.code, outcome.said
            ));
        }
        Ok(problems)
    }

    /// Errors that it should have told of.
    fn swallowed(&self, hits: &[&Call], at: &Path) -> Vec<String> {
        let hits = hits.iter().map(|call| Hit {
            call,
            path: call.path(at),
            directories: &self.directories,
            at,
        });
        hits.filter(|hit| !is_harmless(hit))
            .map(|hit| {
                format!(
                    "{} failed, and it says that all is done: {}",
                    kind(hit.call, at),
                    hit.call.shown
                )
            })
            .collect()
    }

    fn problems_again(&self, at: &Path) -> Result<Vec<String>> {
        let again = Outcome::of(&mut self.pleach.command(at, doing("upgrade").what))?;
        if !again.done {
            return Ok(vec![format!("again: {}", again.said)]);
        }
        let view = View::read(at)?;
        let mut problems = by_ostree(at, &view)?;
        let end = self.expected.end.chosen();
        problems.extend(self.expected.problems_again(&view.essential(), end));
        Ok(problems)
    }
}

/// All directories below one, by their paths from `root`.
fn find_directories(root: &Path, folder: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    found.insert(folder.strip_prefix(root)?.to_owned());
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_directories(root, &entry.path(), found)?;
        }
    }
    Ok(())
}
