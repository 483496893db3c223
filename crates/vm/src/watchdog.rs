//! Decides, from what a guest has said and when, whether it is to be waited for any longer.
//!
//! Pure: time comes in as a number, so the rules are tested without waiting.

use std::fmt;
use std::time::Duration;

use crate::boot::Recovery;
use crate::console::{self, Lines, Sign};
use crate::host::Accelerator;
use crate::progress::{Event, Mark};

/// Time and size limits of a boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest time without a byte from console or agent.
    pub stall: Duration,
    /// Longest time from QEMU's start to its end.
    pub deadline: Duration,
    /// Longest wait of the agent for the system to have no job left; below `deadline`, so that the
    /// guest can still say which job it waited for.
    pub settle: Duration,
    /// How long a guest in emergency mode may take to send its journal.
    pub emergency_grace: Duration,
    /// How long a crashed kernel may go on to print.
    pub crash_grace: Duration,
    /// Bytes of console.
    pub console_bytes: u64,
    /// Bytes of the result stream.
    pub result_bytes: u64,
    /// Bytes of the payload's files.
    pub payload_bytes: u64,
}

impl Limits {
    /// Times that fit: TCG gets six times what KVM gets, and three times its silence.
    pub fn for_accelerator(accelerator: Accelerator) -> Self {
        let (stall, deadline) = match accelerator {
            Accelerator::Kvm => (30, 150),
            Accelerator::Tcg => (90, 900),
        };
        Self {
            stall: Duration::from_secs(stall),
            deadline: Duration::from_secs(deadline),
            settle: Duration::from_secs(deadline * 2 / 3),
            emergency_grace: Duration::from_secs(deadline / 15),
            crash_grace: Duration::from_secs(2),
            console_bytes: 64 << 20,
            result_bytes: 256 << 20,
            payload_bytes: 256 << 20,
        }
    }
}

/// A guest's uptime is never more than the time since QEMU's start. One that is by half as much again, and
/// this, has a clock on which no time limit in the guest means anything.
const CLOCK_SLACK: Duration = Duration::from_secs(10);

/// Why a guest is not waited for any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A kernel panic that the guest's configuration explains.
    Unbootable(String),
    /// The kernel found itself broken.
    Crash(String),
    /// A shell waits for an administrator.
    Emergency(String),
    /// Silence.
    Stalled(Duration),
    /// Too late.
    Deadline(Duration),
    /// QEMU has stopped the virtual CPUs: KVM gave up, or the host's disk is full.
    Stopped,
    /// The guest's clock is ahead of the host's.
    Clock { uptime: Duration, elapsed: Duration },
    /// Too much said.
    TooMuch { what: &'static str, limit: u64 },
}

/// How far the guest has come, by what it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing was heard.
    Silent,
    /// The console speaks, the agent has not yet.
    Booting,
    /// The agent waits for the system to settle.
    Settling,
    /// The agent unpacks the payload.
    Unpacking,
    /// The payload's command runs.
    Command,
    /// The result is packed and sent.
    Sending,
    /// The result is sent, the machine is to power off.
    ShuttingDown,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "before the first byte",
            Self::Booting => "before the agent started",
            Self::Settling => "while the system settled",
            Self::Unpacking => "while the payload was unpacked",
            Self::Command => "while the command ran",
            Self::Sending => "while the result was sent",
            Self::ShuttingDown => "during shutdown",
        })
    }
}

/// Those of QMP's events that mean something here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Qmp {
    Stop,
    Shutdown(String),
}

impl Qmp {
    fn parse(line: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        match value.get("event")?.as_str()? {
            "STOP" => Some(Self::Stop),
            "SHUTDOWN" => {
                let reason = value.get("data")?.get("reason")?.as_str()?;
                Some(Self::Shutdown(reason.to_owned()))
            }
            _ => None,
        }
    }
}

/// What was heard since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard<'a> {
    pub(crate) console: &'a [u8],
    pub(crate) progress: &'a [u8],
    /// QMP's output.
    pub(crate) events: &'a [u8],
    /// New bytes of the result stream.
    pub(crate) result: u64,
}

/// Listens to one guest.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limits: Limits,
    recovery: Recovery,
    console: Lines,
    progress: Lines,
    events: Lines,
    console_bytes: u64,
    result_bytes: u64,
    last_byte: Duration,
    marks: Vec<Mark>,
    qmp: Vec<Qmp>,
    trouble: Option<(Duration, Trouble)>,
}

impl Watchdog {
    pub(crate) fn new(limits: Limits, recovery: Recovery) -> Self {
        Self {
            limits,
            recovery,
            console: Lines::default(),
            progress: Lines::default(),
            events: Lines::default(),
            console_bytes: 0,
            result_bytes: 0,
            last_byte: Duration::ZERO,
            marks: Vec::new(),
            qmp: Vec::new(),
            trouble: None,
        }
    }

