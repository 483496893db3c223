//! What skopeo's proxy cannot do and `skopeo copy` can.
//!
//! *Judging.* Every version of it applies the signature policy. It copies into an image layout in which
//! every layer seems to be there already, so that it transfers nothing but the manifest, its signatures
//! and the config. That it ends well counts only with the manifest that is fetched: a skopeo that
//! looked at those layers, or saw another manifest, makes the fetch fail and not pass.
//!
//! *Staging.* containers-storage keeps layers under other digests than its manifests name, which older
//! proxies do not tell. An image from there is copied into a directory, and fetched from that.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cap_std::fs::Dir;
use cap_std_ext::cmdext::CapStdExtCommandExt;
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::blob::blocking;
use crate::files::{ensure_dir, failed, open_dir, read_file};
use crate::job::Job;
use crate::manifest::Manifest;
use crate::skopeo::{self, TEMPORARY};
use crate::stall::Stall;
use crate::store::Store;
use crate::{Digest, Error, Event, ImageReference, Policy};

const JUDGING: &str = "apply the signature policy";
const STAGING: &str = "copy the image";

/// skopeo's last words are kept up to here.
const WORDS: usize = 64 << 10;

/// Passes if the policy accepts the image, and the image is the one whose manifest has `digest`.
pub(crate) async fn judge<P: Fn(Event) + Sync>(
    job: &Job<'_, P>,
    manifest: &Manifest,
    digest: Digest,
) -> Result<(), Error> {
    let layers = manifest.layers.iter().map(|it| (it.digest, it.size));
    let layers: HashMap<_, _> = layers.collect();
    let scratch = scratch(job, "judged")?;
    let hollow = blocking(move || {
        let path = scratch.name.clone();
        Hollow::new(scratch, &layers).map_err(failed("make", path))
    })
    .await?;
    let mut command = command(job)?;
    let there = format!("{TEMPORARY}/{}", hollow.scratch.name);
    command.arg(format!("--dest-shared-blob-dir={there}/blobs"));
    command.arg("--").arg(job.image);
    command.arg(format!("oci:{there}/layout:judged"));
    let max = job.options.limits.manifest_bytes;
    let copying = copy(command, JUDGING, move || hollow.copied(max));
    let stall = Stall::new(job.options.stall_timeout, job.options.stall_floor);
    let copied = stall.watch(job.image, JUDGING, copying).await??;
    match copied {
        Ok(Some(copied)) if copied == digest => Ok(()),
        // A tag that has moved since is what it is a moment later.
        Ok(found) => {
            let found = found.map_or("no manifest".to_owned(), |it| it.to_string());
            let message = format!("it was applied to {found}, and {digest} is to be fetched");
            Err(said(job, JUDGING, message, true))
        }
        Err(words) => Err(refused(job, JUDGING, words)),
    }
}

/// A copy of an image; gone when it is dropped.
pub(crate) struct Staged {
    /// Where it is, as skopeo sees it.
    pub(crate) reference: ImageReference,
    _scratch: Scratch,
}

/// Copies the image into a directory in `tmp`, if the policy accepts it.
pub(crate) async fn stage<P: Fn(Event) + Sync>(job: &Job<'_, P>) -> Result<Staged, Error> {
    let mut command = command(job)?;
    let scratch = scratch(job, "staged")?;
    let there = format!("dir:{TEMPORARY}/{}", scratch.name);
    command.arg("--").arg(job.image).arg(&there);
    // It is all on this machine: how long that takes is nobody's stall.
    match copy(command, STAGING, || ()).await {
        Ok(Ok(())) => Ok(Staged {
            reference: there.parse()?,
            _scratch: scratch,
        }),
        Ok(Err(words)) => Err(refused(job, STAGING, words)),
        Err(Error::Process { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let program = job.options.skopeo.clone();
            Err(Error::SkopeoMissing { program })
        }
        Err(error) => Err(error),
    }
}

fn scratch<P>(job: &Job<'_, P>, name: &str) -> Result<Scratch, Error> {
    Ok(Scratch {
        parent: Dir::from(job.store.temporary()?),
        name: format!("{name}.{}", job.store.fresh()),
        _store: job.store.clone(),
    })
}

fn said<P>(job: &Job<'_, P>, operation: &str, message: String, transient: bool) -> Error {
    Error::Proxy {
        image: job.image.to_owned(),
        operation: operation.to_owned(),
        message,
        transient,
    }
}

fn refused<P>(job: &Job<'_, P>, operation: &str, words: String) -> Error {
    let transient = skopeo::reads_transient(&words);
    skopeo::open_error(job.image, true, said(job, operation, words, transient))
}

/// Runs it to its end, and then looks at what came of it; what it said where it failed.
async fn copy<T: Send + 'static>(
    command: Command,
    operation: &'static str,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, String>, Error> {
    let stop = Stop(Arc::default());
    let stopped = stop.0.clone();
    blocking(move || {
        let ended = run(command, &stopped);
        let ended = ended.map_err(|source| Error::Process { operation, source })?;
        Ok(ended.map(|()| look()))
    })
    .await
}

