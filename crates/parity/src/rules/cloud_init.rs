//! cloud-init: what it keeps and logs, its units, the disk with its seed, and the reboot after which
//! the machine has read everything.

use pleach_booted_state::SectionName;

use crate::{Class, Route, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "cloud-init-state",
        reason: "cloud-init remembers what it has done for which instance, and logs it",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            let own = STATE
                .iter()
                .any(|path| key.strip_prefix(path).is_some_and(below));
            own && context.only_on(Route::CloudInit, difference)
        },
    },
    Rule {
        name: "cloud-init-late",
        reason: "a timer that the document turns off was started once before cloud-init could turn it off, and systemd noted when (Persistent=); it is off on both machines",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            let Some((cloud_init, other)) = context.sides(Route::CloudInit) else {
                return false;
            };
            let is_off = |timer: &str| {
                [cloud_init, other].iter().all(|side| {
                    let state = side.units.get(timer);
                    let state = state.and_then(|unit| unit.enablement.as_deref());
                    matches!(state, Some("disabled" | "masked"))
                })
            };
            let is_note = cloud_init.paths.get(key).and_then(|path| path.size) == Some(0);
            context.only_on(Route::CloudInit, difference)
                && is_note
                && key
                    .strip_prefix(STAMP)
                    .is_some_and(|name| name.ends_with(".timer") && is_off(name))
        },
    },
    Rule {
        name: "cloud-init-runs",
        reason: "with a seed cloud-init's generator starts its units, without one it does not; they wait for the network and come after units that no image has to have",
        class: Class::Tool,
        section: SectionName::Units,
        covers: |context, difference| {
            let Some((cloud_init, _)) = context.sides(Route::CloudInit) else {
                return false;
            };
            let unit = difference.key.as_deref().unwrap_or_default();
            let attribute = difference.attribute.as_deref();
            let loaded = attribute.is_none_or(|attribute| attribute.starts_with("loaded"));
            let looked_for = || {
                let unit = cloud_init
                    .units
                    .get(unit)
                    .and_then(|unit| unit.loaded.as_ref());
                context.only_on(Route::CloudInit, difference)
                    && unit.is_some_and(|unit| unit.load_state == "not-found")
            };
            (UNITS.contains(&unit) && loaded)
                || (unit == TARGET && matches!(attribute, Some("enablement" | "preset")))
                || (ONLINE.contains(&unit) && attribute.is_some_and(|a| ENDED.contains(&a)))
                || looked_for()
        },
    },
    Rule {
        name: "cloud-init-runs",
        reason: "by this link cloud-init's generator starts its units",
        class: Class::Tool,
        section: SectionName::Paths,
        covers: |context, difference| {
            let key = difference.key.as_deref().unwrap_or_default();
            context.only_on(Route::CloudInit, difference) && GENERATED.contains(&key)
        },
    },
    Rule {
        name: "cloud-init-disk",
        reason: "the disk with the seed, which no other route has",
        class: Class::Definition,
        section: SectionName::Units,
        covers: |context, difference| {
            let unit = difference.key.as_deref().unwrap_or_default();
            let disk = DISK.iter().any(|word| unit.contains(word));
            disk && unit.ends_with(".device") && context.only_on(Route::CloudInit, difference)
        },
    },
    Rule {
        name: "cloud-init-disk",
        reason: "the kernel's modules for the file system on the disk with the seed",
        class: Class::Definition,
        section: SectionName::Modules,
        covers: |context, difference| {
            let module = difference.key.as_deref().unwrap_or_default();
            context.only_on(Route::CloudInit, difference) && FAT.contains(&module)
        },
    },
    Rule {
        name: "second-boot",
        reason: "cloud-init reboots when all is in place; what runs at a first boot only has run in the boot before",
        class: Class::Definition,
        section: SectionName::Units,
        covers: |context, difference| {
            let unit = difference.key.as_deref().unwrap_or_default();
            let attribute = difference.attribute.as_deref().unwrap_or_default();
            context.has(Route::CloudInit)
                && FIRST_BOOT.contains(&unit)
                && ENDED.contains(&attribute)
        },
    },
    Rule {
        name: "second-boot",
        reason: "a counter of how often file systems were synced, which a first boot does oftener",
        class: Class::Machine,
        section: SectionName::Sysctls,
        covers: |context, difference| {
            context.has(Route::CloudInit) && difference.key.as_deref() == Some("fs.quota.syncs")
        },
    },
];

/// What is cloud-init's own.
const STATE: &[&str] = &[
    "/var/lib/cloud",
    "/var/log/cloud-init.log",
    "/var/log/cloud-init-output.log",
];

/// Where systemd notes when a timer last ran, its name behind that.
const STAMP: &str = "/var/lib/systemd/timers/stamp-";

/// Units that come with cloud-init.
const UNITS: &[&str] = &[
    "cloud-config.service",
    "cloud-config.target",
    "cloud-final.service",
    "cloud-init-hotplugd.service",
    "cloud-init-hotplugd.socket",
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-init.target",
];

/// The one that its generator starts.
const TARGET: &str = "cloud-init.target";

/// What its units wait for.
const ONLINE: &[&str] = &[
    "network-online.target",
    "systemd-networkd-wait-online.service",
];

/// What the names of the disk have in them: its device, its serial, its label, its volume id, and
/// where it stands among the disks.
const DISK: &[&str] = &[
    "vdc",
    "cidata",
    "CIDATA",
    r"706C\x2d6561",
    r"by\x2ddiskseq-3.",
    r"by\x2dpath-",
];

/// What cloud-init's generator makes.
const GENERATED: &[&str] = &[
    "/run/systemd/generator.early/multi-user.target.wants",
    "/run/systemd/generator.early/multi-user.target.wants/cloud-init.target",
];

/// For a FAT file system with names as Linux has them.
const FAT: &[&str] = &["fat", "vfat", "nls_ascii", "nls_cp437", "nls_iso8859_1"];

/// Units with `ConditionFirstBoot=` or `ConditionNeedsUpdate=`.
const FIRST_BOOT: &[&str] = &[
    "first-boot-complete.target",
    "ldconfig.service",
    "sshd-keygen.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-machine-id-commit.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
];

/// How it shows that one of them was skipped.
const ENDED: &[&str] = &[
    "loaded.active_state",
    "loaded.sub_state",
    "loaded.condition_result",
    "loaded.started",
    "loaded.exec_main_status",
];

/// Whether what follows a path is nothing, or something below it.
fn below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}
