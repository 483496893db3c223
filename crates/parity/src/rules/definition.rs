//! What telling the routes apart means. The shape of what is forgiven here is held by `shape`.

use pleach_booted_state::{Difference, SectionName, Snapshot};

use crate::{Class, Context, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "image-declarations",
        reason: "a derived image declares accounts, /var and kernel arguments in /usr; the other routes make them",
        class: Class::Definition,
        section: SectionName::Usr,
        covers: |context, difference| {
            context.only_on(Route::Derive, difference)
                && difference
                    .key
                    .as_ref()
                    .is_some_and(|key| context.facts.declarations.contains(key))
        },
    },
    Rule {
        name: "declared-for-first-boot",
        reason: "nothing was booted: what the derived image declares is not made yet",
        class: Class::Definition,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_ref();
            context.has(Route::Derive)
                && key.is_some_and(|key| context.facts.declared.contains(key))
        },
    },
    Rule {
        name: "deployment-identity",
        reason: "another image has another checksum, and its boot entry names it",
        class: Class::Definition,
        section: SectionName::KernelArguments,
        covers: |_, difference| difference.key.as_deref() == Some("ostree"),
    },
    Rule {
        name: "deployment-identity",
        reason: "another image has another checksum and another origin",
        class: Class::Definition,
        section: SectionName::Ostree,
        covers: |context, difference| {
            let key = difference.key.as_deref();
            matches!(key, Some("checksum" | "origin")) || same_but_for_identity(context, difference)
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
        name: "config-diff-shape",
        reason: "derived defaults against local changes: that is what the routes are; each side's list is held to its shape",
        class: Class::Definition,
        section: SectionName::ConfigDiff,
        covers: |_, difference| difference.key.is_some(),
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

/// Equal once each side's own deployment checksum is blanked out.
fn same_but_for_identity(context: &Context<'_>, difference: &Difference) -> bool {
    let blank = |text: &Option<String>, snapshot: &Snapshot| {
        let checksum = snapshot.ostree.get("checksum")?;
        Some(text.as_ref()?.replace(checksum.as_str(), "CHECKSUM"))
    };
    let left = blank(&difference.left, context.left.1);
    left.is_some() && left == blank(&difference.right, context.right.1)
}
