//! What tools and the kernel print, as values. Nothing here does any I/O.

pub(crate) mod accounts;
pub(crate) mod env_file;
pub(crate) mod glob;
pub(crate) mod ip;
pub(crate) mod journal;
pub(crate) mod kernel;
pub(crate) mod mountinfo;
pub(crate) mod ostree;
pub(crate) mod preset;
pub(crate) mod sockets;
pub(crate) mod ssh;
pub(crate) mod systemctl;

use pleach_fs_tree::escape;

/// The lines of some output, escaped; empty ones are left out.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    text.split(|&b| b == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .map(escape)
}

/// The rows of a table, one a line; blank lines are none.
///
/// # Errors
/// The number of a line that is no row. Not its text: nobody knows what it holds.
pub(crate) fn rows<'a, T>(
    text: &'a str,
    what: &str,
    row: impl Fn(&'a str) -> Option<T>,
) -> Result<Vec<T>, String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| row(line).ok_or_else(|| not_understood(what, index)))
        .collect()
}

/// Why there are no rows; the first line has the index 0.
pub(crate) fn not_understood(what: &str, index: usize) -> String {
    format!("{what}: line {} is not understood", index + 1)
}

/// A value, unless it is empty.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
