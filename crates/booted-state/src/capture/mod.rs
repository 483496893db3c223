//! Makes a snapshot of the system that runs.

mod identity;
mod kernel;
mod keys;
mod network;
mod rules;
mod runner;
mod sockets;
mod tools;
mod units;
mod view;
mod walk;

use std::time::Duration;

use cap_std::fs::Dir;

use crate::{Error, Section, Snapshot};

pub use rules::{Look, PathRule};
pub use runner::{CommandOutput, CommandRunner, SystemRunner};

use tools::Tools;
use view::{View, at};
use walk::{Limits, walk};

/// What a capture looks at, and its limits.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// Rules of the section `paths`.
    pub path_rules: Vec<PathRule>,
    /// Rules of the section `usr`.
    pub usr_rules: Vec<PathRule>,
    /// Look at `/usr/etc` too: then the upgrade of `/etc` can be planned from the capture alone.
    pub etc_defaults: bool,
    /// How long to wait for the end of the boot (`systemctl is-system-running --wait`); `None` to
    /// take the system as it is. A service of type `oneshot` that is part of the boot must not wait:
    /// its own start job is what it would wait for.
    pub wait_for_boot: Option<Duration>,
    /// How long any other tool may take.
    pub command_timeout: Duration,
    /// Paths in each of the two sections of paths.
    pub max_entries: usize,
    /// Components of a path.
    pub max_depth: usize,
    /// The most that is read into memory of one file; digests have no such limit.
    pub max_file_bytes: u64,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            path_rules: PathRule::paths(),
            usr_rules: PathRule::usr(),
            etc_defaults: false,
            wait_for_boot: Some(Duration::from_secs(600)),
            command_timeout: Duration::from_secs(120),
            max_entries: 2_000_000,
            max_depth: 256,
            max_file_bytes: 16 << 20,
        }
    }
}

/// Captures the system below `root`, which has its `/proc` and `/sys`, with tools run by `runner`.
///
/// Nothing is changed. A tool that is missing or fails makes its section unavailable, with the
/// reason; what vanishes while it is looked at is not there. No symbolic link is followed outside
/// `root`.
///
/// # Errors
/// When something that exists cannot be read, or a limit is reached.
pub fn capture(
    root: &Dir,
    runner: &dyn CommandRunner,
    options: &CaptureOptions,
) -> Result<Snapshot, Error> {
    let view = View::new(root, options.max_file_bytes);
    let tools = Tools::new(runner, options.command_timeout);
    let mut snapshot = Snapshot::empty();
    // First what the tools that are run later could change: units that they start, what they log.
    units::capture(&view, &tools, options.wait_for_boot, &mut snapshot)?;
    snapshot.listening_sockets = sockets::capture(&view)?;
    snapshot.modules = kernel::modules(&view)?;
    snapshot.sysctls = kernel::sysctls(&view)?;
    snapshot.mounts = kernel::mounts(&view)?;
    snapshot.kernel_arguments = kernel::arguments(&view)?;
    snapshot.kernel = kernel::release(&view)?;
    identity::capture(&view, &tools, &mut snapshot)?;
    snapshot.network = network::interfaces(&tools);
    snapshot.network_files = network::files(&view)?;
    keys::capture(&view, &tools, &mut snapshot)?;
    paths(&view, options, &mut snapshot)?;
    Ok(snapshot)
}

/// The sections `paths` and `usr` of a deployment that is not running: of its root directory, the
/// `/etc` and the `/var` that belong to it. All other sections are not captured.
///
/// # Errors
/// When something cannot be read, or a limit is reached.
pub fn static_view(
    deployment: &Dir,
    etc: &Dir,
    var: &Dir,
    options: &CaptureOptions,
) -> Result<Snapshot, Error> {
    let view = View::new(deployment, options.max_file_bytes)
        .mount(at("/etc"), etc)
        .mount(at("/var"), var);
    let mut snapshot = Snapshot::empty();
    paths(&view, options, &mut snapshot)?;
    Ok(snapshot)
}

fn paths(view: &View<'_>, options: &CaptureOptions, snapshot: &mut Snapshot) -> Result<(), Error> {
    let limits = Limits {
        entries: options.max_entries,
        depth: options.max_depth,
    };
    snapshot.paths = Section::Entries(walk(view, &options.path_rules, limits, true)?);
    snapshot.usr = Section::Entries(walk(view, &options.usr_rules, limits, false)?);
    if options.etc_defaults {
        let rules = PathRule::etc_defaults();
        snapshot.etc_defaults = Section::Entries(walk(view, &rules, limits, false)?);
    }
    Ok(())
}

/// The value, or why the section is unavailable.
fn section<T>(result: Result<impl IntoIterator<Item = (String, T)>, String>) -> Section<T> {
    match result {
        Ok(entries) => entries.into_iter().collect(),
        Err(why) => Section::unavailable(why),
    }
}
