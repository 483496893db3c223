//! Accounts: several tools write the same account in different bytes.

use pleach_booted_state::{Difference, SectionName};

use super::name_in_etc;
use crate::shape::ACCOUNT_FILES;
use crate::{Class, Context, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "account-file-bytes",
        reason: "the order and spelling of entries; the entries themselves are compared one by one, in users, groups, gshadow and shadow",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let bytes = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
            bytes
                && entries_compared(context)
                && file(difference).is_some_and(|name| !name.starts_with("sub"))
        },
    },
    Rule {
        name: "account-backup-files",
        reason: "shadow-utils and systemd-sysusers keep the file from before their change beside it, each its own way; nobody reads it",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |_, difference| {
            let name = name_in_etc(difference);
            name.and_then(|name| name.strip_suffix('-'))
                .is_some_and(|name| ACCOUNT_FILES.contains(&name))
        },
    },
    Rule {
        name: "unusable-password-spelling",
        reason: "an account without a password: useradd as Ignition calls it writes *, systemd-sysusers !*; no password matches either, and sshd asks PAM",
        class: Class::Tool,
        section: SectionName::Shadow,
        covers: |context, difference| {
            customized(context, difference)
                && sshd_asks_pam(context)
                && difference.attribute.as_deref() == Some("password.unusable")
                && difference.left.is_some()
                && difference.right.is_some()
        },
    },
    Rule {
        name: "unusable-password-spelling",
        reason: "a group without a password: groupadd writes !, systemd-sysusers !*; no password matches either",
        class: Class::Tool,
        section: SectionName::Gshadow,
        covers: |context, difference| {
            let group = difference.key.as_deref();
            group.is_some_and(|group| context.facts.groups.contains(group))
                && difference.attribute.as_deref() == Some("password.unusable")
                && difference.left.is_some()
                && difference.right.is_some()
        },
    },
    Rule {
        name: "password-ageing-defaults",
        reason: "useradd writes the ageing defaults of login.defs into shadow, systemd-sysusers leaves the fields empty; without a password nothing ages",
        class: Class::Tool,
        section: SectionName::Shadow,
        covers: |context, difference| {
            customized(context, difference)
                && matches!(
                    difference.attribute.as_deref(),
                    Some("minimum" | "maximum" | "warning")
                )
                && unusable(context, difference)
        },
    },
    Rule {
        name: "password-change-day",
        reason: "the day on which the account was made, on each route its own; a day apart at most, and no password ages",
        class: Class::Tool,
        section: SectionName::Shadow,
        covers: |context, difference| {
            let day = |text: &Option<String>| text.as_ref()?.parse::<u64>().ok();
            let days = (day(&difference.left), day(&difference.right));
            customized(context, difference)
                && difference.attribute.as_deref() == Some("last_change.day")
                && unusable(context, difference)
                && matches!(days, (Some(a), Some(b)) if a.abs_diff(b) <= 1)
        },
    },
];

/// Whether the entries of the account files were captured on both sides.
fn entries_compared(context: &Context<'_>) -> bool {
    [context.left.1, context.right.1].into_iter().all(|s| {
        s.users.entries().is_some()
            && s.groups.entries().is_some()
            && s.shadow.entries().is_some()
            && s.gshadow.entries().is_some()
    })
}

/// Without PAM, sshd takes an account whose field begins with `!` for locked, keys or not.
fn sshd_asks_pam(context: &Context<'_>) -> bool {
    [context.left.1, context.right.1]
        .into_iter()
        .all(|snapshot| {
            snapshot
                .sshd
                .get("usepam")
                .is_some_and(|values| values.iter().all(|v| v == "yes"))
        })
}

/// The account file that the difference is about.
fn file(difference: &Difference) -> Option<&'static str> {
    let name = name_in_etc(difference)?;
    ACCOUNT_FILES.into_iter().find(|file| *file == name)
}

fn customized(context: &Context<'_>, difference: &Difference) -> bool {
    difference
        .key
        .as_deref()
        .is_some_and(|user| context.facts.users.contains(user))
}

/// Whether the user has no usable password on either side.
fn unusable(context: &Context<'_>, difference: &Difference) -> bool {
    use pleach_booted_state::model::Password;
    let Some(user) = difference.key.as_deref() else {
        return false;
    };
    [context.left.1, context.right.1]
        .into_iter()
        .all(|snapshot| {
            let shadow = snapshot.shadow.get(user);
            shadow.is_some_and(|shadow| matches!(shadow.password, Password::Unusable(_)))
        })
}
