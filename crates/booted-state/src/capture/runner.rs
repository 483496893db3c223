//! Running the tools of the system.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Runs programs of the system that is captured.
pub trait CommandRunner {
    /// Runs a program to its end, with nothing on its standard input.
    ///
    /// # Errors
    /// `NotFound` if there is no such program, `TimedOut` if it takes too long, or whatever else
    /// keeps it from being run. That a program fails is no error.
    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> io::Result<CommandOutput>;
}

/// Runs programs of this machine, with a fixed environment.
#[derive(Debug, Clone)]
pub struct SystemRunner {
    /// The most that is read of standard output and of standard error each.
    pub max_output_bytes: u64,
}

impl Default for SystemRunner {
    fn default() -> Self {
        Self {
            max_output_bytes: 64 << 20,
        }
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", PATH),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("HOME", "/"),
    ("TERM", "dumb"),
    ("SYSTEMD_COLORS", "0"),
    ("SYSTEMD_PAGER", ""),
    ("SYSTEMD_URLIFY", "0"),
];

impl CommandRunner for SystemRunner {
    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> io::Result<CommandOutput> {
        let deadline = Instant::now() + timeout;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            // systemd's tools give up after 25 seconds by themselves, which is too early for a machine
            // whose processor is emulated and shared.
            .env("SYSTEMD_BUS_TIMEOUT", format!("{}us", timeout.as_micros()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let result = self.collect(&mut child, deadline);
        if result.is_err() {
            // It may have ended meanwhile; either way it is not left behind.
            let _ = child.kill();
            let _ = child.wait();
        }
        result
    }
}

impl SystemRunner {
    fn collect(&self, child: &mut Child, deadline: Instant) -> io::Result<CommandOutput> {
        let stdout = self.reader(child.stdout.take());
        let stderr = self.reader(child.stderr.take());
        let stdout = wait(&stdout, deadline)?;
        let stderr = wait(&stderr, deadline)?;
        // Both pipes are closed, so there is little left to wait for.
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        };
        Ok(CommandOutput {
            code: status.code(),
            stdout,
            stderr,
        })
    }

    fn reader(&self, pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Collected> {
        let (sender, receiver) = mpsc::channel();
        let limit = self.max_output_bytes;
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let result = match pipe {
                Some(pipe) => pipe.take(limit + 1).read_to_end(&mut bytes),
                None => Ok(0),
            };
            let result = match result {
                Ok(_) if bytes.len() as u64 > limit => Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("more than {limit} bytes of output"),
                )),
                Ok(_) => Ok(bytes),
                Err(error) => Err(error),
            };
            // Nobody listens any more after a timeout.
            let _ = sender.send(result);
        });
        receiver
    }
}

type Collected = io::Result<Vec<u8>>;

fn wait(receiver: &mpsc::Receiver<Collected>, deadline: Instant) -> Collected {
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
