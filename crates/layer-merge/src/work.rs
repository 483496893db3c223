//! What merging itself takes, beyond what archives have: a path of few bytes may make many
//! directories, or lead through many links.

use std::cell::Cell;

use crate::{Fault, Limits};

/// What all layers of one image together have taken.
#[derive(Debug, Default)]
pub(crate) struct Work {
    nodes: Cell<u64>,
    steps: Cell<u64>,
}

impl Work {
    /// A name that is put into a directory, also one that no entry names.
    pub(crate) fn node(&self, limits: &Limits) -> Result<(), Fault> {
        let what = "entries, with the directories on the way to them";
        charge(&self.nodes, limits.entries, what)
    }

    /// A component of a symbolic link's target, on the way to something.
    pub(crate) fn step(&self, limits: &Limits) -> Result<(), Fault> {
        let what = "components walked through symbolic links";
        charge(&self.steps, limits.link_steps, what)
    }
}

fn charge(used: &Cell<u64>, limit: u64, what: &'static str) -> Result<(), Fault> {
    used.set(used.get() + 1);
    if used.get() > limit {
        return Err(Fault::Limit { what, limit });
    }
    Ok(())
}
