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

use crate::ours::{Doing, Pleach, doing};
use crate::strace::{BARRIERS, Call, Strace};
use crate::{Room, with};

/// What is done without its barriers.
const DOINGS: &[&str] = &["upgrade", "rollback"];

/// How strace shows the number of EXT4_IOC_CHECKPOINT, which it has no name for; no other ioctl makes
/// anything last.
const CHECKPOINT: &str = "0x66, 0x2b, 0x4)";

/// Where a deployment is made. What the import into the repository does is its crate's own.
const PLACES: &[&str] = &[".", "boot", "ostree/boot", "ostree/deploy"];

const END: &str = "<!-- end -->\n";

type Rows = BTreeMap<(String, String), Vec<String>>;

#[test]
#[ignore = "run by hand: it takes half an hour"]
fn no_barrier_is_there_for_nothing() {
    with("barriers", true, |room| {
        let (mut rows, mut missed) = (Rows::new(), Vec::new());
        for name in DOINGS {
            let rig = Rig::new(room, doing(name), FileSystem::Ext4)?;
            let xfs = Rig::new(room, doing(name), FileSystem::Xfs)?;
            let calls = rig.calls()?;
            for call in &calls {
                let row = rig.row(call);
                // Of calls that are alike the first and the last.
                let alike = |other: &&Call| rig.row(other) == row;
                let ends = [calls.iter().find(alike), calls.iter().rfind(alike)];
                if !ends.contains(&Some(call)) {
                    continue;
                }
                let found = rig.without(call)?;
                let found = match found.is_empty() && call.name != "ioctl" {
                    true => xfs.without(call)?,
                    false => found,
                };
                let shown = if found.is_empty() { "NOTHING" } else { &found };
                room.say(&format!("{}: {}: {shown}", row.0, row.1));
                if found.is_empty() {
                    missed.push(format!("{}: {} {}", row.0, row.1, call.nth));
                }
                rows.entry(row).or_default().push(found);
            }
        }
        write(&rows)?;
        ensure!(
            missed.is_empty(),
            "nothing is found without:\n{}",
            missed.join("\n")
        );
        Ok(())
    });
}

struct Rig<'a> {
    room: &'a Room,
    doing: &'static Doing,
    kind: FileSystem,
    pleach: Pleach,
    base: PathBuf,
    end: View,
    strace: Strace,
}

impl<'a> Rig<'a> {
    fn new(room: &'a Room, doing: &'static Doing, kind: FileSystem) -> Result<Self> {
        let pleach = Pleach::new(room)?;
        let base = room.folder.join(format!("base-{}.img", kind.name()));
        std::fs::rename(doing.disk(room, &pleach, kind)?, &base)?;
        let strace = Strace {
            file: room.folder.join("barriers.trace"),
        };
        let mut rig = Self {
            room,
            doing,
            kind,
            pleach,
            base,
            end: View::default(),
            strace,
        };
        let command = |at: &Path| rig.pleach.command(at, doing.what);
        let whole = rig.case(&command).record(&room.folder)?;
        rig.end = whole.expected.essential().end;
        Ok(rig)
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
        let command = |at: &Path| self.pleach.command(at, self.doing.what);
        let (_, outcome) = self
            .case(&command)
            .attempt(&self.room.folder, &|at: &Path| {
                self.strace.wrap(&command(at), BARRIERS, None)
            })?;
        ensure!(outcome.done, "{}", outcome.said);
        let at = self.at().display().to_string();
        let mut calls = self.strace.calls()?;
        calls.retain(|call| {
            let subject = call.subject(&self.at());
            call.shown.contains(&at)
                && (call.name != "ioctl" || call.shown.contains(CHECKPOINT))
                && PLACES.iter().any(|place| subject.starts_with(place))
        });
        ensure!(!calls.is_empty(), "{} makes nothing last", self.doing.name);
        Ok(calls)
    }

    fn case<'c>(&self, command: &'c (dyn Fn(&Path) -> std::process::Command + Sync)) -> Case<'c> {
        Case {
            name: self.doing.name.to_owned(),
            kind: self.kind,
            base: self.base.clone(),
            command,
            again: self.doing.again,
        }
    }

    /// What is found when a call does nothing and says that it did; empty if nothing is.
    fn without(&self, call: &Call) -> Result<String> {
        let command = |at: &Path| self.pleach.command(at, self.doing.what);
        let case = self.case(&command);
        let options = Options {
            failures: 1,
            again_every: 6,
            ..self.room.options(40)
        };
        let inject = format!("{}:retval=0:when={}", call.name, call.nth);
        let without = |at: &Path| self.strace.wrap(&command(at), &[&call.name], Some(&inject));
        // In the same folder, so that paths are the same.
        let (recorded, outcome) = case.attempt(&self.room.folder, &without)?;
        if !outcome.done {
            return Ok("it fails, and says so".to_owned());
        }
        if recorded.expected.essential().end != self.end {
            return Ok("it comes to another end".to_owned());
        }
        let report = campaign::run(&case, &recorded, &options)?;
        let first = report.failures.first();
        let found = first.map_or(String::new(), |(_, problems)| brief(&problems[0]));
        Ok(match self.kind {
            FileSystem::Xfs if !found.is_empty() => format!("on xfs: {found}"),
            _ => found,
        })
    }
}

/// The first line of what is wrong, without what is another in each run.
fn brief(problem: &str) -> String {
    let line = problem.lines().next().unwrap_or_default();
    let end = line.find(['"', '/', '{']).unwrap_or(line.len());
    line[..end].trim_end_matches([' ', ':']).to_owned()
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
