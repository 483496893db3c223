//! The control of an earlier run, instead of two more boots of the same base image.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pleach_booted_state::Snapshot;
use pleach_parity::Report;

/// The names of the base image's two boots.
pub(super) const BASE: [&str; 2] = ["base-1", "base-2"];

/// What the other run had of the things that have to be the same for its control to be ours.
const SAME: [&str; 3] = ["base", "machine", "added"];

/// The base image's two boots in the output of an earlier run, which has to have been of the same
/// image on the same machine: only then does what differed there say what is noise here.
pub(super) fn boots(
    output: &Path,
    subject: &BTreeMap<String, String>,
) -> Result<(Snapshot, Snapshot)> {
    let read = |path: &str| {
        let path = output.join(path);
        std::fs::read(&path).with_context(|| format!("--control: reading {}", path.display()))
    };
    let report: Report = serde_json::from_slice(&read("report.json")?)
        .with_context(|| format!("--control: {}/report.json", output.display()))?;
    for name in SAME {
        let (ours, theirs) = (subject.get(name), report.subject.get(name));
        if ours != theirs {
            let show = |value: Option<&String>| value.map_or("none", String::as_str).to_owned();
            bail!(
                "--control: {} is of another {name}: {}, here {}",
                output.display(),
                show(theirs),
                show(ours)
            );
        }
    }
    let [first, second] = BASE.map(|name| {
        let json = read(&format!("boots/{name}/snapshot.json"))?;
        anyhow::Ok(Snapshot::from_json(&json)?)
    });
    Ok((first?, second?))
}
