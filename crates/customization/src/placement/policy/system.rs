//! Units, accounts, kernel arguments, and what is said to Ignition itself.

use super::{CARRIED, IN_IMAGE, NO_ACCOUNTS, Rule, Verdicts, all, by, not};
use crate::model::InjectOnlyKind;
use crate::placement::{Subject, Verdict};

const BOOT_ENTRY: Verdict = by(
    "in the deployment's boot entry",
    "kernel arguments are no files of /etc",
);
const BEFORE_KERNEL: Verdict = not(
    "the kernel has started with its arguments when the route acts",
    "derive it, or use Ignition, kickstart or the boot entry",
);
const SYSUSERS: Verdict = by(
    "by sysusers.d, with home and keys by tmpfiles.d",
    "a machine that changed /etc/passwd keeps its own and never sees the image's",
);
const NO_REMOVAL: Verdict = not(
    "sysusers.d removes no accounts",
    "remove it by another injection, or when the base image is built",
);
const RELOADED: Verdict = by(
    "written, and made known by systemctl daemon-reload",
    "systemd has read its units when cloud-init starts",
);
const BY_SYSTEMCTL: Verdict = by(
    "by systemctl in the script in bootcmd",
    "systemd has planned the boot when cloud-init starts",
);
const BY_SCRIPT: &str = "by a command of the script in bootcmd";
const MERGED: Verdict = by(
    "in the extension, which makes systemd reload when it is merged",
    "systemd has read its units when extensions are merged",
);
const ONLY_ADDS: Verdict = not(
    "an extension adds files and takes none away",
    "mask the unit, or use another route",
);
const EXTRA_SYSUSERS: Verdict = by(
    "by the credentials sysusers.extra and tmpfiles.extra, without subordinate ids",
    "no credential says a whole account",
);

