//! Units, as the service manager sees them.

use serde::{Deserialize, Serialize};

/// A unit: its file, and its state if it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// The state in `systemctl list-unit-files` (`enabled`, `static`, `masked`…); none for a unit
    /// without a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enablement: Option<String>,
    /// What the presets say: `enabled` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The unit as it is in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<LoadedUnit>,
}

impl Unit {
    /// Whether the unit is masked, for good or until the next boot.
    pub fn is_masked(&self) -> bool {
        let masked = |state: &str| state == "masked" || state == "masked-runtime";
        self.enablement.as_deref().is_some_and(masked)
            || self
                .loaded
                .as_ref()
                .is_some_and(|unit| masked(&unit.load_state))
    }
}

/// A loaded unit. What comes after the first three is captured of services, sockets, mounts,
/// automounts, swaps, timers and paths only: it is dear to ask for, and says nothing of others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadedUnit {
    /// `LoadState`.
    pub load_state: String,
    /// `ActiveState`.
    pub active_state: String,
    /// `SubState`.
    pub sub_state: String,
    /// `UnitFileState`, where the unit has a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_file_state: Option<String>,
    /// `Result`, where the type of unit has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// `FragmentPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_path: Option<String>,
    /// `SourcePath`: what a generator made the unit from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// `DropInPaths`, in the order in which they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_in_paths: Vec<String>,
    /// `ConditionResult`, where conditions were checked: `no` means skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_result: Option<String>,
    /// Whether the main process of a service was ever started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
    /// `ExecMainStatus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_main_status: Option<i32>,
    /// `NRestarts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
}

/// A unit that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedUnit {
    /// `Result`: `exit-code`, `timeout`, `start-limit-hit`…
    pub result: String,
    /// Exit status of the main process, of a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_main_status: Option<i32>,
}

/// A job in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// `start`, `stop`…
    #[serde(rename = "type")]
    pub job_type: String,
    /// `waiting` or `running`.
    pub state: String,
}

/// A preset file that is in effect (systemd.preset(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetFile {
    /// The directory it comes from; one of the same name in a weaker directory is hidden.
    pub directory: String,
    /// Its directives, in order.
    pub directives: Vec<String>,
}
