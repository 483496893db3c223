//! Containers: what podman mounts for one has names that are new at each start.

use std::collections::BTreeMap;

use pleach_booted_state::{Difference, Section, SectionName, Snapshot};
use serde::Serialize;

use crate::{Class, Context, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "container-mounts",
        reason: "podman names what it mounts for a container by ids that are new at each start; both sides have as many mounts, with the same types and options but for the ids",
        class: Class::Tool,
        section: SectionName::Mounts,
        covers: |context, difference| {
            let of = |snapshot: &Snapshot| containers(&snapshot.mounts, MOUNTS);
            covers(context, difference, MOUNTS, of)
        },
    },
    Rule {
        name: "container-mounts",
        reason: "systemd has a unit for each mount, with the path as its name; both sides have as many, in the same states",
        class: Class::Tool,
        section: SectionName::Units,
        covers: |context, difference| {
            let of = |snapshot: &Snapshot| containers(&snapshot.units, UNITS);
            covers(context, difference, UNITS, of)
        },
    },
];

/// What stands for an id: of a container, of a layer, or the short name of one.
const ID: &str = "ID";

/// A container's root, and its `/dev/shm`.
const MOUNTS: &[&str] = &[
    "/var/lib/containers/storage/overlay/ID/merged",
    "/var/lib/containers/storage/overlay-containers/ID/userdata/shm",
];

/// The same as systemd names it.
const UNITS: &[&str] = &[
    "var-lib-containers-storage-overlay-ID-merged.mount",
    r"var-lib-containers-storage-overlay\x2dcontainers-ID-userdata-shm.mount",
];

/// An entry that one side has, where the other has one that is the same but for its ids.
fn covers(
    context: &Context<'_>,
    difference: &Difference,
    names: &[&str],
    of: impl Fn(&Snapshot) -> BTreeMap<(String, String), usize>,
) -> bool {
    let key = difference.key.as_deref().unwrap_or_default();
    difference.attribute.is_none()
        && is_container(key, names)
        && of(context.left.1) == of(context.right.1)
}

fn is_container(key: &str, names: &[&str]) -> bool {
    names.contains(&&*blank(key))
}

/// What there is of containers, without their ids, and how often.
fn containers<T: Serialize>(
    section: &Section<T>,
    names: &[&str],
) -> BTreeMap<(String, String), usize> {
    let mut out = BTreeMap::new();
    let entries = section.entries().into_iter().flatten();
    for (key, entry) in entries.filter(|(key, _)| is_container(key, names)) {
        let entry = serde_json::to_string(entry).expect("maps have string keys");
        *out.entry((blank(key), blank(&entry))).or_default() += 1;
    }
    out
}

/// The text with [`ID`] for each word that is one.
fn blank(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        out.push_str(if is_id(word) { ID } else { word });
        let mark = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..mark]);
        rest = &after[mark..];
    }
    out
}

/// SHA-256 in hexadecimal digits, or the link to a layer, in 26 digits of Base32 (containers/storage,
/// `idLength` of its overlay driver).
fn is_id(word: &str) -> bool {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
    match word.len() {
        64 => word.bytes().all(lower_hex),
        26 => word.bytes().all(base32),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn ids_are_blanked_and_nothing_else() {
        let check = |text: &str, expect: &str| assert_eq!(blank(text), expect);
        let hex = "0a".repeat(32);
        check(&format!("/x/{hex}/merged"), "/x/ID/merged");
        check(&format!("x-{hex}-merged.mount"), "x-ID-merged.mount");
        check(
            &format!(
                "lowerdir=/l/{0}:/l/{0},upperdir=/{hex}/diff",
                "ABCDEFGHIJKLMNOPQRSTUVWX23"
            ),
            "lowerdir=/l/ID:/l/ID,upperdir=/ID/diff",
        );
        check(&format!("/x/{hex}0/ä"), &format!("/x/{hex}0/ä"));
        check(&hex.to_uppercase(), &hex.to_uppercase());
        check("abcdefghijklmnopqrstuvwx23", "abcdefghijklmnopqrstuvwx23");
        check("", "");
    }
}
