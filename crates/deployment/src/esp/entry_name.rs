//! Boot counters in the names of boot loader entries (UAPI.1, "Boot counting").

use std::fmt;

use crate::boot_entry::Tries;

/// The name of an entry's file: `ID.conf`, `ID+LEFT.conf` or `ID+LEFT-DONE.conf`.
///
/// The boot loader takes one from LEFT and adds one to DONE before it starts such an entry, and offers
/// one with none left after all others. Whoever finds that the boot was good takes the counter away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// The entry, whatever its counter says.
    pub id: String,
    /// Boots that it may still try; none where nobody counts.
    pub left: Option<u32>,
    /// Boots that were begun and not found good.
    pub done: u32,
}

/// What a counter says of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootState {
    /// No counter: it has come up, or nobody counts.
    Good,
    /// It may still try.
    Trying {
        /// So often.
        left: u32,
        /// And has, so often.
        done: u32,
    },
    /// It has used up its boots without one that was found good.
    Failed {
        /// How many these were.
        done: u32,
    },
}

impl EntryName {
    /// An entry that counts `tries` boots, or none.
    pub fn new(id: impl Into<String>, tries: Option<u32>) -> Self {
        Self {
            id: id.into(),
            left: tries,
            done: 0,
        }
    }

    /// Reads a file name; `None` if it does not end in `.conf`. What is no counter is part of the id.
    pub fn parse(file_name: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(".conf")?;
        let (id, tries) = Tries::split(stem);
        Some(Self {
            id: id.into(),
            left: tries.map(|tries| tries.left),
            done: tries.map_or(0, |tries| tries.done),
        })
    }

    /// What the counter says.
    pub fn state(&self) -> BootState {
        match (self.left, self.done) {
            (None, _) => BootState::Good,
            (Some(0), done) => BootState::Failed { done },
            (Some(left), done) => BootState::Trying { left, done },
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.left, self.done) {
            (None, _) => write!(f, "{}.conf", self.id),
            (Some(left), 0) => write!(f, "{}+{left}.conf", self.id),
            (Some(left), done) => write!(f, "{}+{left}-{done}.conf", self.id),
        }
    }
}

impl fmt::Display for BootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Trying { left, done: 0 } => write!(f, "not booted yet, {left} tries left"),
            Self::Trying { left, done } => {
                write!(f, "booted {done} times, not found good, {left} tries left")
            }
            Self::Failed { done } => write!(f, "failed: booted {done} times, never found good"),
        }
    }
}
