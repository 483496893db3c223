//! From what is known when QEMU is gone to an [`Outcome`]: pure.

use std::collections::BTreeMap;

use crate::frame::{self, FrameError};
use crate::host::Accelerator;
use crate::outcome::{Diagnostics, Finished, GuestFailure, Infrastructure, Outcome};
use crate::progress::{Event, Mark};
use crate::watchdog::{Phase, Trouble};

/// Everything that is known when QEMU is gone.
#[derive(Debug, Default)]
pub(crate) struct Ending<'a> {
    /// `None` when QEMU left with 0.
    pub(crate) qemu_error: Option<String>,
    /// The reason of QMP's SHUTDOWN event.
    pub(crate) shutdown: Option<&'a str>,
    pub(crate) trouble: Option<&'a Trouble>,
    pub(crate) phase: Option<Phase>,
    pub(crate) marks: &'a [Mark],
    pub(crate) stream: &'a [u8],
}

/// Judges an attempt. Also gives the files that arrived, by their name in the guest's archive.
pub(crate) fn classify(
    accelerator: Accelerator,
    ending: &Ending<'_>,
    diagnostics: &Diagnostics,
) -> (Outcome, BTreeMap<Vec<u8>, Vec<u8>>) {
    let (result, files) = match frame::parse(ending.stream) {
        Ok(frame) => match frame::unpack(frame.archive) {
            Ok(files) => (Ok(frame.exit_code), files),
            Err(error) => (Err(error), BTreeMap::new()),
        },
        Err(error) => (Err(error), BTreeMap::new()),
    };
    let left = finished(result.as_ref().copied().unwrap_or(0), &files, ending.marks);
    let outcome = judge(accelerator, ending, diagnostics, result, left);
    (outcome, files)
}

fn judge(
    accelerator: Accelerator,
    ending: &Ending<'_>,
    diagnostics: &Diagnostics,
    result: Result<u8, FrameError>,
    left: Finished,
) -> Outcome {
    let phase = ending.phase.unwrap_or(Phase::Silent);
    let diagnostics = diagnostics.clone();
    if let Some(trouble) = ending.trouble {
        return match trouble.clone() {
            Trouble::Unbootable(line) => Outcome::Guest(GuestFailure::Unbootable { line }),
            Trouble::Crash(line) if accelerator == Accelerator::Tcg => {
                Outcome::Infrastructure(Infrastructure::KernelCrash { line, diagnostics })
            }
            Trouble::Crash(line) => Outcome::Guest(GuestFailure::Crash { line }),
            Trouble::Emergency(line) => Outcome::Guest(GuestFailure::Emergency { line, left }),
            Trouble::Stalled(silent) if phase == Phase::Silent => {
                Outcome::Infrastructure(Infrastructure::NoKernel {
                    silent,
                    diagnostics,
                })
            }
            Trouble::Stalled(silent) => Outcome::Guest(GuestFailure::Stalled { silent, phase }),
            Trouble::Deadline(after) => Outcome::Guest(GuestFailure::Deadline { after, phase }),
            Trouble::Stopped => {
                let detail = ending.qemu_error.clone().unwrap_or_default();
                let detail = format!("it stopped the machine: {detail}");
                Outcome::Infrastructure(Infrastructure::Qemu {
                    detail,
                    diagnostics,
                })
            }
            Trouble::Clock { uptime, elapsed } => {
                Outcome::Infrastructure(Infrastructure::GuestClock {
                    uptime,
                    elapsed,
                    diagnostics,
                })
            }
            Trouble::TooMuch { what, limit } => {
                Outcome::Guest(GuestFailure::TooMuch { what, limit })
            }
        };
    }
    let by_host = ending.shutdown.filter(|reason| reason.starts_with("host-"));
    let host = by_host.map(|reason| format!("ended by the host: {reason}"));
    if let Some(detail) = ending.qemu_error.clone().or(host) {
        return Outcome::Infrastructure(Infrastructure::Qemu {
            detail,
            diagnostics,
        });
    }
    let failed = ending.marks.iter().find_map(|mark| match &mark.event {
        Event::Fail(message) => Some(message.clone()),
        _ => None,
    });
    if let Some(message) = failed {
        return Outcome::Guest(GuestFailure::Agent { message, left });
    }
    match result {
        Ok(0) => Outcome::Finished(left),
        Ok(_) => Outcome::Guest(GuestFailure::Exit(left)),
        Err(FrameError::Empty) if ending.shutdown == Some("guest-reset") => Outcome::Rebooted,
        Err(FrameError::Empty) => Outcome::Guest(GuestFailure::MissingResult { phase }),
        Err(error) => Outcome::Guest(GuestFailure::DamagedResult(error)),
    }
}

