//! Exit codes, like diff(1)'s: 0 fine or equal, 1 differs or findings, 2 usage, 3 trouble; 4 of a
//! deployment that is done and not cleaned up.

use std::process::ExitCode;

use super::output;

/// How a verb ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Fine, or equal.
    Fine,
    /// It differs, or there are findings.
    Differs,
    /// The machine boots what was asked for, and something old is still there.
    #[allow(dead_code, reason = "of the two programs pleach-deploy ends so")]
    CleanupPending,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Fine => Self::SUCCESS,
            End::Differs => Self::from(1),
            End::CleanupPending => Self::from(4),
        }
    }
}

/// What was asked for makes no sense.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    pub(crate) fn new(what: impl ToString) -> Self {
        Self(what.to_string())
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Something went wrong.
pub(crate) const TROUBLE: u8 = 3;

/// Prints an error with its causes and, where one is known, what to do.
pub(crate) fn trouble(error: &anyhow::Error) -> ExitCode {
    output::say(&format!("error: {}", message(error)));
    if let Some(hint) = hint(error) {
        output::say(&format!("hint: {hint}"));
    }
    match error.is::<Usage>() {
        // As clap does.
        true => ExitCode::from(2),
        false => ExitCode::from(TROUBLE),
    }
}

/// The causes on one line each; one that its effect already says is not said twice.
fn message(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !lines.last().is_some_and(|last| last.contains(&text)) {
            lines.push(text);
        }
    }
    lines.join("\n  caused by: ")
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
    match io.kind() {
        std::io::ErrorKind::PermissionDenied => Some(
            "run it as root, or in a user namespace: unshare --user --map-auto --map-root-user",
        ),
        std::io::ErrorKind::StorageFull => Some("free some space; nothing half-written counts"),
        _ => None,
    }
}
