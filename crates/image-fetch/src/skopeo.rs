//! The skopeo process: how it is started, how it is made to end, and what its errors mean.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cap_std_ext::cmdext::{CapStdExtCommandExt, CmdFds};
use containers_image_proxy::{self as proxy, ImageProxy, ImageProxyConfig};
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use tokio::sync::oneshot;

use crate::{Error, FetchOptions, Policy};

/// Descriptors in the child. The proxy crate keeps 100 to 199 for itself.
const FD_POLICY: i32 = 200;
const FD_TEMPORARY: i32 = 201;
/// The directory of the latter, as skopeo sees it.
pub(crate) const TEMPORARY: &str = "/proc/self/fd/201";
const FD_ALIVE: i32 = 202;

/// How long skopeo may take to end when it was told to.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);

/// A thread that does nothing but be skopeo's parent. The kernel sends SIGTERM to a child that
/// asked for it when the thread that made it ends: when this is dropped, or our process is killed.
/// Without it, a skopeo that hangs would outlive a stalled fetch.
pub(crate) struct Leash {
    end: std::sync::mpsc::Sender<()>,
    /// A pipe whose other end only skopeo has: it reads as ended when skopeo has ended.
    alive: OwnedFd,
}

/// What there is to know to start skopeo.
pub(crate) struct Start {
    config: ImageProxyConfig,
    alive: OwnedFd,
}

impl Leash {
    pub(crate) async fn spawn(start: Start) -> proxy::Result<(ImageProxy, Self)> {
        let Start { config, alive } = start;
        let runtime = tokio::runtime::Handle::current();
        let (mut started, starts) = oneshot::channel();
        let (end, until_end) = std::sync::mpsc::channel::<()>();
        let keep = move || {
            let starting = async {
                // A program that never answers must not hold this thread when nobody waits.
                tokio::select! {
                    proxy = ImageProxy::new_with_config(config) => Some(proxy),
                    () = started.closed() => None,
                }
            };
            if let Some(proxy) = runtime.block_on(starting) {
                let _ = started.send(proxy);
                let _ = until_end.recv();
            }
        };
        std::thread::Builder::new()
            .name("skopeo".into())
            .spawn(keep)?;
        let proxy = starts
            .await
            .map_err(|_| proxy::Error::Other("it was not started".into()))??;
        Ok((proxy, Self { end, alive }))
    }

    /// Ends skopeo, and waits until it has ended and closed its files.
    pub(crate) async fn pull(self) {
        let Self { end, alive } = self;
        drop(end);
        let ended = tokio::task::spawn_blocking(move || {
            let _ = rustix::io::read(&alive, &mut [0; 1]);
        });
        let _ = tokio::time::timeout(GOODBYE, ended).await;
    }
}

pub(crate) fn start(options: &FetchOptions, temporary: OwnedFd) -> Result<Start, Error> {
    let (mut command, mut fds) = command(options, temporary)?;
    let (alive, skopeos_end) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::Process {
            operation: "make a pipe",
            source: error.into(),
        })?;
    fds.take_fd_n(Arc::new(skopeos_end), FD_ALIVE);
    command.lifecycle_bind_to_parent_thread();
    command.take_fds(fds);

    let mut config = ImageProxyConfig::default();
    config.authfile = options.authfile.clone();
    config.certificate_directory = options.cert_dir.clone();
    config.insecure_skip_tls_verification = Some(!options.tls_verify);
    config.insecure_policy = Some(options.policy == Policy::AcceptAnything);
    config.skopeo_cmd = Some(command);
    Ok(Start { config, alive })
}

/// skopeo with the options that all its commands have, and the descriptors that they speak of.
pub(crate) fn command(
    options: &FetchOptions,
    temporary: OwnedFd,
) -> Result<(Command, CmdFds), Error> {
    let mut fds = CmdFds::new();
    let mut command = Command::new(&options.skopeo);
    fds.take_fd_n(Arc::new(temporary), FD_TEMPORARY);
    command.arg("--tmpdir").arg(TEMPORARY);
    if let Policy::Document(bytes) = &options.policy {
        let document = memory_file(bytes).map_err(|source| Error::Process {
            operation: "pass the policy",
            source,
        })?;
        fds.take_fd_n(Arc::new(document), FD_POLICY);
        command
            .arg("--policy")
            .arg(format!("/proc/self/fd/{FD_POLICY}"));
    }
    if let Some(platform) = &options.platform {
        command.arg("--override-os").arg(&platform.os);
        command.arg("--override-arch").arg(&platform.architecture);
        if let Some(variant) = &platform.variant {
            command.arg("--override-variant").arg(variant);
        }
    }
    Ok((command, fds))
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("policy.json", MemfdFlags::CLOEXEC)?;
    let mut file = cap_std::fs::File::from_std(fd.into());
    file.write_all(bytes)?;
    Ok(file.into_std().into())
}