fn finished(exit_code: u8, files: &BTreeMap<Vec<u8>, Vec<u8>>, marks: &[Mark]) -> Finished {
    let own = |name: &[u8]| files.get(name).cloned().unwrap_or_default();
    let result = files.iter().filter_map(|(name, bytes)| {
        name.strip_prefix(b"files/")
            .map(|name| (name.to_vec(), bytes.clone()))
    });
    let state = marks.iter().find_map(|mark| match &mark.event {
        Event::Settled(state) => Some(state.clone()),
        _ => None,
    });
    Finished {
        exit_code,
        files: result.collect(),
        stdout: own(b"stdout"),
        stderr: own(b"stderr"),
        journal: own(b"journal"),
        system_state: state,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A whole result with this exit code and two files.
    fn result(exit_code: u8) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in [("stdout", "out"), ("files/a", "1")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        frame::encode(exit_code, &tar.into_inner().unwrap())
    }

    fn judged(accelerator: Accelerator, ending: &Ending<'_>) -> Outcome {
        classify(accelerator, ending, &Diagnostics::default()).0
    }

    #[test]
    fn outcome_of_an_ending() {
        let check = |ending: &Ending<'_>, expect: &str| {
            let found = judged(Accelerator::Tcg, ending).to_string();
            assert!(
                found.starts_with(expect),
                "{ending:?}: {found}, not {expect}"
            );
        };
        let (good, seven, none) = (result(0), result(7), Vec::new());
        let ending = |shutdown, stream| Ending {
            shutdown: Some(shutdown),
            stream,
            ..Ending::default()
        };
        check(&ending("guest-shutdown", &good), "finished");
        check(
            &ending("guest-shutdown", &seven),
            "guest failed: the command left with 7",
        );
        // A result counts, however the guest goes down after it.
        check(&ending("guest-reset", &good), "finished");
        check(
            &ending("guest-reset", &none),
            "the guest rebooted before it had a result",
        );
        check(
            &ending("guest-shutdown", &none),
            "guest failed: it went down without a result",
        );
        let half = &good[..good.len() / 2];
        check(
            &ending("guest-shutdown", half),
            "guest failed: the result ends after",
        );
        check(
            &ending("guest-reset", half),
            "guest failed: the result ends after",
        );
        // QEMU leaves with 0 after a signal that it handles.
        check(
            &ending("host-signal", &none),
            "infrastructure failed: QEMU: ended by the host",
        );
        check(
            &ending("host-signal", &good),
            "infrastructure failed: QEMU: ended by the host",
        );
        let error = Some("exit status: 1, no such cpu".to_owned());
        check(
            &Ending {
                qemu_error: error,
                ..Ending::default()
            },
            "infrastructure failed: QEMU: exit status: 1, no such cpu",
        );

        let event = |event| {
            [Mark {
                uptime: Duration::ZERO,
                event,
            }]
        };
        let failed = event(Event::Fail("no disk".to_owned()));
        // What the agent could still send does not make it a success.
        check(
            &Ending {
                marks: &failed,
                ..ending("guest-shutdown", &good)
            },
            "guest failed: the agent: no disk",
        );
    }

    #[test]
    fn outcome_of_trouble() {
        let check = |accelerator, phase, trouble: Trouble, expect: &str| {
            let stream = result(0);
            let ending = Ending {
                shutdown: Some("guest-reset"),
                trouble: Some(&trouble),
                phase: Some(phase),
                stream: &stream,
                ..Ending::default()
            };
            let found = judged(accelerator, &ending).to_string();
            assert!(
                found.starts_with(expect),
                "{trouble:?}: {found}, not {expect}"
            );
        };
        use Accelerator::{Kvm, Tcg};
        let line = || "line".to_owned();
        let time = Duration::from_secs(9);
        check(
            Tcg,
            Phase::Command,
            Trouble::Crash(line()),
            "infrastructure failed: the guest's kernel crashed",
        );
        check(
            Kvm,
            Phase::Command,
            Trouble::Crash(line()),
            "guest failed: its kernel crashed: line",
        );
        check(
            Tcg,
            Phase::Booting,
            Trouble::Unbootable(line()),
            "guest failed: it cannot boot: line",
        );
        check(
            Tcg,
            Phase::Booting,
            Trouble::Emergency(line()),
            "guest failed: emergency mode: line",
        );
        check(
            Tcg,
            Phase::Silent,
            Trouble::Stalled(time),
            "infrastructure failed: no byte from the kernel in 9 s",
        );
        check(
            Tcg,
            Phase::Settling,
            Trouble::Stalled(time),
            "guest failed: no byte for 9 s while the system settled",
        );
        check(
            Tcg,
            Phase::Command,
            Trouble::Deadline(time),
            "guest failed: not done in 9 s, ended while the command ran",
        );
        check(
            Kvm,
            Phase::Booting,
            Trouble::Stopped,
            "infrastructure failed: QEMU: it stopped the machine",
        );
        let clock = Trouble::Clock {
            uptime: time * 9,
            elapsed: time,
        };
        check(
            Tcg,
            Phase::Booting,
            clock,
            "infrastructure failed: the guest's clock says 81 s after 9 s",
        );
        let much = Trouble::TooMuch {
            what: "console bytes",
            limit: 5,
        };
        check(
            Tcg,
            Phase::Booting,
            much,
            "guest failed: more than 5 console bytes",
        );
    }

    #[test]
    fn files_are_split_from_the_agents_own() {
        let stream = result(0);
        let marks = [Mark {
            uptime: Duration::ZERO,
            event: Event::Settled("degraded".to_owned()),
        }];
        let ending = Ending {
            stream: &stream,
            marks: &marks,
            ..Ending::default()
        };
        let (outcome, files) = classify(Accelerator::Tcg, &ending, &Diagnostics::default());
        let Outcome::Finished(left) = outcome else {
            panic!("{outcome}")
        };
        assert_eq!(left.stdout, b"out");
        assert_eq!(left.files, BTreeMap::from([(b"a".to_vec(), b"1".to_vec())]));
        assert_eq!(left.system_state.as_deref(), Some("degraded"));
        assert_eq!(files.len(), 2);
    }
}
