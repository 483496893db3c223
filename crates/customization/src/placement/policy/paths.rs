//! Files, directories and links.

use super::{CARRIED, IN_IMAGE, NO_ACCOUNTS, Rule, Verdicts, all, by, not};
use crate::placement::{Keeper, Subject, Verdict};

const READ_ONLY: Verdict = not(
    "it belongs to the image and is read-only on the machine",
    "derive it, or use a place in /etc, /var or /usr/local",
);
const ETC_ONLY: Verdict = not(
    "an extension of /etc reaches nothing outside of it",
    "inject it by another route, or derive it",
);
const CONFEXT_WHOLE: Verdict = not(
    "an overlay shows whole files of its own and knows nothing of those below",
    "say the whole contents, or use another route",
);
const BY_COMMAND: Verdict = by(
    "by a command of the script in bootcmd",
    "write_files writes files only",
);
const NO_HARD_LINKS: Verdict = not("tmpfiles.d makes no hard links", "make it a symbolic link");

pub(super) const RULES: &[Rule] = &[
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
        subject: Subject::Path(Keeper::BootLoader),
        what: "a path of the boot loader",
        verdicts: Verdicts {
            // It mounts the boot file system where the document says so, as for `grub`.
            ignition: CARRIED,
            ..all(not(
                "it belongs to the boot loader",
                "use kernel_arguments, or the boot loader's own tools",
            ))
        },
        sources: "bootc \"Filesystem\"; Butane \"grub\"",
    },
    Rule {
        subject: Subject::Path(Keeper::Deployment),
        what: "a path of the deployments",
        verdicts: all(not(
            "it belongs to the deployments",
            "use /etc, /var or /usr/local",
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
        subject: Subject::Path(Keeper::Modules),
        what: "a list of kernel modules to load",
        verdicts: Verdicts {
            credentials: by(
                "by tmpfiles.d, which counts from the next boot on",
                "systemd-modules-load has read its lists when tmpfiles.d writes files",
            ),
            ..all(CARRIED)
        },
        sources: "modules-load.d(5)",
    },
    Rule {
        subject: Subject::Path(Keeper::Manager),
        what: "what systemd and its generators read first",
        verdicts: Verdicts {
            cloud_init: by(
                "by the restart when all is in place",
                "systemd has read it, or a generator, when cloud-init starts",
            ),
            credentials: not(
                "systemd has read it, or a generator, when tmpfiles.d writes files: at the first boot it does nothing",
                "say it as a unit or drop-in of the document, or use another route",
            ),
            confext: not(
                "systemd has read it, or a generator, when extensions are merged",
                "say it as a unit or drop-in of the document, or use another route",
            ),
            ..all(CARRIED)
        },
        sources: "systemd.generator(7); systemd-system.conf(5); podman-systemd.unit(5)",
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
        sources: "cloud-init \"Write files\" and \"Bootcmd\"",
    },
    Rule {
        subject: Subject::Link,
        what: "a symbolic link",
        verdicts: Verdicts {
            cloud_init: BY_COMMAND,
            ..all(CARRIED)
        },
        sources: "cloud-init \"Write files\" and \"Bootcmd\"",
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
                "by chmod in the script in bootcmd",
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
                "by chown in the script in bootcmd",
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
        subject: Subject::PrivateFile,
        what: "a file that only its owner may read (`mode: 0600`), or that holds a private key",
        verdicts: Verdicts {
            derive: not(
                "everybody who pulls the image could read it, whatever its mode",
                "inject it, or publish it by its path if it is no secret",
            ),
            ..all(CARRIED)
        },
        sources: "bootc \"Secrets\"; umask(2)",
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
];
