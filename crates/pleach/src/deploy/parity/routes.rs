//! Each route, from the document to a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use pleach_booted_state::Snapshot;
use pleach_booted_state::model::{PathEntry, PathType};
use pleach_customization::Customization;
use pleach_derive::Derivation;
use pleach_inject::EtcPlan;
use pleach_layer_merge::ContentRef;
use pleach_parity::{Capture, Control, Facts, Moment, Route, Rule, Verdict, judge, rules};

use super::checks::Checks;
use super::earlier;
use super::first::first_boot;
use crate::boot::{BootOptions, Booted, Machines};
use crate::cli::config::Document;
use crate::cli::derive::{self, Placing};
use crate::cli::fetch::Source;
use crate::cli::image::{self, Merged, OpenImage, Reader, make, today};
use crate::cli::output;
use crate::cli::private::make_private;
use crate::compose::Composed;
use crate::files::{self, materialize};
use crate::first_boot::FirstBoot;

/// Everything that is known before something is composed or booted.
pub(super) struct Work {
    pub(super) customization: Customization,
    pub(super) base: OpenImage,
    pub(super) merged: Merged,
    pub(super) derivation: Option<Derivation<ContentRef>>,
    pub(super) etc: Option<EtcPlan>,
    /// What each route's machine is given.
    first: BTreeMap<Route, FirstBoot>,
    pub(super) routes: Vec<Route>,
    pub(super) output: PathBuf,
    pub(super) subject: BTreeMap<String, String>,
}

/// What a run found.
pub(super) struct Findings {
    pub(super) control: Option<Control>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) not_compared: BTreeMap<String, String>,
    pub(super) subject: BTreeMap<String, String>,
    /// What the check in the guests found not to be as it should.
    pub(super) failed_checks: Vec<String>,
}

impl Work {
    /// Reads the document and the base image, and plans every route, so that what cannot work is
    /// said before anything is written.
    pub(super) fn prepare(
        base: &str,
        document: &Document,
        source: &Source,
        output: &Path,
        routes: &[Route],
    ) -> Result<Self> {
        let customization = document.read()?;
        check_output(output)?;
        let base = image::open(base, source)?;
        output::step(&format!("merging {}", base.reference()));
        let merged = base.merge(&image::open_dir(&std::env::temp_dir())?)?;
        let derivation = match routes.contains(&Route::Derive) {
            true => Some(derive::plan(
                &customization,
                &merged,
                &base,
                &Placing::default(),
            )?),
            false => None,
        };
        let reader = Reader::default();
        let read = |content: &ContentRef| reader.read(content);
        let etc = match routes.contains(&Route::Etc) {
            true => Some(pleach_inject::plan(
                &customization,
                merged.tree(),
                &read,
                today()?,
            )?),
            false => None,
        };
        reader.finish()?;
        let first = routes.iter().map(|&route| {
            let first = first_boot(route, &customization, &merged);
            Ok((route, first.with_context(|| format!("the route {route}"))?))
        });
        let first = first.collect::<Result<_>>()?;
        let subject = [
            ("base", format!("{}@{}", base.reference(), base.digest())),
            (
                "customization",
                format!("{} {}", document.config.display(), customization.digest),
            ),
        ];
        let subject = subject.map(|(name, value)| (name.to_owned(), value)).into();
        let (routes, output) = (routes.to_vec(), output.to_owned());
        Ok(Self {
            customization,
            base,
            merged,
            derivation,
            etc,
            first,
            routes,
            output,
            subject,
        })
    }

    /// Compares the deployments as they are composed, and what becomes of them later.
    pub(super) fn composed(
        self,
        moments: &[Moment],
        upgrade: Option<&OpenImage>,
        document: &Path,
    ) -> Result<Findings> {
        replace(&self.output)?;
        let mut not_compared = BTreeMap::new();
        for route in self.routes.iter().filter(|route| !route.is_composed()) {
            let why = "it customizes at first boot; compare it with --boot".to_owned();
            not_compared.insert(route.to_string(), why);
        }
        let verdicts = self.through_time(moments, upgrade, document)?;
        Ok(Findings {
            control: None,
            verdicts,
            not_compared,
            subject: self.subject,
            failed_checks: Vec::new(),
        })
    }

