//! Runs QEMU, listens to the guest, and keeps what is needed to understand what happened.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cap_std::fs::{Dir, File, OpenOptions};
use cap_std_ext::cmdext::CapStdExtCommandExt;

use crate::Error;
use crate::boot::{Boot, DiskMode, Loads, Media};
use crate::error::io_error;
use crate::host::Host;
use crate::judge::{Ending, classify};
use crate::media;
use crate::outcome::{Attempt, Diagnostics, Outcome, Report, Timings};
use crate::permits::Permits;
use crate::plan::{Plan, name};
use crate::private;
use crate::probe::Running;
use crate::progress::Event;
use crate::watchdog::{Heard, Phase, Trouble, Watchdog};

/// A picture of the first display, into the attempt's directory.
const SCREENDUMP: &str = concat!(
    r#"{"execute":"screendump","arguments":{"filename":"screen.ppm"}}"#,
    "\n"
);

const POLL: Duration = Duration::from_millis(100);
/// What is quoted of QEMU's standard error.
const STDERR_BYTES: usize = 1000;

/// How to run a boot.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// Attempts when infrastructure fails; 1 is no retry.
    pub attempts: u32,
    /// Where to ask before a machine is started.
    pub permits: Option<&'a Permits>,
    /// `/proc`, for processor time and diagnostics.
    pub proc: Option<&'a Dir>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            attempts: 2,
            permits: None,
            proc: None,
        }
    }
}

/// Boots a machine, and once more if infrastructure failed it.
///
/// Each attempt leaves a directory `attempt-N` in `run`, which is never removed or written over: console,
/// QEMU's command as `qemu.argv` and `repro.sh`, its standard error and QMP events, the disk, the result,
/// times, and the outcome in words. Any of it may hold secrets: files are 0600, `repro.sh` and directories
/// 0700, whatever the umask is. What is a hard link to the [`Media`] keeps its mode.
///
/// # Errors
/// When the boot cannot be planned, or a file of it cannot be read or written, or no permit is to be had.
/// Whatever happens to QEMU or the guest is an [`Outcome`].
pub fn boot(
    boot: &Boot,
    media: &Media<'_>,
    run: &Dir,
    host: &Host,
    options: &RunOptions<'_>,
) -> Result<Report, Error> {
    let plan = Plan::new(boot, host, media.loads.start())?;
    let mut flaky = None;
    let mut number = 1;
    let attempt = loop {
        let attempt = attempt(&plan, media, run, host, options, number)?;
        let again = matches!(attempt.outcome, Outcome::Infrastructure(_));
        if !again || number >= options.attempts {
            break attempt;
        }
        flaky.get_or_insert(attempt);
        number += 1;
    };
    Ok(Report {
        host: host.to_string(),
        command_line: plan.command_line,
        added_arguments: plan.added_arguments,
        attempt,
        flaky,
    })
}

fn attempt(
    plan: &Plan,
    media: &Media<'_>,
    run: &Dir,
    host: &Host,
    options: &RunOptions<'_>,
    number: u32,
) -> Result<Attempt, Error> {
    let directory = format!("attempt-{number}");
    let dir =
        private::create_dir(run, Path::new(&directory)).map_err(io_error("create", &directory))?;
    let permit = match options.permits {
        Some(permits) => Some(permits.acquire(plan.cpus, plan.memory_mib)?),
        None => None,
    };
    // Not before: machines that wait need no disks.
    prepare(plan, media, &dir)?;
    let mut watchdog = Watchdog::new(host.profile.limits.clone(), plan.recovery);
    let ended = execute(plan, &dir, options.proc, &mut watchdog)?;
    drop(permit);

    let stream = read_limited(
        &dir,
        name::RESULT,
        host.profile.limits.result_bytes as usize,
    )?;
    let marks = watchdog
        .marks()
        .iter()
        .filter(|mark| mark.event != Event::Beat)
        .cloned()
        .collect();
    let ending = Ending {
        qemu_error: ended.error,
        shutdown: watchdog.shutdown(),
        trouble: watchdog.trouble(),
        phase: Some(watchdog.phase()),
        marks: watchdog.marks(),
        stream: &stream,
    };
    let diagnostics = diagnostics(&dir, options.proc);
    let (outcome, files) = classify(host.profile.accelerator, &ending, &diagnostics);
    let timings = Timings {
        wall: ended.wall,
        cpu: ended.cpu,
        marks,
    };
    let attempt = Attempt {
        directory,
        outcome,
        timings,
    };
    record(&dir, &attempt, &files)?;
    Ok(attempt)
}

