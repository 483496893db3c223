//! The whole policy: what each route makes of each kind of item, and where that is said.
//!
//! `docs/placement.md` shows it on one page; it is made from these tables.

mod paths;
mod system;

use super::{Bond, Route, Rule, Verdict, Verdicts};

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

/// What belongs together: where one is refused, the others go with it. With the verdict for those.
pub const BONDS: &[(Bond, &str, Verdict)] = &[
    (
        Bond::Accounts,
        "all users and groups, paths that they own by name, and paths in their homes",
        not(
            "it belongs to the accounts, which get their numbers together, and one of them cannot be made here",
            "see what is said of that one",
        ),
    ),
    (
        Bond::HardLink,
        "a hard link and its file",
        not(
            "a hard link and its file are made together",
            "make it a symbolic link",
        ),
    ),
    (
        Bond::Directory,
        "what is in a directory goes with the directory, not the other way",
        not(
            "its directory is made later, and would be made without its mode and owner",
            "see what is said of the directory",
        ),
    ),
    (
        Bond::Unit,
        "the file, drop-ins, enabling and masking of one unit",
        not(
            "it belongs to a unit of which something cannot be done here",
            "see what is said of the unit's other parts",
        ),
    ),
    (
        Bond::Replacement,
        "everything, where another document takes this one's place",
        not(
            "Ignition takes another document in place of this one",
            "see ignition.config.replace",
        ),
    ),
];

/// What is said of each kind of item. A file is held to all that fit it: its path, its owner, its bits.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    paths::RULES.iter().chain(system::RULES)
}

const CARRIED: Verdict = Verdict::Carried;
const NO_ACCOUNTS: Verdict = not(
    "an overlay on the account files would hide every later change of them",
    "derive or inject accounts by another route",
);
const IN_IMAGE: Verdict = not("everybody who pulls the image could read it", "inject it");

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
