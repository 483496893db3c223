//! The EFI system partition: a mirror of the root's boot loader entries, for a boot loader that reads no
//! other filesystem.
//!
//! The root is the truth: [`plan`] compares its entries with what the ESP holds and gives steps: kernels
//! before the entries that name them, new entries before old ones go, the default one last, old kernels
//! after that. vfat has no journal, and between two syncs what it was told comes to the disk in any order:
//! so [`Step::Settle`] stands wherever one step needs another, and any part of what is between two of
//! them boots. A plan that was cut short is made and applied again.
//!
//! - A file gets its name when it is whole: a name with a right size is taken as proof of that.
//! - An entry that goes first gets a name that no boot loader reads. Removed at once with its kernel, it
//!   might outlive it.
//! - A rename of which only a part came to the disk may leave two names for one file. Whoever removes one
//!   of them takes the file from the other: see [`Esp::twins`].
//!
//! Entries may count boots (UAPI.1, "Boot counting"): see [`EntryName`].

use std::path::{Path, PathBuf};

mod apply;
mod entry_name;
mod loader;
mod plan;
mod read;
mod shared;

pub use apply::apply;
pub use entry_name::{BootState, EntryName};
pub use loader::install_systemd_boot;
pub use plan::{BootFile, Esp, EspEntry, Plan, PlanOptions, RootEntry, Step, plan};
pub use read::{read, read_root};

/// Where entries are, on the ESP.
const ENTRIES: &str = "loader/entries";
/// Where kernels are, on the ESP as below the root's `/boot`.
const KERNELS: &str = "ostree";
/// Behind the name of a file that is not whole yet.
const PART: &str = ".part";
/// Behind the name of an entry that is to go: no boot loader reads it then.
const HIDDEN: &str = ".old";

/// A path with something behind its name.
fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
