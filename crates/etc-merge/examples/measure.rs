//! `measure MODE PRISTINE CURRENT NEW [DEPLOYMENT]`: one step of a merge, alone in a process, and
//! what it took, as a line of JSON. `cargo xtask bench etc` runs it.
//!
//! `walk` is the least that any merge must do: it lists the three directories in lock-step, stats
//! each path on each side, and compares byte by byte what may be equal and is not one inode.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program opens the paths that it is given, and prints"
)]

use std::error::Error;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_etc_merge::{
    ApplyOptions, Known, MergePlan, Policies, Sides, apply, plan_dirs, prepare,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::time::{ClockId, clock_gettime};

const USAGE: &str = "usage: measure MODE PRISTINE CURRENT NEW [DEPLOYMENT]; MODE is walk, plan, \
                     plan-one-thread, pairs, plan-known, prepare, apply, apply-known or \
                     apply-unsynced";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mode, pristine, current, new, deployment @ ..] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let open = |path: &str| Dir::open_ambient_dir(path, ambient_authority());
    let (pristine, current, new) = (open(pristine)?, open(current)?, open(new)?);
    let sides = Sides {
        pristine: &pristine,
        current: &current,
        new: &new,
    };
    let deployment = match deployment {
        [] => None,
        [path] => Some(open(path)?),
        _ => return Err(USAGE.into()),
    };
    let policies = Policies::default();
    let mut options = ApplyOptions {
        sync: mode != "apply-unsynced",
        threads: usize::from(mode == "plan-one-thread"),
        ..ApplyOptions::default()
    };
    // What a plan found when the update was staged; that one is not measured, and another process.
    if mode.ends_with("-known") {
        let mut staged = Command::new(std::env::current_exe()?);
        staged.arg("pairs").args(&arguments[1..]);
        let mut staged = staged.stdout(Stdio::piped()).spawn()?;
        let out = staged.stdout.as_mut().ok_or("no pipe")?;
        options.known = Known::read(out)?.ok_or("the first plan gave no pairs")?;
        staged.wait()?;
    }
    match (mode.as_str(), deployment) {
        ("walk", _) => measure(|| Ok(Some(walk(sides)?))),
        ("pairs", _) => {
            let planned = plan_dirs(sides, &policies, &options)?;
            Ok(planned.known.write(&mut io::stdout())?)
        }
        ("plan" | "plan-one-thread" | "plan-known", _) => {
            measure(|| Ok(Some(seen(&plan_dirs(sides, &policies, &options)?.plan))))
        }
        ("prepare", Some(deployment)) => measure(|| {
            prepare(&new, &deployment, &options)?;
            Ok(None)
        }),
        ("apply" | "apply-known" | "apply-unsynced", Some(deployment)) => measure(|| {
            let applied = apply(sides, &policies, None, &deployment, &options)?;
            if applied.unchanged {
                return Err("there was nothing to do".into());
            }
            Ok(Some(seen(&applied.plan)))
        }),
        _ => Err(USAGE.into()),
    }
}

/// How many paths there are, and how many of them are not the same on all sides.
struct Seen {
    paths: usize,
    entries: usize,
}

fn seen(plan: &MergePlan) -> Seen {
    Seen {
        paths: plan.paths(),
        entries: plan.entries().len(),
    }
}

fn measure(
    step: impl FnOnce() -> Result<Option<Seen>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    // Of all threads, in the kernel too.
    let cpu = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
    let (wall_before, cpu_before) = (Instant::now(), cpu()?);
    let seen = step()?;
    let (wall, cpu) = (wall_before.elapsed(), cpu()? - cpu_before);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next());
    let peak: u64 = peak.ok_or("the kernel says no VmHWM")?.parse()?;
    let line = serde_json::json!({
        "wall_s": wall.as_secs_f64(),
        "cpu_s": cpu.as_secs_f64(),
        "peak_rss_kib": peak,
        "paths": seen.as_ref().map(|seen| seen.paths),
        "entries": seen.as_ref().map(|seen| seen.entries),
    });
    println!("{line}");
    Ok(())
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn walk(sides: Sides<&Dir>) -> io::Result<Seen> {
    let open = |dir: &Dir| -> io::Result<Option<OwnedFd>> {
        Ok(Some(rustix::fs::openat(
            dir,
            ".",
            DIRECTORY,
            Mode::empty(),
        )?))
    };
    let mut walk = Walk {
        seen: Seen {
            paths: 1,
            entries: 0,
        },
        listing: Vec::with_capacity(64 * 1024),
        buffers: [vec![0; BUFFER], vec![0; BUFFER]],
    };
    let top = [
        open(sides.pristine)?,
        open(sides.current)?,
        open(sides.new)?,
    ];
    walk.directory(&top)?;
    Ok(walk.seen)
}

const BUFFER: usize = 64 * 1024;
/// Pristine, current and new; `None` where there is nothing of that name.
type Three<T> = [Option<T>; 3];

