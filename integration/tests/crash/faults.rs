//! Every system call of an upgrade that changes something: the process is killed there, or the call
//! fails. Then a plain second run has to come to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
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

const FAULTS: &[&str] = &["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR"];

/// Errors after which it may say that all is done, for it is: the call, a part of what it is about, and
/// why.
const HARMLESS: &[(&str, &str, &str)] = &[(
    "ioctl",
    "",
    "asked of every file system, and done without where there is no such call",
)];

/// Where a fault is put.
#[derive(Debug, Clone)]
struct Point {
    call: String,
    nth: usize,
    fault: &'static str,
}

#[test]
fn every_fault_leaves_the_old_or_the_new() {
    with("faults", true, |room| {
        let (pleach, upgrade) = (Pleach::new(room)?, doing("upgrade"));
        let base = upgrade.disk(room, &pleach, FileSystem::Ext4)?;
        let rig = Rig {
            room,
            pleach: &pleach,
            base: &base,
        };

        // Once without a fault: what there is to be hit, and where it leads.
        let (expected, calls) = rig.undisturbed()?;
        let places: BTreeSet<(&str, usize)> = calls
            .iter()
            .filter(|call| changes(call))
            .map(|call| (&*call.name, call.nth))
            .collect();
        let names: BTreeSet<&str> = places.iter().map(|(name, _)| *name).collect();
        let points: Vec<Point> = FAULTS
            .iter()
            .flat_map(|fault| places.iter().map(move |place| (fault, place)))
            .map(|(fault, (call, nth))| Point {
                call: (*call).to_owned(),
                nth: *nth,
                fault,
            })
            .collect();
        let total = points.len();
        // Some of each fault, at places from the first call to the last.
        let step = if all() { 1 } else { total.div_ceil(40) };
        let points: Vec<Point> = points.into_iter().step_by(step).collect();
        let told = Mutex::new(Told::default());
        let next = AtomicUsize::new(0);
        let worker = |number: usize| -> Result<()> {
            while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                rig.one(&expected, point, &format!("point-{number}"), &told)
                    .with_context(|| format!("{point:?}"))?;
            }
            Ok(())
        };
        side_by_side(worker)?;
        let told = told.into_inner().expect("no panic");
        room.say(&format!(
            "{} of {total} points of {} calls, {} reached, ends {:?}, said to be done in spite of an error {:?}",
            points.len(),
            names.len(),
            told.reached,
            told.ends,
            told.swallowed
        ));
        ensure!(told.problems.is_empty(), "{}", told.problems.join("\n"));
        ensure!(
            told.reached * 10 >= points.len() * 9,
            "only {} were reached",
            told.reached
        );
        Ok(())
    });
}

/// Whether it may change something: a file that is opened to be read does not.
fn changes(call: &Call) -> bool {
    let opens = ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TMPFILE"];
    call.name != "openat" || opens.iter().any(|flag| call.shown.contains(flag))
}

#[derive(Default)]
struct Told {
    reached: usize,
    /// By fault and exit code.
    ends: BTreeMap<(&'static str, Option<i32>), usize>,
    /// Calls that failed and that it did without.
    swallowed: BTreeMap<String, usize>,
    problems: Vec<String>,
}

struct Rig<'a> {
    room: &'a Room,
    pleach: &'a Pleach,
    base: &'a Path,
}

impl Rig<'_> {
    fn undisturbed(&self) -> Result<(Expected, Vec<Call>)> {
        let disk = self.room.folder.join("plain.img");
        std::fs::copy(self.base, &disk)?;
        let mounted = Mounted::new(&disk, &self.room.folder.join("plain"), FileSystem::Ext4)?;
        let start = View::read(mounted.path())?;
        let strace = Strace {
            file: self.room.folder.join("plain.trace"),
        };
        let command = self.pleach.command(mounted.path(), doing("upgrade").what);
        let (outcome, calls) = strace.run(&command, CHANGING, None)?;
        ensure!(outcome.done, "{}", outcome.said);
        let end = View::read(mounted.path())?;
        mounted.unmount()?;
        Ok((Expected { start, end }.essential(), calls))
    }

    fn one(
        &self,
        expected: &Expected,
        point: &Point,
        name: &str,
        told: &Mutex<Told>,
    ) -> Result<()> {
        let disk = self.room.folder.join(format!("{name}.img"));
        std::fs::copy(self.base, &disk)?;
        let mounted = Mounted::new(&disk, &self.room.folder.join(name), FileSystem::Ext4)?;
        let at = mounted.path();
        let strace = Strace {
            file: self.room.folder.join(format!("{name}.trace")),
        };
        let command = self.pleach.command(at, doing("upgrade").what);
        let inject = format!("{}:{}:when={}", point.call, point.fault, point.nth);
        let (outcome, calls) = strace.run(&command, &[&point.call], Some(&inject))?;
        let killed = outcome.code.is_none();
        let hit = calls.iter().find(|call| call.injected);
        let hit = hit.or(calls.last().filter(|_| killed));
        let mut problems = Vec::new();
        if let Some(hit) = hit {
            let view = View::read(at)?.essential();
            problems.extend(expected.problems(&view, false));
            problems.extend(by_ostree(at, &View::read(at)?)?);
            let new = view.chosen() == expected.end.chosen();
            let subject = hit.subject(at);
            let truth = match outcome.code {
                Some(0) | Some(4) => new,
                Some(3) => !new,
                None => true,
                // The loader of programs ends so, before there is one.
                Some(127) => !new && subject.contains(".so"),
                Some(_) => false,
            };
            if !truth {
                problems.push(format!(
                    "it ended with {:?}, new: {new}: {}",
                    outcome.code, outcome.said
                ));
            }
            let harmless = HARMLESS
                .iter()
                .any(|(call, part, _)| *call == point.call && subject.contains(part));
            if outcome.code == Some(0)
                && point.fault != "signal=KILL"
                && point.fault != "error=EINTR"
            {
                let mut told = told.lock().expect("no panic");
                *told
                    .swallowed
                    .entry(format!("{} {subject}", point.call))
                    .or_default() += 1;
                if !harmless {
                    problems.push(format!(
                        "{} {subject} failed, and it says that all is done",
                        point.call
                    ));
                }
            }
            // And again.
            let again = Outcome::of(&mut self.pleach.command(at, doing("upgrade").what))?;
            if again.done {
                let view = View::read(at)?;
                problems.extend(by_ostree(at, &view)?);
                problems.extend(expected.problems_again(&view.essential(), expected.end.chosen()));
            } else {
                problems.push(format!("again: {}", again.said));
            }
        } else if !outcome.done {
            problems.push(format!("nothing was injected, and: {}", outcome.said));
        }
        mounted.unmount()?;
        let mut told = told.lock().expect("no panic");
        if hit.is_some() {
            told.reached += 1;
            *told.ends.entry((point.fault, outcome.code)).or_default() += 1;
        }
        if !problems.is_empty() {
            told.problems
                .push(format!("inject={inject}\n    {}", problems.join("\n    ")));
        }
        Ok(())
    }
}
