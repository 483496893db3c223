//! What telling the routes apart means. The shape of what is forgiven here is held by `shape`.

use std::collections::BTreeSet;

use pleach_booted_state::{Difference, SectionName, Snapshot};

use super::name_in_etc;
use crate::shape::{ACCOUNT_FILES, LEDGER};
use crate::{Class, Context, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "image-declarations",
        reason: "a derived image declares accounts, /var and kernel arguments in /usr; the other routes make them",
        class: Class::Definition,
        section: SectionName::Usr,
        covers: |context, difference| {
            let derived = |route: Route| context.only_on(route, difference);
            (derived(Route::Derive) || derived(Route::Split)) && declared(context, difference)
        },
    },
    Rule {
        name: "split-declarations",
        reason: "a split image declares less than one that holds the whole: the rest is made by injection, and what comes of both is compared",
        class: Class::Definition,
        section: SectionName::Usr,
        covers: |context, difference| {
            let bytes = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
            context.has(Route::Derive)
                && context.has(Route::Split)
                && bytes
                && declared(context, difference)
        },
    },
    Rule {
        name: "declared-for-first-boot",
        reason: "nothing was booted: what the derived image declares is not made yet",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| not_on_derived(context, difference, &context.facts.declared),
    },
    Rule {
        name: "left-behind",
        reason: "nothing was booted, so the derived image never made it; a withdrawal leaves data in /var and accounts, to which files may belong",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| {
            not_on_derived(context, difference, &context.facts.left_behind)
        },
    },
    Rule {
        name: "deployment-identity",
        reason: "another kernel or initramfs has another checksum, and the boot entry names it",
        class: Class::Definition,
        section: SectionName::KernelArguments,
        covers: |_, difference| {
            let blank = |text: &Option<String>| text.as_deref().map(without_checksums);
            let left = blank(&difference.left);
            difference.key.as_deref() == Some("ostree")
                && left.is_some()
                && left == blank(&difference.right)
        },
    },
    Rule {
        name: "deployment-identity",
        reason: "another image has another checksum and another origin",
        class: Class::Definition,
        section: SectionName::Ostree,
        covers: |context, difference| {
            let key = difference.key.as_deref();
            let both = difference.left.is_some() && difference.right.is_some();
            (both && matches!(key, Some("checksum" | "origin")))
                || same_but_for_identity(context, difference)
        },
    },
    Rule {
        name: "deployment-identity",
        reason: "the deployment's folder is named after its checksum",
        class: Class::Definition,
        section: SectionName::Mounts,
        covers: same_but_for_identity,
    },
    Rule {
        name: "deployment-serial",
        reason: "taking a kernel argument back makes one deployment more of the same image, switching images does not",
        class: Class::Definition,
        section: SectionName::Ostree,
        covers: |context, difference| {
            let both = difference.left.is_some() && difference.right.is_some();
            context.facts.withdrawn && both && difference.key.as_deref() == Some("serial")
        },
    },
    Rule {
        name: "deployment-serial",
        reason: "the deployment's folder is named after its serial, too",
        class: Class::Definition,
        section: SectionName::Mounts,
        covers: |context, difference| {
            let blank = |text: &Option<String>, snapshot: &Snapshot| {
                let (checksum, serial) = (
                    snapshot.ostree.get("checksum")?,
                    snapshot.ostree.get("serial")?,
                );
                let name = format!("/{checksum}.{serial}");
                Some(text.as_ref()?.replace(&name, "/DEPLOYMENT"))
            };
            let left = blank(&difference.left, context.left.1);
            context.facts.withdrawn
                && left.is_some()
                && left == blank(&difference.right, context.right.1)
        },
    },
    Rule {
        name: "config-diff-shape",
        reason: "derived defaults against local changes: that is what the routes are; each side's list is held to its shape",
        class: Class::Definition,
        section: SectionName::ConfigDiff,
        covers: |_, difference| difference.key.is_some(),
    },
    Rule {
        name: "ownership-ledger",
        reason: "what was written into /etc is remembered there, so that it can be taken back; an image needs no such list",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| {
            let name = name_in_etc(difference);
            context.only_on(Route::Etc, difference) && name.is_some_and(|n| LEDGER.contains(&n))
        },
    },
    Rule {
        name: "merge-bookkeeping",
        reason: "what a merge of /etc leaves beside it says how often this machine was upgraded and what it kept",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |_, difference| {
            let key = difference.key.as_deref();
            difference.attribute.is_none()
                && matches!(key, Some("/etc.saved" | "/etc.journal" | "/etc.known"))
        },
    },
    Rule {
        name: "ignition-kernel-arguments",
        reason: "they tell Ignition that this is a first boot, and where its document is",
        class: Class::Definition,
        section: SectionName::KernelArguments,
        covers: |context, difference| {
            let key = difference.key.as_deref();
            context.only_on(Route::Ignition, difference)
                && matches!(key, Some("ignition.firstboot" | "ignition.platform.id"))
        },
    },
];

/// One of these paths that only a derived system lacks, or an account file in which it lacks lines.
fn not_on_derived(
    context: &Context<'_>,
    difference: &Difference,
    paths: &BTreeSet<String>,
) -> bool {
    let Some(key) = difference.key.as_ref() else {
        return false;
    };
    let lacks = |route: Route| {
        let sides = context.sides(route);
        sides.is_some_and(|(derived, _)| derived.paths.get(key).is_none())
    };
    let missing = difference.attribute.is_none() && (lacks(Route::Derive) || lacks(Route::Split));
    let account = key
        .strip_prefix("/etc/")
        .is_some_and(|n| ACCOUNT_FILES.contains(&n));
    let bytes = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
    paths.contains(key) && (missing || (account && bytes))
}

/// Whether an image declares something there for the machine's boot.
fn declared(context: &Context<'_>, difference: &Difference) -> bool {
    let key = difference.key.as_ref();
    key.is_some_and(|key| context.facts.declarations.contains(key))
}

/// The text with every run of 64 hexadecimal digits blanked out.
fn without_checksums(text: &str) -> String {
    text.split('/')
        .map(|part| {
            let checksum = part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if checksum { "CHECKSUM" } else { part }
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// Equal once each side's own deployment checksum is blanked out.
fn same_but_for_identity(context: &Context<'_>, difference: &Difference) -> bool {
    let blank = |text: &Option<String>, snapshot: &Snapshot| {
        let checksum = snapshot.ostree.get("checksum")?;
        Some(text.as_ref()?.replace(checksum.as_str(), "CHECKSUM"))
    };
    let left = blank(&difference.left, context.left.1);
    left.is_some() && left == blank(&difference.right, context.right.1)
}
