//! systemd's credentials: units and drop-ins come into `/run`, drop-ins start what other routes
//! enable by links and presets, and a mask counts for good from the next boot on.

use pleach_booted_state::model::{PathType, Unit};
use pleach_booted_state::{Difference, SectionName};

use super::name_in_etc;
use crate::shape::{CREDENTIAL_UNITS, PRESETS, UNITS};
use crate::{Class, Context, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "credential-units",
        reason: "units and drop-ins that come as credentials are in /run, with the same bytes; drop-ins want what links enable on other routes, and what runs is compared",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let Some(key) = difference.key.as_deref() else {
                return false;
            };
            let bytes = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
            if let Some(unit) = key.strip_prefix(CREDENTIAL_UNITS) {
                let only = context.only_on(Route::Credentials, difference);
                return (only && (same_file(context, unit) || starts_or_masks(context, unit)))
                    || (bytes && context.has(Route::Credentials) && wants(unit));
            }
            missing(context, difference)
                && key
                    .strip_prefix(UNITS)
                    .is_some_and(|unit| same_file(context, unit) || enabled(context, unit))
        },
    },
    Rule {
        name: "credential-units",
        reason: "a unit in /run counts as generated, and its files have other paths; what it does is compared",
        class: Class::Tool,
        section: SectionName::Units,
        covers: |context, difference| {
            let Some((unit, credentials, other)) = units(context, difference) else {
                return false;
            };
            match difference.attribute.as_deref() {
                Some("loaded.fragment_path" | "loaded.drop_in_paths") => {
                    moved(context, &difference.left) == moved(context, &difference.right)
                }
                Some("enablement" | "loaded.unit_file_state") => {
                    context.facts.units.contains(unit) && does(credentials) == does(other)
                }
                _ => false,
            }
        },
    },
    Rule {
        name: "credential-mask",
        reason: "a link by tmpfiles.d masks from the next boot on; until then a condition keeps the unit from starting, and it does not run",
        class: Class::Tool,
        section: SectionName::Units,
        covers: |context, difference| {
            let Some((unit, credentials, other)) = units(context, difference) else {
                return false;
            };
            let state = difference.attribute.as_deref();
            let state = state.and_then(|attribute| attribute.strip_prefix("loaded."));
            let idle = |unit: &Unit| {
                let active = unit.loaded.as_ref().map(|unit| unit.active_state.as_str());
                active == Some("inactive")
            };
            if started_by_masked(context, unit, credentials) && other.loaded.is_none() {
                return difference
                    .attribute
                    .as_deref()
                    .is_some_and(|attribute| attribute.starts_with("loaded"));
            }
            context.facts.masked.contains(unit)
                && state.is_some_and(|state| MASKED.contains(&state))
                && idle(credentials)
                && idle(other)
                && [credentials, other]
                    .iter()
                    .all(|unit| unit.enablement.as_deref() == Some("masked"))
        },
    },
    Rule {
        name: "credential-subids",
        reason: "systemd-sysusers gives a user no subordinate ids, which useradd and its like do; a rootless container of such a user needs them",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            let bytes = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
            let empty = context
                .sides(Route::Credentials)
                .and_then(|(credentials, _)| credentials.paths.get(key)?.size);
            bytes && SUBIDS.contains(&key) && empty == Some(0)
        },
    },
    Rule {
        name: "credential-initramfs",
        reason: "the initramfs is given the credentials too and knows no user of theirs; in the real root the users are there, and what they own is compared",
        class: Class::Tool,
        section: SectionName::JournalProblems,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            let who = || {
                // systemd-tmpfiles says it of a line of the credential, systemd-udevd of a rule that
                // the credential has brought.
                let said = |before, words| key.split_once(before)?.1.split_once(words);
                let (_, who) = said("tmpfiles.extra:", "Failed to resolve ")
                    .or_else(|| said("/etc/udev/rules.d/", " Unknown "))?;
                let (kind, name) = who.split_once(" '")?;
                Some((kind, name.split_once('\'')?.0))
            };
            let known = |(kind, name): (&str, &str)| match kind {
                "user" => context.facts.users.contains(name) && exists(context, name, true),
                "group" => context.facts.groups.contains(name) && exists(context, name, false),
                _ => false,
            };
            context.only_on(Route::Credentials, difference) && who().is_some_and(known)
        },
    },
    Rule {
        name: "credential-presets",
        reason: "drop-ins start the units, so no preset is written for them",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let name = name_in_etc(difference);
            let preset = name.is_some_and(|name| {
                [PRESETS.0, PRESETS.1, "systemd/system-preset"].contains(&name)
            });
            preset && missing(context, difference) && own_presets(context)
        },
    },
    Rule {
        name: "credential-presets",
        reason: "drop-ins start the units, so no preset is written for them",
        class: Class::Tool,
        section: SectionName::Presets,
        covers: |context, difference| missing(context, difference) && own_presets(context),
    },
    Rule {
        name: "credential-presets",
        reason: "without a preset for it, the image's own presets speak of the unit",
        class: Class::Tool,
        section: SectionName::Units,
        covers: |context, difference| {
            units(context, difference).is_some_and(|(unit, ..)| context.facts.units.contains(unit))
                && difference.attribute.as_deref() == Some("preset")
                && own_presets(context)
        },
    },
];

