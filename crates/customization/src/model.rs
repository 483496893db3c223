//! The typed model that both spellings of the document become.

use std::fmt;
use std::sync::Arc;

use crate::secret::Secret;

/// Where an item came from, so that a report can say why a file is there and what would remove it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The document's name, as the caller gave it.
    pub file: Arc<str>,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Where in the document: `$.storage.files.0`.
    pub path: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{} ({})",
            self.file, self.line, self.column, self.path
        )
    }
}

/// The two spellings of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Butane YAML, `variant: fcos`.
    Butane,
    /// Ignition JSON.
    Ignition,
}

impl Format {
    /// The spelling that a file name promises: `.bu`, `.yaml` and `.yml` are Butane, `.ign` and `.json`
    /// are Ignition.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "bu" | "yaml" | "yml" => Some(Self::Butane),
            "ign" | "json" => Some(Self::Ignition),
            _ => None,
        }
    }
}

/// A customization: what one document asks for, checked, with every `data:` URL decoded and every
/// local file read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Customization {
    /// The spelling that it was written in.
    pub format: Format,
    /// The version that it names: `1.6.0` of Butane's fcos, or `3.5.0` of Ignition.
    pub version: String,
    /// `sha256:` and the hex digest of the document's text. Local files are not in it.
    pub digest: String,
    /// `storage.directories`, in document order.
    pub directories: Vec<Directory>,
    /// `storage.files`, in document order.
    pub files: Vec<File>,
    /// `storage.links`, in document order.
    pub links: Vec<Link>,
    /// `systemd.units`, in document order.
    pub units: Vec<Unit>,
    /// `passwd.users`, in document order.
    pub users: Vec<User>,
    /// `passwd.groups`, in document order.
    pub groups: Vec<Group>,
    /// `kernel_arguments`.
    pub kernel_arguments: KernelArguments,
}

/// Who owns a file: a number, or the name of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A numeric user or group ID.
    Id(u32),
    /// A user's or group's name.
    Name(String),
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directory {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first.
    pub overwrite: bool,
    /// Permission bits; none means 0755 for a new directory and no change for an existing one.
    pub mode: Option<u32>,
    /// Owner; none means root, or no change.
    pub user: Option<Owner>,
    /// Group; none means root, or no change.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first. Never true without contents.
    pub overwrite: bool,
    /// What the file holds. None: an existing file keeps what it has, a new one is empty.
    pub contents: Option<Contents>,
    /// Fragments that are added at the end, in order.
    pub append: Vec<Contents>,
    /// Permission bits; none means 0644 for a new file and no change for an existing one.
    pub mode: Option<u32>,
    /// Owner; none means root, or no change.
    pub user: Option<Owner>,
    /// Group; none means root, or no change.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// Bytes, decoded, decompressed and held to their checksum.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// The bytes.
    pub data: Vec<u8>,
    /// Where they were asked for.
    pub origin: Origin,
}

impl fmt::Debug for Contents {
    // A file may hold a key; a debug print shows its size alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents({} bytes)", self.data.len())
    }
}

/// A symbolic or hard link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Absolute and clean.
    pub path: String,
    /// Whether what is there is removed first.
    pub overwrite: bool,
    /// What it points to, as written.
    pub target: String,
    /// Whether it is a hard link.
    pub hard: bool,
    /// Owner of a symbolic link; none means root.
    pub user: Option<Owner>,
    /// Group of a symbolic link; none means root.
    pub group: Option<Owner>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// Full name with its suffix.
    pub name: String,
    /// Enabled at first boot, disabled, or left as the presets say.
    pub enabled: Option<bool>,
    /// Masked, unmasked, or left as it is.
    pub mask: Option<bool>,
    /// The unit file. None, or empty, writes none.
    pub contents: Option<String>,
    /// Drop-ins, in document order.
    pub dropins: Vec<Dropin>,
    /// Where it was asked for.
    pub origin: Origin,
}

impl Unit {
    /// The unit file that is to be written, if any: an empty one is not.
    pub fn unit_file(&self) -> Option<&str> {
        self.contents.as_deref().filter(|text| !text.is_empty())
    }
}

/// A drop-in of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropin {
    /// File name, ending in `.conf`.
    pub name: String,
    /// Its text. None writes no file.
    pub contents: Option<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Account name.
    pub name: String,
    /// Whether the account is to exist; `false` removes it.
    pub should_exist: bool,
    /// User ID; none lets `useradd`'s rule choose.
    pub uid: Option<u32>,
    /// Comment field.
    pub gecos: Option<String>,
    /// Home directory.
    pub home_dir: Option<String>,
    /// Whether the home directory is left out.
    pub no_create_home: bool,
    /// Primary group, by name or number.
    pub primary_group: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Whether it is a system account.
    pub system: bool,
    /// Whether no group of the same name is made.
    pub no_user_group: bool,
    /// Whether the login record databases are left alone.
    pub no_log_init: bool,
    /// Hash for `shadow(5)`. An empty one locks the password.
    pub password_hash: Option<Secret>,
    /// Lines for `authorized_keys`.
    pub ssh_authorized_keys: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Whether the group is to exist; `false` removes it.
    pub should_exist: bool,
    /// Group ID; none lets `groupadd`'s rule choose.
    pub gid: Option<u32>,
    /// Whether it is a system group.
    pub system: bool,
    /// Hash for `gshadow(5)`.
    pub password_hash: Option<Secret>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// Kernel arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelArguments {
    /// Arguments that are added where they are missing.
    pub should_exist: Vec<KernelArgument>,
    /// Arguments that are removed where they are found.
    pub should_not_exist: Vec<KernelArgument>,
}

/// One entry of a list of kernel arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelArgument {
    /// The argument, as written; it may hold several, separated by spaces.
    pub value: String,
    /// Where it was asked for.
    pub origin: Origin,
}
