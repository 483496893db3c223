//! A program's output, line by line, and its end where it says nothing for too long.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};

/// How many of its last lines are told of a program that was ended.
const LINES: usize = 10;

/// Why a program was ended.
#[derive(Debug)]
pub(crate) struct Silent {
    /// For how long it had said nothing.
    patience: Duration,
    /// What it said last.
    last: VecDeque<String>,
    /// It and all below it.
    processes: Vec<Process>,
}

/// Gives each line of a program's output to `each`, until there are no more. Where none comes for as long as
/// `patience`, the program of `pid` and all that it started is killed, and told of.
pub(crate) fn watch(
    pid: u32,
    output: impl Read + Send + 'static,
    patience: Duration,
    mut each: impl FnMut(&str) -> Result<()>,
) -> Result<Option<Silent>> {
    let (sender, receiver) = channel();
    // It ends with the last who holds the output's other end; nobody waits for that where it has to be
    // somebody who was not found.
    let _reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut last = VecDeque::new();
    loop {
        match receiver.recv_timeout(patience) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line?).into_owned();
                each(&line)?;
                last.push_back(line);
                if last.len() > LINES {
                    last.pop_front();
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let processes = below(pid)?;
                for process in &processes {
                    process.kill();
                }
                return Ok(Some(Silent {
                    patience,
                    last,
                    processes,
                }));
            }
        }
    }
}

/// What runs.
#[derive(Debug)]
struct Process {
    pid: i32,
    /// `S` sleeps, `D` waits for a disk, `R` runs (proc_pid_stat(5)).
    state: String,
    /// The function of the kernel that it waits in.
    waits: String,
    command: String,
}

impl Process {
    fn read(pid: i32, state: &str) -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        let command = read("cmdline").unwrap_or_default();
        Self {
            pid,
            state: state.to_owned(),
            waits: read("wchan").unwrap_or_default(),
            command: command.replace('\0', " ").trim().to_owned(),
        }
    }

    fn kill(&self) {
        // One that has ended meanwhile is what is wanted.
        let _ended = Pid::from_raw(self.pid).map(|pid| kill_process(pid, Signal::KILL));
    }
}

/// A process and all that it started, directly or not.
fn below(top: u32) -> Result<Vec<Process>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut states = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // It may be gone.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        // The name in field 2 is in parentheses and may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut fields = fields.split_ascii_whitespace();
        let (Some(state), Some(parent)) = (fields.next(), fields.next()) else {
            continue;
        };
        children.entry(parent.parse()?).or_default().push(pid);
        states.insert(pid, state.to_owned());
    }
    let mut found = Vec::new();
    let mut next = vec![i32::try_from(top)?];
    while let Some(pid) = next.pop() {
        if let Some(state) = states.get(&pid) {
            found.push(Process::read(pid, state));
        }
        next.extend(children.remove(&pid).unwrap_or_default());
    }
    Ok(found)
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "said nothing for {} s", self.patience.as_secs())?;
        writeln!(f, "its last lines:")?;
        for line in &self.last {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "what ran:")?;
        for process in &self.processes {
            let Process {
                pid,
                state,
                waits,
                command,
            } = process;
            writeln!(f, "    {pid} {state} {waits} {command}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs a script; the lines that came, and what was said of its end.
    fn run(script: &str) -> (Vec<String>, Option<String>) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("every machine has sh");
        let output = child.stdout.take().expect("it is piped");
        let mut lines = Vec::new();
        let patience = Duration::from_secs(1);
        let silent = watch(child.id(), output, patience, |line| {
            lines.push(line.to_owned());
            Ok(())
        });
        let silent = silent.expect("there is /proc");
        let status = child.wait().expect("it is ours");
        assert_eq!(status.success(), silent.is_none(), "{script}");
        (lines, silent.map(|silent| silent.to_string()))
    }

    #[test]
    fn output_is_read_to_its_end() {
        assert_eq!(
            run("echo a; sleep 0.3; printf 'b\\nc'"),
            (["a", "b", "c"].map(str::to_owned).into(), None)
        );
        assert_eq!(run("true"), (Vec::new(), None));
    }

    #[test]
    fn a_silent_program_is_ended_with_what_it_started() {
        // Nobody else sleeps for just so long.
        let (lines, said) = run("echo began; (sleep 86397 & sleep 86398); echo never");
        assert_eq!(lines, ["began"]);
        let said = said.expect("it was ended");
        assert!(said.starts_with("said nothing for 1 s\n"), "{said}");
        for told in ["    began\n", " sleep 86397\n", " sleep 86398\n"] {
            assert!(said.contains(told), "{told}: {said}");
        }
        let runs = || {
            let all = std::fs::read_dir("/proc").expect("there is /proc");
            all.flatten().any(|entry| {
                let command = std::fs::read_to_string(entry.path().join("cmdline"));
                command.is_ok_and(|command| command.starts_with("sleep\08639"))
            })
        };
        // They end a moment after they were told to.
        for _ in 0..100 {
            if !runs() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("they still run");
    }
}
