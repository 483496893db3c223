//! Directories are worked on by several threads.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Error;

/// How many threads `wanted` means: 0 is one for each processor, up to four. More would wait for
/// one another in the file system.
pub(super) fn threads(wanted: usize) -> usize {
    match wanted {
        0 => thread::available_parallelism().map_or(1, |n| NonZero::get(n).min(4)),
        wanted => wanted,
    }
}

struct Queue<J> {
    /// The last one is next: so what is open is what lies on the way to it.
    jobs: Vec<J>,
    working: usize,
    error: Option<Error>,
}

/// Runs `step` on `first` and on all jobs that steps add, until there are none; gives the state of
/// each thread. After an error no new job is begun.
pub(super) fn run<J: Send, W: Send>(
    threads: usize,
    first: J,
    worker: impl Fn() -> W + Sync,
    step: impl Fn(&mut W, J, &mut Vec<J>) -> Result<(), Error> + Sync,
) -> Result<Vec<W>, Error> {
    let queue = Mutex::new(Queue {
        jobs: vec![first],
        working: 0,
        error: None,
    });
    let more = Condvar::new();
    let work = || {
        let mut state = worker();
        let mut added = Vec::new();
        let mut held = lock(&queue);
        loop {
            if held.error.is_some() || (held.jobs.is_empty() && held.working == 0) {
                more.notify_all();
                return state;
            }
            let Some(job) = held.jobs.pop() else {
                held = more.wait(held).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            held.working += 1;
            drop(held);
            let working = Working(&queue, &more);
            let done = step(&mut state, job, &mut added);
            std::mem::forget(working);
            held = lock(&queue);
            held.working -= 1;
            // The first that was added is next.
            held.jobs.extend(added.drain(..).rev());
            if let Err(error) = done {
                held.error.get_or_insert(error);
            }
            more.notify_all();
        }
    };
    let states: Vec<W> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut states = vec![work()];
        for other in others {
            match other.join() {
                Ok(state) => states.push(state),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        states
    });
    match queue
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .error
    {
        Some(error) => Err(error),
        None => Ok(states),
    }
}

/// Dropped only where a step panics: the other threads must not wait for it.
struct Working<'a, J>(&'a Mutex<Queue<J>>, &'a Condvar);

impl<J> Drop for Working<'_, J> {
    fn drop(&mut self) {
        let mut queue = lock(self.0);
        queue.working -= 1;
        queue.jobs.clear();
        self.1.notify_all();
    }
}

fn lock<J>(queue: &Mutex<Queue<J>>) -> MutexGuard<'_, Queue<J>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
