//! One fetch: attempts until everything is there, then the index.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::blob::{Got, blocking};
use crate::check::{Right, Want, WantLayer};
use crate::copy::{Staged, judge, stage};
use crate::follow::{Follow, LayerStream, streams};
use crate::manifest::{self, Descriptor, Manifest, OCI_MANIFEST};
use crate::session::Session;
use crate::store::Store;
use crate::{
    Blob, Digest, Error, Event, FetchOptions, Fetched, ImageReference, Layer, Origin, Policy,
    Transport,
};
use futures_util::stream::{FuturesUnordered, StreamExt};

pub(crate) struct Job<'a, P> {
    pub(crate) reference: &'a ImageReference,
    pub(crate) image: &'a str,
    pub(crate) options: &'a FetchOptions,
    pub(crate) progress: &'a P,
    pub(crate) store: Arc<Store>,
    /// Whoever reads the layers meanwhile.
    pub(crate) follow: Option<Arc<Follow>>,
}

/// An image of which every blob is there.
pub(crate) struct Whole {
    source: Arc<Source>,
    diff_ids: Vec<Digest>,
    blobs: HashMap<Digest, Got>,
}

impl Whole {
    /// The manifest as it is stored.
    fn manifest(&self, image: &str) -> Result<Vec<u8>, Error> {
        let source = &self.source;
        if !source.guessed {
            return Ok(source.bytes.clone());
        }
        let blobs = self.blobs.iter();
        let found = blobs.map(|(digest, got)| (*digest, got.right.compression));
        manifest::with_layer_types(image, &source.bytes, &found.collect())
    }
}

/// What is known about the image, kept over attempts.
#[derive(Default)]
struct Known {
    /// Where an image lies that had to be copied first.
    staged: Option<Staged>,
    source: Option<Arc<Source>>,
    blobs: HashMap<Digest, Got>,
}

struct Source {
    digest: Digest,
    bytes: Vec<u8>,
    manifest: Manifest,
    /// skopeo made this manifest from another format; it and its config exist nowhere else.
    converted: bool,
    /// The media types of its layers are skopeo's guess.
    guessed: bool,
}

