//! The typed model that both spellings of the document become.

mod contents;
mod disks;
mod ignition;
mod items;
mod passwd;
mod storage;
mod systemd;

use std::fmt;
use std::sync::Arc;

pub use contents::{Compression, Contents, Hash, HttpHeader, Remote, Source};
pub use disks::{Clevis, ClevisCustom, Disk, Filesystem, Luks, Partition, Raid, Tang};
pub use ignition::{IgnitionSection, Proxy, Reference, Timeouts};
pub use items::{InjectOnly, InjectOnlyKind};
pub use passwd::{Group, User};
pub use storage::{Directory, File, Link, Owner};
pub use systemd::{Dropin, Unit};

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
/// local file read. Butane's shorthands are written out: trees are files and links, a filesystem with
/// a mount unit is followed by the unit, `boot_device` and `grub` are what they stand for.
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
    /// `storage.disks`, in document order.
    pub disks: Vec<Disk>,
    /// `storage.raid`, in document order.
    pub raid: Vec<Raid>,
    /// `storage.luks`, in document order.
    pub luks: Vec<Luks>,
    /// `storage.filesystems`, in document order.
    pub filesystems: Vec<Filesystem>,
    /// `ignition`.
    pub ignition: IgnitionSection,
}

impl Customization {
    /// One that asks for nothing.
    pub(crate) fn new(format: Format, version: String) -> Self {
        Self {
            format,
            version,
            digest: String::new(),
            directories: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            units: Vec::new(),
            users: Vec::new(),
            groups: Vec::new(),
            kernel_arguments: KernelArguments::default(),
            disks: Vec::new(),
            raid: Vec::new(),
            luks: Vec::new(),
            filesystems: Vec::new(),
            ignition: IgnitionSection::default(),
        }
    }

    /// Takes a file for one without a secret: an image layer may hold it although only its owner may
    /// read it on the machine. `path` is as the document has it. False where no file has that path.
    pub fn publish(&mut self, path: &str) -> bool {
        let mut files = self.files.iter_mut();
        let file = files.find(|file| file.path == path);
        file.map(|file| file.published = true).is_some()
    }
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
