//! The routes at later moments: an upgrade, a rollback, a withdrawal.
//!
//! Each step is what a person would type, on the sysroot of the route's machine.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use pleach_booted_state::Snapshot;
use pleach_deployment::Sysroot;
use pleach_parity::{Decision, Decisions, Moment, Route};
use serde_json::Value;

use super::routes::Work;
use crate::cli::derive;
use crate::cli::image::{OpenImage, make, open_dir};
use crate::compose::static_view;

/// What is asked about time.
pub(super) struct Timeline {
    /// In their order, without doubles.
    pub(super) moments: Vec<Moment>,
    /// The base image that the upgrade brings; there, if there is a later moment than the first.
    pub(super) upgrade: Option<OpenImage>,
    /// The document, which the ownership ledger knows what was injected by.
    pub(super) document: PathBuf,
}

impl Timeline {
    /// Whether machines go on after their first boot.
    pub(super) fn goes_on(&self) -> bool {
        self.last() > Moment::First
    }

    pub(super) fn last(&self) -> Moment {
        self.moments.last().copied().unwrap_or_default()
    }

    /// The moments that a machine comes through until the last that is asked for.
    pub(super) fn passed(&self) -> impl Iterator<Item = Moment> {
        let last = self.last();
        Moment::ALL
            .into_iter()
            .filter(move |moment| *moment <= last)
    }
}

/// How a route goes from each moment to the next one.
pub(super) struct Journey {
    /// The image that the upgrade brings.
    next: String,
    withdrawal: Withdrawal,
}

enum Withdrawal {
    /// Another image.
    Switch(String),
    /// Kernel arguments, then what a document put.
    Release(Vec<String>, PathBuf),
    /// Nothing on the disk is to be taken back.
    Nothing,
    /// No tool takes back what was done.
    Impossible,
}

impl Work {
    /// How a route's machine goes on; for the derived image of the upgrade, that is written.
    pub(super) fn journey(&self, route: Route, time: &Timeline) -> Result<Journey> {
        let upgrade = time.upgrade.as_ref();
        let next = match (route, upgrade) {
            (_, None) => String::new(),
            (Route::Derive, Some(next)) => {
                let folder = self.output.join(route.as_str());
                let merged = next.merge(&make(&folder.join("spool"))?)?;
                let derivation = derive::plan(&self.published, &merged, next, &self.placing)?;
                let place = folder.join("next");
                let derived = derive::write(next, &merged, &derivation, &place, None)?;
                derived.in_layout().to_owned()
            }
            (_, Some(next)) => next.in_layout().to_owned(),
        };
        let arguments = &self.customization.kernel_arguments.should_exist;
        let arguments = arguments.iter().map(|argument| argument.value.clone());
        let withdrawal = match route {
            Route::Derive => Withdrawal::Switch(self.base.in_layout().to_owned()),
            Route::Etc => Withdrawal::Release(arguments.collect(), time.document.clone()),
            // They come anew at each boot, or do not.
            Route::Credentials => Withdrawal::Nothing,
            _ => Withdrawal::Impossible,
        };
        Ok(Journey { next, withdrawal })
    }
}

impl Journey {
    /// Whether the route gets to a moment at all, or why not.
    pub(super) fn reaches(&self, moment: Moment) -> Result<(), &'static str> {
        match (moment, &self.withdrawal) {
            (Moment::Withdrawn, Withdrawal::Impossible) => Err(
                "what it wrote is the machine's own from then on: nothing takes it back (pleach etc adopt, then release)",
            ),
            _ => Ok(()),
        }
    }

    /// From the moment before to this one.
    pub(super) fn go(&self, moment: Moment, sysroot: &Path) -> Result<()> {
        let at = format!("--sysroot={}", sysroot.display());
        match moment {
            Moment::First => Ok(()),
            Moment::Upgraded => run(&["deploy", "switch", &self.next, &at]),
            Moment::RolledBack => run(&["deploy", "rollback", &at]),
            Moment::Withdrawn => match &self.withdrawal {
                Withdrawal::Switch(image) => {
                    run(&["deploy", "switch", image, &at, "--allow-downgrade"])
                }
                Withdrawal::Release(arguments, document) => {
                    if !arguments.is_empty() {
                        let mut words = vec!["deploy".to_owned(), "kargs".to_owned(), at];
                        words.extend(arguments.iter().map(|a| format!("--delete={a}")));
                        run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
                    }
                    let root = format!("--root={}", now(sysroot)?.0.display());
                    let document = format!("--document={}", document.display());
                    run(&["etc", "release", &document, &root])
                }
                Withdrawal::Nothing => Ok(()),
                Withdrawal::Impossible => bail!("there is no withdrawal"),
            },
        }
    }
}

/// What a machine is that is not running.
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    pub(super) decisions: Decisions,
}

impl Seen {
    /// At first boot nothing was merged yet.
    pub(super) fn of(snapshot: Snapshot) -> Self {
        let decisions = Decisions::new();
        Self {
            snapshot,
            decisions,
        }
    }
}

/// Looks at the deployment that a sysroot boots.
pub(super) fn look(sysroot: &Path) -> Result<Seen> {
    let (_, deployment) = now(sysroot)?;
    let root = Sysroot::open(&open_dir(sysroot)?)?;
    let etc = root.record(&deployment)?.and_then(|record| record.etc);
    Ok(Seen {
        snapshot: static_view(sysroot, &deployment)?,
        decisions: etc.map(|etc| decisions(&etc)).unwrap_or_default(),
    })
}

/// The deployment that a sysroot boots, and where its root is.
fn now(sysroot: &Path) -> Result<(PathBuf, pleach_deployment::Deployment)> {
    let all = Sysroot::open(&open_dir(sysroot)?)?.deployments()?;
    let first = all.into_iter().next().context("no deployment")?;
    Ok((sysroot.join(&first.path), first))
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

/// The file system of a disk image, mounted; unmounted when it is dropped.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn new(image: &Path, place: &Path) -> Result<Self> {
        std::fs::create_dir_all(place).with_context(|| format!("creating {}", place.display()))?;
        let words = [
            "-o".as_ref(),
            "loop".as_ref(),
            image.as_os_str(),
            place.as_os_str(),
        ];
        command("mount", &words)?;
        Ok(Self(place.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes it all and unmounts it.
    pub(super) fn finish(self) -> Result<()> {
        let place = self.0.clone();
        std::mem::forget(self);
        command("umount", &[place.as_os_str()])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = command("umount", &[self.0.as_os_str()]);
    }
}

fn command(program: &str, arguments: &[&OsStr]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
