//! The signature policy where skopeo's proxy does not apply it: `skopeo copy` does, in all versions.
//!
//! It copies into an image layout in which every layer seems to be there already, so that it judges
//! the image and transfers nothing but the manifest, its signatures and the config. That it ends well
//! counts only with the manifest that is fetched: a skopeo that looked at those layers, or saw another
//! manifest, makes the fetch fail and not pass.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cap_std_ext::cmdext::CapStdExtCommandExt;

use crate::blob::blocking;
use crate::job::Job;
use crate::manifest::Manifest;
use crate::skopeo::{self, TEMPORARY};
use crate::stall::Stall;
use crate::store::Hollow;
use crate::{Digest, Error, Event};

const OPERATION: &str = "apply the signature policy";

/// skopeo's last words are kept up to here.
const WORDS: u64 = 64 << 10;

/// Passes if the policy accepts the image, and the image is the one whose manifest has `digest`.
pub(crate) async fn judge<P: Fn(Event) + Sync>(
    job: &Job<'_, P>,
    manifest: &Manifest,
    digest: Digest,
) -> Result<(), Error> {
    let layers = manifest.layers.iter().map(|it| (it.digest, it.size));
    let (store, layers) = (job.store.clone(), layers.collect());
    let hollow = blocking(move || store.hollow(&layers)).await?;
    let command = command(job, &hollow)?;
    let stop = Stop(Arc::default());
    let stopped = stop.0.clone();
    let max = job.options.limits.manifest_bytes;
    let copying = blocking(move || {
        let said = run(command, &stopped).map_err(|source| Error::Process {
            operation: OPERATION,
            source,
        })?;
        Ok(said.map(|()| hollow.copied(max)))
    });
    let stall = Stall::new(job.options.stall_timeout, job.options.stall_floor);
    let copied = stall.watch(job.image, OPERATION, copying).await??;
    let failed = |message: String, transient| Error::Proxy {
        image: job.image.to_owned(),
        operation: OPERATION.to_owned(),
        message,
        transient,
    };
    match copied {
        Ok(Some(copied)) if copied == digest => Ok(()),
        // A tag that has moved since is what it is a moment later.
        Ok(found) => {
            let found = found.map_or("no manifest".to_owned(), |it| it.to_string());
            let message = format!("it was applied to {found}, and {digest} is to be fetched");
            Err(failed(message, true))
        }
        Err(words) => {
            let transient = skopeo::reads_transient(&words);
            Err(skopeo::open_error(
                job.image,
                true,
                failed(words, transient),
            ))
        }
    }
}

fn command<P>(job: &Job<'_, P>, hollow: &Hollow) -> Result<Command, Error> {
    let options = job.options;
    let (mut command, fds) = skopeo::command(options, job.store.temporary()?)?;
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
    let there = format!("{TEMPORARY}/{}", hollow.name);
    command.arg(format!("--dest-shared-blob-dir={there}/blobs"));
    command.arg("--").arg(job.image);
    command.arg(format!("oci:{there}/layout:judged"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    command.lifecycle_bind_to_parent_thread();
    command.take_fds(fds);
    Ok(command)
}

/// Runs it to its end; what it said where it failed.
fn run(mut command: Command, stopped: &AtomicBool) -> io::Result<Result<(), String>> {
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
    let mut words = Vec::new();
    if let Some(stderr) = child.0.stderr.take() {
        stderr.take(WORDS).read_to_end(&mut words)?;
    }
    Ok(Err(plain(&String::from_utf8_lossy(&words))))
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