fn prepare(plan: &Plan, media: &Media<'_>, dir: &Dir) -> Result<(), Error> {
    match &media.loads {
        Loads::Kernel { kernel, initrd } => {
            media::link(kernel, dir, name::KERNEL)?;
            media::link(initrd, dir, name::INITRD)?;
        }
        Loads::Firmware { code, variables } => {
            media::link(code, dir, name::FIRMWARE)?;
            media::link(variables, dir, name::VARIABLES_BASE)?;
            media::copy(variables, dir, name::VARIABLES)?;
        }
    }
    match plan.disk {
        DiskMode::Snapshot => media::link(&media.disk, dir, name::BASE)?,
        DiskMode::Copy => {
            media::copy(&media.disk, dir, name::DISK)?;
            // For repro.sh, which can do without.
            let _linked = media::link_only(&media.disk, dir, name::BASE)?;
        }
    }
    let argv: String = std::iter::once(&plan.program)
        .chain(&plan.arguments)
        .map(|argument| format!("{argument}\n"))
        .collect();
    write(dir, name::ARGV, argv.as_bytes())?;
    let repro = plan.repro()?;
    write_as(
        private::PROGRAM,
        dir,
        name::REPRO.as_ref(),
        repro.as_bytes(),
    )?;
    for (name, bytes) in &plan.files {
        write(dir, name, bytes)?;
    }
    for name in [
        name::CONSOLE,
        name::PROGRESS,
        name::RESULT,
        name::QMP,
        name::STDERR,
    ] {
        write(dir, name, b"")?;
    }
    if plan.display {
        // QEMU writes into what is there and leaves its mode.
        write(dir, name::SCREEN, b"")?;
    }
    Ok(())
}

struct Ended {
    error: Option<String>,
    wall: Duration,
    cpu: Option<Duration>,
}

/// Runs QEMU to its end, or to the end of the watchdog's patience.
fn execute(
    plan: &Plan,
    dir: &Dir,
    proc: Option<&Dir>,
    watchdog: &mut Watchdog,
) -> Result<Ended, Error> {
    let open = |name: &str| dir.open(name).map_err(io_error("open", name));
    let append = |name: &str| {
        let file = dir.open_with(name, OpenOptions::new().append(true));
        file.map(File::into_std).map_err(io_error("open", name))
    };
    let mut console = open(name::CONSOLE)?;
    let mut progress = open(name::PROGRESS)?;
    let mut events = open(name::QMP)?;
    let result = open(name::RESULT)?;
    let mut command = Command::new(&plan.program);
    command
        .args(&plan.arguments)
        // Of snapshot=on, whose file would else fill a file system that may be memory.
        .env("TMPDIR", ".")
        .stdin(Stdio::piped())
        .stdout(append(name::QMP)?)
        .stderr(append(name::STDERR)?)
        .cwd_dir(dir.try_clone().map_err(io_error("clone", "."))?)
        .lifecycle_bind_to_parent_thread();
    let start = Instant::now();
    let mut child = match command.spawn() {
        Ok(child) => Running(child),
        Err(source) => {
            let error = Some(format!("cannot run {}: {source}", plan.program));
            return Ok(Ended {
                error,
                wall: start.elapsed(),
                cpu: None,
            });
        }
    };
    // Events are sent only to who has negotiated. A QEMU that is gone already is seen below.
    let mut qmp = child.0.stdin.take();
    if let Some(qmp) = &mut qmp {
        let _written = qmp.write_all(b"{\"execute\":\"qmp_capabilities\"}\n");
    }
    let pid = child.0.id();
    let (mut cpu, mut result_seen) = (None, 0);
    let mut picture_due = plan.display;
    loop {
        // Looked at first, so that what was written before the end is heard.
        let status = child
            .0
            .try_wait()
            .map_err(io_error("wait for", &plan.program))?;
        cpu = proc.and_then(|proc| cpu_time(proc, pid)).or(cpu);
        let console = read_new(&mut console, name::CONSOLE)?;
        let progress = read_new(&mut progress, name::PROGRESS)?;
        let events = read_new(&mut events, name::QMP)?;
        let result_now = result
            .metadata()
            .map_err(io_error("stat", name::RESULT))?
            .len();
        let heard = Heard {
            console: &console,
            progress: &progress,
            events: &events,
            result: result_now.saturating_sub(result_seen),
        };
        result_seen = result_now;
        let hopeless = watchdog.observe(start.elapsed(), heard);
        if picture_due && watchdog.phase() == Phase::Sending {
            picture_due = false;
            if let Some(qmp) = &mut qmp {
                // What becomes of it is in the log; without it the picture is an empty file.
                let _written = qmp.write_all(SCREENDUMP.as_bytes());
            }
        }
        if let Some(status) = status {
            let error = failure(status, dir)?;
            return Ok(Ended {
                error,
                wall: start.elapsed(),
                cpu,
            });
        }
        if hopeless {
            drop(child);
            let stopped = matches!(watchdog.trouble(), Some(Trouble::Stopped));
            let error = if stopped {
                Some(stderr_head(dir)?)
            } else {
                None
            };
            return Ok(Ended {
                error,
                wall: start.elapsed(),
                cpu,
            });
        }
        std::thread::sleep(POLL);
    }
}

