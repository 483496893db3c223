//! One skopeo process with one image open in it.

use std::future::Future;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cap_std_ext::cmdext::{CapStdExtCommandExt, CmdFds};
use containers_image_proxy::{self as proxy, ImageProxy, ImageProxyConfig, OpenedImage};
use rustix::fs::MemfdFlags;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};

use crate::{Digest, Error, FetchOptions, ImageReference, Policy};

/// The first protocol whose OpenImage applies the signature policy.
const POLICY_PROTOCOL: (u64, u64, u64) = (0, 2, 6);

/// Descriptors in the child. The proxy crate keeps 100 to 199 for itself.
const FD_POLICY: i32 = 200;
const FD_TEMPORARY: i32 = 201;

const CHUNK: usize = 64 << 10;

/// How long a stream may pause before skopeo is asked whether it has ended. Before protocol 0.2.8
/// the end of a stream that was cut is seen only by asking, and asking blocks other requests until
/// the stream has ended; so neither at once nor never.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long skopeo may take to end when it was asked to.
const GOODBYE: Duration = Duration::from_secs(5);

pub(crate) struct Session {
    proxy: ImageProxy,
    image: OpenedImage,
    name: String,
    stall: Stall,
    _leash: Leash,
}

impl Session {
    pub(crate) async fn open(
        image: &ImageReference,
        options: &FetchOptions,
        temporary: OwnedFd,
    ) -> Result<Self, Error> {
        let strict = options.policy.is_strict(image.transport())?;
        let name = image.to_string();
        let stall = Stall {
            moved: AtomicU64::new(0),
            window: options.stall_timeout,
            floor: options.stall_floor,
        };
        let config = config(options, temporary)?;
        let starting = stall
            .watch(&name, "start skopeo", Leash::spawn(config))
            .await?;
        let (proxy, leash) = starting.map_err(|error| start_error(&name, options, error))?;

        let found = proxy.protocol_version();
        if strict && (found.major, found.minor, found.patch) < POLICY_PROTOCOL {
            let found = found.to_string();
            return Err(Error::PolicyNotApplied {
                image: name,
                found,
                needed: "0.2.6",
            });
        }
        let opening = stall
            .watch(&name, "open the image", proxy.open_image(&name))
            .await?;
        let image = opening.map_err(|error| proxy_error(&name, "open the image", error))?;
        Ok(Self {
            proxy,
            image,
            name,
            stall,
            _leash: leash,
        })
    }

    /// The digest of the manifest as the source has it, and the manifest as an OCI one.
    pub(crate) async fn manifest(&self) -> Result<(String, Vec<u8>), Error> {
        let request = self.proxy.fetch_manifest_raw_oci(&self.image);
        self.request("read the manifest", request).await
    }

    /// The config of an image that skopeo has converted: it exists in no blob.
    pub(crate) async fn converted_config(&self) -> Result<Vec<u8>, Error> {
        self.request("read the config", self.proxy.fetch_config_raw(&self.image))
            .await
    }

    async fn request<T>(
        &self,
        operation: &str,
        request: impl Future<Output = proxy::Result<T>>,
    ) -> Result<T, Error> {
        let answer = self.stall.watch(&self.name, operation, request).await?;
        answer.map_err(|error| proxy_error(&self.name, operation, error))
    }

    /// Sends the blob's bytes to `to`, whatever they are, up to their end. Ends early, and well,
    /// when nobody listens any more.
    pub(crate) async fn blob(
        &self,
        digest: Digest,
        size: u64,
        to: mpsc::Sender<Vec<u8>>,
        received: impl FnMut(u64) + Send,
    ) -> Result<(), Error> {
        let operation = format!("fetch blob {digest}");
        let stream = self.stream(digest, size, to, received);
        let answer = self.stall.watch(&self.name, &operation, stream).await?;
        answer.map_err(|error| proxy_error(&self.name, &operation, error))
    }