    /// Takes what was heard; `now` counts from QEMU's start. True when the guest is to be ended.
    pub(crate) fn observe(&mut self, now: Duration, heard: Heard<'_>) -> bool {
        if !heard.console.is_empty() || !heard.progress.is_empty() || heard.result > 0 {
            self.last_byte = now;
        }
        self.console_bytes += heard.console.len() as u64;
        self.result_bytes += heard.result;
        if let Some(trouble) = self.listen(now, heard) {
            self.note(now, trouble);
        }
        if let Some(trouble) = self.measure(now) {
            self.note(now, trouble);
        }
        self.trouble.as_ref().is_some_and(|(since, trouble)| {
            let grace = match trouble {
                Trouble::Unbootable(_) | Trouble::Crash(_) => self.limits.crash_grace,
                Trouble::Emergency(_) => self.limits.emergency_grace,
                Trouble::Stalled(_)
                | Trouble::Deadline(_)
                | Trouble::Stopped
                | Trouble::Clock { .. }
                | Trouble::TooMuch { .. } => Duration::ZERO,
            };
            now.saturating_sub(*since) >= grace
        })
    }

    /// The first trouble is the cause, what follows are its effects.
    fn note(&mut self, now: Duration, trouble: Trouble) {
        self.trouble.get_or_insert((now, trouble));
    }

    fn listen(&mut self, now: Duration, heard: Heard<'_>) -> Option<Trouble> {
        let mut lines = self.console.push(heard.console);
        lines.push(self.console.partial());
        let first = lines
            .into_iter()
            .find_map(|line| console::sign(&line).map(|sign| (sign, line)));
        for line in self.progress.push(heard.progress) {
            self.marks.push(Mark::parse(&line));
        }
        let first = first.filter(|_| self.recovery == Recovery::None);
        let uptime = self.marks.last().map_or(Duration::ZERO, |mark| mark.uptime);
        if uptime > now * 3 / 2 + CLOCK_SLACK {
            return Some(Trouble::Clock {
                uptime,
                elapsed: now,
            });
        }
        for line in self.events.push(heard.events) {
            self.qmp.extend(Qmp::parse(&line));
        }
        if self.qmp.contains(&Qmp::Stop) {
            return Some(Trouble::Stopped);
        }
        match first {
            Some((Sign::Unbootable, line)) => Some(Trouble::Unbootable(line)),
            Some((Sign::Crash, line)) => Some(Trouble::Crash(line)),
            Some((Sign::Emergency, line)) => Some(Trouble::Emergency(line)),
            None => self
                .marks
                .iter()
                .any(|mark| mark.event == Event::Emergency)
                .then(|| Trouble::Emergency("the agent was started by emergency mode".to_owned())),
        }
    }

    fn measure(&self, now: Duration) -> Option<Trouble> {
        let Limits {
            stall,
            deadline,
            console_bytes,
            result_bytes,
            ..
        } = self.limits;
        if self.console_bytes > console_bytes {
            return Some(Trouble::TooMuch {
                what: "console bytes",
                limit: console_bytes,
            });
        }
        if self.result_bytes > result_bytes {
            return Some(Trouble::TooMuch {
                what: "result bytes",
                limit: result_bytes,
            });
        }
        if now >= deadline {
            return Some(Trouble::Deadline(now));
        }
        let silent = now.saturating_sub(self.last_byte);
        (silent >= stall).then_some(Trouble::Stalled(silent))
    }