    /// Boots everything, side by side as far as the machine allows, and compares what came up. The
    /// base image is not booted if an earlier run did.
    pub(super) fn booted(
        mut self,
        options: &BootOptions,
        control: Option<&Path>,
    ) -> Result<Findings> {
        let machines = Machines::find(options)?;
        replace(&self.output)?;
        output::step(&machines.host.to_string());
        self.subject
            .insert("machine".to_owned(), machines.host.to_string());
        let base = control.is_none() || self.routes.contains(&Route::Ignition);
        let composed: BTreeMap<Route, Composed> = base
            .then_some(Route::Base)
            .into_iter()
            .chain(
                self.routes
                    .iter()
                    .copied()
                    .filter(|route| route.is_composed()),
            )
            .map(|route| Ok((route, self.compose(route)?)))
            .collect::<Result<_>>()?;
        for (route, composed) in &composed {
            output::step(&format!("writing the disk of {route}"));
            composed.write_disk(&self.disk(*route))?;
        }
        // The longest first: those that customize at first boot, and may reboot for that.
        let mut boots: Vec<_> = self
            .routes
            .iter()
            .rev()
            .map(|route| (route.as_str(), *route))
            .collect();
        if control.is_none() {
            boots.extend(earlier::BASE.map(|name| (name, Route::Base)));
        }
        let this = &self;
        let machines = &machines;
        let booted: Vec<Result<(&str, Route, Booted)>> = std::thread::scope(|scope| {
            let threads: Vec<_> = boots
                .iter()
                .map(|&(name, route)| {
                    scope.spawn(move || Ok((name, route, this.boot(machines, name, route)?)))
                })
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a boot's thread panicked")))
            };
            threads.into_iter().map(join).collect()
        });
        let mut captures = BTreeMap::new();
        let (mut flaky, mut added, mut checks) = (Vec::new(), BTreeSet::new(), Checks::default());
        let failed: Vec<_> = booted
            .iter()
            .filter_map(|boot| boot.as_ref().err())
            .collect();
        if !failed.is_empty() {
            let all: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
            bail!("{}", all.join("\n"));
        }
        for (name, route, mut booted) in booted.into_iter().flatten() {
            // The host hashes /usr, which is read-only in the guest, many times faster.
            let composed = composed.get(&on_disk(route)).context("composed above")?;
            booted.snapshot.take_usr_digests(&composed.static_view()?);
            every_file_has_a_digest(&booted.snapshot).with_context(|| format!("/usr of {name}"))?;
            let folder = self.output.join("boots").join(name);
            files::write(&folder.join("snapshot.json"), &booted.snapshot.to_json())?;
            added.insert(booted.added);
            if let Some(check) = &booted.check {
                checks.add(name, route, check);
            }
            if booted.flaky {
                flaky.push(name);
            }
            captures.insert(name.to_owned(), booted.snapshot);
        }
        if added.len() > 1 {
            bail!("the machines were not given the same kernel arguments: {added:?}");
        }
        self.subject
            .insert("added".to_owned(), added.into_iter().collect());
        if !flaky.is_empty() {
            self.subject.insert("flaky".to_owned(), flaky.join(", "));
        }
        if let Some(line) = checks.line() {
            self.subject.insert("check".to_owned(), line);
        }
        let mut take = |name: &str| captures.remove(name).context("booted above");
        let (first, second) = match control {
            Some(output) => earlier::boots(output, &self.subject)?,
            None => (take(earlier::BASE[0])?, take(earlier::BASE[1])?),
        };
        let control = Control::new(&first, &second, &rules::all());
        let views = self
            .routes
            .iter()
            .map(|route| Ok((*route, take(route.as_str())?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let facts = self.facts(true);
        std::fs::write(
            self.output.join("facts.json"),
            serde_json::to_string_pretty(&facts)?,
        )?;
        let verdicts = verdicts(&views, &first, &facts, &control);
        Ok(Findings {
            control: Some(control),
            verdicts,
            not_compared: BTreeMap::new(),
            subject: self.subject,
            failed_checks: checks.into_failures(),
        })
    }

    fn boot(&self, machines: &Machines, name: &str, route: Route) -> Result<Booted> {
        let base = FirstBoot::default();
        let first = self.first.get(&route).unwrap_or(&base);
        let disk = self.disk(on_disk(route));
        let run = self.output.join("boots").join(name);
        let booted = machines
            .capture(&disk, first, &run)
            .with_context(|| format!("booting {name}"))?;
        output::step(&format!(
            "{name}: {}",
            booted.account.trim().replace('\n', "; ")
        ));
        Ok(booted)
    }

    fn disk(&self, route: Route) -> PathBuf {
        self.output.join(format!("{route}.img"))
    }

    /// A route's sysroot, made anew.
    pub(super) fn compose(&self, route: Route) -> Result<Composed> {
        output::step(&format!("composing {route}"));
        let folder = self.output.join(route.as_str());
        let sysroot = folder.join("sysroot");
        let tree = make(&folder.join("tree"))?;
        if let (Route::Derive, Some(derivation)) = (route, &self.derivation) {
            let derived = derive::write(
                &self.base,
                &self.merged,
                derivation,
                &folder.join("image"),
                None,
            )?;
            // From the image that anybody could pull, not from what we think it holds.
            let merged = derived.merge(&make(&folder.join("spool"))?)?;
            materialize(&merged, &tree)?;
            return Composed::new(&tree, &derived, &[], None, &sysroot);
        }
        materialize(&self.merged, &tree)?;
        let inject = if route == Route::Etc {
            self.etc.as_ref()
        } else {
            None
        };
        Composed::new(&tree, &self.base, &[], inject, &sysroot)
    }
}

/// What is on the disk that a route boots.
fn on_disk(route: Route) -> Route {
    if route.is_composed() {
        route
    } else {
        Route::Base
    }
}

/// A file of /usr that the host did not recognize was compared by nobody.
fn every_file_has_a_digest(snapshot: &Snapshot) -> Result<()> {
    let usr = snapshot.usr.entries().context("was not captured")?;
    let file = |entry: &PathEntry| entry.path_type == PathType::File && entry.digest.is_none();
    match usr.iter().find(|(_, entry)| file(entry)) {
        Some((path, _)) => bail!("{path} is not in the guest what it is in the deployment"),
        None => Ok(()),
    }
}

/// Every pair of routes.
pub(super) fn verdicts(
    views: &BTreeMap<Route, Snapshot>,
    base: &Snapshot,
    facts: &Facts,
    control: &Control,
) -> Vec<Verdict> {
    let rules: Vec<Rule> = rules::all();
    let mut out = Vec::new();
    for (&left, left_view) in views {
        for (&right, right_view) in views.range(left..).skip(1) {
            let left = Capture {
                route: left,
                snapshot: left_view,
            };
            let right = Capture {
                route: right,
                snapshot: right_view,
            };
            out.push(judge(left, right, base, facts, &rules, control));
        }
    }
    out
}

/// In an output folder of ours.
const MARK: &str = ".pleach-parity";

/// An output folder of an earlier run may be replaced; anything else is left alone.
fn check_output(output: &Path) -> Result<()> {
    let foreign = output.exists()
        && std::fs::read_dir(output)?.next().is_some()
        && !output.join(MARK).exists();
    if foreign {
        bail!(
            "{} is there and was not made by pleach parity; name another --output",
            output.display()
        );
    }
    Ok(())
}

fn replace(output: &Path) -> Result<()> {
    check_output(output)?;
    files::remove(output)?;
    make_private(output)?;
    files::write(&output.join(MARK), b"")
}
