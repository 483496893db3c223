//! Units: how each comes to be started.

use std::collections::{BTreeMap, BTreeSet};

use super::{UnitChange, UnitState, keys};
use crate::systemd::{
    Presets, enabled, is_dependencies, template, unit_file, unit_folders, values,
};
use crate::view::{View, What};

const KINDS: [&str; 11] = [
    "service",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
    "slice",
    "scope",
];

fn is_unit(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, kind)| KINDS.contains(&kind))
}

/// Units that are new, gone, or started otherwise.
pub(super) fn changes(old: &View<'_>, new: &View<'_>) -> Vec<UnitChange> {
    let (before, after) = (states(old), states(new));
    let presets = [Presets::read(old), Presets::read(new)];
    let change = |unit: &String| {
        let (old, new) = (before.get(unit).copied(), after.get(unit).copied());
        let [was, is] = [0, 1].map(|side| {
            let presets: &Presets = &presets[side];
            presets
                .of(unit)
                .map_or("enable", |preset| &preset.verb)
                .to_owned()
        });
        // A preset counts only where there is something to enable, and on a new machine.
        let matters = |state| matches!(state, Some(UnitState::Enabled | UnitState::Disabled));
        let preset = (matters(new) && (was != is || old.is_none())).then_some(is);
        (old != new || (preset.is_some() && matters(old))).then(|| UnitChange {
            unit: unit.clone(),
            old,
            new,
            preset,
        })
    };
    keys(&before, &after)
        .into_iter()
        .filter_map(change)
        .collect()
}

fn states(view: &View<'_>) -> BTreeMap<String, UnitState> {
    let started: BTreeSet<String> = enabled(view).into_iter().map(|unit| unit.unit).collect();
    let mut wanted = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut masked = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    let [etc, local, usr] = unit_folders(view);
    for folder in [&etc, &local, &usr] {
        for item in view.children(folder) {
            let name = item.name().to_owned();
            if item.is_directory() {
                if folder != &etc && is_dependencies(&name) {
                    let links = view.children(&item.path.to_string());
                    wanted.extend(links.map(|link| link.name().to_owned()));
                }
                continue;
            }
            if !is_unit(&name) {
                continue;
            }
            // The first folder that has a name decides.
            if !names.insert(name.clone()) {
                continue;
            }
            match item.what {
                What::Symlink(b"/dev/null") => {
                    masked.insert(name);
                }
                What::File if view.size(item) == 0 => {
                    masked.insert(name);
                }
                What::Symlink(target) => {
                    let last = target
                        .rsplit(|&byte| byte == b'/')
                        .next()
                        .unwrap_or_default();
                    let own = last == name.as_bytes();
                    let instance = template(&name).is_some_and(|t| last == t.as_bytes());
                    if !own && !instance {
                        aliases.insert(name);
                    }
                }
                _ => {}
            }
        }
    }
    names.extend(
        started
            .iter()
            .chain(&wanted)
            .filter(|name| is_unit(name))
            .cloned(),
    );
    let state = |name: String| {
        let state = if masked.contains(&name) {
            UnitState::Masked
        } else if started.contains(&name) {
            UnitState::Enabled
        } else if wanted.contains(&name) {
            UnitState::Wanted
        } else if aliases.contains(&name) {
            UnitState::Alias
        } else if can_be_enabled(view, &name) {
            UnitState::Disabled
        } else {
            UnitState::Static
        };
        (name, state)
    };
    names.into_iter().map(state).collect()
}

/// Whether its file has an `[Install]` section that says where to.
fn can_be_enabled(view: &View<'_>, unit: &str) -> bool {
    let Some(file) = unit_file(view, unit) else {
        return false;
    };
    let lines = view.lines(&file);
    let keys = ["WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also"];
    keys.iter()
        .any(|key| !values(&lines, "Install", key).is_empty())
}