/// Whether the unit is what a masked one starts, and does not run: systemd has looked it up for the
/// sake of one that is loaded although it is masked.
fn started_by_masked(context: &Context<'_>, unit: &str, credentials: &Unit) -> bool {
    let stem = unit.strip_suffix(".service");
    let masks = context.facts.masked.iter();
    let by = masks
        .filter_map(|masked| masked.rsplit_once('.'))
        .any(|(name, _)| Some(name) == stem);
    let idle = credentials
        .loaded
        .as_ref()
        .is_some_and(|loaded| loaded.active_state == "inactive" && loaded.started != Some(true));
    by && idle
}

/// What a mask changes of a loaded unit that does not run.
const MASKED: &[&str] = &[
    "load_state",
    "fragment_path",
    "drop_in_paths",
    "unit_file_state",
    "condition_result",
];

/// Where subordinate ids are.
const SUBIDS: &[&str] = &["/etc/subgid", "/etc/subuid"];

/// Whether both sides have the user, or else the group.
fn exists(context: &Context<'_>, name: &str, user: bool) -> bool {
    [context.left.1, context.right.1]
        .iter()
        .all(|side| match user {
            true => side.users.get(name).is_some(),
            false => side.groups.get(name).is_some(),
        })
}

/// Whether it is an entry that only the side without credentials has.
fn missing(context: &Context<'_>, difference: &Difference) -> bool {
    let one = difference.left.is_some() != difference.right.is_some();
    context.has(Route::Credentials)
        && difference.attribute.is_none()
        && one
        && !context.only_on(Route::Credentials, difference)
}

/// Whether both sides have it, each in its place, with the same bytes.
fn same_file(context: &Context<'_>, unit: &str) -> bool {
    let Some((credentials, other)) = context.sides(Route::Credentials) else {
        return false;
    };
    let run = credentials.paths.get(&format!("{CREDENTIAL_UNITS}{unit}"));
    let etc = other.paths.get(&format!("{UNITS}{unit}"));
    let (Some(run), Some(etc)) = (run, etc) else {
        return false;
    };
    run.path_type == etc.path_type
        && (run.path_type == PathType::Directory || run.digest == etc.digest)
        && (run.path_type != PathType::File || run.digest.is_some())
}

/// The drop-in that wants units, where a target has one.
fn wants(path: &str) -> bool {
    path.strip_suffix(".d/50-credential.conf")
        .is_some_and(|unit| unit.ends_with(".target"))
}

/// The drop-in without a name of its own: it wants units, or keeps a masked one from starting.
fn starts_or_masks(context: &Context<'_>, path: &str) -> bool {
    let folder = path.strip_suffix("/50-credential.conf").unwrap_or(path);
    folder
        .strip_suffix(".d")
        .is_some_and(|unit| unit.ends_with(".target") || context.facts.masked.contains(unit))
}

/// Whether it is a link by which another route enables a unit that does the same on both sides, or
/// the folder of such links.
fn enabled(context: &Context<'_>, path: &str) -> bool {
    let Some((credentials, other)) = context.sides(Route::Credentials) else {
        return false;
    };
    let (folder, unit) = path.split_once('/').unwrap_or((path, ""));
    let links = folder.ends_with(".wants") || folder.ends_with(".requires");
    let same = || {
        let (run, etc) = (credentials.units.get(unit), other.units.get(unit));
        run.is_some() && run.map(does) == etc.map(does)
    };
    links && (unit.is_empty() || (context.facts.units.contains(unit) && same()))
}

/// The unit that a difference is of, on the side of credentials and on the other.
fn units<'a>(
    context: &Context<'a>,
    difference: &'a Difference,
) -> Option<(&'a str, &'a Unit, &'a Unit)> {
    let (credentials, other) = context.sides(Route::Credentials)?;
    let unit = difference.key.as_deref()?;
    Some((unit, credentials.units.get(unit)?, other.units.get(unit)?))
}

/// What a unit does, wherever it comes from.
fn does(unit: &Unit) -> Option<(&str, &str, &str, Option<i32>)> {
    let unit = unit.loaded.as_ref()?;
    Some((
        &unit.load_state,
        &unit.active_state,
        &unit.sub_state,
        unit.exec_main_status,
    ))
}

/// The text as if units that came as credentials were where others are, for units of the document.
fn moved(context: &Context<'_>, text: &Option<String>) -> Option<String> {
    let mut text = text.clone()?;
    for unit in &context.facts.units {
        for end in ["", ".d/"] {
            let (from, to) = (
                format!("{CREDENTIAL_UNITS}{unit}{end}"),
                format!("{UNITS}{unit}{end}"),
            );
            text = text.replace(&from, &to);
        }
    }
    Some(text)
}

/// Whether the preset file of the other side speaks of the document's units alone.
fn own_presets(context: &Context<'_>) -> bool {
    let Some((_, other)) = context.sides(Route::Credentials) else {
        return false;
    };
    let names = [PRESETS.0, PRESETS.1].map(|path| path.rsplit('/').next().unwrap_or(path));
    let files = other.presets.entries().into_iter().flatten();
    let own = files.filter(|(key, _)| names.iter().any(|name| key.ends_with(name)));
    let mut directives = own.flat_map(|(_, file)| &file.directives);
    directives.all(|line| {
        let unit = line.split_whitespace().nth(1);
        unit.is_some_and(|unit| context.facts.units.contains(unit))
    })
}
