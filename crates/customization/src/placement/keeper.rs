//! Who keeps a path.
//!
//! `/usr` belongs to the image and is read-only on the machine, `/var` belongs to the machine and is
//! filled from an image only when it is installed, `/etc` belongs to both (bootc's "Filesystem").

/// Who keeps a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// Made anew at each boot.
    Boot,
    /// The boot loader's own files, on a file system of their own.
    BootLoader,
    /// The deployments' own files.
    Deployment,
    /// The image's copy of `/etc`.
    EtcDefaults,
    /// The name that systemd gives one machine.
    MachineId,
    /// The keys by which a machine is known.
    HostKey,
    /// The files of password hashes.
    Passwords,
    /// The files of accounts.
    Accounts,
    /// The lists of modules that the kernel is given when it has started.
    Modules,
    /// What systemd and its generators read before anything else has run.
    Manager,
    /// Image and machine.
    Etc,
    /// The machine.
    Var,
    /// The image.
    Image,
}

/// Where a keeper's paths are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path and everything below it.
    Below(&'static str),
    /// Every path that begins so.
    Begins(&'static str),
}

use Place::{Begins, Below};

/// Places and who keeps them; the first that fits counts, and what fits none is the image's.
pub const KEEPERS: &[(Place, Keeper)] = &[
    (Below("/run"), Keeper::Boot),
    (Below("/var/run"), Keeper::Boot),
    (Below("/tmp"), Keeper::Boot),
    (Below("/proc"), Keeper::Boot),
    (Below("/sys"), Keeper::Boot),
    (Below("/dev"), Keeper::Boot),
    (Below("/boot"), Keeper::BootLoader),
    (Below("/efi"), Keeper::BootLoader),
    (Below("/sysroot"), Keeper::Deployment),
    (Below("/ostree"), Keeper::Deployment),
    (Below("/usr/etc"), Keeper::EtcDefaults),
    (Below("/etc/machine-id"), Keeper::MachineId),
    (Begins("/etc/ssh/ssh_host_"), Keeper::HostKey),
    (Below("/etc/shadow"), Keeper::Passwords),
    (Below("/etc/shadow-"), Keeper::Passwords),
    (Below("/etc/gshadow"), Keeper::Passwords),
    (Below("/etc/gshadow-"), Keeper::Passwords),
    (Below("/etc/passwd"), Keeper::Accounts),
    (Below("/etc/group"), Keeper::Accounts),
    (Below("/etc/modules-load.d"), Keeper::Modules),
    (Below("/etc/modules"), Keeper::Modules),
    // The generator of a user's own manager, which comes long after.
    (Below("/etc/containers/systemd/users"), Keeper::Etc),
    (Below("/etc/containers/systemd"), Keeper::Manager),
    (Below("/etc/fstab"), Keeper::Manager),
    (Below("/etc/crypttab"), Keeper::Manager),
    (Below("/etc/veritytab"), Keeper::Manager),
    (Below("/etc/integritytab"), Keeper::Manager),
    (Below("/etc/netplan"), Keeper::Manager),
    (Begins("/etc/systemd/zram-generator.conf"), Keeper::Manager),
    // Units, system.conf, presets, and generators themselves.
    (Begins("/etc/systemd/system"), Keeper::Manager),
    (Below("/etc/init.d"), Keeper::Manager),
    (Below("/etc/rc.local"), Keeper::Manager),
    (Below("/etc"), Keeper::Etc),
    (Below("/var"), Keeper::Var),
    (Below("/usr/local"), Keeper::Var),
    (Below("/home"), Keeper::Var),
    (Below("/root"), Keeper::Var),
    (Below("/opt"), Keeper::Var),
    (Below("/srv"), Keeper::Var),
    (Below("/mnt"), Keeper::Var),
];

impl Keeper {
    /// Who keeps an absolute, clean path.
    pub fn of(path: &str) -> Self {
        let fits = |place: &Place| match place {
            Below(prefix) => path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Begins(prefix) => path.starts_with(prefix),
        };
        KEEPERS
            .iter()
            .find(|(place, _)| fits(place))
            .map_or(Self::Image, |(_, keeper)| *keeper)
    }

    /// The part of the root that a hard link cannot leave.
    pub(crate) fn file_system(self) -> Self {
        match self {
            Self::MachineId
            | Self::HostKey
            | Self::Passwords
            | Self::Accounts
            | Self::Modules
            | Self::Manager => Self::Etc,
            other => other,
        }
    }
}
