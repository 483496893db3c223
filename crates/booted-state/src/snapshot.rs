//! The snapshot: its sections, listed once, and its JSON form.

use serde::{Deserialize, Serialize};

use crate::compare::{Difference, compare_section};
use crate::model::{
    ConfigChange, FailedUnit, Group, GroupShadow, Interface, Job, JournalProblem, KernelArgument,
    ListeningSocket, Module, MountStack, NetworkFile, PathEntry, PresetFile, Shadow, Sysctl, Unit,
    User, UserKeys,
};
use crate::{Error, Section, Status};

/// The version of the JSON form; another one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// Who made a snapshot. Takes no part in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name of the program or library.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// This crate.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The struct, the enum of its section names and the comparison come from one list, so that no
/// section can be in one and be forgotten in another.
macro_rules! sections {
    ($($(#[$doc:meta])* $variant:ident $field:ident: $value:ty;)*) => {
        /// What a system effectively is.
        ///
        /// Each section maps keys to small values. Paths and all other bytes from the system are
        /// escaped as `pleach_fs_tree::escape` does. No secret is in it: of accounts, host keys and
        /// seeds only metadata and digests. A section that the JSON does not have was not captured.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Snapshot {
            /// [`FORMAT_VERSION`].
            pub format_version: u32,
            /// Who made it.
            pub tool: Tool,
            $($(#[$doc])* #[serde(default)] pub $field: Section<$value>,)*
        }

        /// The name of a section.
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum SectionName {
            $($(#[$doc])* $variant,)*
        }

        impl SectionName {
            /// All, in the order of the snapshot and of a comparison.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Whether it is there only where somebody asked for it.
            pub fn is_optional(self) -> bool {
                matches!(self, Self::EtcDefaults)
            }

            /// As it stands in the JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)*
                }
            }
        }

        impl Snapshot {
            /// A snapshot in which nothing was captured.
            pub fn empty() -> Self {
                Self {
                    format_version: FORMAT_VERSION,
                    tool: Tool::this(),
                    $($field: Section::NotCaptured,)*
                }
            }

            /// Which sections there are and which could not be had.
            pub fn statuses(&self) -> Vec<(SectionName, Status)> {
                vec![$((SectionName::$variant, self.$field.status()),)*]
            }

            pub(crate) fn compare_into(&self, other: &Self, out: &mut Vec<Difference>) {
                $(compare_section(SectionName::$variant, &self.$field, &other.$field, out);)*
            }
        }
    };
}

sections! {
    /// Every path of `/etc`, `/usr/local`, `/var` and the homes, by the rules of `CaptureOptions`;
    /// of `/` its direct entries only.
    Paths paths: PathEntry;
    /// Every path of `/usr` but those of `/usr/etc` and `/usr/local`; digests only where someone
    /// asked for them.
    Usr usr: PathEntry;
    /// Every path of `/usr/etc`, with digests: what the image shipped as `/etc`. Only where
    /// `CaptureOptions::etc_defaults` asked for it.
    EtcDefaults etc_defaults: PathEntry;
    /// Unit files and loaded units.
    Units units: Unit;
    /// Units in the state `failed`.
    FailedUnits failed_units: FailedUnit;
    /// Jobs that systemd had still queued.
    Jobs jobs: Job;
    /// `state` (`systemctl is-system-running`), `default_target`, and `wait` if waiting for the end
    /// of the boot timed out.
    System system: String;
    /// Properties of the service manager itself, counters and time stamps apart.
    Manager manager: String;
    /// The unit presets, file by file; the order of the keys is the order of precedence.
    Presets presets: PresetFile;
    /// `getent passwd`.
    Users users: User;
    /// `getent group`.
    Groups groups: Group;
    /// `getent shadow`, without the secrets.
    Shadow shadow: Shadow;
    /// `getent gshadow`, without the secrets.
    Gshadow gshadow: GroupShadow;
    /// What `sshd -G` says: keyword to values, one a line.
    Sshd sshd: Vec<String>;
    /// For each user the keys that sshd would accept, and those that it would not and why.
    AuthorizedKeys authorized_keys: UserKeys;
    /// `/proc/cmdline`, by key.
    KernelArguments kernel_arguments: KernelArgument;
    /// `release`, `version`, `machine` and the active security modules (`lsm`).
    Kernel kernel: String;
    /// Loaded modules.
    Modules modules: Module;
    /// Everything below `/proc/sys` that can be read.
    Sysctls sysctls: Sysctl;
    /// What is mounted where.
    Mounts mounts: MountStack;
    /// `static`, `transient`, `pretty`.
    Hostname hostname: String;
    /// `locale.conf` and `vconsole.conf`, by variable.
    Locale locale: String;
    /// `zone`, `localtime` (where the link leads), `rtc`.
    TimeZone time_zone: String;
    /// Network interfaces and their addresses.
    Network network: Interface;
    /// Configuration of networkd, NetworkManager, netplan, ifupdown and the resolver.
    NetworkFiles network_files: NetworkFile;
    /// `/etc/os-release` or `/usr/lib/os-release`, by variable.
    OsRelease os_release: String;
    /// `etc` (`/etc/machine-id`) and `dbus` (`/var/lib/dbus/machine-id`).
    MachineId machine_id: String;
    /// Sockets that accept connections or datagrams, by protocol and address.
    ListeningSockets listening_sockets: ListeningSocket;
    /// The booted deployment: `stateroot`, `checksum`, `serial`, `origin`, `karg`.
    Ostree ostree: String;
    /// `ostree admin config-diff`, by path below `/etc`.
    ConfigDiff config_diff: ConfigChange;
    /// `boot_id` and how long the phases of the boot took.
    Boot boot: String;
    /// Messages of priority `err` and worse of this boot, by unit and text.
    JournalProblems journal_problems: JournalProblem;
}

impl std::fmt::Display for SectionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Snapshot {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// When it is no snapshot, or one of another [`FORMAT_VERSION`].
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Header {
            format_version: u32,
        }
        let header: Header = serde_json::from_slice(json).map_err(Error::Json)?;
        if header.format_version != FORMAT_VERSION {
            return Err(Error::FormatVersion {
                found: header.format_version,
            });
        }
        serde_json::from_slice(json).map_err(Error::Json)
    }

    /// The JSON form: the same snapshot gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("maps have string keys");
        json.push(b'\n');
        json
    }

    /// Takes over the digests that another view of the same `/usr` has: the host reads the files of
    /// an image many times faster than a guest does under emulation. Returns how many were taken.
    /// A path whose type, mode, owner, size or target differs keeps none.
    pub fn take_usr_digests(&mut self, from: &Self) -> usize {
        let (Some(mine), Some(theirs)) = (self.usr.entries_mut(), from.usr.entries()) else {
            return 0;
        };
        let mut taken = 0;
        for (path, entry) in mine {
            let Some(other) = theirs.get(path) else {
                continue;
            };
            let same = PathEntry {
                digest: entry.digest.clone(),
                ..other.clone()
            };
            if entry.digest.is_none() && other.digest.is_some() && *entry == same {
                entry.digest = other.digest.clone();
                taken += 1;
            }
        }
        taken
    }
}