/// What an image that cannot be opened says: the policy refuses it, or something else.
pub(crate) fn open_error(image: &str, strict: bool, error: Error) -> Error {
    match error {
        Error::Proxy {
            message,
            transient: false,
            ..
        } if strict && reads_refused(&message) => Error::PolicyRefuses {
            image: image.to_owned(),
            reason: message,
        },
        other => other,
    }
}

/// The sentences of a policy; there is nothing but sentences.
fn reads_refused(message: &str) -> bool {
    ["rejected by policy", "image rejected", "signature"]
        .iter()
        .any(|it| message.to_lowercase().contains(it))
}

pub(crate) fn start_error(image: &str, options: &FetchOptions, error: proxy::Error) -> Error {
    match error {
        proxy::Error::SkopeoSpawnError(source) if source.kind() == io::ErrorKind::NotFound => {
            Error::SkopeoMissing {
                program: options.skopeo.clone(),
            }
        }
        proxy::Error::SkopeoSpawnError(source) => Error::Process {
            operation: "start skopeo",
            source,
        },
        other => Error::Proxy {
            image: image.to_owned(),
            operation: "start skopeo".into(),
            message: other.to_string(),
            transient: false,
        },
    }
}

pub(crate) fn proxy_error(image: &str, operation: &str, error: proxy::Error) -> Error {
    let message = error.to_string();
    let transient = match &error {
        // skopeo died: it closed its socket, or was found dead.
        proxy::Error::Io(_) | proxy::Error::SerDe(_) => true,
        proxy::Error::Other(text) if text.contains("unexpectedly exited") => true,
        other => other.is_retryable() || reads_transient(&message),
    };
    Error::Proxy {
        image: image.to_owned(),
        operation: operation.to_owned(),
        message,
        transient,
    }
}

/// Before protocol 0.2.8 skopeo's errors are only sentences. Those that HTTP and TCP failures end
/// up in are known; whatever else it says is taken for final.
pub(crate) fn reads_transient(message: &str) -> bool {
    let message = message.to_lowercase();
    let network = [
        "unexpected eof",
        ": eof",
        "connection reset",
        "connection refused",
        "broken pipe",
        "timeout",
        "temporary failure",
        "too many requests",
        "toomanyrequests",
        "server closed idle connection",
    ];
    let status = ["429", "500", "502", "503", "504"];
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
    network.iter().any(|it| message.contains(it))
        || message.contains("status") && words.any(|word| status.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::reads_transient;

    #[test]
    fn sentences_of_skopeo() {
        let rows = [
            (
                "Error reading manifest: received unexpected HTTP status: 500 Internal Server Error",
                true,
            ),
            (
                "Error fetching blob: invalid status code from registry 503 (Service Unavailable)",
                true,
            ),
            (
                "pinging container registry h: Get \"http://h/v2/\": EOF",
                true,
            ),
            ("unexpected EOF", true),
            (
                "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
                true,
            ),
            ("dial tcp 127.0.0.1:1: connect: connection refused", true),
            ("net/http: TLS handshake timeout", true),
            ("invalid status code from registry 404 (Not Found)", false),
            (
                "invalid status code from registry 401 (Unauthorized)",
                false,
            ),
            ("manifest unknown: manifest unknown", false),
            (
                "Source image rejected: Running image docker://h/a is rejected by policy.",
                false,
            ),
            ("corrupted blob, expecting sha256:500", false),
            ("expected 500 bytes in blob, got 499", false),
            ("open /x: no such file or directory", false),
        ];
        for (message, expect) in rows {
            assert_eq!(reads_transient(message), expect, "{message}");
        }
    }
}
