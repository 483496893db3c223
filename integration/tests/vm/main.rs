//! The VM suite. `cargo xtask test --tier vm` hands it its inputs; it runs under nextest too.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test suite opens what its environment names, and talks to a person"
)]

mod cases;
mod kills;
mod lifecycle;
mod uefi;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use pleach_integration::disk::{Disk, discard};
use pleach_integration::faults::FAULTS;
use pleach_integration::setting::Setting;
use pleach_integration::shared::{EVERY, KEPT, Run, SITE, SPLIT, Shared};
use pleach_parity::{Capture, Control, Route, judge, rules};

fn main() {
    let mut arguments = Arguments::from_args();
    // A machine for each core; permits hold across processes too.
    if arguments.test_threads.is_none() {
        arguments.test_threads = std::thread::available_parallelism().ok().map(Into::into);
    }
    let setting = Arc::new(Setting::find());
    let mut trials = vec![
        trial(
            "parity::routes_boot_to_the_same_state",
            &setting,
            |setting| run_agrees(setting, &SITE),
        ),
        trial(
            "parity::five_routes_carry_every_field_to_the_same_state",
            &setting,
            |setting| run_agrees(setting, &EVERY),
        ),
        trial("parity::the_control_is_sound", &setting, control_is_sound),
        trial(
            "parity::composed_trees_agree_without_booting",
            &setting,
            composed_trees_agree,
        ),
        trial(
            "parity::every_section_was_captured",
            &setting,
            every_section_was_captured,
        ),
        trial("faults::each_is_named", &setting, faults_are_found),
    ];
    let whole = std::env::var("PLEACH_CASES").is_ok_and(|which| which == "all");
    trials.extend(cases::trials(&setting, whole));
    if whole {
        trials.extend(lifecycle::trials(&setting));
        trials.extend(kills::trials(&setting));
        trials.push(trial(
            "parity::units_in_usr_do_what_they_do_in_etc",
            &setting,
            units_in_usr_agree,
        ));
        trials.push(trial(
            "parity::a_split_boots_to_the_same_state",
            &setting,
            |setting| run_agrees(setting, &SPLIT),
        ));
    } else {
        println!(
            "a machine's life, kills in mid-upgrade, a split, units of /usr, other file systems and all but one bad deployment are not booted here: cargo xtask test --tier vm --all"
        );
    }
    trials.extend(uefi::trials(&setting, whole));
    if let Err(why) = &*setting
        && !arguments.list
        && !in_ci()
    {
        eprintln!("SKIP vm suite, {} tests: {why:#}", trials.len());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list
        && let Ok(setting) = &*setting
    {
        properties(setting);
    }
    conclusion.exit();
}

/// A test. Where it cannot run it is ignored, and already listed so, that nextest shows it as
/// skipped too; where `CI=true` it fails.
pub(crate) fn trial(
    name: &str,
    setting: &Arc<Result<Setting>>,
    test: impl FnOnce(&Setting) -> Result<()> + Send + 'static,
) -> Trial {
    let cannot_run = setting.is_err();
    let setting = Arc::clone(setting);
    let trial = Trial::test(name, move || {
        let result = match &*setting {
            Ok(setting) => test(setting).map_err(|error| format!("{error:?}")),
            Err(why) => Err(format!("cannot run: {why:#}")),
        };
        result.map_err(Failed::from)
    });
    trial.with_ignored_flag(cannot_run && !in_ci())
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// What the machine was, for reports, if anything was booted that tells.
fn properties(setting: &Setting) {
    let made = Shared::if_made(setting).ok().flatten();
    let report = made.and_then(|shared| shared.report().ok());
    for (name, value) in report.into_iter().flat_map(|report| report.subject) {
        println!("property {name} = {value}");
    }
}

fn run_agrees(setting: &Setting, run: &Run) -> Result<()> {
    let shared = Shared::of(setting, run)?;
    let report = shared.report()?;
    let pairs = run.routes.len() * (run.routes.len() - 1) / 2;
    ensure!(
        report.verdicts.len() == pairs,
        "{pairs} pairs of routes: {}",
        report.verdicts.len()
    );
    ensure!(
        report.defects() == 0,
        "{}\n{}",
        shared.answer.stdout,
        shared.answer.stderr
    );
    ensure!(
        shared.answer.code == Some(0),
        "exit code {:?}",
        shared.answer.code
    );
    for verdict in &report.verdicts {
        let equal: usize = verdict.equal.values().sum();
        ensure!(
            equal > 5000,
            "{} and {}: only {equal} entries",
            verdict.left,
            verdict.right
        );
    }
    Ok(())
}

/// The image has the document's units in `/usr`; the base image has been booted by another run.
fn units_in_usr_agree(setting: &Setting) -> Result<()> {
    let control = Shared::get(setting)?.folder.display().to_string();
    let output = setting.output.join("units-in-usr").display().to_string();
    let (site, agent) = (
        Setting::site().display().to_string(),
        setting.agent.display().to_string(),
    );
    let mut arguments = vec![
        "parity",
        "--boot",
        "--base",
        &setting.base,
        "--config",
        &site,
    ];
    arguments.extend(["--routes", "derive,etc", "--units-in", "usr"]);
    arguments.extend([
        "--control",
        &control,
        "--agent",
        &agent,
        "--output",
        &output,
    ]);
    let answer = setting.done(&arguments)?;
    ensure!(
        answer.stdout.contains("parity: equal, 0 defects")
            && answer.stdout.contains("  image-units (definition): "),
        "{}",
        answer.stdout
    );
    discard(Path::new(&output))
}

fn control_is_sound(setting: &Setting) -> Result<()> {
    for run in [SITE, EVERY] {
        let report = Shared::of(setting, &run)?.report()?;
        let control = report.control.context("it was booted")?;
        ensure!(control.is_sound(), "{}: {control:#?}", run.name);
    }
    Ok(())
}

fn composed_trees_agree(setting: &Setting) -> Result<()> {
    let compose = |document: &str, more: &[&str]| -> Result<String> {
        let output = setting.output.join("composed").display().to_string();
        let document = Setting::customizations().join(document);
        let document = document.display().to_string();
        let mut arguments = vec!["parity", "--base", &setting.base, "--config", &document];
        arguments.extend(["--output", &output]);
        arguments.extend(more);
        Ok(setting.done(&arguments)?.stdout)
    };
    let said = compose("site.bu", &[])?;
    ensure!(said.contains("ignition: not compared"), "{said}");
    // A layer with all of it, and one with what may be public; units of the image.
    let publish = EVERY.publish.iter().flat_map(|path| ["--publish", *path]);
    let mut more = vec!["--routes", "derive,etc,split"];
    more.extend(publish);
    let said = compose("every.bu", &more)?;
    ensure!(
        said.contains("  split-declarations (definition): "),
        "{said}"
    );
    let said = compose("site.bu", &["--routes", "derive,etc", "--units-in", "usr"])?;
    ensure!(said.contains("  image-units (definition): "), "{said}");
    Ok(())
}

fn every_section_was_captured(setting: &Setting) -> Result<()> {
    for run in [SITE, EVERY] {
        let shared = Shared::of(setting, &run)?;
        for boot in ["base-1", "base-2"].iter().chain(run.routes) {
            for (section, status) in shared.snapshot(boot)?.statuses() {
                let captured = section.is_optional()
                    || matches!(status, pleach_booted_state::Status::Entries(_));
                ensure!(captured, "{}, {boot}: {section}: {status}", run.name);
            }
        }
    }
    Ok(())
}

/// The route `etc` with all of the faults, booted, against the route `derive` without them. One boot does:
/// each fault has to be named by itself.
fn faults_are_found(setting: &Setting) -> Result<()> {
    let shared = Shared::get(setting)?;
    let folder = setting.output.join("faults");
    let _ = std::fs::remove_dir_all(&folder);
    let disk = Disk::copy(&shared.folder.join(KEPT), &folder.join("disk.img"))?;
    for fault in FAULTS {
        (fault.plant)(&disk).with_context(|| format!("planting {}", fault.name))?;
    }
    let (image, boot) = (disk.path().display().to_string(), folder.join("boot"));
    let (boot, agent) = (
        boot.display().to_string(),
        setting.agent.display().to_string(),
    );
    setting.done(&["capture", &image, "--agent", &agent, "--output", &boot])?;
    let json = std::fs::read(folder.join("boot/snapshot.json"))?;
    let mut planted = pleach_booted_state::Snapshot::from_json(&json)?;
    let (sound, derived) = (shared.snapshot("etc")?, shared.snapshot("derive")?);
    planted.take_usr_digests(&sound);
    let (first, second) = (shared.snapshot("base-1")?, shared.snapshot("base-2")?);
    let rules = rules::all();
    let control = Control::new(&first, &second, &rules);
    let verdict = judge(
        Capture {
            route: Route::Derive,
            snapshot: &derived,
        },
        Capture {
            route: Route::Etc,
            snapshot: &planted,
        },
        &first,
        &shared.facts()?,
        &rules,
        &control,
    );
    let defects: Vec<_> = verdict.defects.iter().map(ToString::to_string).collect();
    let missed = FAULTS.iter().flat_map(|fault| {
        let unnamed = fault.named.iter().filter(|texts| {
            let named = |line: &String| texts.iter().all(|text| line.contains(text));
            !defects.iter().any(named)
        });
        unnamed.map(|texts| format!("{}: no defect names {texts:?}", fault.name))
    });
    let missed: Vec<_> = missed.collect();
    ensure!(
        missed.is_empty(),
        "{}\nthere are {} defects:\n{}",
        missed.join("\n"),
        defects.len(),
        defects.join("\n")
    );
    discard(&folder)
}
