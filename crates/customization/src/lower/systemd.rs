//! Units: files, drop-ins, masks, presets, and the links that presets would make.

use std::collections::BTreeMap;

use super::install;
use super::unit_file::{ETC, USR};
use super::work::Work;
use super::{Action, BaseView, IMAGE_PRESET_PATH, Kind, PRESET_PATH, UnitsIn};
use crate::model::{Customization, Origin, Unit};
use crate::unit_name::UnitName;

pub(super) fn lower(work: &mut Work<'_>, c: &Customization, place: UnitsIn) {
    for unit in &c.units {
        files(work, unit, place);
        mask(work, unit);
    }
    // All files first: a unit's [Install] may name another of them.
    for unit in &c.units {
        match unit.enabled {
            Some(true) if unit.mask != Some(true) => {
                install::enable(work, &unit.name, &unit.origin);
            }
            Some(false) => install::disable(work, &unit.name, &unit.origin),
            _ => {}
        }
    }
    presets(work, &c.units, place);
}

fn files(work: &mut Work<'_>, unit: &Unit, place: UnitsIn) {
    for dropin in &unit.dropins {
        if let Some(contents) = &dropin.contents {
            let name = format!("{}.d/{}", unit.name, dropin.name);
            write(work, &name, contents, place, &dropin.origin);
        }
    }
    if let Some(contents) = unit.unit_file() {
        write(work, &unit.name, contents, place, &unit.origin);
    }
}

/// Writes a file of the unit search path, by its name below it.
fn write(work: &mut Work<'_>, name: &str, contents: &str, place: UnitsIn, origin: &Origin) {
    let path = match place {
        UnitsIn::Etc => format!("{ETC}/{name}"),
        UnitsIn::Usr => {
            unhide(work, &format!("{ETC}/{name}"), origin);
            format!("{USR}/{name}")
        }
    };
    let Some(resolved) = work.parent_resolved(&path, origin) else {
        return;
    };
    if work
        .node(&resolved)
        .is_some_and(|node| node.kind == Kind::Directory)
    {
        let path = super::view::lossy(&resolved);
        return work.error(
            origin,
            super::LowerErrorKind::Exists {
                path,
                found: "a directory",
            },
        );
    }
    let contents = contents.as_bytes().to_vec();
    work.change(
        &resolved,
        Action::Write {
            contents,
            mode: 0o644,
            uid: 0,
            gid: 0,
        },
        origin,
    );
}

/// Takes away what would hide a file of the image: in `/etc`, the contents would have replaced it.
fn unhide(work: &mut Work<'_>, path: &str, origin: &Origin) {
    let Ok(path) = work.resolve_parent(path.as_bytes()) else {
        return;
    };
    let now = work.node(&path).map(|node| node.kind);
    if matches!(now, Some(Kind::File | Kind::Symlink(_))) {
        work.change(&path, Action::Remove, origin);
    }
}

fn mask(work: &mut Work<'_>, unit: &Unit) {
    let Some(wanted) = unit.mask else { return };
    let path = format!("{ETC}/{}", unit.name);
    let Some(path) = work.parent_resolved(&path, &unit.origin) else {
        return;
    };
    let now = work.node(&path).map(|node| node.kind);
    let masked = now == Some(Kind::Symlink(b"/dev/null".to_vec()));
    if wanted && !masked {
        if now == Some(Kind::Directory) {
            work.change(&path, Action::Remove, &unit.origin);
        }
        let target = b"/dev/null".to_vec();
        work.change(
            &path,
            Action::Symlink {
                target,
                uid: 0,
                gid: 0,
            },
            &unit.origin,
        );
    } else if !wanted && masked {
        work.change(&path, Action::Remove, &unit.origin);
    }
}

/// Adds this customization's lines to the preset file.
fn presets(work: &mut Work<'_>, units: &[Unit], place: UnitsIn) {
    let Some(origin) = units
        .iter()
        .find(|unit| unit.enabled.is_some())
        .map(|unit| &unit.origin)
    else {
        return;
    };
    let path = match place {
        UnitsIn::Etc => PRESET_PATH,
        UnitsIn::Usr => IMAGE_PRESET_PATH,
    };
    let Some(path) = work.parent_resolved(path, origin) else {
        return;
    };
    let mut contents = match work.node(&path) {
        None => Vec::new(),
        Some(_) => match work.bytes(&path, origin) {
            Some(contents) => contents,
            None => return,
        },
    };
    contents.extend_from_slice(preset(units).as_bytes());
    work.change(
        &path,
        Action::Write {
            contents,
            mode: 0o644,
            uid: 0,
            gid: 0,
        },
        origin,
    );
}

/// The lines of systemd.preset(5) that a list of units adds to [`PRESET_PATH`], sorted as Ignition
/// sorts them; the enabled instances of a template share one line.
///
/// Newer versions of Ignition write `disable` only for units that are enabled in the image. Here it is
/// written always: where the default is to enable, the first boot's presets would enable the unit
/// otherwise.
pub fn preset(units: &[Unit]) -> String {
    let mut enabled: BTreeMap<String, (String, Vec<&str>)> = BTreeMap::new();
    for unit in units {
        let Some(on) = unit.enabled else { continue };
        let parts = UnitName::parse(&unit.name);
        let instance = parts.and_then(|parts| Some((parts.with_instance(""), parts.instance?)));
        match (on, instance) {
            (true, Some((template, instance))) => {
                let entry = enabled.entry(format!("{template}-enabled"));
                entry
                    .or_insert_with(|| (format!("enable {template}"), Vec::new()))
                    .1
                    .push(instance);
            }
            (true, None) => {
                let line = format!("enable {}", unit.name);
                enabled.insert(format!("{}-enabled", unit.name), (line, Vec::new()));
            }
            (false, _) => {
                let line = format!("disable {}", unit.name);
                enabled.insert(format!("{}-disabled", unit.name), (line, Vec::new()));
            }
        }
    }
    let lines = enabled.into_values().map(|(line, instances)| {
        let words: Vec<&str> = std::iter::once(line.as_str()).chain(instances).collect();
        words.join(" ") + "\n"
    });
    lines.collect()
}