    async fn stream(
        &self,
        digest: Digest,
        size: u64,
        to: mpsc::Sender<Vec<u8>>,
        received: impl FnMut(u64) + Send,
    ) -> proxy::Result<()> {
        let wanted = digest
            .to_string()
            .parse()
            .map_err(|error| proxy::Error::Other(format!("{error}").into()))?;
        // Not get_blob_stream: it compares digests where we compare them ourselves, and tell the
        // caller which it was.
        let (reader, driver): (Box<dyn AsyncRead + Send + Unpin>, _) =
            if self.proxy.supports_get_raw_blob() {
                let (_, reader, driver) = self.proxy.get_raw_blob(&self.image, &wanted).await?;
                let driver = async { driver.await.map_err(proxy::Error::from) };
                (Box::new(reader), futures_util::future::Either::Left(driver))
            } else {
                let (reader, driver) = self.proxy.get_blob(&self.image, &wanted, size).await?;
                (
                    Box::new(reader),
                    futures_util::future::Either::Right(driver),
                )
            };
        let mut pump = Pump {
            reader,
            to,
            total: 0,
            moved: &self.stall.moved,
            received,
        };
        while pump.total < size {
            match tokio::time::timeout(PATIENCE, pump.step()).await {
                Ok(step) => match step? {
                    Step::More => {}
                    Step::End => break,
                    Step::NobodyListens => return Ok(()),
                },
                Err(_) => break,
            }
        }
        // The end of the stream and skopeo's word on it depend on each other.
        let (drained, verdict) = tokio::join!(pump.drain(), driver);
        verdict?;
        Ok(drained?)
    }

    /// Lets skopeo remove its temporary files, then ends it.
    pub(crate) async fn close(self) {
        // What was fetched is verified already: that this fails changes nothing about it.
        let _ = tokio::time::timeout(GOODBYE, self.proxy.close_image(&self.image)).await;
    }
}

struct Pump<'a, F> {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    to: mpsc::Sender<Vec<u8>>,
    total: u64,
    moved: &'a AtomicU64,
    received: F,
}

impl<F: FnMut(u64)> Pump<'_, F> {
    /// Moves one chunk. Safe to drop between two polls.
    async fn step(&mut self) -> io::Result<Step> {
        let Ok(place) = self.to.reserve().await else {
            return Ok(Step::NobodyListens);
        };
        let mut chunk = vec![0; CHUNK];
        let count = self.reader.read(&mut chunk).await?;
        if count == 0 {
            return Ok(Step::End);
        }
        chunk.truncate(count);
        place.send(chunk);
        self.total += count as u64;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        (self.received)(self.total);
        Ok(Step::More)
    }

    async fn drain(mut self) -> io::Result<()> {
        while self.step().await? == Step::More {}
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    More,
    End,
    NobodyListens,
}

/// Notices when nothing moves. The bytes of all streams count together, because a request may
/// rightly wait for another one's stream to end.
struct Stall {
    moved: AtomicU64,
    window: Duration,
    floor: u64,
}

impl Stall {
    async fn watch<T>(
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
            if now - before < self.floor {
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

/// A thread that does nothing but be skopeo's parent. The kernel sends SIGTERM to a child that
/// asked for it when the thread that made it ends: when this is dropped, or our process is killed.
/// Without it, a skopeo that hangs would outlive a stalled fetch.
struct Leash {
    _end: std::sync::mpsc::Sender<()>,
}

impl Leash {
    async fn spawn(config: ImageProxyConfig) -> proxy::Result<(ImageProxy, Self)> {
        let runtime = tokio::runtime::Handle::current();
        let (mut started, start) = oneshot::channel();
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
        let proxy = start
            .await
            .map_err(|_| proxy::Error::Other("it was not started".into()))??;
        Ok((proxy, Self { _end: end }))
    }
}

fn config(options: &FetchOptions, temporary: OwnedFd) -> Result<ImageProxyConfig, Error> {
    let mut fds = CmdFds::new();
    let mut command = Command::new(&options.skopeo);
    fds.take_fd_n(Arc::new(temporary), FD_TEMPORARY);
    command
        .arg("--tmpdir")
        .arg(format!("/proc/self/fd/{FD_TEMPORARY}"));
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
    command.lifecycle_bind_to_parent_thread();
    command.take_fds(fds);

    let mut config = ImageProxyConfig::default();
    config.authfile = options.authfile.clone();
    config.certificate_directory = options.cert_dir.clone();
    config.insecure_skip_tls_verification = Some(!options.tls_verify);
    config.insecure_policy = Some(options.policy == Policy::AcceptAnything);
    config.skopeo_cmd = Some(command);
    Ok(config)
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("policy.json", MemfdFlags::CLOEXEC)?;
    let mut file = cap_std::fs::File::from_std(fd.into());
    file.write_all(bytes)?;
    Ok(file.into_std().into())
}

fn start_error(image: &str, options: &FetchOptions, error: proxy::Error) -> Error {
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

fn proxy_error(image: &str, operation: &str, error: proxy::Error) -> Error {
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
fn reads_transient(message: &str) -> bool {
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