struct Walk {
    seen: Seen,
    listing: Vec<u8>,
    buffers: [Vec<u8>; 2],
}

impl Walk {
    fn directory(&mut self, fds: &Three<OwnedFd>) -> io::Result<()> {
        // All names of all sides, each with its zero, one after the other.
        let mut bytes = Vec::new();
        let mut names = Vec::new();
        for (side, fd) in fds.iter().enumerate() {
            let Some(fd) = fd else { continue };
            let buffer: &mut [MaybeUninit<u8>] = self.listing.spare_capacity_mut();
            let mut listing = RawDir::new(fd, buffer);
            while let Some(entry) = listing.next() {
                let entry = entry?;
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    let start = bytes.len();
                    bytes.extend_from_slice(name.to_bytes_with_nul());
                    names.push((start..bytes.len(), side));
                }
            }
        }
        names.sort_unstable_by(|a, b| bytes[a.0.clone()].cmp(&bytes[b.0.clone()]));
        for group in names.chunk_by(|a, b| bytes[a.0.clone()] == bytes[b.0.clone()]) {
            let name = CStr::from_bytes_with_nul(&bytes[group[0].0.clone()])
                .expect("the kernel ends a name with a zero");
            let mut stats: Three<Stat> = [None, None, None];
            for (_, side) in group {
                if let Some(fd) = &fds[*side] {
                    stats[*side] = Some(rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?);
                }
            }
            self.path(fds, name, &stats)?;
        }
        Ok(())
    }

    fn path(&mut self, fds: &Three<OwnedFd>, name: &CStr, stats: &Three<Stat>) -> io::Result<()> {
        self.seen.paths += 1;
        let pristine_current = self.same(fds, name, stats, 0, 1)?;
        let pristine_new = self.same(fds, name, stats, 0, 2)?;
        // Where one of the two is equal, the other says what this one is.
        if !pristine_current && !pristine_new {
            self.same(fds, name, stats, 1, 2)?;
        }
        if !pristine_current || !pristine_new {
            self.seen.entries += 1;
        }
        let mut below: Three<OwnedFd> = [None, None, None];
        for side in 0..3 {
            if let (Some(fd), Some(stat)) = (&fds[side], &stats[side])
                && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            {
                below[side] = Some(rustix::fs::openat(fd, name, DIRECTORY, Mode::empty())?);
            }
        }
        if below.iter().any(Option::is_some) {
            self.directory(&below)?;
        }
        Ok(())
    }

    /// Whether two sides have the same of a name, what is below a directory aside.
    fn same(
        &mut self,
        fds: &Three<OwnedFd>,
        name: &CStr,
        stats: &Three<Stat>,
        a: usize,
        b: usize,
    ) -> io::Result<bool> {
        let (stat_a, stat_b, fd_a, fd_b) = match (&stats[a], &stats[b], &fds[a], &fds[b]) {
            (Some(stat_a), Some(stat_b), Some(fd_a), Some(fd_b)) => (stat_a, stat_b, fd_a, fd_b),
            (stat_a, stat_b, ..) => return Ok(stat_a.is_none() && stat_b.is_none()),
        };
        if (stat_a.st_dev, stat_a.st_ino) == (stat_b.st_dev, stat_b.st_ino) {
            return Ok(true);
        }
        let file_type = FileType::from_raw_mode(stat_a.st_mode);
        if file_type != FileType::from_raw_mode(stat_b.st_mode) {
            return Ok(false);
        }
        let content = match file_type {
            FileType::RegularFile if stat_a.st_size == stat_b.st_size => {
                self.same_bytes(fd_a, fd_b, name)?
            }
            FileType::RegularFile => false,
            FileType::Symlink => {
                let read = |fd| rustix::fs::readlinkat(fd, name, Vec::new());
                stat_a.st_size == stat_b.st_size && read(fd_a)? == read(fd_b)?
            }
            FileType::CharacterDevice | FileType::BlockDevice => stat_a.st_rdev == stat_b.st_rdev,
            _ => true,
        };
        let attributes = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        Ok(content && attributes(stat_a) == attributes(stat_b))
    }

    fn same_bytes(&mut self, a: &OwnedFd, b: &OwnedFd, name: &CStr) -> io::Result<bool> {
        let open = |dir| rustix::fs::openat(dir, name, REGULAR, Mode::empty());
        let (a, b) = (open(a)?, open(b)?);
        let [bytes_a, bytes_b] = &mut self.buffers;
        loop {
            let read_a = rustix::io::read(&a, &mut **bytes_a)?;
            let read_b = rustix::io::read(&b, &mut **bytes_b)?;
            if bytes_a[..read_a] != bytes_b[..read_b] {
                return Ok(false);
            }
            // A short read of a regular file is its end.
            if read_a < BUFFER {
                return Ok(true);
            }
        }
    }
}
