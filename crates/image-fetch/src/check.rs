//! Whether what was found in a stream is what the manifest and the config promise.

use std::io::Read;
use std::sync::Arc;

use cap_std::fs::File;
use tokio::sync::mpsc;

use crate::follow::Stream;
use crate::manifest::{Descriptor, layer_compression};
use crate::store::{self, Partial, Store};
use crate::verify::{Content, Found, Verifier};
use crate::{Compression, Digest, Error, PresentBlobs};

/// What a blob must turn out to be.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) image: String,
    pub(crate) blob: Descriptor,
    /// `None` for the config.
    pub(crate) layer: Option<WantLayer>,
    /// Whoever reads it meanwhile.
    pub(crate) stream: Option<Arc<Stream>>,
}

#[derive(Clone, Debug)]
pub(crate) struct WantLayer {
    pub(crate) diff_id: Digest,
    /// The most bytes that the layer may decompress to.
    pub(crate) max_content: u64,
    /// Whether to decompress it at all.
    pub(crate) check_diff_id: bool,
    /// Whether the media type must be right: the image's author wrote it, not skopeo.
    pub(crate) strict_type: bool,
}

/// What is worth knowing of a blob that is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right {
    pub(crate) compression: Compression,
    pub(crate) diff_id_checked: bool,
}

/// What the store has under a digest.
pub(crate) enum Present {
    Right(Right),
    /// Something else; it has been removed.
    Damaged,
    Nothing,
}

impl Want {
    fn verifier(&self) -> Verifier {
        let content = self.layer.as_ref().filter(|it| it.check_diff_id);
        Verifier::new(content.map(|it| it.max_content))
    }

    /// Whether the bytes are those of the descriptor.
    pub(crate) fn check_blob(&self, found: &Found) -> Result<(), Error> {
        let (image, digest) = (self.image.clone(), self.blob.digest);
        if found.size != self.blob.size {
            let (expected, found) = (self.blob.size, found.size);
            return Err(Error::SizeMismatch {
                image,
                digest,
                expected,
                found,
            });
        }
        if found.digest != digest {
            return Err(Error::DigestMismatch {
                image,
                digest,
                found: found.digest,
            });
        }
        Ok(())
    }

    /// Whether bytes that are those of the descriptor are also the layer that config and manifest
    /// speak of.
    pub(crate) fn check_layer(&self, found: &Found) -> Result<Right, Error> {
        let compression = found.compression;
        let Some(layer) = &self.layer else {
            return Ok(Right {
                compression,
                diff_id_checked: false,
            });
        };
        let (image, digest) = (self.image.clone(), self.blob.digest);
        let media_type = self.blob.media_type.clone();
        if layer.strict_type && layer_compression(&media_type) != Some(compression) {
            return Err(Error::MediaTypeMismatch {
                image,
                digest,
                media_type,
                found: compression,
            });
        }
        let diff_id_checked = match &found.content {
            Content::NotChecked => false,
            Content::Digest(content) if *content == layer.diff_id => true,
            Content::Digest(content) => {
                let (expected, found) = (layer.diff_id, *content);
                return Err(Error::DiffIdMismatch {
                    image,
                    digest,
                    expected,
                    found,
                });
            }
            Content::TooLong => {
                return Err(Error::Limit {
                    image,
                    what: format!("the uncompressed size of layer {digest}"),
                    limit: "uncompressed_bytes",
                    max: layer.max_content,
                    found: layer.max_content.saturating_add(1),
                });
            }
            Content::Corrupt(problem) => {
                let problem = problem.clone();
                return Err(Error::Decompress {
                    image,
                    digest,
                    compression,
                    problem,
                });
            }
        };
        Ok(Right {
            compression,
            diff_id_checked,
        })
    }

    /// Looks at what the store has. A blob that is right byte for byte, but not the layer that the
    /// config speaks of, is an error: to fetch it again would not help.
    pub(crate) fn present(&self, store: &Store, how: PresentBlobs) -> Result<Present, Error> {
        let digest = self.blob.digest;
        let Some(store::Found { file, trusted }) = store.open_blob(digest)? else {
            return Ok(Present::Nothing);
        };
        let how = if trusted { how } else { PresentBlobs::Digest };
        let read = |source| Error::Store {
            operation: "read",
            path: format!("blobs/sha256/{}", digest.hex()),
            source,
        };
        if let Some(stream) = &self.stream {
            let file = file.try_clone().map_err(read)?;
            stream.begin(Arc::new(file.into_std().into()));
        }
        let found = match how {
            PresentBlobs::Digest => {
                let seen = |length| self.grown(length);
                verify(self.verifier(), file, seen).map_err(read)?
            }
            PresentBlobs::Size => {
                let size = file.metadata().map_err(read)?.len();
                let mut head = Vec::new();
                file.take(4).read_to_end(&mut head).map_err(read)?;
                let compression = Compression::sniff(&head);
                Found {
                    size,
                    digest,
                    compression,
                    content: Content::NotChecked,
                }
            }
        };
        if self.check_blob(&found).is_err() {
            store.remove_blob(digest)?;
            return Ok(Present::Damaged);
        }
        store.trust(digest);
        let right = self.check_layer(&found)?;
        self.whole();
        Ok(Present::Right(right))
    }

    fn grown(&self, length: u64) {
        // More than there should be is nobody's to read.
        if let Some(stream) = self.stream.as_ref().filter(|_| length <= self.blob.size) {
            stream.grown(length);
        }
    }

    /// The blob is in the store, and right.
    pub(crate) fn whole(&self) {
        if let Some(stream) = &self.stream {
            stream.whole(self.blob.size);
        }
    }

    /// Writes what comes to a partial file, up to the end of the stream, and says what it was.
    /// Stops as soon as it can only be wrong.
    pub(crate) fn receive(
        &self,
        store: &Store,
        mut from: mpsc::Receiver<Vec<u8>>,
    ) -> Result<(Partial, Found), Error> {
        let mut partial = store.partial(&self.blob.digest.hex())?;
        if let Some(stream) = &self.stream {
            stream.begin(partial.file());
        }
        let mut verifier = self.verifier();
        while let Some(chunk) = from.blocking_recv() {
            verifier.update(&chunk);
            if verifier.size() > self.blob.size {
                return Err(Error::SizeMismatch {
                    image: self.image.clone(),
                    digest: self.blob.digest,
                    expected: self.blob.size,
                    found: verifier.size(),
                });
            }
            partial.write_all(&chunk)?;
            self.grown(verifier.size());
        }
        Ok((partial, verifier.finish()))
    }
}

fn verify(mut verifier: Verifier, mut file: File, seen: impl Fn(u64)) -> std::io::Result<Found> {
    let mut chunk = vec![0; 256 << 10];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(verifier.finish()),
            Ok(count) => {
                verifier.update(&chunk[..count]);
                seen(verifier.size());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
