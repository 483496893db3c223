//! What came of a booted case, written down for `docs/cases.md`, which is made from it.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use pleach_parity::Report;
use rustix::fs::FlockOperation;
use serde_json::{Map, Value, json};

use crate::cases::Case;

/// Puts what the run in `output` found in the place of what is recorded of the case. A run that found
/// defects is recorded as well: the page says what was last seen.
pub(crate) fn keep(path: &Path, case: &Case, output: &Path) -> Result<()> {
    let report = output.join("report.json");
    let report = fs::read(&report).with_context(|| format!("reading {}", report.display()))?;
    let found = found(case, &serde_json::from_slice(&report)?)?;
    // Cases run side by side.
    let lock = File::open(path.parent().context("a file in a folder")?)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    let mut all: Map<String, Value> = match fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    all.insert(format!("{}.bu", case.name), found);
    fs::write(path, serde_json::to_string_pretty(&all)? + "\n")
        .with_context(|| format!("writing {}", path.display()))
}

/// What the page says of one case: nothing that is of the machine's folders.
fn found(case: &Case, report: &Report) -> Result<Value> {
    let subject = |name: &str| {
        let value = report.subject.get(name);
        value.with_context(|| format!("a report without {name}"))
    };
    let after = |name: &str, mark: char| {
        let (_, digest) = subject(name)?.rsplit_once(mark).context("a digest")?;
        anyhow::Ok(digest.to_owned())
    };
    let check = subject("check")?;
    let passes = |route: &&&str| {
        check
            .split("; ")
            .any(|said| said == format!("{route} passes"))
    };
    let passed: Vec<_> = case.routes.iter().filter(passes).collect();
    let pairs = report.verdicts.iter().map(|verdict| {
        json!({
            "left": verdict.left,
            "right": verdict.right,
            "equal": verdict.equal.values().sum::<usize>(),
            "expected": verdict.expected.len(),
            "rules": verdict.rules.len(),
            "defects": verdict.defects.len(),
        })
    });
    Ok(json!({
        "document": after("customization", ' ')?,
        "variant": case.variant,
        "image": after("base", '@')?,
        "machine": subject("machine")?,
        "routes": case.routes,
        "check_passed": passed,
        "control_is_sound": report.control.as_ref().is_some_and(pleach_parity::Control::is_sound),
        "pairs": pairs.collect::<Vec<_>>(),
    }))
}
