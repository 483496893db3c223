//! The values of the sections.

mod account;
mod network;
mod path;
mod ssh;
mod system;
mod unit;

pub use account::{Group, GroupShadow, LastChange, Password, Shadow, User};
pub use network::{Address, Interface, ListeningSocket, NetworkFile, SocketOwner};
pub use path::{Mode, PathEntry, PathType, Unlisted};
pub use ssh::{AuthorizedKey, KeyFile, UserKeys};
pub use system::{
    ConfigChange, JournalProblem, KernelArgument, Module, Mount, MountSource, MountStack, Sysctl,
};
pub use unit::{FailedUnit, Job, LoadedUnit, PresetFile, Unit};
