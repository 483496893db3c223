//! Errors that need not be told of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::strace::Call;

/// An error after which it may say that all is done, for it is.
struct Harmless {
    call: &'static str,
    /// Why, for people.
    #[allow(dead_code, reason = "a row is not written without it")]
    why: &'static str,
    /// Looks at the disk, not at names.
    holds: fn(&Hit<'_>) -> bool,
}

/// What a fault hit, and the disk before and after.
pub(super) struct Hit<'a> {
    pub(super) call: &'a Call,
    /// Below the root of the disk.
    pub(super) path: String,
    /// The directories that were there at first.
    pub(super) directories: &'a BTreeSet<PathBuf>,
    pub(super) at: &'a Path,
}

const HARMLESS: &[Harmless] = &[
    Harmless {
        call: "mkdirat",
        why: "nothing was to be done: the directory was there before, and still is",
        holds: |hit| {
            hit.directories.contains(Path::new(&hit.path)) && hit.at.join(&hit.path).is_dir()
        },
    },
    Harmless {
        call: "flock",
        why: "to unlock: the file is closed next, which unlocks it too",
        holds: |hit| hit.call.shown.contains("LOCK_UN"),
    },
    Harmless {
        call: "unlinkat",
        why: "an empty file that was a lock: the next who locks takes it, or it is cleaned up with all else that is temporary",
        holds: |hit| {
            let lock = hit.path.ends_with("/lock") || hit.path.ends_with("-lock");
            let left = std::fs::symlink_metadata(hit.at.join(&hit.path));
            lock && left.is_ok_and(|left| left.is_file() && left.len() == 0)
        },
    },
    Harmless {
        call: "openat",
        why: KNOWN,
        holds: is_known,
    },
    Harmless {
        call: "write",
        why: KNOWN,
        holds: is_known,
    },
    Harmless {
        call: "write",
        why: "a line of progress to standard error, for people",
        holds: |hit| hit.call.shown.starts_with("2<pipe:["),
    },
];

const KNOWN: &str = "which files of /etc were compared, so that the next merge need not read them: it is done without";

/// A part of it may be left; it ends in its digest, and without that nobody believes it.
fn is_known(hit: &Hit<'_>) -> bool {
    let known = hit.path.strip_suffix(".new");
    let known = known.filter(|known| known.ends_with("/etc.known"));
    let whole = |path: &str| {
        let bytes = std::fs::read(hit.at.join(path)).unwrap_or_default();
        bytes
            .split_last_chunk::<32>()
            .is_some_and(|(all, digest)| Sha256::digest(all)[..] == *digest)
    };
    known.is_some_and(|known| !whole(known) && !whole(&hit.path))
}

/// Whether it may say that all is done in spite of it.
pub(super) fn is_harmless(hit: &Hit<'_>) -> bool {
    let mut rows = HARMLESS.iter().filter(|row| row.call == hit.call.name);
    rows.any(|row| (row.holds)(hit))
}
