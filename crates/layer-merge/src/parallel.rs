//! Layers are read at the same time and put on top of each other in their order.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

use crate::layout::Layer;
use crate::read::LayerEntries;
use crate::{ContentSink, Error};

/// A layer to be read.
pub(crate) struct Job<'a> {
    pub(crate) index: usize,
    pub(crate) layer: &'a Layer,
    /// The lowest layer that is refused, so far.
    refused: &'a AtomicUsize,
}

impl Job<'_> {
    /// The blob of the layer, which ends with an error once a lower layer is refused: what this one
    /// would say is not asked any more.
    pub(crate) fn guard<R: Read + Send>(&self, blob: R) -> impl Read + Send {
        Guarded {
            blob,
            index: self.index,
            refused: self.refused,
        }
    }
}

/// Reads layers, each into a sink of its own, and gives them to `apply` in their order. The error of
/// the lowest layer that has one is returned, as if they had been read one by one, unless it is
/// about a limit that they share.
pub(crate) fn read_layers<S: ContentSink<Content: Send>>(
    layers: &[Layer],
    threads: usize,
    sink: impl Fn() -> S + Sync,
    read: impl Fn(Job<'_>, &mut S) -> Result<LayerEntries<S::Content>, Error> + Sync,
    mut apply: impl FnMut(LayerEntries<S::Content>) -> Result<(), Error>,
) -> Result<(), Error> {
    let refused = AtomicUsize::new(usize::MAX);
    let job = |index| Job {
        index,
        layer: &layers[index],
        refused: &refused,
    };
    let threads = threads.min(layers.len());
    if threads <= 1 {
        let mut sink = sink();
        return (0..layers.len()).try_for_each(|index| apply(read(job(index), &mut sink)?));
    }
    // The largest first, so that none is left for the end alone.
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|&index| layers[index].size);
    let order = Mutex::new(order);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let send = send.clone();
            let (order, job, sink, read, refused) = (&order, &job, &sink, &read, &refused);
            scope.spawn(move || {
                let mut sink = sink();
                loop {
                    let next = order.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(index) = next else { break };
                    let read = read(job(index), &mut sink);
                    if read.is_err() {
                        refused.fetch_min(index, Ordering::Relaxed);
                    }
                    // Nobody receives any more: an error is being returned.
                    if send.send((index, read)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (index, read) in receive {
            waiting.insert(index, read);
            while let Some(read) = waiting.remove(&next) {
                read.and_then(&mut apply)
                    .inspect_err(|_| refused.store(0, Ordering::Relaxed))?;
                next += 1;
            }
        }
        Ok(())
    })
}

struct Guarded<'a, R> {
    blob: R,
    index: usize,
    refused: &'a AtomicUsize,
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.refused.load(Ordering::Relaxed) < self.index {
            return Err(io::Error::other("a layer below is refused"));
        }
        self.blob.read(out)
    }
}
