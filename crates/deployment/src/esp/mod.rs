//! The EFI system partition: a mirror of the root's boot loader entries, for a boot loader that reads no
//! other filesystem.
//!
//! The root is the truth: [`plan`] compares its entries with what the ESP holds and gives steps, in an
//! order in which every prefix of them boots: kernels before the entries that name them, new entries
//! before old ones are removed, the default one last, old kernels after that. A plan that was cut short
//! is made and applied again.
//!
//! Entries may count boots (UAPI.1, "Boot counting"): see [`EntryName`].

mod apply;
mod entry_name;
mod loader;
mod plan;
mod read;

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
