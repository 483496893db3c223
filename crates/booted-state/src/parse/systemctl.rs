//! systemctl.
//!
//! Names of units are left as systemd prints them: they have an escaping of their own.

use std::collections::BTreeMap;

use crate::model::{Job, LoadedUnit, Unit};
use crate::parse::{not_understood, rows, some};

/// The properties that [`show`] reads, for `--property`.
pub(crate) const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,\
    FragmentPath,SourcePath,DropInPaths,ConditionResult,ConditionTimestampMonotonic,\
    ExecMainStartTimestampMonotonic,ExecMainStatus,NRestarts";

/// Properties, in blocks with blank lines between them.
fn blocks(text: &str) -> Result<Vec<BTreeMap<&str, &str>>, String> {
    let mut blocks = vec![BTreeMap::new()];
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() {
            blocks.push(BTreeMap::new());
        } else {
            let property = line.split_once('=');
            let property = property.ok_or_else(|| not_understood("systemctl show", index))?;
            blocks.last_mut().expect("there is one").extend([property]);
        }
    }
    blocks.retain(|block| !block.is_empty());
    Ok(blocks)
}

/// `systemctl show --property=… '*'`: units by name.
pub(crate) fn show(text: &str) -> Result<BTreeMap<String, LoadedUnit>, String> {
    let unit = |block: BTreeMap<&str, &str>| {
        let get = |name: &str| block.get(name).copied().unwrap_or_default();
        let happened = |stamp| block.get(stamp).map(|time| !matches!(*time, "" | "0"));
        let checked = happened("ConditionTimestampMonotonic") == Some(true);
        let unit = LoadedUnit {
            load_state: get("LoadState").to_owned(),
            active_state: get("ActiveState").to_owned(),
            sub_state: get("SubState").to_owned(),
            unit_file_state: some(get("UnitFileState")),
            result: some(get("Result")),
            fragment_path: some(get("FragmentPath")),
            source_path: some(get("SourcePath")),
            drop_in_paths: get("DropInPaths")
                .split_whitespace()
                .map(Into::into)
                .collect(),
            condition_result: some(get("ConditionResult")).filter(|_| checked),
            started: happened("ExecMainStartTimestampMonotonic"),
            exec_main_status: get("ExecMainStatus").parse().ok(),
            restarts: get("NRestarts").parse().ok(),
        };
        Some((some(get("Id"))?, unit))
    };
    Ok(blocks(text)?.into_iter().filter_map(unit).collect())
}

/// `systemctl list-units --all --plain --no-legend`: name and the three states of each unit.
pub(crate) fn list_units(text: &str) -> Result<BTreeMap<String, LoadedUnit>, String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let name = words.next()?;
        let unit = LoadedUnit {
            load_state: words.next()?,
            active_state: words.next()?,
            sub_state: words.next()?,
            ..LoadedUnit::default()
        };
        Some((name, unit))
    };
    let rows = rows(text, "systemctl list-units", row)?;
    Ok(rows.into_iter().collect())
}

/// `systemctl list-unit-files --no-legend`: name, state, preset. Newer versions mark the state of a
/// unit whose presets differ, older ones print no third column.
pub(crate) fn list_unit_files(text: &str) -> Result<BTreeMap<String, Unit>, String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let enablement = Some(words.next()?.to_owned());
        let preset = words.next().filter(|word| *word != "-").map(Into::into);
        let unit = Unit {
            enablement,
            preset,
            loaded: None,
        };
        Some((name, unit))
    };
    let rows = rows(text, "systemctl list-unit-files", row)?;
    Ok(rows.into_iter().collect())
}

/// `systemctl list-jobs --no-legend`: number, unit, type, state. Some versions say that there are none.
pub(crate) fn list_jobs(text: &str) -> Result<Vec<(String, Job)>, String> {
    if matches!(text.trim(), "No jobs running." | "No jobs listed.") {
        return Ok(Vec::new());
    }
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [number, unit, job_type, state, ..] = words[..] else {
            return None;
        };
        number.parse::<u32>().ok()?;
        let job = Job {
            job_type: job_type.to_owned(),
            state: state.to_owned(),
        };
        Some((unit.to_owned(), job))
    };
    rows(text, "systemctl list-jobs", row)
}

/// Properties of the manager: those that say how it is configured, and the monotonic time stamps of
/// the boot, in microseconds.
pub(crate) fn manager(text: &str) -> Result<Manager, String> {
    let (mut settings, mut times) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in rows(text, "systemctl show", |line| line.split_once('='))? {
        let entry = (name.to_owned(), value.to_owned());
        if name.ends_with("TimestampMonotonic") {
            times.extend([entry]);
        } else if !name.ends_with("Timestamp") && !COUNTERS.contains(&name) {
            settings.extend([entry]);
        }
    }
    Ok((settings, times))
}

/// Settings, and times of the boot.
pub(crate) type Manager = (BTreeMap<String, String>, BTreeMap<String, String>);

