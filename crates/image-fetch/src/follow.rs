//! Layers that are read while they are being fetched.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use crate::Digest;
use crate::manifest::{Descriptor, Manifest};

/// A layer of the image that is being fetched, for whoever reads it meanwhile.
#[derive(Clone, Debug)]
pub struct LayerStream {
    pub(crate) index: usize,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
    pub(crate) diff_id: Digest,
    pub(crate) stream: Arc<Stream>,
}

impl LayerStream {
    /// Its place in the manifest, from 0: the lowest layer.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The digest of the blob.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The media type in the manifest.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The digest that the uncompressed layer must have, from the config. **To check it is the
    /// reader's part**: [`fetch_with`](crate::fetch_with) decompresses nothing.
    pub fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// The bytes of the blob from its beginning.
    pub fn open(&self) -> LayerReader {
        LayerReader {
            stream: self.stream.clone(),
            offset: 0,
        }
    }
}

/// Reads a blob as far as it has come, and waits for more.
///
/// What is read before the end may be anything. The end is reached only once the whole blob was
/// found to have the size and the digest of its descriptor, and when the fetch fails there is an
/// error in its place. If the source failed meanwhile and begins the blob anew, the reader goes on
/// where it was.
///
/// Of blobs that were in the store already that is so with [`PresentBlobs::Digest`](crate::PresentBlobs);
/// with `PresentBlobs::Size` they have the size alone.
#[derive(Debug)]
pub struct LayerReader {
    stream: Arc<Stream>,
    offset: u64,
}

impl Read for LayerReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let Some((file, length)) = self.stream.wait(self.offset)? else {
            return Ok(0);
        };
        let most = usize::try_from(length - self.offset).unwrap_or(usize::MAX);
        let most = out.len().min(most);
        let count = loop {
            match rustix::io::pread(&*file, &mut out[..most], self.offset) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        Ok(count)
    }
}

/// A blob that grows.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<OwnedFd>>,
    length: u64,
    whole: bool,
    /// The fetch has ended without it.
    given_up: bool,
    /// Somebody has read some of it.
    read: bool,
    /// What somebody had read of it was begun anew.
    restarted: bool,
}

impl Stream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// The blob comes into this file, from its beginning.
    pub(crate) fn begin(&self, file: Arc<OwnedFd>) {
        self.change(|state| {
            state.restarted |= state.read;
            state.file = Some(file);
            state.length = 0;
        });
    }

    /// So much of it is in the file.
    pub(crate) fn grown(&self, length: u64) {
        self.change(|state| state.length = length);
    }

    /// All of it is, and it is right.
    pub(crate) fn whole(&self, length: u64) {
        self.change(|state| {
            state.length = length;
            state.whole = true;
        });
    }

    fn give_up(&self) {
        self.change(|state| state.given_up = true);
    }

    /// Waits until there is more than `offset` bytes; `None` at the end.
    fn wait(&self, offset: u64) -> io::Result<Option<(Arc<OwnedFd>, u64)>> {
        let nothing = |state: &mut State| {
            let more = state.file.is_some() && state.length > offset;
            !more && !state.whole && !state.given_up
        };
        let state = self.changed.wait_while(self.state(), nothing);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.given_up {
            return Err(io::Error::other("the fetch has ended without this blob"));
        }
        state.read = true;
        let file = state.file.clone().filter(|_| state.length > offset);
        Ok(file.map(|file| (file, state.length)))
    }
}

/// All streams of one fetch, once its layers are known.
#[derive(Debug)]
pub(crate) struct Follow {
    streams: OnceLock<HashMap<Digest, Arc<Stream>>>,
    announce: Mutex<Option<oneshot::Sender<Vec<LayerStream>>>>,
}

impl Follow {
    pub(crate) fn new(announce: oneshot::Sender<Vec<LayerStream>>) -> Self {
        Self {
            streams: OnceLock::new(),
            announce: Mutex::new(Some(announce)),
        }
    }

    /// Tells the reader of the layers, unless it was told.
    pub(crate) fn announce(&self, layers: impl FnOnce() -> Vec<LayerStream>) {
        let Some(announce) = self.taken() else { return };
        let layers = layers();
        let streams = layers.iter().map(|it| (it.digest, it.stream.clone()));
        // Set by nobody else: the sender is there once.
        let _ = self.streams.set(streams.collect());
        // A reader that is gone already has nothing to be told.
        let _ = announce.send(layers);
    }

    /// Nothing will be announced any more.
    pub(crate) fn announce_nothing(&self) {
        drop(self.taken());
    }

    fn taken(&self) -> Option<oneshot::Sender<Vec<LayerStream>>> {
        self.announce
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn stream(&self, digest: Digest) -> Option<Arc<Stream>> {
        self.streams.get()?.get(&digest).cloned()
    }

    /// Whether some of what was read may be of a blob that was begun anew since.
    pub(crate) fn restarted(&self) -> bool {
        let streams = self.streams.get();
        let mut all = streams.into_iter().flat_map(HashMap::values);
        all.any(|it| it.state().restarted)
    }

    /// Whoever waits for more waits no longer.
    pub(crate) fn give_up(&self) {
        self.announce_nothing();
        let streams = self.streams.get();
        streams
            .into_iter()
            .flat_map(HashMap::values)
            .for_each(|it| it.give_up());
    }
}

/// The layers of a manifest, nothing of them read yet. A layer that stands there twice is one stream.
pub(crate) fn streams(manifest: &Manifest, diff_ids: &[Digest]) -> Vec<LayerStream> {
    let mut streams: HashMap<Digest, Arc<Stream>> = HashMap::new();
    let layers = manifest.layers.iter().zip(diff_ids).enumerate();
    let stream = |(index, (layer, &diff_id)): (usize, (&Descriptor, &Digest))| LayerStream {
        index,
        digest: layer.digest,
        size: layer.size,
        media_type: layer.media_type.clone(),
        diff_id,
        stream: streams.entry(layer.digest).or_default().clone(),
    };
    layers.map(stream).collect()
}