fn failure(status: ExitStatus, dir: &Dir) -> Result<Option<String>, Error> {
    if status.success() {
        return Ok(None);
    }
    Ok(Some(format!("{status}, {}", stderr_head(dir)?)))
}

/// QEMU says what is wrong first; registers and code bytes come after.
fn stderr_head(dir: &Dir) -> Result<String, Error> {
    let text = dir
        .read(name::STDERR)
        .map_err(io_error("read", name::STDERR))?;
    let head = &text[..text.len().min(STDERR_BYTES)];
    Ok(String::from_utf8_lossy(head).trim().to_owned())
}

fn read_new(file: &mut File, name: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(io_error("read", name))?;
    Ok(bytes)
}

fn read_limited(dir: &Dir, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = dir.open(name).map_err(io_error("open", name))?;
    file.take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", name))?;
    Ok(bytes)
}

/// User and system time of a process, from fields 14 and 15 of proc_pid_stat(5).
fn cpu_time(proc: &Dir, pid: u32) -> Option<Duration> {
    let stat = proc.read_to_string(format!("{pid}/stat")).ok()?;
    // The name in field 2 is in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks * 1000 / per_second))
}

fn diagnostics(dir: &Dir, proc: Option<&Dir>) -> Diagnostics {
    let disk = rustix::fs::fstatvfs(dir).ok();
    let bytes = |blocks: u64| blocks * disk.as_ref().map_or(0, |disk| disk.f_frsize);
    let read = |name: &str| proc.and_then(|proc| proc.read_to_string(name).ok());
    let wanted = |line: &&str| line.starts_with("MemTotal:") || line.starts_with("MemAvailable:");
    let words = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    Diagnostics {
        disk_free: bytes(disk.as_ref().map_or(0, |disk| disk.f_bavail)),
        disk_total: bytes(disk.as_ref().map_or(0, |disk| disk.f_blocks)),
        memory: read("meminfo").map(|text| {
            text.lines()
                .filter(wanted)
                .map(words)
                .collect::<Vec<_>>()
                .join(", ")
        }),
        load: read("loadavg").map(|text| format!("load {}", text.trim())),
    }
}

type Files = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

fn record(dir: &Dir, attempt: &Attempt, files: &Files) -> Result<(), Error> {
    write(dir, name::OUTCOME, format!("{attempt}\n").as_bytes())?;
    let Timings { wall, cpu, marks } = &attempt.timings;
    let marks: Vec<_> = marks
        .iter()
        .map(|mark| serde_json::json!({"uptime": mark.uptime.as_secs_f64(), "event": mark.event.to_string()}))
        .collect();
    let timings = serde_json::json!({
        "wall": wall.as_secs_f64(),
        "cpu": cpu.map(|cpu| cpu.as_secs_f64()),
        "marks": marks,
    });
    write(dir, name::TIMINGS, format!("{timings:#}\n").as_bytes())?;
    let result = private::create_dir(dir, Path::new(name::RESULT_DIR))
        .map_err(io_error("create", name::RESULT_DIR))?;
    for (name, bytes) in files {
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        if let Some(parent) = path.parent() {
            private::create_dir_all(&result, parent)
                .map_err(io_error("create", path.display().to_string()))?;
        }
        write_as(private::FILE, &result, path, bytes)?;
    }
    Ok(())
}

fn write(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), Error> {
    write_as(private::FILE, dir, name.as_ref(), bytes)
}

/// Creates a file that is not there yet.
fn write_as(mode: u32, dir: &Dir, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let shown = path.display().to_string();
    private::create(dir, path, mode)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(io_error("write", shown))
}
