use std::io;
use std::time::Duration;

use crate::host::Kvm;

/// What keeps a boot from being planned, started or recorded.
///
/// What happens *inside* a boot is never an `Error`: it is an [`Outcome`](crate::Outcome).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file of the run directory, of an input or of the permits failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried, as a verb: `open`, `copy`, `write`.
        operation: &'static str,
        /// The path, relative to the directory that was handed over.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The emulator could not be executed at all.
    #[error("run {program}: {source}")]
    Spawn {
        /// The program as named in the options.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// `-version` printed something without a version in it.
    #[error("{program} -version printed no version, but: {output}")]
    Version {
        /// The program as named in the options.
        program: String,
        /// The first line it printed.
        output: String,
    },
    /// The boot-sector probe ran under no accelerator: this QEMU runs no guest code here.
    #[error("{program} runs no guest code, not even under TCG: {detail}")]
    NoAccelerator {
        /// The program as named in the options.
        program: String,
        /// Exit status and standard error of the TCG probe.
        detail: String,
    },
    /// KVM was demanded and does not run guest code.
    #[error("KVM was demanded, but KVM {kvm}")]
    KvmRequired {
        /// What the probe found.
        kvm: Kvm,
    },
    /// A value cannot be passed to QEMU or to the guest.
    #[error("{what} {value:?}: {rule}")]
    Invalid {
        /// What the value is for: `credential name`, `uuid`.
        what: &'static str,
        /// The value.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The same name was given twice, or is one of those the agent needs.
    #[error("{what} {name:?} is given twice or is one the agent uses")]
    Duplicate {
        /// What the name is for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A limit of this crate was reached.
    #[error("{what}: {actual} is over the limit of {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The value that is over it.
        actual: u64,
    },
    /// More permits were asked for than exist, so waiting would never end.
    #[error("a machine of {asked} {unit} can never start: the permits hold {total}")]
    PermitsTooFew {
        /// `vcpus` or `MiB`.
        unit: &'static str,
        /// What was asked for.
        asked: u64,
        /// All there is.
        total: u64,
    },
    /// Others held the permits for too long.
    #[error("no permit for {cpus} vcpus and {memory_mib} MiB within {waited:?}")]
    PermitsBusy {
        /// Virtual CPUs asked for.
        cpus: u32,
        /// Memory asked for.
        memory_mib: u32,
        /// How long was waited.
        waited: Duration,
    },
}

/// Adds operation and path to an [`io::Error`].
pub(crate) fn io_error(
    operation: &'static str,
    path: impl Into<String>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io {
        operation,
        path,
        source,
    }
}
