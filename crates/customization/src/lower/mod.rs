//! A customization, brought down to the changes that it makes to a tree.
//!
//! The rules are those of Ignition's `files` stage, in its order: accounts' homes and keys, then
//! directories, files and links from the shallowest path to the deepest (hard links last), then units.
//! What is done here once is used by every route that writes files itself.

mod homes;
mod install;
mod storage;
mod systemd;
mod tree;
mod unit_file;
mod view;
mod work;

pub use systemd::preset;
pub use tree::TreeView;
pub use view::{BaseView, Kind, MAX_LINKS, Node, ResolveError};

use crate::accounts::AccountPlan;
use crate::model::{Customization, Origin};
use work::Work;

/// The preset file that [`lower`] writes: line for line what Ignition writes into its own.
pub const PRESET_PATH: &str = "/etc/systemd/system-preset/20-pleach.preset";

/// As [`PRESET_PATH`], with [`UnitsIn::Usr`].
pub const IMAGE_PRESET_PATH: &str = "/usr/lib/systemd/system-preset/20-pleach.preset";

/// One change to a tree. Changes are made in order; a later one sees what an earlier one left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Absolute, with the links of its parent resolved inside the root: `/var/home/alice`, not
    /// `/home/alice`, where `/home` is a link.
    pub path: Vec<u8>,
    /// What is done there.
    pub action: Action,
    /// What asked for it.
    pub origin: Origin,
}

/// What is done at a path. Owners are numbers: names have been resolved.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A regular file with exactly these bytes and metadata takes the place of whatever file or link
    /// is there.
    Write {
        /// The whole content.
        contents: Vec<u8>,
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A directory is there afterwards, with this metadata; one that exists keeps its children.
    Mkdir {
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A symbolic link takes the place of whatever file or link is there.
    Symlink {
        /// What it holds, as it is.
        target: Vec<u8>,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A second name for a file.
    HardLink {
        /// The existing name: absolute and resolved.
        target: Vec<u8>,
    },
    /// New mode and owner for the regular file that is there; its contents and xattrs stay.
    SetMeta {
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Whatever is there is gone, with all below it.
    Remove,
}

impl std::fmt::Debug for Action {
    // Contents may be a key: their size alone is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write {
                contents,
                mode,
                uid,
                gid,
            } => {
                write!(f, "Write({} bytes, {mode:04o} {uid}:{gid})", contents.len())
            }
            Self::Mkdir { mode, uid, gid } => write!(f, "Mkdir({mode:04o} {uid}:{gid})"),
            Self::Symlink { target, uid, gid } => {
                write!(
                    f,
                    "Symlink({} {uid}:{gid})",
                    String::from_utf8_lossy(target)
                )
            }
            Self::HardLink { target } => {
                write!(f, "HardLink({})", String::from_utf8_lossy(target))
            }
            Self::SetMeta { mode, uid, gid } => write!(f, "SetMeta({mode:04o} {uid}:{gid})"),
            Self::Remove => f.write_str("Remove"),
        }
    }
}

/// Where a user's SSH keys are written, below the home directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthorizedKeys {
    /// `.ssh/authorized_keys`, which every sshd reads.
    #[default]
    File,
    /// `.ssh/authorized_keys.d/ignition`, which Ignition is built to write in some distributions; the
    /// image's sshd must be told to read it.
    IgnitionFragment,
}

/// Where a document's unit files, drop-ins and presets are written.
///
/// Links that enable, disable or mask are in `/etc/systemd/system` in either case, as systemctl(1)
/// makes them: a link that starts a unit from `/usr` could not be taken away on the machine, and
/// systemctl would call the unit disabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnitsIn {
    /// `/etc/systemd`, for the machine's own: as Ignition writes them.
    #[default]
    Etc,
    /// `/usr/lib/systemd`, for the image's: as packages do. What `/etc` has under the same name, which
    /// would hide it, is removed.
    Usr,
}

/// Choices of the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// Where units go.
    pub units_in: UnitsIn,
    /// Where SSH keys go.
    pub authorized_keys: AuthorizedKeys,
}

/// Why a customization cannot be brought down to changes of this tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerErrorKind {
    /// Something is there already, and `overwrite` is false.
    #[error("{path}: {found} exists there already and overwrite is false")]
    Exists {
        /// Resolved path.
        path: String,
        /// What is there.
        found: &'static str,
    },
    /// The bytes of a file of the tree are needed, and cannot be had.
    #[error("{path}: the file cannot be read")]
    Unreadable {
        /// Resolved path.
        path: String,
    },
    /// The bytes of a file are fetched by Ignition, and so are not here.
    #[error(
        "{path}: {url} is fetched by Ignition alone: download it and give it as contents.local"
    )]
    Remote {
        /// Resolved path.
        path: String,
        /// Where it is, without what may be a secret.
        url: String,
    },
    /// Two items have the same path once links are followed.
    #[error("{path} resolves to {resolved}, which {other} uses too")]
    SamePlace {
        /// As written.
        path: String,
        /// Resolved.
        resolved: String,
        /// The other item's path as written.
        other: String,
    },
    /// A path cannot be resolved inside the tree.
    #[error("{path}: {source}")]
    Resolve {
        /// As written.
        path: String,
        /// Why.
        source: ResolveError,
    },
    /// An owner that no account has.
    #[error("no {what} is called '{name}', in the image or in the document")]
    UnknownOwner {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A hard link's target is not a regular file.
    #[error("hard link {path}: no regular file at {target}")]
    HardLinkTarget {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// A unit is to be enabled that is neither in the document nor in the image.
    #[error("unit '{name}' is enabled, but neither the document nor the image has it")]
    UnknownUnit {
        /// The unit.
        name: String,
    },
    /// A unit is to be enabled that the image masks.
    #[error("unit '{name}' is enabled, but the image masks it: say mask: false too")]
    MaskedUnit {
        /// The unit.
        name: String,
    },
    /// An `[Install]` setting that cannot be followed.
    #[error("unit '{name}': [Install] {setting}: {reason}")]
    Install {
        /// The unit.
        name: String,
        /// `WantedBy=x.target`.
        setting: String,
        /// Why.
        reason: String,
    },
}

/// A [`LowerErrorKind`] and the item that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {kind}")]
#[non_exhaustive]
pub struct LowerError {
    /// The item.
    pub origin: Origin,
    /// What is wrong.
    pub kind: LowerErrorKind,
}

/// All [`LowerError`]s of one run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LowerErrors(pub Vec<LowerError>);

/// The changes that a customization makes to a tree, in order.
///
/// The account files themselves are not among them (see [`crate::accounts`]), nor are kernel
/// arguments; homes, `/etc/skel`'s copies and SSH keys are. Parents that are missing are made first, as
/// 0755 of root. Pure and deterministic: the same input gives the same changes.
///
/// # Errors
/// Everything that Ignition would stop at, for all items at once.
pub fn lower(
    customization: &Customization,
    accounts: &AccountPlan,
    base: &dyn BaseView,
    options: &LowerOptions,
) -> Result<Vec<Change>, LowerErrors> {
    let mut work = Work::new(base);
    homes::lower(&mut work, accounts, options);
    storage::lower(&mut work, customization, accounts);
    systemd::lower(&mut work, customization, options.units_in);
    work.finish()
}
