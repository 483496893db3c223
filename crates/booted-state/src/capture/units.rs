//! The service manager: units, jobs, presets; and the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use pleach_fs_tree::escape;

use super::section;
use super::tools::{Tools, text};
use super::view::{View, at};
use crate::model::{FailedUnit, PresetFile, Unit};
use crate::parse::{journal, preset, systemctl};
use crate::{Error, Section, Snapshot};

pub(crate) fn capture(
    view: &View<'_>,
    tools: &Tools<'_>,
    wait: Option<Duration>,
    snapshot: &mut Snapshot,
) -> Result<(), Error> {
    let system = system(tools, wait);
    snapshot.jobs = section(
        tools
            .text(
                "systemctl",
                &["list-jobs", "--no-legend", "--no-pager", "--full"],
            )
            .and_then(|text| systemctl::list_jobs(&text)),
    );
    let units = units(tools);
    snapshot.failed_units = section(units.as_ref().map(failed).map_err(Clone::clone));
    snapshot.units = section(units);
    snapshot.system = section(system);
    let manager = tools.text("systemctl", &["show", "--no-pager"]);
    match manager.and_then(|text| systemctl::manager(&text)) {
        Ok((settings, times)) => {
            snapshot.manager = Section::Entries(settings);
            snapshot.boot = Section::Entries(times);
        }
        Err(why) => {
            snapshot.manager = Section::unavailable(&why);
            snapshot.boot = Section::unavailable(&why);
        }
    }
    if let (Some(boot), Some(id)) = (
        snapshot.boot.entries_mut(),
        view.line("/proc/sys/kernel/random/boot_id")?,
    ) {
        boot.insert("boot_id".to_owned(), id);
    }
    snapshot.presets = presets(view)?;
    let fields = format!("--output-fields={}", journal::FIELDS);
    let arguments = [
        "--boot",
        "--priority=err",
        "--output=json",
        "--no-pager",
        "--quiet",
        &fields,
    ];
    let problems = tools.output("journalctl", &arguments);
    snapshot.journal_problems = section(problems.and_then(|text| journal::problems(&text)));
    Ok(())
}

/// The state of the whole, after waiting for the end of the boot.
fn system(tools: &Tools<'_>, wait: Option<Duration>) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    let mut waited = None;
    if let Some(limit) = wait {
        // It ends with other codes than 0 where the state is not `running`.
        match tools.any("systemctl", &["is-system-running", "--wait"], limit) {
            Ok(output) => waited = Some(output.stdout),
            Err(why) if why.contains("took longer") => {
                out.insert("wait".to_owned(), why);
            }
            Err(why) => return Err(why),
        }
    }
    let state = match waited {
        Some(state) => state,
        None => {
            tools
                .any("systemctl", &["is-system-running"], Duration::from_secs(60))?
                .stdout
        }
    };
    let state = text(state).trim().to_owned();
    if state.is_empty() {
        return Err("systemctl is-system-running: no answer".to_owned());
    }
    out.insert("state".to_owned(), state);
    let target = tools.text("systemctl", &["get-default"])?;
    out.insert("default_target".to_owned(), target.trim().to_owned());
    Ok(out)
}

/// Types of units of which more than the state is asked. Each unit costs the service manager tens of
/// milliseconds under emulation.
const DETAILED: &[&str] = &[
    "*.service",
    "*.socket",
    "*.mount",
    "*.automount",
    "*.swap",
    "*.timer",
    "*.path",
];

fn units(tools: &Tools<'_>) -> Result<BTreeMap<String, Unit>, String> {
    let list = ["--no-legend", "--no-pager", "--full"];
    let files = tools.text("systemctl", &[&["list-unit-files"], &list[..]].concat())?;
    let states = tools.text(
        "systemctl",
        &[&["list-units", "--all", "--plain"], &list[..]].concat(),
    )?;
    let properties = format!("--property={}", systemctl::PROPERTIES);
    let show = ["show", "--all", "--no-pager", &properties];
    let details = tools.text("systemctl", &[&show, DETAILED].concat())?;
    let mut units = systemctl::list_unit_files(&files)?;
    // The details come last: they hold the states too.
    let loaded = systemctl::list_units(&states)?
        .into_iter()
        .chain(systemctl::show(&details)?);
    for (name, unit) in loaded {
        units.entry(name).or_default().loaded = Some(unit);
    }
    Ok(units)
}

fn failed(units: &BTreeMap<String, Unit>) -> Vec<(String, FailedUnit)> {
    let failed = |(name, unit): (&String, &Unit)| {
        let unit = unit
            .loaded
            .as_ref()
            .filter(|unit| unit.active_state == "failed")?;
        let failed = FailedUnit {
            result: unit.result.clone().unwrap_or_default(),
            exec_main_status: unit.exec_main_status,
        };
        Some((name.clone(), failed))
    };
    units.iter().filter_map(failed).collect()
}

/// Where preset files come from, the strongest first (systemd.preset(5)).
const PRESET_DIRECTORIES: &[&str] = &[
    "/etc/systemd/system-preset",
    "/run/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
];

fn presets(view: &View<'_>) -> Result<Section<PresetFile>, Error> {
    let mut files = BTreeMap::new();
    for directory in PRESET_DIRECTORIES {
        let path = at(directory);
        for name in view.list(&path)? {
            let key = escape(name.as_bytes());
            if !key.ends_with(".preset") || files.contains_key(&key) {
                continue;
            }
            // A link to /dev/null is no regular file: it hides the others and has no directives.
            let content = view.read(&path.join(&name))?.unwrap_or_default();
            let file = PresetFile {
                directory: (*directory).to_owned(),
                directives: preset::directives(&content),
            };
            files.insert(key, file);
        }
    }
    Ok(Section::Entries(files))
}
