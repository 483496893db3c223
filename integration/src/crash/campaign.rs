//! Many power cuts of one recorded run, each looked at in every way.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::loader::{Loadable, Menu};
use super::mount::{FileSystem, Mounted};
use super::oracle::Expected;
use super::record::Recorder;
use super::state::{Asked, Cut, Recording};
use super::view::View;

/// What a second run should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// What the first should have.
    End,
    /// To where the first began, if that was done: it goes back and forth.
    Back,
}

/// Something that is done to a sysroot.
pub struct Case<'a> {
    /// For people, and the name of its folder.
    pub name: String,
    /// What its disk is formatted with.
    pub kind: FileSystem,
    /// The disk on which it begins.
    pub base: PathBuf,
    /// What does it, where the disk is mounted.
    pub command: &'a (dyn Fn(&Path) -> Command + Sync),
    /// What does it a second time.
    pub again: Again,
    /// What tells of a sysroot and comes to its end in each state, if there is such a thing.
    pub tell: Option<&'a (dyn Fn(&Path) -> Command + Sync)>,
    /// What is done after it.
    pub then: Option<Then<'a>>,
    /// Whether others make their own writes last meanwhile, which makes some of this one's last too, but
    /// not all.
    pub busy: bool,
}

/// What goes on from what was staged.
#[derive(Clone, Copy)]
pub struct Then<'a> {
    /// What does.
    pub command: &'a (dyn Fn(&Path) -> Command + Sync),
    /// Where it comes to.
    pub end: &'a View,
}

/// What others write to, in a place that nobody looks at.
const PULSE: &str = "pulse";

/// How long they wait in between.
const BEAT: Duration = Duration::from_millis(3);

impl Case<'_> {
    /// Does it once, and records what is written.
    ///
    /// # Errors
    /// When it cannot be recorded, or fails.
    pub fn record(&self, folder: &Path) -> Result<Recorded> {
        let (recorded, outcome) = self.attempt(folder, &(self.command))?;
        ensure!(outcome.done, "{}: {}", self.name, outcome.said);
        Ok(recorded)
    }

    /// Does it once by another command, which may fail.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn attempt(
        &self,
        folder: &Path,
        command: &dyn Fn(&Path) -> Command,
    ) -> Result<(Recorded, Outcome)> {
        let recorder = Recorder::start(&folder.join("record"), &self.base, self.kind)?;
        let ended = AtomicBool::new(false);
        let (outcome, beats) = std::thread::scope(|scope| {
            let beats = scope.spawn(|| self.beats(&recorder, &ended));
            let outcome = Outcome::of(&mut command(&recorder.path()));
            // Whatever comes later in the log, comes after the program has said that all is done.
            let exit = recorder.position();
            ended.store(true, Ordering::Relaxed);
            let beats = beats.join().expect("no panic");
            outcome.and_then(|outcome| anyhow::Ok(((outcome, exit?), beats?)))
        })?;
        let (outcome, exit) = outcome;
        let recording = recorder.finish()?;
        let exit = outcome.done.then_some(exit);
        let mut recorded = Recorded::new(recording, exit, self.kind, folder)?;
        recorded.beats = beats;
        Ok((recorded, outcome))
    }

    /// Writes down how long the log is from time to time; if others are busy, something is made to last
    /// each time.
    fn beats(&self, recorder: &Recorder, ended: &AtomicBool) -> Result<Vec<(Duration, u64)>> {
        let file = match self.busy {
            true => Some(std::fs::File::create(recorder.path().join(PULSE))?),
            false => None,
        };
        let mut beats = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            beats.push((
                SystemTime::now().duration_since(UNIX_EPOCH)?,
                recorder.bytes(),
            ));
            if let Some(mut file) = file.as_ref() {
                // A full disk is nobody's fault here.
                let _ = file.write_all(&[1; 64]).and_then(|()| file.sync_all());
            }
            std::thread::sleep(BEAT);
        }
        Ok(beats)
    }
}

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// With exit code 0.
    pub done: bool,
    /// Its exit code, if it was not killed.
    pub code: Option<i32>,
    /// All that it said.
    pub said: String,
}

impl Outcome {
    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Result<Self> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {command:?}"))?;
        let mut said = format!("{command:?}: {}\n", output.status);
        for part in [&output.stdout, &output.stderr] {
            said.push_str(&String::from_utf8_lossy(part));
        }
        Ok(Self {
            done: output.status.success(),
            code: output.status.code(),
            said,
        })
    }
}

/// A run, and what is before and after it.
#[derive(Debug)]
pub struct Recorded {
    /// What was written.
    pub recording: Recording,
    /// Where in the log the program ended, if it said that all is done.
    pub exit: Option<usize>,
    /// Of the mounted sysroot.
    pub expected: Expected,
    /// Of the boot menu.
    pub loadable: Loadable,
    /// How many bytes the log had, by times of day.
    beats: Vec<(Duration, u64)>,
}

