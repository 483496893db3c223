//! Removing the blobs that no image of the store needs.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use serde_json::Value;

use crate::manifest::{self, layer_compression};
use crate::store::Store;
use crate::{Digest, Error};

/// What [`gc`] may remove.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GcOptions {
    /// Whether to remove nothing, and only say what would be. Default false.
    pub dry_run: bool,
    /// Blobs that were written at this time or later stay: a program that knows nothing of our lock
    /// may be about to name them in the index. Default none: all may go.
    pub keep_since: Option<SystemTime>,
    /// Whether to wait for a fetch into the store. Default true.
    pub wait_for_lock: bool,
    /// The largest `index.json`, image index or manifest that is read, in bytes. Default 16 MiB.
    pub document_bytes: u64,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            keep_since: None,
            wait_for_lock: true,
            document_bytes: 16 << 20,
        }
    }
}

/// What [`gc`] has done, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// The blobs that are gone, with their sizes in bytes, by digest.
    pub removed: Vec<(Digest, u64)>,
    /// How many blobs stay because something in `index.json` leads to them.
    pub kept: u64,
    /// How many stay only because of [`GcOptions::keep_since`].
    pub recent: u64,
    /// Files that interrupted fetches left behind, and that are gone.
    pub stale_files: u64,
}

impl Collected {
    /// The size of all blobs that are gone.
    pub fn bytes(&self) -> u64 {
        self.removed.iter().map(|(_, size)| size).sum()
    }
}

/// Removes every blob of the OCI image layout in `store` that `index.json` does not lead to, through
/// image indexes in image indexes, manifests of images and artifacts, and their `subject`; and what
/// interrupted fetches left. Waits for fetches, and they for it. Blocks.
///
/// What a document that is reachable says of others is never guessed: one that is damaged, too large
/// or no JSON is an error, and nothing is removed. One that is not there, as the instances of an image
/// index that was copied for one platform, is no error; and a blob whose media type says nothing is no
/// document where it is larger than one may be, or no JSON. Files whose name is no SHA-256 digest stay.
///
/// A dry run, too, makes the directories of the lock.
///
/// Interrupted, it leaves a layout in which every image is whole.
///
/// # Errors
/// [`Error::Layout`] if there is no layout, or one that cannot be read to its end; [`Error::Locked`];
/// [`Error::Store`].
pub fn gc(store: &Dir, options: &GcOptions) -> Result<Collected, Error> {
    Store::require_layout(store, options.document_bytes)?;
    let mut released = None;
    let store = loop {
        match Store::try_open(store, options.document_bytes, &mut released)? {
            Some(store) => break store,
            None if options.wait_for_lock => std::thread::sleep(Duration::from_millis(50)),
            None => return Err(Error::Locked),
        }
    };
    // layer-merge's writers hold this one while they change the index.
    let _index = store.lock_index()?;
    let reachable = reachable(&store, options)?;
    let mut done = Collected::default();
    for blob in store.blobs()? {
        if reachable.contains(&blob.digest) {
            done.kept += 1;
        } else if options
            .keep_since
            .is_some_and(|since| blob.written >= since)
        {
            done.recent += 1;
        } else {
            if !options.dry_run {
                store.remove_blob(blob.digest)?;
            }
            done.removed.push((blob.digest, blob.size));
        }
    }
    done.removed.sort_unstable();
    if !options.dry_run {
        done.stale_files = store.begin()?;
    }
    Ok(done)
}

fn reachable(store: &Store, options: &GcOptions) -> Result<BTreeSet<Digest>, Error> {
    let max = options.document_bytes;
    let index = store.index()?.unwrap_or_default();
    let mut found = BTreeSet::new();
    // With the type of the descriptor that leads there.
    let mut to_read = Vec::new();
    let wrong = |path: String, problem: String| Error::Layout { path, problem };
    if !index.is_empty() {
        let index = serde_json::from_slice(&index)
            .map_err(|error| wrong("index.json".into(), error.to_string()))?;
        descriptors(&index, &mut to_read);
    }
    let mut read = BTreeSet::new();
    while let Some((digest, media_type)) = to_read.pop() {
        found.insert(digest);
        if is_leaf(&media_type) || !read.insert(digest) {
            continue;
        }
        let must = is_document(&media_type);
        let path = format!("blobs/sha256/{}", digest.hex());
        let bytes = match store.read_blob(digest, max) {
            Ok(bytes) => bytes,
            Err(Error::Store { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            // Too large for a document, and nobody says that it is one.
            Err(Error::Store { source, .. })
                if !must && source.kind() == io::ErrorKind::FileTooLarge =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        let problem = match serde_json::from_slice::<Value>(&bytes) {
            _ if Digest::of(&bytes) != digest => "it has another digest".to_owned(),
            Ok(value) => {
                descriptors(&value, &mut to_read);
                continue;
            }
            Err(_) if !must => continue,
            Err(error) => error.to_string(),
        };
        return Err(wrong(path, problem));
    }
    Ok(found)
}

/// All that looks like a descriptor, wherever it stands: of what a later version adds, too much is
/// kept rather than too little.
fn descriptors(value: &Value, to: &mut Vec<(Digest, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| descriptors(it, to)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            if let Ok(digest) = text("digest").parse() {
                to.push((digest, text("mediaType").to_owned()));
            }
            fields.values().for_each(|it| descriptors(it, to));
        }
        _ => {}
    }
}

fn is_leaf(media_type: &str) -> bool {
    layer_compression(media_type).is_some() || manifest::is_config(media_type)
}

fn is_document(media_type: &str) -> bool {
    matches!(
        media_type,
        manifest::OCI_MANIFEST
            | "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}
