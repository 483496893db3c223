#![doc = include_str!("../README.md")]

mod agent;
mod boot;
mod console;
mod error;
pub mod frame;
mod host;
mod judge;
mod media;
mod outcome;
mod permits;
mod plan;
mod private;
mod probe;
mod progress;
mod run;
mod smbios;
mod watchdog;

pub use boot::{
    Boot, Credential, DiskMode, Display, ExtraDisk, Input, Loads, Media, Payload, PayloadFile,
    Recovery, Shutdown, Start, Uuid,
};
pub use error::Error;
pub use host::{Accelerator, Host, Kvm, Profile, QemuVersion};
pub use outcome::{
    Attempt, Diagnostics, Finished, GuestFailure, Infrastructure, Outcome, Report, Timings,
};
pub use permits::{Permit, Permits};
pub use plan::Plan;
pub use probe::{ProbeOptions, Wanted, probe};
pub use progress::{Event, Mark};
pub use run::{RunOptions, boot};
pub use watchdog::{Limits, Phase};
