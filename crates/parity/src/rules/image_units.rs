//! Units that a derived image has in `/usr` (`--units-in usr`), where other routes have them in `/etc`.

use pleach_booted_state::model::PathEntry;
use pleach_booted_state::{Difference, SectionName, Snapshot};

use crate::shape::{IMAGE_UNITS, PRESETS, UNITS, in_usr};
use crate::{Class, Context, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "image-units",
        reason: "a derived image has units of the document in /usr, where they follow the image; other routes have the same bytes in /etc",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| {
            let Some((derived, other)) = sides(context) else {
                return false;
            };
            let Some(key) = difference.key.as_deref().filter(|_| only(difference)) else {
                return false;
            };
            derived.paths.get(key).is_none()
                && match in_usr(key, context.facts) {
                    Some(usr) => same(derived.usr.get(&usr), other.paths.get(key)),
                    None => is_preset_folder(key) && same_presets(derived, other),
                }
        },
    },
    Rule {
        name: "image-unit-links",
        reason: "a link that enables a unit of the document leads to where its file is",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            let link = key
                .strip_prefix(UNITS)
                .and_then(|link| link.rsplit_once('/'));
            let own = |text: &str| {
                let unit = text.strip_prefix(UNITS).unwrap_or_default();
                context.facts.units.contains(unit)
            };
            let (left, right) = (plain(&difference.left), plain(&difference.right));
            sides(context).is_some()
                && link.is_some()
                && difference.attribute.as_deref() == Some("target")
                && left.as_deref().is_some_and(own)
                && left == right
        },
    },
    Rule {
        name: "image-units",
        reason: "a derived image has units of the document in /usr, where they follow the image; other routes have the same bytes in /etc",
        class: Class::Definition,
        section: SectionName::Usr,
        covers: |context, difference| {
            let Some((derived, other)) = sides(context) else {
                return false;
            };
            let Some(key) = difference.key.as_deref().filter(|_| only(difference)) else {
                return false;
            };
            other.usr.get(key).is_none()
                && match key.strip_prefix(IMAGE_UNITS) {
                    Some(unit) => {
                        let etc = other.paths.get(&format!("{UNITS}{unit}"));
                        same(derived.usr.get(key), etc)
                    }
                    None => is_preset(key) && same_presets(derived, other),
                }
        },
    },
    Rule {
        name: "image-units",
        reason: "the unit's files have other paths; what it does is compared",
        class: Class::Definition,
        section: SectionName::Units,
        covers: |context, difference| {
            let path = matches!(
                difference.attribute.as_deref(),
                Some("loaded.fragment_path" | "loaded.drop_in_paths")
            );
            sides(context).is_some()
                && path
                && plain(&difference.left).is_some()
                && plain(&difference.left) == plain(&difference.right)
        },
    },
    Rule {
        name: "image-units",
        reason: "the presets that come with units are where those are; the directives are the same",
        class: Class::Definition,
        section: SectionName::Presets,
        covers: |context, difference| {
            let Some((derived, other)) = sides(context) else {
                return false;
            };
            let ours = difference.key.as_deref().is_some_and(is_preset);
            ours && difference.attribute.as_deref() == Some("directory")
                && same_presets(derived, other)
        },
    },
];

/// The image with units in `/usr`, and the one with units in `/etc`.
fn sides<'a>(context: &Context<'a>) -> Option<(&'a Snapshot, &'a Snapshot)> {
    let one = context.left.0.is_derived() != context.right.0.is_derived();
    let derived = context.sides(Route::Derive);
    let derived = derived.or_else(|| context.sides(Route::Split));
    derived.filter(|_| one && context.facts.units_in_usr)
}

/// As if units of an image were in `/etc`.
fn plain(text: &Option<String>) -> Option<String> {
    Some(text.as_ref()?.replace(IMAGE_UNITS, UNITS))
}

fn only(difference: &Difference) -> bool {
    difference.attribute.is_none() && difference.left.is_some() != difference.right.is_some()
}

/// The same in everything but its place.
fn same(usr: Option<&PathEntry>, etc: Option<&PathEntry>) -> bool {
    let all = |entry: &PathEntry| {
        let PathEntry {
            path_type,
            mode,
            uid,
            gid,
            size,
            digest,
            target,
            ..
        } = entry.clone();
        (path_type, mode, uid, gid, size, digest, target)
    };
    usr.is_some() && usr.map(all) == etc.map(all)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_preset(path: &str) -> bool {
    file_name(path) == file_name(PRESETS.1)
}

/// The folder of preset files, where the base image has none in `/etc`.
fn is_preset_folder(path: &str) -> bool {
    path.strip_prefix("/etc/") == PRESETS.1.rsplit_once('/').map(|(folder, _)| folder)
}

/// Whether the presets of the document say the same, whoever wrote them.
fn same_presets(derived: &Snapshot, other: &Snapshot) -> bool {
    let lines = |snapshot: &Snapshot| {
        let mut entries = snapshot.presets.entries()?.iter();
        let ours = |key: &str| {
            [PRESETS.0, PRESETS.1]
                .iter()
                .any(|p| key.ends_with(file_name(p)))
        };
        let (_, file) = entries.find(|(key, _)| ours(key))?;
        let mut lines = file.directives.clone();
        lines.sort();
        Some(lines)
    };
    let (usr, etc) = (
        format!("/usr/lib/{}", PRESETS.1),
        format!("/etc/{}", PRESETS.1),
    );
    let said = lines(derived);
    // What nobody booted has no list of presets, but the file.
    (said.is_some() && said == lines(other)) || same(derived.usr.get(&usr), other.paths.get(&etc))
}