impl Recorded {
    /// Looks at both ends of a recording; `exit` is where in its log the program said that all is done.
    ///
    /// # Errors
    /// When one of them cannot be mounted.
    pub fn new(
        recording: Recording,
        exit: Option<usize>,
        kind: FileSystem,
        folder: &Path,
    ) -> Result<Self> {
        let read = |at: usize| -> Result<(View, Menu)> {
            let image = folder.join("look.img");
            recording
                .disk(Cut { at, seed: None })
                .write(&std::fs::File::create(&image)?)?;
            let mounted = Mounted::new(&image, &folder.join("look"), kind)?;
            let view = View::read(mounted.path())?;
            mounted.unmount()?;
            // Its journal is empty now: a boot loader sees all of it.
            let menu = Menu::read(&image)?;
            std::fs::remove_file(&image)?;
            Ok((view, menu))
        };
        let ((start, start_menu), (end, end_menu)) = (read(0)?, read(recording.len())?);
        Ok(Self {
            exit,
            expected: Expected { start, end },
            loadable: Loadable::new(start_menu, end_menu),
            recording,
            beats: Vec::new(),
        })
    }

    /// How many entries the log had for sure at a time of day.
    pub fn position(&self, time: Duration) -> usize {
        let before = self.beats.iter().rfind(|(beat, _)| *beat <= time);
        before.map_or(0, |(_, bytes)| self.recording.position(*bytes))
    }

    /// Whether a cut comes after the program has said that all is done.
    fn is_done(&self, cut: Cut) -> bool {
        self.exit.is_some_and(|exit| cut.at >= exit)
    }
}

/// Which states are looked at, and how closely.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many states.
    pub states: usize,
    /// Of their choice.
    pub seed: u64,
    /// A second run in every so-manieth of them; 0: in none.
    pub again_every: usize,
    /// From which place in the log to which.
    pub within: Range<usize>,
    /// Ends it after so many failures.
    pub failures: usize,
    /// Where the states are mounted.
    pub work: PathBuf,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How many different states were looked at.
    pub states: usize,
    /// In how many of them there was a second run.
    pub again: usize,
    /// How many showed the default of the start, when mounted.
    pub old: usize,
    /// The states in which something is wrong, with what.
    pub failures: Vec<(Cut, Vec<String>)>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} states ({} old), {} second runs, {} failures, {:.0} s, {:.1} states/s",
            self.states,
            self.old,
            self.again,
            self.failures.len(),
            self.took.as_secs_f64(),
            self.states as f64 / self.took.as_secs_f64()
        )
    }

    /// The failures, each with how to see it again.
    pub fn failures(&self, case: &Case<'_>, kept: &Path) -> String {
        let mut text = String::new();
        for (cut, problems) in &self.failures {
            let _ = writeln!(
                text,
                "replay: PLEACH_BIN=$PWD/target/debug/pleach PLEACH_CRASH={} PLEACH_CUT={cut} cargo test -p pleach-integration --test crash {}",
                kept.display(),
                case.name,
            );
            for problem in problems {
                let _ = writeln!(text, "    {problem}");
            }
        }
        text
    }
}

/// Looks at states of a recorded run.
///
/// # Errors
/// When a state cannot be looked at; what is wrong with one is in the report.
pub fn run(case: &Case<'_>, recorded: &Recorded, options: &Options) -> Result<Report> {
    look(case, recorded, options, &cuts(recorded, options))
}

/// The states of a recorded run that are looked at.
pub fn cuts(recorded: &Recorded, options: &Options) -> Vec<Cut> {
    let always: Vec<usize> = recorded
        .exit
        .into_iter()
        .flat_map(|exit| [exit.saturating_sub(1), exit, exit + 1])
        .collect();
    recorded.recording.cuts(&Asked {
        states: options.states,
        seed: options.seed,
        within: options.within.clone(),
        always: &always,
    })
}

/// Calls `worker` with a number of its own on a thread for each processor.
///
/// # Errors
/// The first that one of them ended with, when all have ended.
pub fn side_by_side(worker: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        let worker = &worker;
        let workers: Vec<_> = (0..workers)
            .map(|n| scope.spawn(move || worker(n)))
            .collect();
        let mut ends = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic"));
        ends.try_for_each(|end| end)
    })
}

