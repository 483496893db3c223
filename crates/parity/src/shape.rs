//! What differs by definition, held to the shape that it must have.
//!
//! Derive means that `/etc` is what the image ships; inject means that `/etc` is the base image's
//! plus exactly the customization. `ostree admin config-diff` says which of the two is so.

use std::collections::BTreeSet;

use pleach_booted_state::model::PathType;
use pleach_booted_state::{Snapshot, Status};

use crate::{Capture, Facts, Route};

/// Files that hold accounts, and the copies that shadow-utils and systemd-sysusers keep beside
/// them. At first boot accounts are added on every route.
pub(crate) const ACCOUNT_FILES: [&str; 6] =
    ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];

/// What Ignition leaves in `/etc` besides what it was asked for.
pub(crate) const IGNITION_FILES: [&str; 1] = [".ignition-result.json"];

/// Where it is remembered what was written into `/etc`.
pub(crate) const LEDGER: [&str; 2] = ["pleach", "pleach/ownership.json"];

/// The preset file that Ignition writes, and ours on the other routes.
pub(crate) const PRESETS: (&str, &str) = (
    "systemd/system-preset/20-ignition.preset",
    "systemd/system-preset/20-pleach.preset",
);

/// Where an administrator's units are, where an image's own are, and where systemd-debug-generator(8) puts those that come as
/// credentials.
pub(crate) const UNITS: &str = "/etc/systemd/system/";
pub(crate) const IMAGE_UNITS: &str = "/usr/lib/systemd/system/";
pub(crate) const CREDENTIAL_UNITS: &str = "/run/systemd/generator.early/";

/// Everything about one system that is wrong by itself, whatever it is compared with.
pub(crate) fn check(side: Capture<'_>, base: &Snapshot, facts: &Facts) -> Vec<String> {
    let mut wrong = failures(side.snapshot, base);
    if facts.booted {
        wrong.extend(not_captured("", side.snapshot));
        wrong.extend(not_captured("of the base image alone ", base));
        wrong.extend(named_paths(side, facts));
    }
    if side.route != Route::Base {
        wrong.extend(config_diff(side, base, facts));
    }
    wrong
}

/// Where nobody could look on either side, nothing differs; that is not equality. What nobody asked
/// for is no part of the question.
fn not_captured(whose: &str, snapshot: &Snapshot) -> Vec<String> {
    let statuses = snapshot.statuses().into_iter();
    statuses
        .filter(|(section, status)| match status {
            Status::Entries(_) => false,
            Status::NotCaptured => !section.is_optional(),
            _ => true,
        })
        .map(|(section, status)| format!("section {section} {whose}cannot be compared: {status}"))
        .collect()
}

/// The document says what must be there; that is asked of each system, since routes that share code
/// could all miss it.
fn named_paths(side: Capture<'_>, facts: &Facts) -> Vec<String> {
    let snapshot = side.snapshot;
    let wrong = |path: String| {
        let entry = snapshot
            .paths
            .get(&path)
            .or_else(|| snapshot.usr.get(&path));
        match entry {
            None => Some(format!("{path} is not there, but the document names it")),
            Some(entry) if entry.path_type == PathType::File && entry.digest.is_none() => Some(
                format!("the content of {path} was not captured, so it cannot be compared"),
            ),
            Some(_) => None,
        }
    };
    let paths = facts.named_paths.iter();
    let own = paths.filter_map(|path| own_place(side.route, path, facts));
    own.filter_map(wrong).collect()
}

/// A boot that has failed units which the base alone has not.
fn failures(snapshot: &Snapshot, base: &Snapshot) -> Vec<String> {
    let (Some(failed), Some(known)) =
        (snapshot.failed_units.entries(), base.failed_units.entries())
    else {
        return Vec::new();
    };
    let new = failed.keys().filter(|unit| !known.contains_key(*unit));
    new.map(|unit| format!("{unit} failed; with the base image alone it does not"))
        .collect()
}

