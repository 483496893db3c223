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
use super::halves::Halves;
use super::moments::{Mounted, Seen, Timeline, look};
use crate::boot::{BootOptions, Booted, Machines, forget};
use crate::cli::config::Document;
use crate::cli::derive::{self, Placing};
use crate::cli::fetch::Source;
use crate::cli::image::{self, Merged, OpenImage, Reader, today};
use crate::cli::output;
use crate::cli::private::make_private;
use crate::compose::{BY_LABEL, Composed};
use crate::files;
use crate::first_boot::FirstBoot;

/// Everything that is known before something is composed or booted.
pub(super) struct Work {
    pub(super) customization: Customization,
    pub(super) base: OpenImage,
    pub(super) merged: Merged,
    pub(super) derivation: Option<Derivation<ContentRef>>,
    pub(super) etc: Option<EtcPlan>,
    pub(super) split: Option<Halves>,
    /// With the files that a layer may have although they are private.
    pub(super) published: Customization,
    pub(super) placing: Placing,
    /// What each route's machine is given.
    first: BTreeMap<Route, FirstBoot>,
    pub(super) routes: Vec<Route>,
    pub(super) output: PathBuf,
    pub(super) subject: BTreeMap<String, String>,
    time: Timeline,
    /// Whether disks are kept as their machines left them.
    keep: bool,
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
        placing: &Placing,
        source: &Source,
        output: &Path,
        routes: &[Route],
        time: Timeline,
    ) -> Result<Self> {
        let customization = document.read()?;
        let mut published = customization.clone();
        placing.publish(&mut published)?;
        check_output(output)?;
        let base = image::open(base, source)?;
        output::step(&format!("merging {}", base.reference()));
        let merged = base.merge(&image::open_dir(&std::env::temp_dir())?)?;
        let derivation = match routes.contains(&Route::Derive) {
            true => Some(derive::plan(&published, &merged, &base, placing)?),
            false => None,
        };
        let split = match routes.contains(&Route::Split) {
            true => Some(Halves::plan(&customization, &merged, &base, placing)?),
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
        let mut subject: BTreeMap<_, _> =
            subject.map(|(name, value)| (name.to_owned(), value)).into();
        if let Some(next) = &time.upgrade {
            let shown = format!("{}@{}", next.reference(), next.digest());
            subject.insert("upgrade".to_owned(), shown);
        }
        let (routes, output) = (routes.to_vec(), output.to_owned());
        Ok(Self {
            customization,
            base,
            merged,
            derivation,
            etc,
            split,
            published,
            placing: placing.clone(),
            first,
            routes,
            output,
            subject,
            time,
            keep: false,
        })
    }

    /// Compares the deployments as they are composed, and what becomes of them later.
    pub(super) fn composed(self) -> Result<Findings> {
        replace(&self.output)?;
        let mut not_compared = BTreeMap::new();
        for route in self.routes.iter().filter(|route| !route.is_composed()) {
            let why = "it customizes at first boot; compare it with --boot".to_owned();
            not_compared.insert(route.to_string(), why);
        }
        let mut machines = BTreeMap::new();
        for &route in self.routes.iter().filter(|route| route.is_composed()) {
            machines.insert(
                route,
                (self.compose(route)?, self.journey(route, &self.time)?),
            );
        }
        let (base, control) = (Snapshot::empty(), Control::default());
        let mut verdicts = Vec::new();
        for moment in self.time.passed() {
            let mut seen = BTreeMap::new();
            for (&route, (composed, journey)) in &machines {
                output::step(&format!("{route} at {moment}, {}", moment.what()));
                journey.go(moment, composed.sysroot())?;
                seen.insert(route, look(composed.sysroot())?);
            }
            verdicts.extend(self.verdicts_at(moment, &seen, &base, false, &control));
        }
        Ok(Findings {
            control: None,
            verdicts,
            not_compared,
            subject: self.subject,
            failed_checks: Vec::new(),
        })
    }

    /// Every pair of routes at a moment, if it was asked for.
    fn verdicts_at(
        &self,
        moment: Moment,
        seen: &BTreeMap<Route, Seen>,
        base: &Snapshot,
        booted: bool,
        control: &Control,
    ) -> Vec<Verdict> {
        if !self.time.moments.contains(&moment) {
            return Vec::new();
        }
        let mut facts = self.facts(booted);
        if moment == Moment::Withdrawn {
            facts.withdraw();
        }
        let mut found = verdicts(seen, base, &facts, control);
        for verdict in &mut found {
            verdict.moment = moment;
            let (left, right) = (&seen[&verdict.left], &seen[&verdict.right]);
            verdict.explain(&left.decisions, &right.decisions);
        }
        found
    }

    /// Boots everything, side by side as far as the machine allows, and compares what came up. The
    /// base image is not booted if an earlier run did.
    pub(super) fn booted(
        mut self,
        options: &BootOptions,
        control: Option<&Path>,
        keep: bool,
    ) -> Result<Findings> {
        self.keep = keep;
        let machines = Machines::find(options)?;
        replace(&self.output)?;
        output::step(&machines.host.to_string());
        self.subject
            .insert("machine".to_owned(), machines.host.to_string());
        let base = control.is_none() || self.routes.iter().any(|route| !route.is_composed());
        let routes = self.routes.iter().copied();
        let composed = routes.filter(|route| route.is_composed());
        let mut deployed = BTreeMap::new();
        for route in base.then_some(Route::Base).into_iter().chain(composed) {
            let composed = self.compose(route)?;
            output::step(&format!("writing the disk of {route}"));
            composed.write_disk(&self.disk(route))?;
            deployed.insert(route, composed.static_view()?);
            files::remove(composed.sysroot())?;
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
        let none = FirstBoot::default();
        let plan = boots.iter().map(|&(name, route)| Planned {
            name: name.to_owned(),
            route,
            disk: self.disk(on_disk(route)),
            first: self.first.get(&route).unwrap_or(&none),
            goes_on: self.time.goes_on() && route != Route::Base,
        });
        let booted = self.boot_all(&machines, plan.collect())?;
        let mut captures = BTreeMap::new();
        let (mut flaky, mut added, mut checks) = (Vec::new(), BTreeSet::new(), Checks::default());
        let mut disks = BTreeMap::new();
        for (name, route, mut booted) in booted {
            let name = &*name;
            disks.insert(route, booted.disk.clone());
            // The host hashes /usr, which is read-only in the guest, many times faster.
            let deployed = deployed.get(&on_disk(route)).context("composed above")?;
            booted.snapshot.take_usr_digests(deployed);
            every_file_has_a_digest(&booted.snapshot).with_context(|| format!("/usr of {name}"))?;
            let folder = self.output.join("boots").join(name);
            files::write(&folder.join("snapshot.json"), &booted.snapshot.to_json())?;
            added.insert(booted.added);
            if let Some(check) = &booted.check {
                checks.add(name, route, check);
            }
            if booted.flaky {
                flaky.push(name.to_owned());
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
        let mut views = BTreeMap::new();
        for &route in &self.routes {
            let snapshot = take(route.as_str())?;
            views.insert(route, Seen::of(snapshot));
        }
        let facts = self.facts(true);
        std::fs::write(
            self.output.join("facts.json"),
            serde_json::to_string_pretty(&facts)?,
        )?;
        let mut verdicts = self.verdicts_at(Moment::First, &views, &first, true, &control);
        let mut not_compared = BTreeMap::new();
        for moment in self.time.passed().skip(1) {
            let views = self.at(
                moment,
                &machines,
                &mut disks,
                &mut checks,
                &mut not_compared,
            )?;
            verdicts.extend(self.verdicts_at(moment, &views, &first, true, &control));
        }
        Ok(Findings {
            control: Some(control),
            verdicts,
            not_compared,
            subject: self.subject,
            failed_checks: checks.into_failures(),
        })
    }

    /// Brings every route's machine from the moment before to this one, and boots it.
    fn at(
        &self,
        moment: Moment,
        machines: &Machines,
        disks: &mut BTreeMap<Route, PathBuf>,
        checks: &mut Checks,
        not_compared: &mut BTreeMap<String, String>,
    ) -> Result<BTreeMap<Route, Seen>> {
        let none = FirstBoot::default();
        let mut seen = BTreeMap::new();
        let mut plan = Vec::new();
        for &route in &self.routes {
            let journey = self.journey(route, &self.time)?;
            if let Err(why) = journey.reaches(moment) {
                not_compared.insert(format!("{route} at {moment}"), why.to_owned());
                if let Some(disk) = disks.remove(&route).filter(|_| !self.keep) {
                    std::fs::remove_file(disk)?;
                }
                continue;
            }
            output::step(&format!("{route} at {moment}, {}", moment.what()));
            let disk = disks.get(&route).context("booted before")?;
            let mounted = Mounted::new(disk, &self.output.join("mounted"))?;
            journey.go(moment, mounted.path())?;
            seen.insert(route, look(mounted.path())?);
            mounted.finish()?;
            let gives = route == Route::Credentials && moment != Moment::Withdrawn;
            plan.push(Planned {
                name: format!("{route}-{moment}"),
                route,
                disk: disk.clone(),
                first: self.first.get(&route).filter(|_| gives).unwrap_or(&none),
                goes_on: moment < self.time.last(),
            });
        }
        for (name, route, mut booted) in self.boot_all(machines, plan)? {
            let known = seen.get_mut(&route).context("looked at above")?;
            booted.snapshot.take_usr_digests(&known.snapshot);
            every_file_has_a_digest(&booted.snapshot).with_context(|| format!("/usr of {name}"))?;
            let folder = self.output.join("boots").join(&name);
            files::write(&folder.join("snapshot.json"), &booted.snapshot.to_json())?;
            if let Some(check) = &booted.check {
                // What is withdrawn must do no longer what the customization is for.
                let judged = match moment {
                    Moment::Withdrawn => Route::Base,
                    _ => route,
                };
                checks.add(&name, judged, check);
            }
            let attempt = booted.disk.parent().context("a disk in its attempt")?;
            let before = disks.get(&route).filter(|_| !self.keep);
            before.map(|disk| forget(disk, attempt)).transpose()?;
            disks.insert(route, booted.disk);
            known.snapshot = booted.snapshot;
        }
        Ok(seen)
    }

    /// Boots side by side, as far as the machine allows.
    fn boot_all<'a>(
        &self,
        machines: &Machines,
        plan: Vec<Planned<'a>>,
    ) -> Result<Vec<(String, Route, Booted)>> {
        let booted: Vec<Result<_>> = std::thread::scope(|scope| {
            let start = |planned: Planned<'a>| {
                scope.spawn(move || {
                    let booted = self.boot(machines, &planned)?;
                    Ok((planned.name, planned.route, booted))
                })
            };
            let threads: Vec<_> = plan.into_iter().map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                let panicked = |_| Err(anyhow!("a boot's thread panicked"));
                thread.join().unwrap_or_else(panicked)
            };
            threads.into_iter().map(join).collect()
        });
        let mut done = Vec::new();
        let mut failed = Vec::new();
        for boot in booted {
            match boot {
                Ok(boot) => done.push(boot),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(done)
    }

    fn boot(&self, machines: &Machines, planned: &Planned<'_>) -> Result<Booted> {
        let name = &planned.name;
        let run = self.output.join("boots").join(name);
        let booted = machines
            .capture(&planned.disk, planned.first, &run)
            .with_context(|| format!("booting {name}"))?;
        output::step(&format!(
            "{name}: {}",
            booted.account.trim().replace('\n', "; ")
        ));
        let fails = booted.check.as_ref().is_some_and(|check| check.exit != 0);
        let failed = fails && planned.route != Route::Base;
        if !(self.keep || planned.goes_on || failed) {
            std::fs::remove_file(&booted.disk)?;
        }
        Ok(booted)
    }

    fn disk(&self, route: Route) -> PathBuf {
        self.output.join(format!("{route}.img"))
    }

    /// A route's sysroot, made anew.
    fn compose(&self, route: Route) -> Result<Composed> {
        output::step(&format!("composing {route}"));
        let folder = self.output.join(route.as_str());
        let sysroot = folder.join("sysroot");
        let derived = match (route, &self.derivation, &self.split) {
            (Route::Derive, Some(derivation), _) => Some((derivation, None)),
            (Route::Split, _, Some(halves)) => Some((&halves.derivation, Some(&halves.rest))),
            _ => None,
        };
        if let Some((derivation, rest)) = derived {
            let derived = derive::write(
                &self.base,
                &self.merged,
                derivation,
                &folder.join("image"),
                None,
            )?;
            // From the image that anybody could pull, not from what we think it holds.
            return Composed::new(&derived, BY_LABEL, &[], rest, &sysroot);
        }
        let inject = if route == Route::Etc {
            self.etc.as_ref()
        } else {
            None
        };
        let composed = Composed::new(&self.base, BY_LABEL, &[], inject, &sysroot)?;
        if self.time.goes_on() {
            composed.record(inject, &self.time.document)?;
        }
        Ok(composed)
    }
}

/// A boot that is to come.
struct Planned<'a> {
    name: String,
    route: Route,
    disk: PathBuf,
    first: &'a FirstBoot,
    /// Whether its disk is booted again, at a later moment.
    goes_on: bool,
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
fn verdicts(
    views: &BTreeMap<Route, Seen>,
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
                snapshot: &left_view.snapshot,
            };
            let right = Capture {
                route: right,
                snapshot: &right_view.snapshot,
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

pub(super) fn replace(output: &Path) -> Result<()> {
    check_output(output)?;
    files::remove(output)?;
    make_private(output)?;
    files::write(&output.join(MARK), b"")
}
