use std::time::Duration;

use crate::Digest;

/// What happens while an image is fetched, for a progress display.
///
/// The callback runs between two reads: it should return soon.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another process holds the store's lock.
    WaitingForLock,
    /// Files that an interrupted fetch left behind were removed.
    StaleRemoved {
        /// How many.
        files: u64,
    },
    /// The manifest is known, and with it what there is to do.
    Resolved {
        /// The digest of the manifest as the source has it.
        source_digest: Digest,
        /// How many layers the image has.
        layers: u64,
        /// The size of config and layers together.
        bytes: u64,
    },
    /// The store has the blob already, and it is right.
    BlobPresent {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// The store had a blob under this digest that is something else; it is fetched again.
    BlobDamaged {
        /// The blob.
        digest: Digest,
    },
    /// The blob is being fetched, from its beginning.
    BlobStarted {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// Some more of the blob has arrived.
    BlobProgress {
        /// The blob.
        digest: Digest,
        /// The bytes of it that arrived up to now.
        received: u64,
        /// Its size.
        size: u64,
    },
    /// The blob is whole, verified and in the store.
    BlobDone {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// Something failed that may pass; what is missing will be asked for again.
    Retry {
        /// How many failures there were in a row.
        failures: u32,
        /// The pause until then.
        delay: Duration,
        /// The failure, as a sentence.
        reason: String,
    },
    /// The layout's index names the image.
    Committed {
        /// The manifest in the store.
        manifest_digest: Digest,
    },
}
