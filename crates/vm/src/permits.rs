//! CPU and memory permits that hold across processes, by locks on files.

use std::time::{Duration, Instant};

use std::os::fd::OwnedFd;

use cap_std::fs::Dir;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::error::io_error;

/// One memory slot, in MiB.
const SLOT_MIB: u32 = 256;
const POLL: Duration = Duration::from_millis(100);

/// A pool of virtual CPUs and memory, shared by all who use the same directory.
///
/// Each vCPU and each 256 MiB is a file that one holder locks (flock(2)), so what a killed process held
/// is free again. Who waits holds the lock of a gate file: waiters are served one after the other, and a
/// large machine is not passed by small ones for ever.
#[derive(Debug)]
pub struct Permits {
    dir: Dir,
    cpus: u32,
    memory_slots: u32,
    /// Longest wait for a permit.
    patience: Duration,
}

/// The right to run one machine, until it is dropped.
#[derive(Debug)]
#[must_use = "the permit ends when it is dropped"]
pub struct Permit {
    _slots: Vec<OwnedFd>,
}

impl Permits {
    /// A pool in `dir`. All who share it give the same numbers.
    pub fn new(dir: Dir, cpus: u32, memory_mib: u64, patience: Duration) -> Self {
        let memory_slots = u32::try_from(memory_mib / u64::from(SLOT_MIB)).unwrap_or(u32::MAX);
        Self {
            dir,
            cpus,
            memory_slots,
            patience,
        }
    }

    /// Waits for the right to run a machine of this size.
    ///
    /// # Errors
    /// [`Error::PermitsTooFew`] at once when the pool is smaller than the machine, and
    /// [`Error::PermitsBusy`] when others hold the pool for longer than the patience.
    pub fn acquire(&self, cpus: u32, memory_mib: u32) -> Result<Permit, Error> {
        let slots = memory_mib.div_ceil(SLOT_MIB);
        for (unit, asked, total) in [
            ("vcpus", cpus.into(), self.cpus.into()),
            (
                "MiB",
                memory_mib.into(),
                u64::from(self.memory_slots) * u64::from(SLOT_MIB),
            ),
        ] {
            if asked > total {
                return Err(Error::PermitsTooFew { unit, asked, total });
            }
        }
        let busy = || Error::PermitsBusy {
            cpus,
            memory_mib,
            waited: self.patience,
        };
        let start = Instant::now();
        let _gate = loop {
            match self.lock("gate")? {
                Some(gate) => break gate,
                None if start.elapsed() >= self.patience => return Err(busy()),
                None => std::thread::sleep(POLL),
            }
        };
        let mut held = Vec::new();
        loop {
            let cpu = self.lock_some("cpu", self.cpus, cpus, &mut held)?;
            let memory = self.lock_some("memory", self.memory_slots, slots, &mut held)?;
            if cpu && memory {
                return Ok(Permit {
                    _slots: held.into_iter().map(|(_, file)| file).collect(),
                });
            }
            if start.elapsed() >= self.patience {
                return Err(busy());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Adds free slots to those held until there are `wanted`; only the holder of the gate does this.
    fn lock_some(
        &self,
        kind: &str,
        total: u32,
        wanted: u32,
        held: &mut Vec<(String, OwnedFd)>,
    ) -> Result<bool, Error> {
        let have = |held: &[(String, OwnedFd)]| {
            held.iter()
                .filter(|(name, _)| name.starts_with(kind))
                .count()
                >= wanted as usize
        };
        for index in 0..total {
            if have(held) {
                break;
            }
            let name = format!("{kind}-{index}");
            if held.iter().all(|(other, _)| *other != name)
                && let Some(file) = self.lock(&name)?
            {
                held.push((name, file));
            }
        }
        Ok(have(held))
    }

    fn lock(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| io_error("open", name)(errno.into()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io_error("lock", name)(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, clippy::disallowed_types)] // opens a temporary folder
    use std::sync::atomic::{AtomicU32, Ordering};

    use cap_std::ambient_authority;

    use super::*;

    fn pool(folder: &tempfile::TempDir, patience: Duration) -> Permits {
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        Permits::new(dir, 4, 2048, patience)
    }

    #[test]
    fn pool_gives_what_it_has_and_takes_it_back() {
        let folder = tempfile::tempdir().unwrap();
        // Each row is a process of its own as far as flock is concerned: files are opened anew.
        let refused = |cpus, memory, expect: &str| {
            let error = pool(&folder, Duration::ZERO)
                .acquire(cpus, memory)
                .unwrap_err();
            assert_eq!(error.to_string(), expect);
        };
        // A fork elsewhere in this process holds a lock that was dropped until its exec: be patient.
        let ask = |cpus, memory| pool(&folder, Duration::from_secs(60)).acquire(cpus, memory);
        refused(
            5,
            1,
            "a machine of 5 vcpus can never start: the permits hold 4",
        );
        refused(
            1,
            2049,
            "a machine of 2049 MiB can never start: the permits hold 2048",
        );
        let first = ask(2, 1000).unwrap();
        let second = ask(2, 1000).unwrap();
        refused(1, 1, "no permit for 1 vcpus and 1 MiB within 0ns");
        drop(first);
        refused(3, 1, "no permit for 3 vcpus and 1 MiB within 0ns");
        refused(1, 1025, "no permit for 1 vcpus and 1025 MiB within 0ns");
        let third = ask(2, 1024).unwrap();
        drop((second, third));
        // A wait in vain has kept nothing.
        let _all = ask(4, 2048).unwrap();
    }

    #[test]
    fn waiters_never_hold_more_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for cpus in [1, 3, 2, 4, 1, 2] {
                let (folder, running, most) = (&folder, &running, &most);
                scope.spawn(move || {
                    let permit = pool(folder, Duration::from_secs(60))
                        .acquire(cpus, 256)
                        .unwrap();
                    let now = running.fetch_add(cpus, Ordering::SeqCst) + cpus;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    running.fetch_sub(cpus, Ordering::SeqCst);
                    drop(permit);
                });
            }
        });
        assert!(
            most.load(Ordering::SeqCst) <= 4,
            "{most:?} vcpus at once, of 4"
        );
    }
}
