use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use tokio::sync::oneshot;

use crate::blob::blocking;
use crate::follow::{Follow, LayerStream};
use crate::job::{Job, Whole};
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
    /// The kinds of the requirements that the signature policy has for the image, and that it meets;
    /// see [`Policy::requirements`](crate::Policy::requirements).
    pub policy: Vec<String>,
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
    /// Whether the bytes were decompressed here and found to have that digest; not by [`fetch_with`].
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
    within(reference, store, options, &progress, async |job| {
        let whole = job.run().await?;
        job.commit(&whole).await
    })
    .await
}

/// As [`fetch`], and meanwhile `read` reads the layers: it is called on a thread of its own as soon
/// as the config is known, and what it returns is returned when all is there. Layers that the store
/// has, and those that are being fetched, are read alike.
///
/// **The diff IDs are `read`'s to check** ([`LayerStream::diff_id`]); size and digest of each blob
/// are checked here as ever, and a reader comes to the end of a blob only after that. The image is
/// named in `index.json` after `read` has returned, and not if it has refused the image.
///
/// `read` may be called a second time, with layers that are whole: if it has failed and a blob that
/// it was reading had to be fetched anew, since what it saw may not have been the blob. An image that
/// skopeo converts from another format is given to it once it is there.
///
/// Dropping the future makes every reader fail; `read` itself goes on until it notices.
///
/// # Errors
/// Any [`Error`]; [`Error::Refused`] with what `read` has returned.
pub async fn fetch_with<T, E, R>(
    reference: &ImageReference,
    store: &Dir,
    options: &FetchOptions,
    progress: impl Fn(Event) + Send + Sync,
    read: R,
) -> Result<(Fetched, T), Error>
where
    T: Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    R: Fn(&[LayerStream]) -> Result<T, E> + Send + Sync + 'static,
{
    let read = Arc::new(read);
    within(reference, store, options, &progress, async |mut job| {
        let (announce, announced) = oneshot::channel();
        let follow = Arc::new(Follow::new(announce));
        job.follow = Some(follow.clone());
        let (whole, value) = followed(&job, &follow, announced, &read).await?;
        Ok((job.commit(&whole).await?, value))
    })
    .await
}

async fn followed<T, E, R>(
    job: &Job<'_, impl Fn(Event) + Sync>,
    follow: &Arc<Follow>,
    announced: oneshot::Receiver<Vec<LayerStream>>,
    read: &Arc<R>,
) -> Result<(Whole, T), Error>
where
    T: Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    R: Fn(&[LayerStream]) -> Result<T, E> + Send + Sync + 'static,
{
    let reading = |layers: Vec<LayerStream>| {
        let (read, image) = (read.clone(), job.image.to_owned());
        blocking(move || {
            read(&layers).map_err(|source| Error::Refused {
                image,
                source: source.into(),
            })
        })
    };
    let _given_up = GiveUp(follow.clone());
    // Not pinned in place: it has to be gone, with its skopeo, before an error is returned.
    let mut fetching = Box::pin(job.run());
    let mut first = std::pin::pin!(async {
        match announced.await {
            Ok(layers) => Some(reading(layers).await),
            Err(_) => None,
        }
    });
    let (whole, first) = tokio::select! {
        whole = &mut fetching => match whole {
            Ok(whole) => {
                follow.announce_nothing();
                (whole, first.await)
            }
            Err(error) => {
                follow.give_up();
                first.await;
                return Err(error);
            }
        },
        first = &mut first => match first {
            // Whatever else comes, these layers are what they are.
            Some(Err(error)) if !follow.restarted() => return Err(error),
            first => (fetching.await?, first),
        },
    };
    let value = match first {
        Some(Ok(value)) => value,
        Some(Err(error)) if !follow.restarted() => return Err(error),
        _ => reading(job.stored_layers(&whole).await?).await?,
    };
    Ok((whole, value))
}

struct GiveUp(Arc<Follow>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Does `work` with the store's lock held, and returns when all that it has begun has ended.
async fn within<T, P: Fn(Event) + Send + Sync>(
    reference: &ImageReference,
    store: &Dir,
    options: &FetchOptions,
    progress: &P,
    work: impl AsyncFnOnce(Job<'_, P>) -> Result<T, Error>,
) -> Result<T, Error> {
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
    if options.enforce_policy && !options.policy.is_enforced(reference)? {
        return Err(Error::PolicyAcceptsAnything { image });
    }
    let (released, all_released) = oneshot::channel();
    let work = async {
        let store = open_store(store, options, progress, released).await?;
        let job = Job {
            reference,
            image: &image,
            options,
            progress,
            store,
            follow: None,
        };
        work(job).await
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