/// Properties of the manager that count, or that another section has.
const COUNTERS: &[&str] = &[
    "NFailedJobs",
    "NFailedUnits",
    "NInstalledJobs",
    "NJobs",
    "NNames",
    "Progress",
    "SystemState",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_reads_one_unit_a_block() {
        let units = show(
            "Result=success\nExecMainStatus=1\nNRestarts=2\nId=ssh.service\nLoadState=loaded\n\
             ActiveState=active\nSubState=running\nFragmentPath=/usr/lib/systemd/system/ssh.service\n\
             DropInPaths=/etc/systemd/system/ssh.service.d/a.conf /run/b.conf\nUnitFileState=enabled\n\
             ConditionResult=yes\nConditionTimestampMonotonic=7\nSourcePath=\n\
             ExecMainStartTimestampMonotonic=8\n\n\
             Id=dev-vda.device\nLoadState=loaded\nActiveState=active\nSubState=plugged\n\
             ConditionResult=no\nConditionTimestampMonotonic=0\n\n\
             Id=never.service\nLoadState=loaded\nExecMainStartTimestampMonotonic=0\n\n\
             Id=home.mount\nLoadState=masked\nConditionResult=no\nConditionTimestampMonotonic=9\n",
        )
        .expect("properties");
        let names: Vec<&String> = units.keys().collect();
        assert_eq!(
            names,
            [
                "dev-vda.device",
                "home.mount",
                "never.service",
                "ssh.service"
            ]
        );
        let ssh = &units["ssh.service"];
        assert_eq!((ssh.exec_main_status, ssh.restarts), (Some(1), Some(2)));
        assert_eq!(
            ssh.drop_in_paths,
            ["/etc/systemd/system/ssh.service.d/a.conf", "/run/b.conf"]
        );
        assert_eq!(ssh.condition_result.as_deref(), Some("yes"));
        assert_eq!(ssh.source_path, None);
        let started: Vec<Option<bool>> = units.values().map(|unit| unit.started).collect();
        assert_eq!(started, [None, None, Some(false), Some(true)]);
        let device = &units["dev-vda.device"];
        assert_eq!((&device.result, &device.condition_result), (&None, &None));
        assert_eq!(units["home.mount"].load_state, "masked");
        assert_eq!(units["home.mount"].condition_result.as_deref(), Some("no"));
        for nothing in ["", "\n\nExecMainStatus=1\n\n"] {
            let units = show(nothing).expect(nothing);
            assert_eq!(units.len(), 0, "no Id, no unit: {nothing}");
        }
    }

    #[test]
    fn list_units_has_four_columns_and_more() {
        let units = list_units(
            "dev-a\\x2db.device loaded active plugged A disk\n\
             no.service not-found inactive dead start no.service\n",
        )
        .expect("rows");
        let shown: Vec<String> = units
            .iter()
            .map(|(name, u)| format!("{name} {} {} {}", u.load_state, u.active_state, u.sub_state))
            .collect();
        let expect = [
            "dev-a\\x2db.device loaded active plugged",
            "no.service not-found inactive dead",
        ];
        assert_eq!(shown, expect);
    }

    #[test]
    fn list_unit_files_in_old_and_new_form() {
        let check = |line: &str, name: &str, enablement: &str, preset: Option<&str>| {
            let files = list_unit_files(line).expect(line);
            let unit = files
                .get(name)
                .unwrap_or_else(|| panic!("{line}: {files:?}"));
            let found = (unit.enablement.as_deref(), unit.preset.as_deref());
            assert_eq!(found, (Some(enablement), preset), "{line}");
        };
        check(
            "a.service enabled enabled",
            "a.service",
            "enabled",
            Some("enabled"),
        );
        check(
            "a.service  masked  disabled\n",
            "a.service",
            "masked",
            Some("disabled"),
        );
        check(
            "proc-x.automount static -",
            "proc-x.automount",
            "static",
            None,
        );
        check("a@.service  indirect", "a@.service", "indirect", None);
        check(
            "dev-a\\x2db.swap generated -",
            "dev-a\\x2db.swap",
            "generated",
            None,
        );
        assert_eq!(list_unit_files("\n").expect("no rows").len(), 0);
    }

    #[test]
    fn list_jobs_has_four_columns() {
        let jobs = list_jobs("  12 a.service  start  running\n 3 b.target start waiting\n");
        let jobs = jobs.expect("rows");
        let shown: Vec<_> = jobs
            .iter()
            .map(|(unit, job)| format!("{unit} {} {}", job.job_type, job.state))
            .collect();
        assert_eq!(shown, ["a.service start running", "b.target start waiting"]);
        for none in ["", "No jobs running.\n", "No jobs listed.\n"] {
            assert_eq!(list_jobs(none), Ok(vec![]), "{none}");
        }
    }

    #[test]
    fn a_line_that_is_no_row_is_named_by_its_number() {
        let check = |found: Option<String>, expect: &str| {
            assert_eq!(found, Some(format!("systemctl {expect} is not understood")));
        };
        check(
            show("Id=a.service\n\nId=b.service\nnoise\n").err(),
            "show: line 4",
        );
        check(
            list_units("a.service loaded active running A\nb.service loaded active\n").err(),
            "list-units: line 2",
        );
        check(
            list_unit_files("a.service enabled\n\nb.service\n").err(),
            "list-unit-files: line 3",
        );
        check(
            list_jobs("one a.service start running\n").err(),
            "list-jobs: line 1",
        );
        check(
            list_jobs("1 a.service start running\n2 b.service start\n").err(),
            "list-jobs: line 2",
        );
        check(manager("Version=257\nnoise\n").err(), "show: line 2");
    }

    #[test]
    fn manager_is_settings_and_times() {
        let (settings, times) = manager(
            "Version=257\nNNames=300\nUserspaceTimestamp=Thu 2026\nFinishTimestampMonotonic=9\n\
             SystemState=running\nEnvironment=LANG=C.UTF-8 PATH=/usr/bin\nTainted=\n",
        )
        .expect("properties");
        let expect = [
            ("Environment", "LANG=C.UTF-8 PATH=/usr/bin"),
            ("Tainted", ""),
            ("Version", "257"),
        ];
        let found: Vec<_> = settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expect);
        assert_eq!(
            times.keys().collect::<Vec<_>>(),
            ["FinishTimestampMonotonic"]
        );
    }
}
