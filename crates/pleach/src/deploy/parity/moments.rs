//! The composed routes at later moments: an upgrade, a rollback, a withdrawal.
//!
//! Each step is what a person would type; the machine is the sysroot in the route's folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pleach_booted_state::Snapshot;
use pleach_deployment::Sysroot;
use pleach_parity::{Control, Decision, Decisions, Moment, Route, Verdict};
use serde_json::Value;

use super::routes::{Work, verdicts};
use crate::cli::derive::{self, Placing};
use crate::cli::image::{self, make, open_dir};
use crate::cli::output;
use crate::compose::Composed;

/// A composed route, on its way through the moments.
struct Machine {
    composed: Composed,
    /// The image that the upgrade brings.
    next: String,
    /// What takes the customization back.
    withdrawal: Vec<String>,
}

/// What a machine is at a moment.
struct Seen {
    snapshot: Snapshot,
    decisions: Decisions,
}

impl Work {
    /// Verdicts at each of the moments, in their order, without booting.
    pub(super) fn through_time(
        &self,
        moments: &[Moment],
        upgrade: Option<&image::OpenImage>,
        document: &Path,
    ) -> Result<Vec<Verdict>> {
        let mut machines = BTreeMap::new();
        for &route in self.routes.iter().filter(|route| route.is_composed()) {
            machines.insert(route, self.machine(route, upgrade, document)?);
        }
        let last = moments.iter().max().copied().unwrap_or_default();
        let mut out = Vec::new();
        for moment in Moment::ALL.into_iter().filter(|moment| *moment <= last) {
            let mut seen = BTreeMap::new();
            for (&route, machine) in &machines {
                output::step(&format!("{route} at {moment}, {}", moment.what()));
                machine.go(moment)?;
                seen.insert(route, machine.look()?);
            }
            if !moments.contains(&moment) {
                continue;
            }
            let views = seen
                .iter()
                .map(|(route, seen)| (*route, seen.snapshot.clone()));
            let facts = self.facts(false);
            let base = Snapshot::empty();
            let found = verdicts(&views.collect(), &base, &facts, &Control::default());
            for mut verdict in found {
                verdict.moment = moment;
                let (left, right) = (&seen[&verdict.left], &seen[&verdict.right]);
                verdict.explain(&left.decisions, &right.decisions);
                out.push(verdict);
            }
        }
        Ok(out)
    }

    fn machine(
        &self,
        route: Route,
        upgrade: Option<&image::OpenImage>,
        document: &Path,
    ) -> Result<Machine> {
        let composed = self.compose(route)?;
        let folder = self.output.join(route.as_str());
        let next = match (route, upgrade) {
            (_, None) => String::new(),
            (Route::Derive, Some(next)) => {
                let merged = next.merge(&make(&folder.join("spool"))?)?;
                let placing = Placing::default();
                let derivation = derive::plan(&self.customization, &merged, next, &placing)?;
                let place = folder.join("next");
                let derived = derive::write(next, &merged, &derivation, &place, None)?;
                derived.in_layout().to_owned()
            }
            (_, Some(next)) => next.in_layout().to_owned(),
        };
        let sysroot = composed.sysroot().display();
        let withdrawal = match route {
            Route::Derive => vec![
                "deploy".to_owned(),
                "switch".to_owned(),
                self.base.in_layout().to_owned(),
                format!("--sysroot={sysroot}"),
                "--allow-downgrade".to_owned(),
            ],
            _ => {
                composed.record(self.etc.as_ref(), document)?;
                vec![
                    "etc".to_owned(),
                    "release".to_owned(),
                    format!("--document={}", document.display()),
                ]
            }
        };
        Ok(Machine {
            composed,
            next,
            withdrawal,
        })
    }
}

impl Machine {
    /// From the moment before to this one.
    fn go(&self, moment: Moment) -> Result<()> {
        let sysroot = format!("--sysroot={}", self.composed.sysroot().display());
        match moment {
            Moment::First => Ok(()),
            Moment::Upgraded => run(&["deploy", "switch", &self.next, &sysroot]),
            Moment::RolledBack => run(&["deploy", "rollback", &sysroot]),
            Moment::Withdrawn => {
                let mut words: Vec<&str> = self.withdrawal.iter().map(String::as_str).collect();
                let root = format!("--root={}", self.root()?.display());
                if words[0] == "etc" {
                    words.push(&root);
                }
                run(&words)
            }
        }
    }

    /// The root of the deployment that the machine boots now.
    fn root(&self) -> Result<std::path::PathBuf> {
        let folder = self.composed.sysroot();
        let all = Sysroot::open(&open_dir(folder)?)?.deployments()?;
        let first = all.first().context("no deployment")?;
        Ok(folder.join(&first.path))
    }

    fn look(&self) -> Result<Seen> {
        let root = Sysroot::open(&open_dir(self.composed.sysroot())?)?;
        let all = root.deployments()?;
        let now = all.first().context("no deployment")?;
        let record = root.record(now)?.and_then(|record| record.etc);
        Ok(Seen {
            snapshot: self.composed.view_of(now)?,
            decisions: record.map(|etc| decisions(&etc)).unwrap_or_default(),
        })
    }
}

/// Of a plan as the record has it.
fn decisions(etc: &Value) -> Decisions {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = etc["entries"].as_array().into_iter().flatten();
    let decision = |entry: &Value| {
        let decision = Decision {
            state: text(&entry["state"]),
            resolution: text(&entry["resolution"]),
        };
        (format!("/etc{}", text(&entry["path"])), decision)
    };
    entries.map(decision).collect()
}

/// Runs a verb of this program; what it prints is kept for an error.
fn run(words: &[&str]) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("running {}", words.join(" ")))?;
    // 1: something that the machine changed since was kept, which the comparison shows.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!(
            "pleach {}: {}\n{}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
