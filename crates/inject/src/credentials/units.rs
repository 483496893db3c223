//! Units: `systemd.extra-unit.*` and `systemd.unit-dropin.*`, which systemd-debug-generator(8) puts
//! before those of `/etc` and of the image. A drop-in keeps its name (`UNIT~NAME`, systemd 257 or
//! newer); what has none of its own is joined into one for each unit.

use std::collections::BTreeMap;

use pleach_customization::lower::{Action, PRESET_PATH};
use pleach_customization::{Customization, Origin};

use super::tmpfiles::EXTRA as TMPFILES;
use super::{CredentialsError, Made, refused};
use crate::alone::{alone, brings};

const UNITS: &str = "/etc/systemd/system";
/// What starts units of the image, whose own `[Install]` is not at hand.
const TARGET: &str = "multi-user.target";
/// No unit is started while this does not hold, and `/` is always there.
const NEVER: &str = "[Unit]\nConditionPathExists=!/\n";

pub(super) fn add(c: &Customization, made: &mut Made) -> Result<(), CredentialsError> {
    let mut units = c.clone();
    units.directories.clear();
    units.files.clear();
    units.links.clear();
    let mut dropins: BTreeMap<String, String> = BTreeMap::new();
    let mut dropin = |unit: &str, name: &str, text: &str| {
        let credential = match name.strip_suffix(".conf").unwrap_or(name) {
            "" => unit.to_owned(),
            name => format!("{unit}~{name}"),
        };
        let one = dropins.entry(credential).or_default();
        if !one.is_empty() && !one.ends_with('\n') {
            one.push('\n');
        }
        one.push_str(text);
    };
    for unit in &mut units.units {
        let name = unit.name.clone();
        match (unit.enabled, unit.mask) {
            (_, Some(true)) => {
                // The link counts when units are read again; until then the condition does.
                let line = format!("L+ {UNITS}/{name} - - - - /dev/null\n");
                made.add(TMPFILES, line.as_bytes());
                dropin(&name, "", NEVER);
            }
            (_, Some(false)) | (Some(false), _) => {
                return Err(refused(
                    format!("unit {name}"),
                    &unit.origin,
                    "no credential takes away a link that the image has",
                    "mask it, or inject it by another route",
                ));
            }
            (Some(true), None) if !brings(c, &name) => {
                dropin(TARGET, "", &format!("[Unit]\nWants={name}\n"));
                unit.enabled = None;
            }
            _ => {}
        }
        unit.mask = None;
    }
    for change in alone(&units)? {
        let path = String::from_utf8_lossy(&change.path).into_owned();
        let Some(rest) = path
            .strip_prefix(UNITS)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            debug_assert!(path == PRESET_PATH || matches!(change.action, Action::Mkdir { .. }));
            continue;
        };
        match (&change.action, rest.split_once('/')) {
            (Action::Write { contents, .. }, None) => {
                made.add(&format!("systemd.extra-unit.{rest}"), contents);
            }
            (Action::Write { contents, .. }, Some((folder, name))) => {
                let unit = folder.strip_suffix(".d").unwrap_or(folder);
                dropin(unit, name, &String::from_utf8_lossy(contents));
            }
            (Action::Symlink { .. }, Some((folder, name))) => {
                let Some((target, setting)) = wanting(folder) else {
                    return Err(link(rest, &change.origin));
                };
                dropin(target, "", &format!("[Unit]\n{setting}={name}\n"));
            }
            (Action::Symlink { .. }, None) => return Err(link(rest, &change.origin)),
            _ => {}
        }
    }
    for (unit, text) in dropins {
        made.add(&format!("systemd.unit-dropin.{unit}"), text.as_bytes());
    }
    Ok(())
}

/// A folder of links to units, as a setting.
fn wanting(folder: &str) -> Option<(&str, &'static str)> {
    [
        (".wants", "Wants"),
        (".requires", "Requires"),
        (".upholds", "Upholds"),
    ]
    .iter()
    .find_map(|(suffix, setting)| Some((folder.strip_suffix(suffix)?, *setting)))
}

fn link(name: &str, origin: &Origin) -> CredentialsError {
    refused(
        format!("alias {name}"),
        origin,
        "no credential makes another name for a unit",
        "leave Alias= out, or inject it by another route",
    )
}
