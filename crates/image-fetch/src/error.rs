use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Compression, Digest};

/// What went wrong, for which image, blob and operation.
///
/// Hints for a person (which package brings skopeo, say) belong to the program that shows the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no image reference of containers-transports(5).
    #[error("{reference:?} is not an image reference: {problem}")]
    Reference {
        /// The text as it was given.
        reference: String,
        /// What is wrong with it.
        problem: crate::ReferenceProblem,
    },
    /// The text is no SHA-256 digest in canonical spelling.
    #[error("{digest:?} is not sha256: and 64 lower-case hexadecimal digits")]
    Digest {
        /// The text as it was given.
        digest: String,
    },
    /// A name that cannot stand in `org.opencontainers.image.ref.name`.
    #[error("{name:?} cannot name an image in an OCI layout")]
    RefName {
        /// The name as it was given.
        name: String,
    },
    /// The program that speaks to registries is not there.
    #[error("skopeo is needed to fetch images, and {} was not found", program.display())]
    SkopeoMissing {
        /// The program that was looked for.
        program: PathBuf,
    },
    /// The signature policy is no document of containers-policy.json(5).
    #[error("the signature policy cannot be read: {problem}")]
    Policy {
        /// What is wrong with it.
        problem: String,
    },
    /// The policy asks for more than `insecureAcceptAnything`, and this skopeo's proxy would not
    /// apply it.
    #[error(
        "{image}: the signature policy is not applied by skopeo's proxy protocol {found}; \
         protocol {needed} or later is needed"
    )]
    PolicyNotApplied {
        /// The image reference.
        image: String,
        /// The protocol version that skopeo speaks.
        found: String,
        /// The first version that applies policies.
        needed: &'static str,
    },
    /// The signature policy takes the image without asking for anything, and
    /// [`FetchOptions::enforce_policy`](crate::FetchOptions::enforce_policy) forbids that.
    #[error("{image}: the signature policy accepts it unsigned, and signatures are to be enforced")]
    PolicyAcceptsAnything {
        /// The image reference.
        image: String,
    },
    /// The signature policy refuses the image.
    #[error("{image}: the signature policy refuses it: {reason}")]
    PolicyRefuses {
        /// The image reference.
        image: String,
        /// What skopeo says about it.
        reason: String,
    },
    /// skopeo, or the registry through it, refused or failed.
    #[error("{image}: {operation}: {message}")]
    Proxy {
        /// The image reference.
        image: String,
        /// What was asked of skopeo.
        operation: String,
        /// Its answer.
        message: String,
        /// Whether the same request may succeed later (a 5xx, a cut connection).
        transient: bool,
    },
    /// Fewer bytes than the floor arrived within the stall timeout.
    #[error("{image}: {operation}: stalled, less than {floor} bytes in {window:?}")]
    Stalled {
        /// The image reference.
        image: String,
        /// What was waited for.
        operation: String,
        /// [`FetchOptions::stall_timeout`](crate::FetchOptions::stall_timeout).
        window: Duration,
        /// [`FetchOptions::stall_floor`](crate::FetchOptions::stall_floor).
        floor: u64,
    },
    /// The whole fetch took longer than allowed.
    #[error("{image}: not fetched within {deadline:?}")]
    Deadline {
        /// The image reference.
        image: String,
        /// [`FetchOptions::deadline`](crate::FetchOptions::deadline).
        deadline: Duration,
    },
    /// The manifest is not one of an image that can be fetched.
    #[error("{image}: manifest: {problem}")]
    Manifest {
        /// The image reference.
        image: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The image configuration does not fit the manifest, or is none.
    #[error("{image}: config {digest}: {problem}")]
    Config {
        /// The image reference.
        image: String,
        /// The config blob.
        digest: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// A value of [`Limits`](crate::Limits) was reached.
    #[error("{image}: {what} is {found}, the limit is {max} ({limit})")]
    Limit {
        /// The image reference.
        image: String,
        /// What is too large.
        what: String,
        /// The field of [`Limits`](crate::Limits).
        limit: &'static str,
        /// Its value.
        max: u64,
        /// What the image has, at least.
        found: u64,
    },
    /// The blob has another size than its descriptor says.
    #[error("{image}: blob {digest}: {found} bytes arrived, its descriptor says {expected}")]
    SizeMismatch {
        /// The image reference.
        image: String,
        /// The blob.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// How many bytes arrived, at least.
        found: u64,
    },
    /// The blob's bytes have another digest than its descriptor says.
    #[error("{image}: blob {digest}: its bytes have the digest {found}")]
    DigestMismatch {
        /// The image reference.
        image: String,
        /// The blob.
        digest: Digest,
        /// What was computed.
        found: Digest,
    },
    /// The uncompressed layer has another digest than the config's `rootfs.diff_ids` says.
    #[error(
        "{image}: layer {digest}: uncompressed it has the digest {found}, the config says {expected}"
    )]
    DiffIdMismatch {
        /// The image reference.
        image: String,
        /// The layer's blob.
        digest: Digest,
        /// The diff ID of the config.
        expected: Digest,
        /// What was computed.
        found: Digest,
    },
    /// The layer's bytes are not compressed as its media type says.
    #[error("{image}: layer {digest}: {media_type} was declared, the bytes are {found}")]
    MediaTypeMismatch {
        /// The image reference.
        image: String,
        /// The layer's blob.
        digest: Digest,
        /// The media type of its descriptor.
        media_type: String,
        /// What the bytes are.
        found: Compression,
    },
    /// The layer cannot be decompressed to its end.
    #[error("{image}: layer {digest}: {compression} stream: {problem}")]
    Decompress {
        /// The image reference.
        image: String,
        /// The layer's blob.
        digest: Digest,
        /// The kind of stream.
        compression: Compression,
        /// What the decoder said.
        problem: String,
    },
    /// Who read the layers while they were fetched has refused them, or failed.
    #[error("{image}: {source}")]
    Refused {
        /// The image reference.
        image: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system has too little room for what is missing.
    #[error("{image}: {needed} bytes are needed, the store's file system has {available}")]
    NoSpace {
        /// The image reference.
        image: String,
        /// Bytes that are still to be fetched.
        needed: u64,
        /// Bytes that the file system has for us.
        available: u64,
    },
    /// Another process fetches into this store, and
    /// [`FetchOptions::wait_for_lock`](crate::FetchOptions::wait_for_lock) is false.
    #[error("another fetch into this store is running")]
    Locked,
    /// What is in the store is no OCI image layout that this crate can add to.
    #[error("{path} in the store: {problem}")]
    Layout {
        /// The path below the store.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file operation in the store failed.
    #[error("{operation} {path} in the store: {source}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The path below the store.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// skopeo could not be started, or spoken to.
    #[error("{operation}: {source}")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same fetch may succeed when it is tried again later, with nothing changed here.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Proxy {
                transient: true,
                ..
            } | Self::Stalled { .. }
        )
    }
}
