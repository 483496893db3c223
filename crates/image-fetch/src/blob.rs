//! One blob: from the store if it is there and right, from the source if not.

use std::io;

use tokio::sync::mpsc;

use crate::check::{Present, Right, Want};
use crate::job::Job;
use crate::manifest::Descriptor;
use crate::session::Session;
use crate::verify::Verifier;
use crate::{Digest, Error, Event, Origin};

/// A progress event comes after this many bytes of a blob.
const PROGRESS_STEP: u64 = 1 << 20;

/// Chunks that may wait for the disk: the network reads ahead by a little.
const CHUNKS_AHEAD: usize = 4;

#[derive(Clone, Copy)]
pub(crate) struct Got {
    pub(crate) origin: Origin,
    pub(crate) right: Right,
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(ended: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    ended.map_err(|error| Error::Process {
        operation: "run a blocking task",
        source: io::Error::other(error),
    })?
}

impl<P: Fn(Event) + Sync> Job<'_, P> {
    pub(crate) async fn ensure(
        &self,
        session: &Session,
        want: &Want,
    ) -> Result<(Digest, Got), Error> {
        let got = match self.present(want).await? {
            Some(got) => got,
            None => self.transfer(session, want).await?,
        };
        Ok((want.blob.digest, got))
    }

    pub(crate) async fn present(&self, want: &Want) -> Result<Option<Got>, Error> {
        let Descriptor { digest, size, .. } = want.blob;
        let (store, wanted, how) = (self.store.clone(), want.clone(), self.options.present_blobs);
        match blocking(move || wanted.present(&store, how)).await? {
            Present::Nothing => Ok(None),
            Present::Damaged => {
                (self.progress)(Event::BlobDamaged { digest });
                Ok(None)
            }
            Present::Right(right) => {
                (self.progress)(Event::BlobPresent { digest, size });
                Ok(Some(Got {
                    origin: Origin::Present,
                    right,
                }))
            }
        }
    }

    pub(crate) async fn transfer(&self, session: &Session, want: &Want) -> Result<Got, Error> {
        let Descriptor { digest, size, .. } = want.blob;
        (self.progress)(Event::BlobStarted { digest, size });
        let (to, from) = mpsc::channel(CHUNKS_AHEAD);
        let (store, wanted) = (self.store.clone(), want.clone());
        let receiving = tokio::task::spawn_blocking(move || wanted.receive(&store, from));
        let mut told = 0;
        let received = |received| {
            if received - told >= PROGRESS_STEP {
                told = received;
                (self.progress)(Event::BlobProgress {
                    digest,
                    received,
                    size,
                });
            }
        };
        let sent = session.blob(digest, size, to, received).await;
        // The sender is gone now, so this ends.
        let (partial, found) = joined(receiving.await)?;
        match sent {
            // A cut connection explains missing bytes better than their digest does, and where
            // nothing came, skopeo's word is all there is. For everything else our own check speaks
            // first, and skopeo can only add to it.
            Err(error) if error.is_transient() || found.size == 0 => return Err(error),
            sent => want.check_blob(&found).and(sent)?,
        }
        let right = want.check_layer(&found)?;
        let store = self.store.clone();
        blocking(move || store.commit_blob(partial, digest)).await?;
        want.whole();
        (self.progress)(Event::BlobDone { digest, size });
        Ok(Got {
            origin: Origin::Fetched,
            right,
        })
    }

    /// The config of a converted image is in no blob that could be asked for.
    pub(crate) async fn converted_config(
        &self,
        session: &Session,
        want: &Want,
    ) -> Result<Got, Error> {
        let bytes = session.converted_config().await?;
        let mut verifier = Verifier::new(None);
        verifier.update(&bytes);
        let found = verifier.finish();
        want.check_blob(&found)?;
        let store = self.store.clone();
        blocking(move || store.write_blob(&bytes)).await?;
        Ok(Got {
            origin: Origin::Fetched,
            right: want.check_layer(&found)?,
        })
    }
}
