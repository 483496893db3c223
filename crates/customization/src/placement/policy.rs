//! The whole policy on one page: what each route makes of each kind of item, and where that is said.
//!
//! `docs/placement.md` is made from these tables.

use crate::model::InjectOnlyKind;

use super::{Keeper, Route, Rule, Subject, Verdict, Verdicts};

/// When a route acts, and where that is said.
pub const ROUTES: [(Route, &str, &str); 7] = [
    (
        Route::Derive,
        "When the image is built. It follows the image: what is derived goes when the next image lacks it.",
        "bootc \"Building bootable images\" and \"Filesystem\"",
    ),
    (
        Route::Etc,
        "Before the first boot, into a deployment that is not running. It counts as a local change from then on.",
        "bootc \"Filesystem\"; ostree-admin-deploy(1)",
    ),
    (
        Route::Ignition,
        "In the initramfs of the first boot, before systemd of the real root has read anything.",
        "Ignition \"Configuration specifications\" and \"Operator notes\"",
    ),
    (
        Route::CloudInit,
        "During the first boot, while services start. What has read its configuration before has to be told.",
        "cloud-init \"Boot stages\" and \"Module reference\"",
    ),
    (
        Route::Kickstart,
        "When the installer has written the image, by `%post` in the deployment and by the installer's own commands.",
        "Red Hat Enterprise Linux 10 \"Kickstart commands: bootc, ostreecontainer\"; pykickstart \"Kickstart documentation\"",
    ),
    (
        Route::Credentials,
        "At every boot that is given the credentials, by systemd-sysusers, systemd-tmpfiles and a generator. What they write stays; what they do not write any more stays too.",
        "systemd.system-credentials(7) of version 257",
    ),
    (
        Route::Confext,
        "While the extension is merged: an overlay on `/etc`, which is read-only then. It goes without a trace.",
        "systemd-confext(8) of version 257",
    ),
];

const CARRIED: Verdict = Verdict::Carried;

const fn by(how: &'static str, why: &'static str) -> Verdict {
    Verdict::CarriedDifferently { how, why }
}

const fn not(why: &'static str, instead: &'static str) -> Verdict {
    Verdict::Refused { why, instead }
}

const fn all(verdict: Verdict) -> Verdicts {
    Verdicts {
        derive: verdict,
        etc: verdict,
        ignition: verdict,
        cloud_init: verdict,
        kickstart: verdict,
        credentials: verdict,
        confext: verdict,
    }
}

const READ_ONLY: Verdict = not(
    "it belongs to the image and is read-only on the machine",
    "derive it, or use a place in /etc, /var or /usr/local",
);
const ETC_ONLY: Verdict = not(
    "an extension of /etc reaches nothing outside of it",
    "inject it by another route, or derive it",
);
const NO_ACCOUNTS: Verdict = not(
    "an overlay on the account files would hide every later change of them",
    "derive or inject accounts by another route",
);
const BOOT_ENTRY: Verdict = by(
    "in the deployment's boot entry",
    "kernel arguments are no files of /etc",
);
const BEFORE_KERNEL: Verdict = not(
    "the kernel has started with its arguments when the route acts",
    "derive it, or use Ignition, kickstart or the boot entry",
);
const CONFEXT_WHOLE: Verdict = not(
    "an overlay shows whole files of its own and knows nothing of those below",
    "say the whole contents, or use another route",
);
const BY_COMMAND: Verdict = by("by a command in runcmd", "write_files writes files only");
const NO_HARD_LINKS: Verdict = not("tmpfiles.d makes no hard links", "make it a symbolic link");
const SYSUSERS: Verdict = by(
    "by sysusers.d, with home and keys by tmpfiles.d",
    "a machine that changed /etc/passwd keeps its own and never sees the image's",
);
const NO_REMOVAL: Verdict = not(
    "sysusers.d removes no accounts",
    "remove it by another injection, or when the base image is built",
);
const IN_IMAGE: Verdict = not("everybody who pulls the image could read it", "inject it");

