//! Tools, and what to say when one does not work.

use std::io;
use std::time::Duration;

use pleach_fs_tree::escape;

use super::runner::{CommandOutput, CommandRunner};

pub(crate) struct Tools<'a> {
    runner: &'a dyn CommandRunner,
    timeout: Duration,
}

impl<'a> Tools<'a> {
    pub(crate) fn new(runner: &'a dyn CommandRunner, timeout: Duration) -> Self {
        Self { runner, timeout }
    }

    /// Standard output of a program that ends with 0; otherwise why there is none.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.any(program, arguments, self.timeout)?;
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        let code = output
            .code
            .map_or("a signal".to_owned(), |code| format!("code {code}"));
        let said = [&output.stderr, &output.stdout]
            .into_iter()
            .map(|bytes| escape(bytes.trim_ascii()))
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        Err(format!("{program}: ended with {code}: {said}"))
    }

    /// [`Tools::output`] as text; bytes that are none are escaped.
    pub(crate) fn text(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        self.output(program, arguments).map(text)
    }

    /// What a program left, whatever its exit code.
    pub(crate) fn any(
        &self,
        program: &str,
        arguments: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, String> {
        self.runner
            .run(program, arguments, timeout)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => format!("{program}: not found"),
                io::ErrorKind::TimedOut => {
                    format!("{program}: took longer than {} s", timeout.as_secs())
                }
                _ => format!("{program}: {error}"),
            })
    }
}

/// Bytes as text; where they are none each line is escaped.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let lines = error.as_bytes().split(|&b| b == b'\n').map(escape);
        lines.collect::<Vec<_>>().join("\n")
    })
}
