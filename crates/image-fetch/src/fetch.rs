use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use tokio::sync::oneshot;

use crate::blob::blocking;
use crate::job::Job;
use crate::store::Store;
use crate::{Compression, Digest, Error, Event, FetchOptions, ImageReference, index};

/// An image that lies in the store, whole and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The manifest in the store.
    pub manifest_digest: Digest,
    /// Its size in bytes.
    pub manifest_size: u64,
    /// The digest of the manifest as the source has it. The same, unless the source has another
    /// format and skopeo has converted it.
    pub source_digest: Digest,
    /// The image configuration.
    pub config: Blob,
    /// The layers, in order. One that stands in the image twice stands here twice.
    pub layers: Vec<Layer>,
    /// Bytes of config and layers that were transferred into the store.
    pub bytes_fetched: u64,
    /// Bytes of config and layers that were there already.
    pub bytes_present: u64,
}

/// A blob in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blob {
    /// Its digest, which is its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it comes from.
    pub origin: Origin,
}

/// A layer in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// The blob.
    pub blob: Blob,
    /// Its media type in the stored manifest.
    pub media_type: String,
    /// How it is compressed, by its bytes.
    pub compression: Compression,
    /// The digest of the uncompressed layer, from the config.
    pub diff_id: Digest,
    /// Whether the bytes were decompressed and found to have that digest.
    pub diff_id_checked: bool,
}

/// How a blob came to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// By this call.
    Fetched,
    /// It was there.
    Present,
}

/// Fetches an image into the OCI image layout in `store`, which is made if it is empty.
///
/// Every blob is read to its end, and compared with the size and digest of its descriptor, before
/// it gets a name in `blobs/sha256`; layers are also compared with the config's diff IDs. The
/// manifest is stored as the source has it, byte for byte. `index.json` changes last, in one step.
/// After an interruption, by SIGKILL too, the same call goes on with the blobs that are whole.
///
/// Needs a tokio runtime with time enabled, and runs file work on its blocking threads. Dropping
/// the future ends skopeo and leaves nothing that counts as a blob. Relative paths in `reference`
/// and `options` are relative to the directory of the process, since skopeo opens them.
///
/// # Errors
/// Any [`Error`]. Blobs that were verified before it stay in the store, named by no index entry.
///
/// The proxy hands over a manifest whole: for the transports of local files, whose size skopeo does
/// not limit, [`Limits::manifest_bytes`](crate::Limits::manifest_bytes) is checked once it was read.
pub async fn fetch(
    reference: &ImageReference,
    store: &Dir,
    options: &FetchOptions,
    progress: impl Fn(Event) + Send + Sync,
) -> Result<Fetched, Error> {
    let image = reference.to_string();
    if let Some(name) = options
        .ref_name
        .as_ref()
        .filter(|it| !index::is_ref_name(it))
    {
        return Err(Error::RefName { name: name.clone() });
    }
    // Before anything is touched; Session::open does it again against what skopeo can do.
    options.policy.is_strict(reference.transport())?;
    let (released, all_released) = oneshot::channel();
    let work = async {
        let store = open_store(store, options, &progress, released).await?;
        let job = Job {
            reference,
            image: &image,
            options,
            progress: &progress,
            store,
        };
        job.run().await
    };
    let result = match options.deadline {
        None => work.await,
        Some(deadline) => tokio::time::timeout(deadline, work)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Deadline {
                    image: image.clone(),
                    deadline,
                })
            }),
    };
    // Tasks that were writing to a file when something failed elsewhere have to notice it first.
    let _ = all_released.await;
    result
}

async fn open_store(
    root: &Dir,
    options: &FetchOptions,
    progress: &(impl Fn(Event) + Sync),
    released: oneshot::Sender<()>,
) -> Result<Arc<Store>, Error> {
    let max_index = options.limits.manifest_bytes;
    let mut told = false;
    let mut released = Some(released);
    let store = loop {
        if let Some(store) = Store::try_open(root, max_index, &mut released)? {
            break Arc::new(store);
        }
        if !options.wait_for_lock {
            return Err(Error::Locked);
        }
        if !std::mem::replace(&mut told, true) {
            progress(Event::WaitingForLock);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let files = blocking({
        let store = store.clone();
        move || store.begin()
    })
    .await?;
    if files > 0 {
        progress(Event::StaleRemoved { files });
    }
    Ok(store)
}
