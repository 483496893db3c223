//! Each sync, rename and barrier is taken away, one at a time: then the suite has to find a state that
//! is wrong. One that nobody misses is either not needed or not tested.
//!
//! That takes long, so it is run by hand, and writes what came of it into `docs/power-cuts.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{self, Case, Options};
use pleach_integration::crash::mount::FileSystem;
use pleach_integration::crash::view::View;

use crate::ours::{Commands, Doing, Pleach, doing};
use crate::strace::{BARRIERS, Call, Strace};
use crate::{Room, with};

/// What is done without its barriers.
const DOINGS: &[&str] = &["upgrade", "rollback", "staging"];

/// How strace shows the number of EXT4_IOC_CHECKPOINT, which it has no name for; no other ioctl makes
/// anything last.
const CHECKPOINT: &str = "0x66, 0x2b, 0x4)";

/// Where a deployment is made, with all below; of `ostree` itself only its names. What the import into the
/// repository does is its crate's own.
const PLACES: &[&str] = &[".", "boot", "ostree/boot", "ostree/deploy", "ostree/pleach"];

/// How many entries of the log behind a call are looked at closely.
const NEAR: usize = 80;

/// A call of which nothing is found here, since what it promises shows elsewhere.
struct Elsewhere {
    verb: &'static str,
    call: &'static str,
    why: &'static str,
    test: &'static str,
}

const ELSEWHERE: &[Elsewhere] = &[];

const END: &str = "<!-- end -->\n";

type Rows = BTreeMap<(String, String), Vec<String>>;

#[test]
#[ignore = "run by hand: it takes some minutes"]
fn no_barrier_is_there_for_nothing() {
    with("barriers", true, |room| {
        let (mut rows, mut missed) = (Rows::new(), Vec::new());
        let pleach = Pleach::new(room)?;
        for name in DOINGS {
            let rig = Rig::new(room, &pleach, doing(name), FileSystem::Ext4)?;
            let xfs = Rig::new(room, &pleach, doing(name), FileSystem::Xfs)?;
            let calls = rig.calls()?;
            for (place, call) in calls.iter().enumerate() {
                let row = rig.row(call);
                // Of calls that are alike the first and the last.
                let alike = |other: &&Call| rig.row(other) == row;
                let ends = [calls.iter().find(alike), calls.iter().rfind(alike)];
                if !ends.contains(&Some(call)) {
                    continue;
                }
                let alone = [Away::one(call)];
                let mut found = rig.without(&alone)?;
                if found.is_empty() && call.name != "ioctl" {
                    found = xfs.without(&alone)?;
                }
                for (with, away) in together(&calls, place) {
                    if found.is_empty() {
                        found = rig.without(&away)?;
                        if !found.is_empty() {
                            found.insert_str(0, &format!("with {with}: "));
                        }
                    }
                }
                if found.is_empty() {
                    let known = ELSEWHERE.iter();
                    let mut known = known.filter(|it| (it.verb, it.call) == (&row.0, &row.1));
                    match known.next() {
                        Some(it) => found = format!("not here: {} (`{}`)", it.why, it.test),
                        None => missed.push(format!("{}: {} {}", row.0, row.1, call.nth)),
                    }
                }
                let shown = if found.is_empty() { "NOTHING" } else { &found };
                room.say(&format!("{}: {}: {shown}", row.0, row.1));
                rows.entry(row).or_default().push(shown.to_owned());
            }
        }
        write(&rows)?;
        ensure!(
            missed.is_empty(),
            "nothing is found without:\n{}",
            missed.join("\n")
        );
        let gone = |it: &&Elsewhere| !rows.contains_key(&(it.verb.to_owned(), it.call.to_owned()));
        if let Some(it) = ELSEWHERE.iter().find(gone) {
            anyhow::bail!("there is no {} in {} any more", it.call, it.verb);
        }
        Ok(())
    });
}

/// A call that is taken away.
struct Away<'a> {
    call: &'a str,
    nth: usize,
    /// With all later ones.
    on: bool,
}

impl<'a> Away<'a> {
    fn one(call: &'a Call) -> Self {
        Self {
            call: &call.name,
            nth: call.nth,
            on: false,
        }
    }

    fn inject(&self) -> String {
        let on = if self.on { "+" } else { "" };
        format!("{}:retval=0:when={}{on}", self.call, self.nth)
    }
}

/// What else does what a call does, so that it is not missed alone: the other half of settling a file
/// system; and all that settles it later.
fn together(calls: &[Call], place: usize) -> Vec<(&'static str, Vec<Away<'_>>)> {
    let (before, after) = calls.split_at(place);
    let call = &calls[place];
    let other = match call.name.as_str() {
        "syncfs" => after.iter().find(|other| other.name == "ioctl"),
        "ioctl" => before.iter().rfind(|other| other.name == "syncfs"),
        _ => None,
    };
    let Some(other) = other else {
        return Vec::new();
    };
    let both = |on| {
        [call, other]
            .map(|call| Away {
                on,
                ..Away::one(call)
            })
            .into()
    };
    vec![
        ("the other half of it", both(false)),
        ("all that settles it later", both(true)),
    ]
}

struct Rig<'a> {
    room: &'a Room,
    doing: &'static Doing,
    kind: FileSystem,
    commands: Commands<'a>,
    base: PathBuf,
    end: View,
    strace: Strace,
}