const RELOADED: Verdict = by(
    "written, and made known by systemctl daemon-reload",
    "systemd has read its units when cloud-init starts",
);
const BY_SYSTEMCTL: Verdict = by(
    "by systemctl in runcmd",
    "systemd has planned the boot when cloud-init starts",
);
const MERGED: Verdict = by(
    "in the extension, which makes systemd reload when it is merged",
    "systemd has read its units when extensions are merged",
);
const ONLY_ADDS: Verdict = not(
    "an extension adds files and takes none away",
    "mask the unit, or use another route",
);
const EXTRA_SYSUSERS: Verdict = by(
    "by the credentials sysusers.extra and tmpfiles.extra",
    "no credential says a whole account",
);

/// What is said of each kind of item. A file is held to all that fit it: its path, its owner, its bits.
pub const RULES: &[Rule] = &[
    Rule {
        subject: Subject::Path(Keeper::Boot),
        what: "a path that is made anew at each boot",
        verdicts: all(not(
            "it is made anew at each boot, and what is written there is lost",
            "write a tmpfiles.d file or a unit that makes it",
        )),
        sources: "file-hierarchy(7)",
    },
    Rule {
        subject: Subject::Path(Keeper::Deployment),
        what: "a path of the boot loader or the deployments",
        verdicts: all(not(
            "it belongs to the boot loader and the deployments",
            "use kernel_arguments, or the boot loader's own tools",
        )),
        sources: "bootc \"Filesystem\"",
    },
    Rule {
        subject: Subject::Path(Keeper::EtcDefaults),
        what: "a path in the image's copy of /etc",
        verdicts: all(not(
            "it is the image's copy of /etc, which deploying makes",
            "write to /etc",
        )),
        sources: "bootc \"Filesystem\"",
    },
    Rule {
        subject: Subject::Path(Keeper::MachineId),
        what: "the machine's ID",
        verdicts: Verdicts {
            derive: not(
                "every machine with the image would be the same machine",
                "inject it, or leave it to the first boot",
            ),
            cloud_init: not(
                "systemd has made one and handed it out when cloud-init starts",
                "use another injection, or leave it to the first boot",
            ),
            credentials: not(
                "systemd takes it from its credential system.machine_id before it reads any file",
                "give the machine that credential, or leave it to the first boot",
            ),
            confext: not(
                "systemd reads it long before extensions are merged",
                "use another injection, or leave it to the first boot",
            ),
            ..all(CARRIED)
        },
        sources: "machine-id(5)",
    },
    Rule {
        subject: Subject::Path(Keeper::HostKey),
        what: "an SSH host key",
        verdicts: Verdicts {
            derive: not(
                "every machine with the image would have the same key",
                "inject it, or leave it to the first boot",
            ),
            ..all(CARRIED)
        },
        sources: "bootc \"Building bootable images\": generic images",
    },
    Rule {
        subject: Subject::Path(Keeper::Passwords),
        what: "a file of password hashes",
        verdicts: Verdicts {
            derive: IN_IMAGE,
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "shadow(5)",
    },
    Rule {
        subject: Subject::Path(Keeper::Accounts),
        what: "a file of accounts",
        verdicts: Verdicts {
            confext: NO_ACCOUNTS,
            ..all(CARRIED)
        },
        sources: "passwd(5); bootc \"Users and groups\"",
    },
    Rule {
        subject: Subject::Path(Keeper::Etc),
        what: "another path in /etc",
        verdicts: all(CARRIED),
        sources: "bootc \"Filesystem\"",
    },
    Rule {
        subject: Subject::Path(Keeper::Var),
        what: "a path of the machine's",
        verdicts: Verdicts {
            derive: by(
                "made at boot by tmpfiles.d",
                "/var of an image reaches new installations only",
            ),
            confext: ETC_ONLY,
            ..all(CARRIED)
        },
        sources: "bootc \"Filesystem\"; tmpfiles.d(5)",
    },
    Rule {
        subject: Subject::Path(Keeper::Image),
        what: "any other path",
        verdicts: Verdicts {
            derive: CARRIED,
            ..all(READ_ONLY)
        },
        sources: "bootc \"Filesystem\"",
    },
    Rule {
        subject: Subject::Directory,
        what: "a directory",
        verdicts: Verdicts {
            cloud_init: BY_COMMAND,
            ..all(CARRIED)
        },
        sources: "cloud-init \"Write files\" and \"Runcmd\"",
    },
    Rule {
        subject: Subject::Link,
        what: "a symbolic link",
        verdicts: Verdicts {
            cloud_init: BY_COMMAND,
            ..all(CARRIED)
        },
        sources: "cloud-init \"Write files\" and \"Runcmd\"",
    },
    Rule {
        subject: Subject::HardLink,
        what: "a hard link",
        verdicts: Verdicts {
            cloud_init: BY_COMMAND,
            credentials: NO_HARD_LINKS,
            confext: not(
                "an overlay does not keep hard links together",
                "make it a symbolic link",
            ),
            ..all(CARRIED)
        },
        sources: "tmpfiles.d(5)",
    },
    Rule {
        subject: Subject::HardLinkInVar,
        what: "a hard link among the machine's paths",
        verdicts: Verdicts {
            derive: NO_HARD_LINKS,
            cloud_init: BY_COMMAND,
            credentials: NO_HARD_LINKS,
            confext: ETC_ONLY,
            ..all(CARRIED)
        },
        sources: "tmpfiles.d(5)",
    },
    Rule {
        subject: Subject::HardLinkAcross,
        what: "a hard link from one of /etc, /usr and /var into another",
        verdicts: all(not(
            "a hard link cannot lead from one of /etc, /usr and /var into another",
            "make it a symbolic link",
        )),
        sources: "link(2): EXDEV",
    },
    Rule {
        subject: Subject::Setuid,
        what: "setuid and setgid bits of a file",
        verdicts: Verdicts {
            ignition: not(
                "Ignition does not reliably set setuid and setgid bits of files",
                "derive it",
            ),
            cloud_init: by(
                "by chmod in runcmd",
                "write_files changes the owner last, which clears these bits",
            ),
            confext: not(
                "extensions of /etc are mounted with nosuid",
                "use another route",
            ),
            ..all(CARRIED)
        },
        sources: "chown(2); systemd-confext(8)",
    },
    Rule {
        subject: Subject::NamedOwner,
        what: "an owner other than root, given by name",
        verdicts: Verdicts {
            cloud_init: by(
                "with write_files' defer, or by chown in runcmd",
                "cloud-init writes files before it makes users",
            ),
            confext: not(
                "an extension's files have numbers as owners, and what they mean is the machine's",
                "give the owner's number, or use another route",
            ),
            ..all(CARRIED)
        },
        sources: "cloud-init \"Write files\"",
    },
    Rule {
        subject: Subject::Append,
        what: "fragments added to a file",
        verdicts: Verdicts {
            credentials: not(
                "tmpfiles.d would add them again at each boot",
                "say the whole contents, or use another route",
            ),
            confext: CONFEXT_WHOLE,
            ..all(CARRIED)
        },
        sources: "tmpfiles.d(5)",
    },
    Rule {
        subject: Subject::KeptContents,
        what: "mode and owner of a file that keeps its contents",
        verdicts: Verdicts {
            cloud_init: BY_COMMAND,
            confext: CONFEXT_WHOLE,
            ..all(CARRIED)
        },
        sources: "cloud-init \"Write files\"",
    },
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
            cloud_init: by("by a command", "cloud-init's groups have no numbers"),
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
            cloud_init: by("by a command", "cloud-init removes no accounts"),
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
            cloud_init: by("by a command", "cloud-init's groups have no passwords"),
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