pub(super) const RULES: &[Rule] = &[
    Rule {
        subject: Subject::Unit,
        what: "a unit file",
        verdicts: Verdicts {
            cloud_init: RELOADED,
            credentials: by(
                "by a credential systemd.extra-unit.NAME, in /run",
                "systemd has read its units when tmpfiles.d writes files",
            ),
            confext: MERGED,
            ..all(CARRIED)
        },
        sources: "systemd-debug-generator(8); systemd-confext(8)",
    },
    Rule {
        subject: Subject::Dropin,
        what: "a drop-in",
        verdicts: Verdicts {
            cloud_init: RELOADED,
            credentials: by(
                "by a credential systemd.unit-dropin.NAME, in /run",
                "systemd has read its units when tmpfiles.d writes files",
            ),
            confext: MERGED,
            ..all(CARRIED)
        },
        sources: "systemd-debug-generator(8); systemd-confext(8)",
    },
    Rule {
        subject: Subject::Enable,
        what: "`enabled: true` of a unit",
        verdicts: Verdicts {
            ignition: by(
                "as a preset, which the first boot applies",
                "Ignition makes no links for units that it enables",
            ),
            cloud_init: BY_SYSTEMCTL,
            credentials: by(
                "as Wants= or Requires= in drop-ins of the units that want it",
                "systemd has read its units when tmpfiles.d makes links",
            ),
            confext: MERGED,
            ..all(CARRIED)
        },
        sources: "systemd.preset(5); systemd.unit(5)",
    },
    Rule {
        subject: Subject::Disable,
        what: "`enabled: false` of a unit",
        verdicts: Verdicts {
            cloud_init: BY_SYSTEMCTL,
            credentials: not(
                "no credential takes a unit's links away",
                "mask the unit, or use another route",
            ),
            confext: ONLY_ADDS,
            ..all(CARRIED)
        },
        sources: "systemd.preset(5); systemctl(1)",
    },
    Rule {
        subject: Subject::Mask,
        what: "`mask: true` of a unit",
        verdicts: Verdicts {
            cloud_init: BY_SYSTEMCTL,
            credentials: by(
                "as a link by tmpfiles.d, which counts from the next boot on",
                "systemd has read its units when tmpfiles.d makes links",
            ),
            confext: MERGED,
            ..all(CARRIED)
        },
        sources: "systemctl(1)",
    },
    Rule {
        subject: Subject::Unmask,
        what: "`mask: false` of a unit",
        verdicts: Verdicts {
            cloud_init: BY_SYSTEMCTL,
            credentials: not(
                "no credential takes a mask away before units are read",
                "use another route",
            ),
            confext: ONLY_ADDS,
            ..all(CARRIED)
        },
        sources: "systemctl(1)",
    },
    Rule {
        subject: Subject::Group,
        what: "a group",
        verdicts: Verdicts {
            derive: SYSUSERS,
            cloud_init: by(BY_SCRIPT, "cloud-init's groups have no numbers"),
            credentials: EXTRA_SYSUSERS,
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "bootc \"Users and groups\"; sysusers.d(5)",
    },
    Rule {
        subject: Subject::User,
        what: "a user, with its groups, home and SSH keys",
        verdicts: Verdicts {
            derive: SYSUSERS,
            credentials: EXTRA_SYSUSERS,
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "bootc \"Users and groups\"; sysusers.d(5)",
    },
    Rule {
        subject: Subject::AccountRemoval,
        what: "`should_exist: false` of a user or group",
        verdicts: Verdicts {
            derive: NO_REMOVAL,
            cloud_init: by(BY_SCRIPT, "cloud-init removes no accounts"),
            credentials: NO_REMOVAL,
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "sysusers.d(5)",
    },
    Rule {
        subject: Subject::UserPassword,
        what: "the password hash of a user",
        verdicts: Verdicts {
            derive: IN_IMAGE,
            credentials: by(
                "by a credential passwd.hashed-password.NAME",
                "sysusers.d has no passwords",
            ),
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "systemd-sysusers(8)",
    },
    Rule {
        subject: Subject::GroupPassword,
        what: "the password hash of a group",
        verdicts: Verdicts {
            derive: IN_IMAGE,
            cloud_init: by(BY_SCRIPT, "cloud-init's groups have no passwords"),
            credentials: not(
                "no credential gives a group a password",
                "use another route",
            ),
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "gshadow(5)",
    },
    Rule {
        subject: Subject::KernelArgument,
        what: "a kernel argument",
        verdicts: Verdicts {
            derive: by(
                "as a file in /usr/lib/bootc/kargs.d",
                "an image has no boot entry of its own",
            ),
            etc: BOOT_ENTRY,
            ignition: CARRIED,
            kickstart: by(
                "by bootloader --append",
                "the installer writes the boot entry",
            ),
            ..all(BEFORE_KERNEL)
        },
        sources: "bootc \"Kernel arguments\"",
    },
    Rule {
        subject: Subject::KernelArgumentRemoval,
        what: "the removal of a kernel argument",
        verdicts: Verdicts {
            derive: not(
                "kargs.d adds arguments and removes none",
                "derive from an image without the argument, or remove it by injection",
            ),
            etc: BOOT_ENTRY,
            ignition: CARRIED,
            kickstart: not(
                "the installer adds arguments and removes none",
                "derive from an image without the argument, or use Ignition",
            ),
            ..all(BEFORE_KERNEL)
        },
        sources: "bootc \"Kernel arguments\"",
    },
    Rule {
        subject: Subject::Remote,
        what: "a file whose contents are fetched",
        verdicts: Verdicts {
            ignition: CARRIED,
            ..all(not(
                "its contents are not here, and nothing here opens a connection",
                "fetch them and name the file with contents.local, or use Ignition",
            ))
        },
        sources: "Ignition \"Configuration specifications\"",
    },
    Rule {
        subject: Subject::InjectOnly(InjectOnlyKind::Disk),
        what: "a disk, RAID array, LUKS volume or filesystem",
        verdicts: Verdicts {
            ignition: CARRIED,
            kickstart: not(
                "an installer lays out disks in its own words, which say something else",
                "write part, raid and volgroup commands into the kickstart yourself",
            ),
            cloud_init: not(
                "cloud-init starts from the disk that it would lay out",
                "use Ignition, or lay the disk out when the machine is installed",
            ),
            ..all(not(
                "disks are laid out before there is a tree to write to",
                "use Ignition, or lay the disk out when the machine is installed",
            ))
        },
        sources: "Ignition \"Operator notes\"",
    },
    Rule {
        subject: Subject::InjectOnly(InjectOnlyKind::Fetching),
        what: "timeouts, proxies and certificates of Ignition's fetches",
        verdicts: Verdicts {
            ignition: CARRIED,
            ..all(not(
                "it is about fetches, which only Ignition makes",
                "leave it out, or use Ignition",
            ))
        },
        sources: "Ignition \"Configuration specifications\"",
    },
    Rule {
        subject: Subject::InjectOnly(InjectOnlyKind::Document),
        what: "a document that is merged or takes this one's place",
        verdicts: Verdicts {
            ignition: CARRIED,
            ..all(not(
                "what it asks for is not here",
                "fetch it and name it with local, or use Ignition",
            ))
        },
        sources: "Ignition \"Configuration specifications\"",
    },
];
