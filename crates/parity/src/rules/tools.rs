//! Tools on the routes that put the same effect in another place.

use std::collections::BTreeSet;

use pleach_booted_state::model::UserKeys;
use pleach_booted_state::{Difference, SectionName, Snapshot};

use super::name_in_etc;
use crate::shape::{IGNITION_FILES, PRESETS};
use crate::{Class, Context, Route, Rule};

/// Where Ignition puts keys, below the home directory.
const FRAGMENT: &str = "/.ssh/authorized_keys.d/ignition";
const FRAGMENT_DIRECTORY: &str = "/.ssh/authorized_keys.d";
const FILE: &str = "/.ssh/authorized_keys";

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "preset-file-name",
        reason: "Ignition writes 20-ignition.preset where the other routes write 20-pleach.preset; the directives are the same",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            same_directives(context) && preset_name(context, difference, "/etc/")
        },
    },
    Rule {
        name: "preset-file-name",
        reason: "Ignition writes 20-ignition.preset where the other routes write 20-pleach.preset; the directives are the same",
        class: Class::Tool,
        section: SectionName::Presets,
        covers: |context, difference| {
            same_directives(context)
                && difference.attribute.is_none()
                && difference.key.as_deref().is_some_and(|key| {
                    key.ends_with("20-ignition.preset") || key.ends_with("20-pleach.preset")
                })
        },
    },
    Rule {
        name: "ignition-result",
        reason: "Ignition leaves a report of its run",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let name = name_in_etc(difference);
            context.only_on(Route::Ignition, difference)
                && name.is_some_and(|name| IGNITION_FILES.contains(&name))
        },
    },
    Rule {
        name: "authorized-keys-place",
        reason: "Ignition puts keys into authorized_keys.d/ignition, which the image's sshd reads; the keys that work are the same",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let Some(key) = difference.key.as_deref() else {
                return false;
            };
            let on_ignition = key
                .strip_suffix(FRAGMENT)
                .or(key.strip_suffix(FRAGMENT_DIRECTORY));
            let home = match (on_ignition, key.strip_suffix(FILE)) {
                (Some(home), _) if context.only_on(Route::Ignition, difference) => home,
                (_, Some(home)) if difference.attribute.is_none() => home,
                _ => return false,
            };
            let users = users_at(context.left.1, home);
            context.has(Route::Ignition)
                && !users.is_empty()
                && users == users_at(context.right.1, home)
                && users.iter().all(|user| same_keys(context, user))
        },
    },
    Rule {
        name: "authorized-keys-place",
        reason: "the file that a key stands in; type, options, comment and effect of each key are the same",
        class: Class::Tool,
        section: SectionName::AuthorizedKeys,
        covers: |context, difference| {
            let place = difference.attribute.as_deref().is_some_and(|attribute| {
                attribute.starts_with("files.") || attribute.ends_with(".file")
            });
            context.has(Route::Ignition)
                && place
                && difference
                    .key
                    .as_deref()
                    .is_some_and(|user| same_keys(context, user))
        },
    },
];

/// Ours is missing on the side of Ignition, and Ignition's on the other.
fn preset_name(context: &Context<'_>, difference: &Difference, prefix: &str) -> bool {
    let Some(name) = difference
        .key
        .as_deref()
        .and_then(|key| key.strip_prefix(prefix))
    else {
        return false;
    };
    difference.attribute.is_none()
        && (name == PRESETS.1
            || (name == PRESETS.0 && context.only_on(Route::Ignition, difference)))
}

/// Whether the two files say the same. Their order means nothing, as each line names another unit,
/// and older versions of Ignition write them in any order.
fn same_directives(context: &Context<'_>) -> bool {
    let lines = |snapshot: &Snapshot, name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        let entries = snapshot.presets.entries()?;
        let (_, file) = entries.iter().find(|(key, _)| key.ends_with(name))?;
        let mut lines = file.directives.clone();
        lines.sort();
        Some(lines)
    };
    context
        .sides(Route::Ignition)
        .is_some_and(|(ignition, other)| {
            let theirs = lines(ignition, PRESETS.0);
            theirs.is_some() && theirs == lines(other, PRESETS.1)
        })
}

/// The users whose home is there, by either of its names.
fn users_at(snapshot: &Snapshot, home: &str) -> Vec<String> {
    let users = snapshot.users.entries().into_iter().flatten();
    let lives = |user_home: &str| {
        user_home == home
            || format!("/var{user_home}") == home
            || (user_home == "/root" && home == "/var/roothome")
    };
    users
        .filter(|(_, user)| lives(&user.home))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether the same keys let the user in on both sides.
fn same_keys(context: &Context<'_>, user: &str) -> bool {
    let keys = |snapshot: &Snapshot| snapshot.authorized_keys.get(user).map(effective);
    let left = keys(context.left.1);
    left.is_some() && left == keys(context.right.1)
}

type Key = (String, String, String, Vec<String>);

fn effective(keys: &UserKeys) -> BTreeSet<Key> {
    let all = keys
        .keys
        .iter()
        .flat_map(|(print, keys)| keys.iter().map(move |key| (print, key)));
    all.filter(|(_, key)| key.effective)
        .map(|(print, key)| {
            (
                print.clone(),
                key.key_type.clone(),
                key.comment.clone(),
                key.options.clone(),
            )
        })
        .collect()
}
