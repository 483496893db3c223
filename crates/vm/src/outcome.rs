//! What became of a boot.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::frame::FrameError;
use crate::progress::{Event, Mark};
use crate::watchdog::Phase;

/// A boot with its retry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// QEMU, accelerator and profile, as one line.
    pub host: String,
    /// The kernel command line that was booted, with what was added to it.
    pub command_line: String,
    /// Those of its words that this crate added.
    pub added_arguments: Vec<String>,
    /// The attempt that counts: the last one.
    pub attempt: Attempt,
    /// The first attempt, when infrastructure failed it and a second was made.
    pub flaky: Option<Attempt>,
}

/// One run of QEMU.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The directory of its artefacts, below the run directory.
    pub directory: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub timings: Timings,
}

/// Where the time went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Timings {
    /// From QEMU's start to its end.
    pub wall: Duration,
    /// Processor time of QEMU, when `/proc` was handed over.
    pub cpu: Option<Duration>,
    /// The agent's events by the guest's clock, without the heartbeats.
    pub marks: Vec<Mark>,
}

impl Timings {
    /// Uptime of the guest when the system had settled.
    pub fn settled(&self) -> Option<Duration> {
        let settled = |mark: &&Mark| matches!(mark.event, Event::Settled(_));
        self.marks.iter().find(settled).map(|mark| mark.uptime)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The command ran and left with 0, and its result arrived whole.
    Finished(Finished),
    /// The guest reset itself before it had a result, as a first boot does that changes kernel arguments.
    /// The caller may boot the disk again, by its new boot entry.
    Rebooted,
    /// The guest is at fault.
    Guest(GuestFailure),
    /// The emulator or the host is at fault; a second attempt is fair.
    Infrastructure(Infrastructure),
}

/// What the command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// Exit code.
    pub exit_code: u8,
    /// Regular files of the result directory by name.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Standard output of the command.
    pub stdout: Vec<u8>,
    /// Standard error of the command.
    pub stderr: Vec<u8>,
    /// The journal of the boot, until the result was sent.
    pub journal: Vec<u8>,
    /// The word of `systemctl is-system-running` before the command: `running`, `degraded`.
    pub system_state: Option<String>,
}

/// What a guest did wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GuestFailure {
    /// The command left with another code than 0.
    Exit(Finished),
    /// The agent could not do its work, or the system did not settle.
    Agent {
        /// In the agent's words.
        message: String,
        /// What arrived nevertheless; `stderr` has the agent's own.
        left: Finished,
    },
    /// Emergency or rescue mode.
    Emergency {
        /// The line of console that says so.
        line: String,
        /// What arrived nevertheless: the journal; in `stderr` the failed units.
        left: Finished,
    },
    /// A kernel panic for want of an init or a root.
    Unbootable {
        /// The line of console that says so.
        line: String,
    },
    /// A kernel crash where no emulator can be blamed.
    Crash {
        /// The line of console that says so.
        line: String,
    },
    /// Not a byte for too long.
    Stalled {
        /// How long.
        silent: Duration,
        /// How far it had come.
        phase: Phase,
    },
    /// Not done in time.
    Deadline {
        /// The time it had.
        after: Duration,
        /// How far it had come.
        phase: Phase,
    },
    /// More output than allowed.
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The machine powered off without a result.
    MissingResult {
        /// How far it had come.
        phase: Phase,
    },
    /// The result is not what the guest sent.
    DamagedResult(FrameError),
}

/// What the emulator or the host did wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Infrastructure {
    /// QEMU ended with an error, or by a signal.
    Qemu {
        /// Exit status, and the end of what QEMU wrote to standard error.
        detail: String,
        /// State of the host.
        diagnostics: Diagnostics,
    },
    /// The guest's kernel crashed under TCG, which is known to miscompile.
    KernelCrash {
        /// The line of console that says so.
        line: String,
        /// State of the host.
        diagnostics: Diagnostics,
    },
    /// The guest's clock runs too fast, so that time limits in it ended early.
    GuestClock {
        /// What the guest took its uptime to be.
        uptime: Duration,
        /// Time since QEMU's start.
        elapsed: Duration,
        /// State of the host.
        diagnostics: Diagnostics,
    },
    /// The kernel never said a word.
    NoKernel {
        /// How long it was waited for.
        silent: Duration,
        /// State of the host.
        diagnostics: Diagnostics,
    },
}

/// State of the host when infrastructure failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// Free bytes on the run directory's file system.
    pub disk_free: u64,
    /// All bytes of it.
    pub disk_total: u64,
    /// `MemAvailable` and `MemTotal`, when `/proc` was handed over.
    pub memory: Option<String>,
    /// Load averages, when `/proc` was handed over.
    pub load: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.host)?;
        writeln!(
            f,
            "kernel arguments added: {}",
            self.added_arguments.join(" ")
        )?;
        if let Some(first) = &self.flaky {
            writeln!(f, "FLAKY, first attempt: {first}")?;
        }
        write!(f, "{}", self.attempt)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.directory, self.outcome, self.timings)
    }
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.wall.as_secs_f64())?;
        if let Some(cpu) = self.cpu {
            write!(f, ", {:.1} CPU-s", cpu.as_secs_f64())?;
        }
        for mark in &self.marks {
            write!(f, ", {} at {:.1} s", mark.event, mark.uptime.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(_) => f.write_str("finished"),
            Self::Rebooted => f.write_str("the guest rebooted before it had a result"),
            Self::Guest(failure) => write!(f, "guest failed: {failure}"),
            Self::Infrastructure(failure) => write!(f, "infrastructure failed: {failure}"),
        }
    }
}

impl fmt::Display for GuestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(left) => write!(f, "the command left with {}", left.exit_code),
            Self::Agent { message, .. } => write!(f, "the agent: {message}"),
            Self::Emergency { line, .. } => write!(f, "emergency mode: {line}"),
            Self::Unbootable { line } => write!(f, "it cannot boot: {line}"),
            Self::Crash { line } => write!(f, "its kernel crashed: {line}"),
            Self::Stalled { silent, phase } => {
                write!(f, "no byte for {} s {phase}", silent.as_secs())
            }
            Self::Deadline { after, phase } => {
                write!(f, "not done in {} s, ended {phase}", after.as_secs())
            }
            Self::TooMuch { what, limit } => write!(f, "more than {limit} {what}"),
            Self::MissingResult { phase } => write!(f, "it went down without a result, {phase}"),
            Self::DamagedResult(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for Infrastructure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qemu {
                detail,
                diagnostics,
            } => write!(f, "QEMU: {detail} [{diagnostics}]"),
            Self::KernelCrash { line, diagnostics } => {
                write!(
                    f,
                    "the guest's kernel crashed under TCG: {line} [{diagnostics}]"
                )
            }
            Self::GuestClock {
                uptime,
                elapsed,
                diagnostics,
            } => write!(
                f,
                "the guest's clock says {} s after {} s [{diagnostics}]",
                uptime.as_secs(),
                elapsed.as_secs()
            ),
            Self::NoKernel {
                silent,
                diagnostics,
            } => {
                write!(
                    f,
                    "no byte from the kernel in {} s [{diagnostics}]",
                    silent.as_secs()
                )
            }
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        write!(
            f,
            "disk {} of {} MiB free",
            mib(self.disk_free),
            mib(self.disk_total)
        )?;
        for text in [&self.memory, &self.load].into_iter().flatten() {
            write!(f, ", {text}")?;
        }
        Ok(())
    }
}