/// All but what is copied whereto.
fn command<P>(job: &Job<'_, P>) -> Result<Command, Error> {
    let options = job.options;
    let (mut command, fds) = skopeo::command(options, job.store.temporary()?)?;
    if options.policy == Policy::AcceptAnything {
        command.arg("--insecure-policy");
    }
    // A layout holds no signatures; they are checked all the same.
    command.args(["copy", "--quiet", "--remove-signatures"]);
    if !options.tls_verify {
        command.arg("--src-tls-verify=false");
    }
    if let Some(file) = &options.authfile {
        command.arg("--src-authfile").arg(file);
    }
    if let Some(dir) = &options.cert_dir {
        command.arg("--src-cert-dir").arg(dir);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.lifecycle_bind_to_parent_thread();
    command.take_fds(fds);
    Ok(command)
}

/// Runs it to its end; what it said where it failed.
fn run(mut command: Command, stopped: &AtomicBool) -> io::Result<Result<(), String>> {
    // A file: whoever says more than a pipe holds would wait for a reader, and a helper that it leaves
    // behind would hold the pipe.
    let said = rustix::fs::memfd_create("skopeo", rustix::fs::MemfdFlags::CLOEXEC)?;
    command.stderr(said.try_clone()?);
    let mut child = Running(command.spawn()?);
    let status = loop {
        if stopped.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match child.0.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    if status.success() {
        return Ok(Ok(()));
    }
    let length = rustix::fs::seek(&said, rustix::fs::SeekFrom::End(0))?;
    let mut words = vec![0; WORDS];
    let read = rustix::io::pread(&said, &mut words, length.saturating_sub(WORDS as u64))?;
    Ok(Err(plain(&String::from_utf8_lossy(&words[..read]))))
}

/// The message of a line `time="…" level=fatal msg="…"`.
fn plain(words: &str) -> String {
    let last = words.trim().lines().last().unwrap_or_default();
    match last.split_once("msg=\"") {
        Some((_, message)) => message.trim_end_matches('"').replace("\\\"", "\""),
        None => last.to_owned(),
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Neither can fail in a way that matters: it has ended, or does now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An OCI layout for skopeo to copy an image into: beside it, in the folder `blobs`, files that have
/// the names and sizes of its layers, and no content. Gone when it is dropped.
struct Hollow {
    dir: Dir,
    scratch: Scratch,
}

/// A directory in `tmp`, gone when it is dropped.
struct Scratch {
    parent: Dir,
    name: String,
    // Its lock is held until the directory was removed.
    _store: Arc<Store>,
}

impl Hollow {
    fn new(scratch: Scratch, blobs: &HashMap<Digest, u64>) -> io::Result<Self> {
        let dir = ensure_dir(&scratch.parent, &scratch.name)?;
        let hollow = Self { dir, scratch };
        let blobs_dir = ensure_dir(&ensure_dir(&hollow.dir, "blobs")?, "sha256")?;
        ensure_dir(&hollow.dir, "layout")?;
        for (digest, size) in blobs {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            let file = rustix::fs::openat(&blobs_dir, digest.hex(), flags, mode)?;
            rustix::fs::ftruncate(&file, *size)?;
        }
        Ok(hollow)
    }

    /// The one manifest that was copied into it.
    fn copied(&self, max: u64) -> Option<Digest> {
        let layout = open_dir(&self.dir, "layout").ok()?;
        let index = read_file(&layout, "index.json", max).ok()??;
        let index: Value = serde_json::from_slice(&index).ok()?;
        match index["manifests"].as_array()?.as_slice() {
            [one] => one["digest"].as_str()?.parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next fetch.
        let _ = self.parent.remove_dir_all(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn last_words() {
        let rows = [
            (
                "time=\"x\" level=fatal msg=\"Source image rejected: \\\"a\\\" is not\"\n",
                "Source image rejected: \"a\" is not",
            ),
            ("one\ntwo\n", "two"),
            ("", ""),
        ];
        for (words, expect) in rows {
            assert_eq!(plain(words), expect);
        }
    }
}
