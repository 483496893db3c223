//! What can go wrong, with the operation and the path in it.

use std::io;
use std::path::{Path, PathBuf};

use crate::commit::Unstorable;
use crate::kernel_arguments::KernelArgumentError;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libostree refused or failed; the message is its own.
    #[error("{operation}: {message}")]
    Ostree {
        /// What was asked of libostree.
        operation: &'static str,
        /// libostree's message.
        message: String,
    },
    /// A system call failed.
    #[error("{operation} {path:?}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Where, relative to the directory that the caller passed.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Owners and modes of other users cannot be stored by this user.
    #[error(
        "{operation} must store owners and modes of other users: run as root, or as root of a user \
         namespace that has a range of ids (unshare --user --map-auto --map-root-user)"
    )]
    NotRoot {
        /// What was refused.
        operation: &'static str,
    },
    /// The tree lacks a directory that a deployment cannot do without.
    #[error("the tree has no directory {path:?}")]
    MissingDirectory {
        /// Which.
        path: PathBuf,
    },
    /// Both places for the defaults of `/etc` are there, and only one can win.
    #[error("the tree has both /etc and /usr/etc")]
    BothEtc,
    /// ostree cannot store part of the tree.
    #[error("{} thing(s) that ostree cannot store, first {:?} ({:?})", .found.len(), .found[0].path, .found[0].kind)]
    Unstorable {
        /// All of them, in path order; never empty.
        found: Vec<Unstorable>,
    },
    /// A name that cannot be used where it stands.
    #[error("{path:?}: {reason}")]
    FileName {
        /// The path, as bytes that need not be UTF-8.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A limit of an options struct was reached.
    #[error("{path:?}: more than {limit} = {value}")]
    Limit {
        /// Field of the options struct.
        limit: &'static str,
        /// Its value.
        value: u64,
        /// Where it was reached.
        path: PathBuf,
    },
    /// A name or value is not of the form that its field asks for.
    #[error("{what} {value:?}: {reason}")]
    Invalid {
        /// Which field.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The stateroot was never made.
    #[error("no stateroot {stateroot:?} in this sysroot")]
    NoStateroot {
        /// Its name.
        stateroot: String,
    },
    /// Another process holds the sysroot's lock.
    #[error("another process holds the lock of this sysroot")]
    Locked,
    /// `ostree=` is libostree's to set.
    #[error("kernel argument {argument:?} belongs to ostree and cannot be given")]
    ReservedKernelArgument {
        /// The argument.
        argument: String,
    },
    /// The machine boots what was asked for, and what was to follow failed; the cause is within. What is
    /// left undone is done by the next writer.
    #[error("done, but not cleaned up: {0}")]
    AfterCommit(#[source] Box<Error>),
    /// A kernel command line that the kernel would read otherwise than written.
    #[error(transparent)]
    KernelArgument(#[from] KernelArgumentError),
    /// A text file is not of its format.
    #[error("{path:?} line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A program that does the work is not installed.
    #[error("{tool} is not installed (Debian package {package})")]
    ToolMissing {
        /// The program.
        tool: String,
        /// The package of Debian that has it.
        package: &'static str,
    },
    /// A program ended with an error.
    #[error("{tool} failed ({status}): {stderr}")]
    ToolFailed {
        /// The program.
        tool: String,
        /// Its exit status, in words.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// There is not as much room as is needed.
    #[error("{what} is too small: {} MiB are needed, there are {}", .needed.div_ceil(1 << 20), .free >> 20)]
    NoSpace {
        /// Of what.
        what: &'static str,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// A disk, or a partition of it, is mounted, or otherwise in use.
    #[error("{path:?} is in use: it, or a partition of it, is mounted")]
    TargetBusy {
        /// The disk.
        path: PathBuf,
    },
    /// Something is there that would be lost.
    #[error("{path:?} holds {what}, which would be lost")]
    TargetHolds {
        /// The target.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A partition table cannot be written, or is not one of ours.
    #[error("{path:?}: {message}")]
    PartitionTable {
        /// The disk.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The image brings no boot loader.
    #[error("the image has no boot loader in {path:?}")]
    NoBootLoader {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The image does not hold an ext2, ext3 or ext4 filesystem from its first byte.
    #[error("{path:?} is not an image of an ext4 filesystem")]
    NotExt4 {
        /// The image.
        path: PathBuf,
    },
    /// The journal holds what was not yet written in place, so a reader would see an older state.
    #[error("{path:?} was not unmounted cleanly: replay its journal first")]
    NeedsRecovery {
        /// The image.
        path: PathBuf,
    },
    /// No such path in the image, or not of the type that was asked for.
    #[error("{path:?} in the image: {reason}")]
    InImage {
        /// Path in the image.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A libostree call's error with the name of the operation.
pub(crate) fn ostree(operation: &'static str) -> impl FnOnce(ostree_ext::glib::Error) -> Error {
    move |e| Error::Ostree {
        operation,
        message: e.message().to_owned(),
    }
}

/// A system call's error with the name of the operation and the path.
pub(crate) fn io<E: Into<io::Error>>(
    operation: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(E) -> Error {
    move |e| Error::Io {
        operation,
        path: path.as_ref().to_owned(),
        source: e.into(),
    }
}