/// Looks at these states.
///
/// # Errors
/// As [`run`].
pub fn look(
    case: &Case<'_>,
    recorded: &Recorded,
    options: &Options,
    cuts: &[Cut],
) -> Result<Report> {
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    let worker = |number: usize| -> Result<()> {
        let folder = options.work.join(format!("worker-{number}"));
        std::fs::create_dir_all(&folder)?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(cut) = cuts.get(index) else { break };
            if report.lock().expect("no panic").failures.len() >= options.failures {
                break;
            }
            let again = options.again_every > 0 && index.is_multiple_of(options.again_every);
            let state = State {
                case,
                recorded,
                cut: *cut,
                folder: &folder,
            };
            let (problems, old) = state
                .problems(again)
                .with_context(|| format!("{}: cut {cut}", case.name))?;
            let mut report = report.lock().expect("no panic");
            report.states += 1;
            report.again += usize::from(again);
            report.old += usize::from(old);
            if !problems.is_empty() {
                report.failures.push((*cut, problems));
            }
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    };
    side_by_side(worker)?;
    let mut report = report.into_inner().expect("no panic");
    report.failures.sort_by_key(|(cut, _)| (cut.at, cut.seed));
    report.took = started.elapsed();
    Ok(report)
}

struct State<'a> {
    case: &'a Case<'a>,
    recorded: &'a Recorded,
    cut: Cut,
    folder: &'a Path,
}

impl State<'_> {
    /// What is wrong, and whether the old default is the default.
    fn problems(&self, again: bool) -> Result<(Vec<String>, bool)> {
        let image = self.folder.join("state.img");
        let file = std::fs::File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&image)?;
        self.recorded.recording.disk(self.cut).write(&file)?;
        drop(file);
        let done = self.recorded.is_done(self.cut);
        let mut problems = self.recorded.loadable.problems(&Menu::read(&image)?, done);
        // A file system that cannot be mounted is for the report, not the end of all.
        let mounted = match Mounted::new(&image, &self.folder.join("mount"), self.case.kind) {
            Ok(mounted) => mounted,
            Err(error) => return Ok(([problems, vec![format!("{error:#}")]].concat(), false)),
        };
        let mut old = false;
        match View::read(mounted.path()) {
            Ok(view) => {
                let expected = &self.recorded.expected;
                old = view.chosen() == expected.start.chosen();
                problems.extend(expected.problems(&view, done));
                problems.extend(by_ostree(mounted.path(), &view)?);
                if let Some(tell) = self.case.tell {
                    let outcome = Outcome::of(&mut tell(mounted.path()))?;
                    if !outcome.done {
                        problems.push(format!("it is not told: {}", outcome.said));
                    }
                }
                if again {
                    problems.extend(self.problems_again(mounted.path(), &view)?);
                }
            }
            Err(error) => problems.push(format!("it cannot be read: {error:#}")),
        }
        mounted.unmount()?;
        Ok((problems, old))
    }

    /// What is wrong after a second run on what a cut has left.
    fn problems_again(&self, at: &Path, before: &View) -> Result<Vec<String>> {
        let expected = &self.recorded.expected;
        let then = self.case.then.as_ref();
        // What is staged is carried out as it was left, and else staged anew.
        if then.is_none() || before.staged.is_none() {
            let outcome = Outcome::of(&mut (self.case.command)(at))?;
            if !outcome.done {
                return Ok(vec![format!("again: {}", outcome.said)]);
            }
        }
        if let Some(then) = then {
            let outcome = Outcome::of(&mut (then.command)(at))?;
            if !outcome.done {
                return Ok(vec![format!("then: {}", outcome.said)]);
            }
            let view = View::read(at)?;
            let mut problems = expected.problems_again(&view, then.end.chosen());
            problems.extend(by_ostree(at, &view)?);
            return Ok(problems);
        }
        let back = self.case.again == Again::Back && before.chosen() == expected.end.chosen();
        let target = if back { &expected.start } else { &expected.end };
        let view = View::read(at)?;
        let mut problems = expected.problems_again(&view, target.chosen());
        problems.extend(
            by_ostree(at, &view)?
                .into_iter()
                .map(|problem| format!("again: {problem}")),
        );
        Ok(problems)
    }
}

/// What ostree finds wrong with a sysroot.
///
/// # Errors
/// When it cannot be run.
pub fn by_ostree(at: &Path, view: &View) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    // An installation that was cut before it had an entry is begun anew, whatever its repository is.
    let Some(default) = view.chosen() else {
        return Ok(problems);
    };
    let outcome = Outcome::of(
        Command::new("ostree")
            .args(["fsck", "--quiet"])
            .arg(format!("--repo={}", at.join("ostree/repo").display())),
    )?;
    if !outcome.done {
        problems.push(outcome.said);
    }
    let outcome = Outcome::of(
        Command::new("ostree")
            .args(["admin", "status"])
            .arg(format!("--sysroot={}", at.display())),
    )?;
    // `STATEROOT CHECKSUM.SERIAL`, the default first.
    let first = outcome.said.lines().nth(1).unwrap_or_default();
    let first = first
        .trim_start_matches(['*', ' '])
        .split(' ')
        .take(2)
        .collect::<Vec<_>>()
        .join("/");
    if !outcome.done || first != default.deployment {
        problems.push(format!(
            "the default is {}, and ostree says: {}",
            default.deployment, outcome.said
        ));
    }
    Ok(problems)
}
