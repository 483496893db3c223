//! What was right at all calls of a kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Kinds of calls (`CALL SUBJECT`) with the faults that were right at all calls of that kind.
#[derive(Default)]
pub(super) struct Seen(pub(super) BTreeMap<String, BTreeSet<String>>);

impl Seen {
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/faults.seen")
    }

    pub(super) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(Self::path()).context("reading faults.seen")?;
        let rows = text.lines().filter_map(|line| line.split_once(": "));
        let faults = |faults: &str| faults.split(' ').map(str::to_owned).collect();
        Ok(Self(
            rows.map(|(faulty, kind)| (kind.to_owned(), faults(faulty)))
                .collect(),
        ))
    }

    pub(super) fn has(&self, kind: &str, fault: &str) -> bool {
        self.0.get(kind).is_some_and(|seen| seen.contains(fault))
    }

    pub(super) fn write(&self) -> Result<()> {
        let line = |(kind, faults): (&String, &BTreeSet<String>)| {
            let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
            format!("{}: {kind}\n", faults.join(" "))
        };
        let text: String = self.0.iter().map(line).collect();
        std::fs::write(Self::path(), text).context("writing faults.seen")
    }
}
