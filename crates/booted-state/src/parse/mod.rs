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

/// A value, unless it is empty.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
