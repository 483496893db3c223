//! The same shape wherever it goes: only colour and progress bars depend on a terminal.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use clap::ValueEnum;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For machines.
    Json,
}

/// Prints a result; a reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// One line of progress, for people.
pub(crate) fn step(text: &str) {
    say(&format!("• {text}"));
}

/// A line to standard error. Nothing ends, or ends otherwise, because it cannot be written.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether progress bars make sense.
pub(crate) fn bars() -> bool {
    std::io::stderr().is_terminal()
}