fn config_diff(side: Capture<'_>, base: &Snapshot, facts: &Facts) -> Vec<String> {
    let (Some(found), Some(noise)) = (
        side.snapshot.config_diff.entries(),
        base.config_diff.entries(),
    ) else {
        return Vec::new(); // the sections' statuses differ, or neither was booted
    };
    let nothing = BTreeSet::new();
    let named = match side.route {
        Route::Derive => &nothing,
        Route::Split => &facts.remaining_etc_paths,
        _ => &facts.etc_paths,
    };
    let injected: BTreeSet<_> = match side.route {
        Route::Derive => BTreeSet::new(),
        _ => named
            .iter()
            .filter_map(|path| own_place(side.route, path, facts))
            .filter(|path| path.starts_with("/etc/"))
            .collect(),
    };
    let unexpected = found.keys().filter(|path| {
        let path = path.as_str();
        !noise.contains_key(path) && !injected.contains(path) && !by_tools(side.route, path)
    });
    let shape = match side.route {
        Route::Derive => "a derived image's own /etc is its default",
        Route::Split => "what is left of the customization does not name it",
        _ => "the customization does not name it",
    };
    let unexpected = unexpected.map(|path| format!("config-diff has {path}, but {shape}"));
    let missing = injected
        .iter()
        .filter(|path| !found.contains_key(*path))
        .map(|path| format!("config-diff lacks {path}, which the customization names"));
    unexpected.chain(missing).collect()
}

/// Where a route puts what the customization puts at a path; none where it puts nothing there.
pub(crate) fn own_place(route: Route, path: &str, facts: &Facts) -> Option<String> {
    let name = path.strip_prefix("/etc/");
    match route {
        Route::Derive | Route::Split if facts.units_in_usr => {
            Some(in_usr(path, facts).unwrap_or_else(|| path.to_owned()))
        }
        Route::Ignition if name == Some(PRESETS.1) => Some(format!("/etc/{}", PRESETS.0)),
        Route::Credentials if name.is_some_and(|name| is_only_for_presets(name, facts)) => None,
        // systemd-sysusers gives no subordinate ids.
        Route::Credentials if matches!(name, Some("subuid" | "subgid")) => None,
        Route::Credentials => match path.strip_prefix(UNITS) {
            // A mask is a link by tmpfiles.d; links that enable are settings in drop-ins.
            Some(unit) if !facts.masked.contains(unit) => {
                let link = unit.contains(".wants/") || unit.contains(".requires/");
                (!link).then(|| format!("{CREDENTIAL_UNITS}{unit}"))
            }
            _ => Some(path.to_owned()),
        },
        _ => Some(path.to_owned()),
    }
}

/// Where an image has what others have at a path: a unit file, a drop-in or its folder, our presets.
/// Links that enable or mask stay.
pub(crate) fn in_usr(path: &str, facts: &Facts) -> Option<String> {
    if path.strip_prefix("/etc/") == Some(PRESETS.1) {
        return Some(format!("/usr/lib/{}", PRESETS.1));
    }
    let unit = path.strip_prefix(UNITS)?;
    let link = unit.contains(".wants") || unit.contains(".requires") || facts.masked.contains(unit);
    (!link).then(|| format!("{IMAGE_UNITS}{unit}"))
}

/// Whether it is the preset file, or its folder where the customization puts nothing else there.
fn is_only_for_presets(name: &str, facts: &Facts) -> bool {
    const FOLDER: &str = "systemd/system-preset";
    let other = || {
        facts.etc_paths.iter().any(|path| {
            let name = path.strip_prefix("/etc/").unwrap_or(path);
            name.starts_with("systemd/system-preset/") && name != PRESETS.1
        })
    };
    name == PRESETS.1 || (name == FOLDER && !other())
}

fn by_tools(route: Route, path: &str) -> bool {
    let Some(name) = path.strip_prefix("/etc/") else {
        return false;
    };
    let account = ACCOUNT_FILES.contains(&name.strip_suffix('-').unwrap_or(name));
    account
        || (route == Route::Ignition && IGNITION_FILES.contains(&name))
        || (route == Route::Etc && LEDGER.contains(&name))
}
