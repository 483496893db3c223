//! Noticing that a source sends nothing any more.

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::Error;

/// Counts the bytes of all streams of a session together, because a request may rightly wait for
/// another one's stream to end.
pub(crate) struct Stall {
    moved: AtomicU64,
    /// Streams that wait for us, not for the source.
    ours: AtomicUsize,
    window: Duration,
    floor: u64,
}

impl Stall {
    pub(crate) fn new(window: Duration, floor: u64) -> Self {
        Self {
            moved: AtomicU64::new(0),
            ours: AtomicUsize::new(0),
            window,
            floor,
        }
    }

    pub(crate) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Until the result is dropped, nothing counts as stalled.
    pub(crate) fn not_the_source(&self) -> impl Drop + '_ {
        struct Ours<'a>(&'a AtomicUsize);
        impl Drop for Ours<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.ours.fetch_add(1, Ordering::Relaxed);
        Ours(&self.ours)
    }

    /// Does `work`, unless fewer bytes than the floor arrive in one window of it.
    pub(crate) async fn watch<T>(
        &self,
        image: &str,
        operation: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        let mut before = self.moved.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = tokio::time::timeout(self.window, &mut work).await {
                return Ok(done);
            }
            let now = self.moved.load(Ordering::Relaxed);
            if now - before < self.floor && self.ours.load(Ordering::Relaxed) == 0 {
                return Err(Error::Stalled {
                    image: image.to_owned(),
                    operation: operation.to_owned(),
                    window: self.window,
                    floor: self.floor,
                });
            }
            before = now;
        }
    }
}
