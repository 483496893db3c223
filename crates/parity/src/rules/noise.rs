//! What two boots of one image differ in. The control holds each of these to be needed.

use pleach_booted_state::{Difference, SectionName};

use crate::{Class, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "boot-identity",
        reason: "each boot has its own id, and takes its own time",
        class: Class::Noise,
        section: SectionName::Boot,
        covers: |_, difference| difference.left.is_some() && difference.right.is_some(),
    },
    Rule {
        name: "kernel-counters",
        reason: "counters and identifiers that the kernel makes anew at each boot",
        class: Class::Noise,
        section: SectionName::Sysctls,
        covers: |_, difference| {
            difference.left.is_some()
                && difference.right.is_some()
                && difference
                    .key
                    .as_deref()
                    .is_some_and(|key| COUNTERS.contains(&key))
        },
    },
    Rule {
        name: SECRET,
        reason: "a seed or host key is made anew on each machine; its type, mode and owner are compared",
        class: Class::Noise,
        section: SectionName::Paths,
        covers: secret,
    },
];

/// Below `/proc/sys`.
const COUNTERS: &[&str] = &[
    "fs.dentry-state",
    "fs.file-nr",
    "fs.inode-nr",
    "fs.inode-state",
    "kernel.ns_last_pid",
    "kernel.random.boot_id",
    "kernel.random.entropy_avail",
    "kernel.random.uuid",
];

/// The rule about secrets.
pub(super) const SECRET: &str = "secret-bytes";

/// Only the content: that it is there, whose it is and who may read it is compared. A key that the
/// customization brings is no noise.
fn secret(context: &crate::Context<'_>, difference: &Difference) -> bool {
    let content = matches!(difference.attribute.as_deref(), Some("digest" | "size"));
    let Some(key) = difference.key.as_deref() else {
        return false;
    };
    let host_key = key.starts_with("/etc/ssh/ssh_host_")
        && (key.ends_with("_key") || key.ends_with("_key.pub"));
    let own = context.facts.etc_paths.contains(key) || context.facts.named_paths.contains(key);
    content && !own && (host_key || key == "/var/lib/systemd/random-seed")
}