impl<'a> Rig<'a> {
    fn new(
        room: &'a Room,
        pleach: &'a Pleach,
        doing: &'static Doing,
        kind: FileSystem,
    ) -> Result<Self> {
        let base = room.folder.join(format!("base-{}.img", kind.name()));
        std::fs::rename(doing.disk(room, pleach, kind)?, &base)?;
        let mut rig = Self {
            room,
            doing,
            kind,
            commands: Commands::new(room, pleach, doing, &base, kind)?,
            base,
            end: View::default(),
            strace: Strace {
                file: room.folder.join("barriers.trace"),
            },
        };
        rig.end = rig.case(false).record(&room.folder)?.expected.end;
        Ok(rig)
    }

    fn case(&self, busy: bool) -> Case<'_> {
        self.commands.case(&self.base, self.kind, busy)
    }

    /// Where a recorder has its disk mounted.
    fn at(&self) -> PathBuf {
        self.room.folder.join("record/mount")
    }

    fn row(&self, call: &Call) -> (String, String) {
        let shown = match call.name.as_str() {
            "ioctl" => "ioctl EXT4_IOC_CHECKPOINT",
            name => name,
        };
        let shown = format!("{shown} {}", call.subject(&self.at()));
        (self.doing.name.to_owned(), shown)
    }

    /// The calls of an undisturbed run, in order.
    fn calls(&self) -> Result<Vec<Call>> {
        let case = self.case(false);
        let (_, outcome) = case.attempt(&self.room.folder, &|at: &Path| {
            self.strace.wrap(&(case.command)(at), BARRIERS, &[])
        })?;
        ensure!(outcome.done, "{}", outcome.said);
        let at = self.at().display().to_string();
        let mut calls = self.strace.calls()?;
        calls.retain(|call| {
            let subject = call.subject(&self.at());
            let below = |place: &&str| subject.strip_prefix(*place);
            let mut below = PLACES.iter().filter_map(below);
            call.shown.contains(&at)
                && (call.name != "ioctl" || call.shown.contains(CHECKPOINT))
                && (subject == "ostree"
                    || below.any(|rest| rest.is_empty() || rest.starts_with('/')))
        });
        ensure!(!calls.is_empty(), "{} makes nothing last", self.doing.name);
        Ok(calls)
    }

    /// What is found when calls do nothing and say that they did; empty if nothing is.
    fn without(&self, away: &[Away<'_>]) -> Result<String> {
        let names: Vec<&str> = away.iter().map(|away| away.call).collect();
        let inject: Vec<String> = away.iter().map(Away::inject).collect();
        let inject: Vec<&str> = inject.iter().map(String::as_str).collect();
        // While nobody else makes anything last, and while others do.
        for busy in [false, true] {
            let case = self.case(busy);
            let command = |at: &Path| {
                let command = (case.command)(at);
                self.strace.wrap(&command, &names, &inject)
            };
            // In the same folder, so that paths are the same.
            let (recorded, outcome) = case.attempt(&self.room.folder, &command)?;
            if !outcome.done {
                return Ok("it fails, and says so".to_owned());
            }
            let end = &recorded.expected.end;
            if end.essential() != self.end.essential()
                || end.staged.is_some() != self.end.staged.is_some()
            {
                return Ok("it comes to another end".to_owned());
            }
            let calls = self.strace.calls()?;
            let time = calls.iter().find(|call| call.injected);
            let place = recorded.position(time.context("it is not hit")?.time);
            let end = recorded.recording.len();
            for (within, states) in [(place..place + NEAR, 36), (0..end, 24)] {
                let options = Options {
                    failures: 8,
                    again_every: 6,
                    within,
                    ..self.room.options(states)
                };
                let report = campaign::run(&case, &recorded, &options)?;
                // What a boot loader reads of xfs is what was written in place by chance: there is no call
                // that does it, whatever else is synced.
                // And a directory of which half is written is one that it cannot mount, whoever syncs.
                let counts = |problem: &&String| {
                    let own = ["boot loader", "\"mount\""];
                    self.kind == FileSystem::Ext4 || !own.iter().any(|own| problem.starts_with(own))
                };
                let mut problems = report.failures.iter().flat_map(|(_, all)| all);
                if let Some(problem) = problems.find(counts) {
                    let found = brief(problem);
                    return Ok(match self.kind {
                        FileSystem::Xfs => format!("on xfs: {found}"),
                        _ => found,
                    });
                }
            }
        }
        Ok(String::new())
    }
}

/// The first line of what is wrong, without what is another in each run.
fn brief(problem: &str) -> String {
    let line = problem.lines().next().unwrap_or_default();
    let end = line.find(['"', '/', '{']).unwrap_or(line.len());
    match line[..end].trim_end_matches([' ', ':']) {
        // It begins with what it is about.
        "" => line.rsplit_once(": ").map_or(line, |(_, what)| what),
        what => what,
    }
    .to_owned()
}

/// Writes a table into the page, where it says that a test makes it.
pub(crate) fn fill(test: &str, table: &str) -> Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let page = top.context("in the workspace")?.join("docs/power-cuts.md");
    let text = std::fs::read_to_string(&page)?;
    let begin = format!("<!-- made by the test {test} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .context("the page has no such table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    std::fs::write(page, format!("{before}{begin}{table}{END}{after}")).context("writing the page")
}

fn write(rows: &Rows) -> Result<()> {
    let mut made = "| verb | without | calls | what is found |\n|---|---|---|---|\n".to_owned();
    for ((verb, call), found) in rows {
        let kinds: BTreeSet<_> = found.iter().map(String::as_str).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        writeln!(
            made,
            "| {verb} | `{call}` | {} | {} |",
            found.len(),
            kinds.join("; ")
        )?;
    }
    fill("barriers", &made)
}