    pub(crate) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref().map(|(_since, trouble)| trouble)
    }

    /// The reason of QMP's SHUTDOWN event: `guest-shutdown`, `guest-reset`, `host-signal`, …
    pub(crate) fn shutdown(&self) -> Option<&str> {
        self.qmp.iter().find_map(|event| match event {
            Qmp::Shutdown(reason) => Some(reason.as_str()),
            Qmp::Stop => None,
        })
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub(crate) fn phase(&self) -> Phase {
        let by_mark = self.marks.iter().rev().find_map(|mark| match &mark.event {
            Event::Agent => Some(Phase::Settling),
            Event::Settled(_) => Some(Phase::Unpacking),
            Event::Command => Some(Phase::Command),
            Event::Exit(_) | Event::Send | Event::Emergency | Event::Fail(_) => {
                Some(Phase::Sending)
            }
            Event::Sent => Some(Phase::ShuttingDown),
            Event::Beat | Event::Other(_) => None,
        });
        match by_mark {
            Some(phase) => phase,
            None if self.console_bytes == 0 => Phase::Silent,
            None => Phase::Booting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str = "[    1.500000] Kernel panic - not syncing: Fatal exception\n";

    /// Seconds, console, progress, result bytes.
    type Row<'a> = (u64, &'a str, &'a str, u64);

    /// Plays rows to a watchdog until it ends the guest; says when, why and how far the guest was.
    fn play(rows: &[Row<'_>]) -> String {
        let limits = Limits {
            console_bytes: 1000,
            result_bytes: 100,
            ..Limits::for_accelerator(Accelerator::Tcg)
        };
        let mut dog = Watchdog::new(limits, Recovery::None);
        for (second, console, progress, result) in rows {
            let heard = Heard {
                console: console.as_bytes(),
                progress: progress.as_bytes(),
                events: b"",
                result: *result,
            };
            if dog.observe(Duration::from_secs(*second), heard) {
                return format!(
                    "{second} s: {:?} {}",
                    dog.trouble().expect("a reason"),
                    dog.phase()
                );
            }
        }
        format!("alive {}", dog.phase())
    }

    #[test]
    fn guest_is_ended_when_and_why() {
        let check = |rows: &[Row<'_>], expect: &str| assert_eq!(play(rows), expect, "{rows:?}");

        check(&[(89, "", "", 0)], "alive before the first byte");
        check(
            &[(90, "", "", 0)],
            "90 s: Stalled(90s) before the first byte",
        );
        check(
            &[(1, "x", "", 0), (90, "", "", 0)],
            "alive before the agent started",
        );
        check(
            &[(1, "x", "", 0), (91, "", "", 0)],
            "91 s: Stalled(90s) before the agent started",
        );
        // Any of the three channels is progress.
        check(
            &[
                (60, "x", "", 0),
                (120, "", "9 beat\n", 0),
                (180, "", "", 1),
                (269, "", "", 0),
            ],
            "alive before the agent started",
        );
        let beats: Vec<Row<'_>> = (0..=90).map(|n| (n * 10, "", "1 beat\n", 0)).collect();
        check(&beats, "900 s: Deadline(900s) before the first byte");

        // A crash gets time to print, then ends the guest, whatever comes after it.
        let line = PANIC.trim_end();
        check(
            &[(5, PANIC, "", 0), (6, "more\n", "", 0), (7, "", "", 0)],
            &format!("7 s: Crash({line:?}) before the agent started"),
        );
        check(
            &[(5, "[    1.500000] Kernel pan", "", 0), (6, "", "", 0)],
            "alive before the agent started",
        );
        check(
            &[
                (5, "You are in emergency mode.\n", "", 0),
                (60, PANIC, "", 0),
                (65, "", "", 0),
            ],
            "65 s: Emergency(\"You are in emergency mode.\") before the agent started",
        );
        check(
            &[(5, "", "4 emergency\n", 0), (64, "x", "", 0)],
            "alive while the result was sent",
        );
        check(
            &[(5, "", "4 emergency\n", 0), (65, "x", "", 0)],
            "65 s: Emergency(\"the agent was started by emergency mode\") while the result was sent",
        );

        check(
            &[(1, "", "", 100), (2, "", "", 1)],
            "2 s: TooMuch { what: \"result bytes\", limit: 100 } before the first byte",
        );
        let long = "x".repeat(1001);
        check(
            &[(1, &long, "", 0)],
            "1 s: TooMuch { what: \"console bytes\", limit: 1000 } before the agent started",
        );

        // A clock may be odd by a little, not by half.
        check(
            &[(40, "x", "69 agent\n", 0)],
            "alive while the system settled",
        );
        check(
            &[(40, "x", "71 agent\n", 0)],
            "40 s: Clock { uptime: 71s, elapsed: 40s } while the system settled",
        );

        let story = "3 agent\n8 beat\n25 settled running\n26 command\n";
        check(&[(30, "x", story, 0)], "alive while the command ran");
        check(
            &[(30, "x", story, 0), (31, "", "30 exit 0\n31 sent\n", 9)],
            "alive during shutdown",
        );
    }

    #[test]
    fn events_of_qemu() {
        let check = |event: &str, stopped: bool, shutdown: Option<&str>| {
            let mut dog = Watchdog::new(Limits::for_accelerator(Accelerator::Tcg), Recovery::None);
            let line = format!("{event}\r\n");
            let end = dog.observe(
                Duration::ZERO,
                Heard {
                    events: line.as_bytes(),
                    ..Heard::default()
                },
            );
            assert_eq!((end, dog.shutdown()), (stopped, shutdown), "{event}");
        };
        let shutdown = |reason: &str| {
            format!(
                r#"{{"timestamp": {{}}, "event": "SHUTDOWN", "data": {{"guest": true, "reason": "{reason}"}}}}"#
            )
        };
        check(&shutdown("guest-reset"), false, Some("guest-reset"));
        check(&shutdown("guest-shutdown"), false, Some("guest-shutdown"));
        check(r#"{"timestamp": {}, "event": "STOP"}"#, true, None);
        check(r#"{"return": {}}"#, false, None);
        check(r#"{"QMP": {"version": {}}}"#, false, None);
        check("not JSON", false, None);
    }
}