impl<P: Fn(Event) + Sync> Job<'_, P> {
    /// Attempts until every blob is there.
    pub(crate) async fn run(&self) -> Result<Whole, Error> {
        let mut known = Known::default();
        let mut failures = 0;
        loop {
            let before = known.blobs.len();
            let error = match self.attempt(&mut known).await {
                Ok((source, diff_ids)) => {
                    let blobs = known.blobs;
                    return Ok(Whole {
                        source,
                        diff_ids,
                        blobs,
                    });
                }
                Err(error) => error,
            };
            failures = if known.blobs.len() > before {
                1
            } else {
                failures + 1
            };
            if !error.is_transient() || failures > self.options.retry.attempts {
                return Err(error);
            }
            let delay = self.options.retry.delay(failures);
            (self.progress)(Event::Retry {
                failures,
                delay,
                reason: error.to_string(),
            });
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(&self, known: &mut Known) -> Result<(Arc<Source>, Vec<Digest>), Error> {
        let session = self.session(known).await?;
        let result = self.fetch_all(&session, known).await;
        // A skopeo that has stalled would not answer.
        if !matches!(result, Err(Error::Stalled { .. })) {
            session.close().await;
        }
        session.end().await;
        result
    }

    async fn session(&self, known: &mut Known) -> Result<Session, Error> {
        let temporary = self.store.temporary()?;
        if self.reference.transport() != Transport::ContainersStorage {
            return Session::open(self.reference, self.image, self.options, temporary).await;
        }
        let staged = match &known.staged {
            Some(staged) => staged,
            None => known.staged.insert(stage(self).await?),
        };
        // The policy was applied to where it comes from.
        let options = FetchOptions {
            policy: Policy::AcceptAnything,
            ..self.options.clone()
        };
        Session::open(&staged.reference, self.image, &options, temporary).await
    }

    async fn fetch_all(
        &self,
        session: &Session,
        known: &mut Known,
    ) -> Result<(Arc<Source>, Vec<Digest>), Error> {
        let source = match &known.source {
            Some(source) => source.clone(),
            None => {
                let source = Arc::new(self.resolve(session).await?);
                known.source = Some(source.clone());
                source
            }
        };
        let config = self.config(session, &source, known).await?;
        let digest = source.manifest.config.digest;
        let layers = source.manifest.layers.len();
        let diff_ids = manifest::diff_ids(self.image, digest, &config, layers)?;
        self.layers(session, &source, &diff_ids, known).await?;
        Ok((source, diff_ids))
    }

    async fn resolve(&self, session: &Session) -> Result<Source, Error> {
        let (digest, bytes) = session.manifest().await?;
        let digest: Digest = digest.parse()?;
        let manifest = Manifest::parse(self.image, &bytes, &self.options.limits)?;
        if !session.judged {
            judge(self, &manifest, Digest::of(&bytes)).await?;
        }
        (self.progress)(Event::Resolved {
            source_digest: digest,
            layers: manifest.layers.len() as u64,
            bytes: manifest.unique_blobs().values().sum(),
        });
        let converted = Digest::of(&bytes) != digest;
        Ok(Source {
            digest,
            bytes,
            manifest,
            converted,
            guessed: converted || self.reference.transport() == Transport::ContainersStorage,
        })
    }

    async fn config(
        &self,
        session: &Session,
        source: &Source,
        known: &mut Known,
    ) -> Result<Vec<u8>, Error> {
        let blob = source.manifest.config.clone();
        let digest = blob.digest;
        let want = Want {
            image: self.image.to_owned(),
            blob,
            layer: None,
            stream: None,
        };
        if let Entry::Vacant(unknown) = known.blobs.entry(digest) {
            unknown.insert(match self.present(&want).await? {
                Some(got) => got,
                None if source.converted => self.converted_config(session, &want).await?,
                None => self.transfer(session, &want).await?,
            });
        }
        let (store, max) = (self.store.clone(), self.options.limits.config_bytes);
        blocking(move || store.read_blob(digest, max)).await
    }

    async fn layers(
        &self,
        session: &Session,
        source: &Source,
        diff_ids: &[Digest],
        known: &mut Known,
    ) -> Result<(), Error> {
        let wanted = self.wanted(source, diff_ids, known)?;
        self.check_space(&wanted).await?;
        let wanted = self.followed(wanted, source, diff_ids);
        let mut waiting = wanted.iter();
        let mut running = FuturesUnordered::new();
        let mut first = Ok(());
        loop {
            // Those that run may end well; nothing new begins while the source fails.
            while first.is_ok()
                && running.len() < self.options.concurrent_blobs.max(1)
                && let Some(want) = waiting.next()
            {
                running.push(self.ensure(session, want));
            }
            let Some(ended) = running.next().await else {
                return first;
            };
            match ended {
                Ok((digest, got)) => {
                    known.blobs.insert(digest, got);
                }
                Err(error) if error.is_transient() && !matches!(error, Error::Stalled { .. }) => {
                    first = first.and(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The layers that are not known to be there, the largest first, each once.
    fn wanted(
        &self,
        source: &Source,
        diff_ids: &[Digest],
        known: &Known,
    ) -> Result<Vec<Want>, Error> {
        let mut wanted: Vec<Want> = Vec::new();
        let mut seen = HashMap::new();
        for (layer, &diff_id) in source.manifest.layers.iter().zip(diff_ids) {
            match seen.insert(layer.digest, diff_id) {
                Some(other) if other == diff_id => continue,
                Some(_) => {
                    return Err(Error::Config {
                        image: self.image.to_owned(),
                        digest: source.manifest.config.digest,
                        problem: format!("layer {} has two diff IDs", layer.digest),
                    });
                }
                None if known.blobs.contains_key(&layer.digest) => continue,
                None => {}
            }
            wanted.push(Want {
                image: self.image.to_owned(),
                blob: layer.clone(),
                layer: Some(WantLayer {
                    diff_id,
                    max_content: self.options.limits.uncompressed_bytes,
                    check_diff_id: self.options.check_diff_ids && self.follow.is_none(),
                    strict_type: !source.guessed,
                }),
                stream: None,
            });
        }
        wanted.sort_by_key(|want| std::cmp::Reverse(want.blob.size));
        Ok(wanted)
    }

    /// With the streams of those who read meanwhile. Where skopeo guessed media types there are none: only the
    /// layers themselves say how they are compressed.
    fn followed(&self, mut wanted: Vec<Want>, source: &Source, diff_ids: &[Digest]) -> Vec<Want> {
        if let Some(follow) = self.follow.as_ref().filter(|_| !source.guessed) {
            follow.announce(|| streams(&source.manifest, diff_ids));
            for want in &mut wanted {
                want.stream = follow.stream(want.blob.digest);
            }
        }
        wanted
    }

    /// The layers of an image that is there, to be read from the store.
    pub(crate) async fn stored_layers(&self, whole: &Whole) -> Result<Vec<LayerStream>, Error> {
        let manifest = whole.manifest(self.image)?;
        let manifest = Manifest::parse(self.image, &manifest, &self.options.limits)?;
        let layers = streams(&manifest, &whole.diff_ids);
        let store = self.store.clone();
        blocking(move || {
            for layer in &layers {
                let file = store.need_blob(layer.digest)?;
                layer.stream.begin(Arc::new(file.into_std().into()));
                layer.stream.whole(layer.size);
            }
            Ok(layers)
        })
        .await
    }

    async fn check_space(&self, wanted: &[Want]) -> Result<(), Error> {
        let store = self.store.clone();
        let blobs: Vec<Descriptor> = wanted.iter().map(|want| want.blob.clone()).collect();
        let (needed, available) = blocking(move || {
            let mut needed = 0u64;
            for blob in blobs {
                if store.open_blob(blob.digest)?.is_none() {
                    needed = needed.saturating_add(blob.size);
                }
            }
            Ok((needed, store.available()?))
        })
        .await?;
        if needed <= available {
            return Ok(());
        }
        Err(Error::NoSpace {
            image: self.image.to_owned(),
            needed,
            available,
        })
    }

    /// Names the image.
    pub(crate) async fn commit(&self, whole: &Whole) -> Result<Fetched, Error> {
        let Whole {
            source,
            diff_ids,
            blobs: known,
        } = whole;
        let bytes = whole.manifest(self.image)?;
        // Read again what is stored, so that what is reported cannot differ from it.
        let stored = Manifest::parse(self.image, &bytes, &self.options.limits)?;
        let size = bytes.len() as u64;
        let (store, name) = (self.store.clone(), self.options.ref_name.clone());
        let manifest_digest = blocking(move || {
            let digest = store.write_blob(&bytes)?;
            let manifest = Descriptor {
                media_type: OCI_MANIFEST.to_owned(),
                digest,
                size,
            };
            store.add_image(&manifest, name.as_deref())?;
            Ok(digest)
        })
        .await?;
        (self.progress)(Event::Committed { manifest_digest });
        let sum = |origin| {
            let blobs = stored.unique_blobs();
            let of = blobs
                .iter()
                .filter(|(digest, _)| known[digest].origin == origin);
            of.map(|(_, size)| size).sum()
        };
        let blob = |it: &Descriptor| Blob {
            digest: it.digest,
            size: it.size,
            origin: known[&it.digest].origin,
        };
        let layer = |(it, &diff_id): (&Descriptor, &Digest)| {
            let Right {
                compression,
                diff_id_checked,
            } = known[&it.digest].right;
            let media_type = it.media_type.clone();
            Layer {
                blob: blob(it),
                media_type,
                compression,
                diff_id,
                diff_id_checked,
            }
        };
        Ok(Fetched {
            manifest_digest,
            manifest_size: size,
            source_digest: source.digest,
            policy: self.options.policy.requirements(self.reference)?,
            config: blob(&stored.config),
            layers: stored.layers.iter().zip(diff_ids).map(layer).collect(),
            bytes_fetched: sum(Origin::Fetched),
            bytes_present: sum(Origin::Present),
        })
    }
}
