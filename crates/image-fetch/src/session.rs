//! One skopeo process with one image open in it.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use containers_image_proxy::{self as proxy, ImageProxy, OpenedImage};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Mutex, mpsc};

use crate::skopeo::{self, GOODBYE, Leash, proxy_error};
use crate::stall::Stall;
use crate::{Digest, Error, FetchOptions, ImageReference, Transport};

/// The first protocol whose OpenImage applies the signature policy.
const POLICY_PROTOCOL: (u64, u64, u64) = (0, 2, 6);

const CHUNK: usize = 256 << 10;

/// What the pipe of a blob may hold, where we get hold of it: skopeo and we need not take turns.
const PIPE: usize = 1 << 20;

/// How long a stream may pause before skopeo is asked whether it has ended. Before protocol 0.2.8
/// the end of a stream that was cut is seen only by asking, and asking blocks other requests until
/// the stream has ended; so neither at once nor never.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Session {
    proxy: ImageProxy,
    image: OpenedImage,
    name: String,
    stall: Stall,
    leash: Leash,
    /// Whether the policy, if it asks for anything, was applied when the image was opened.
    pub(crate) judged: bool,
    /// Whether skopeo has been seen to have ended; whoever asks it something holds the lock.
    ended: Mutex<bool>,
}

/// What the proxy says when skopeo ends while something is asked.
const ENDED: &str = "skopeo proxy unexpectedly exited";

impl Session {
    /// `name` is what errors call the image.
    pub(crate) async fn open(
        image: &ImageReference,
        name: &str,
        options: &FetchOptions,
        temporary: OwnedFd,
    ) -> Result<Self, Error> {
        let strict = options.policy.is_strict(image.transport())?;
        let name = name.to_owned();
        let stall = Stall::new(options.stall_timeout, options.stall_floor);
        let start = skopeo::start(options, temporary)?;
        let starting = stall
            .watch(&name, "start skopeo", Leash::spawn(start))
            .await?;
        let (proxy, leash) = starting.map_err(|it| skopeo::start_error(&name, options, it))?;
        let opening = async {
            let judged = check_protocol(&name, &proxy, strict, options.policy_by_copy)?;
            let image = open_image(image, &name, &proxy, &stall).await;
            let image = image.map_err(|error| skopeo::open_error(&name, strict, error))?;
            Ok((image, judged))
        };
        match opening.await {
            Ok((image, judged)) => Ok(Self {
                judged,
                proxy,
                image,
                name,
                stall,
                leash,
                ended: Mutex::new(false),
            }),
            Err(error) => {
                leash.pull().await;
                Err(error)
            }
        }
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
        let request = self.ask(request);
        let answer = self.stall.watch(&self.name, operation, request).await?;
        answer.map_err(|error| proxy_error(&self.name, operation, error))
    }

    /// One request at a time, as the proxy has it too, and none once skopeo has ended: the proxy
    /// reports its end once, and a second request that waits for it would panic.
    async fn ask<T>(&self, request: impl Future<Output = proxy::Result<T>>) -> proxy::Result<T> {
        let mut ended = self.ended.lock().await;
        if *ended {
            return Err(proxy::Error::Other(
                format!("{ENDED} before this request").into(),
            ));
        }
        let answer = request.await;
        if let Err(error) = &answer {
            *ended = error.to_string().contains(ENDED);
        }
        answer
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
                let (_, reader, driver) = self
                    .ask(self.proxy.get_raw_blob(&self.image, &wanted))
                    .await?;
                // An unprivileged user may have used up what all his pipes may hold.
                let _ = rustix::pipe::fcntl_setpipe_size(&reader, PIPE);
                let driver = async { driver.await.map_err(proxy::Error::from) };
                (Box::new(reader), futures_util::future::Either::Left(driver))
            } else {
                let (reader, driver) = self
                    .ask(self.proxy.get_blob(&self.image, &wanted, size))
                    .await?;
                (
                    Box::new(reader),
                    futures_util::future::Either::Right(self.ask(driver)),
                )
            };
        let mut pump = Pump {
            reader,
            to,
            total: 0,
            stall: &self.stall,
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

    /// Lets skopeo remove its temporary files.
    pub(crate) async fn close(&self) {
        // What was fetched is verified already: that this fails changes nothing about it.
        let _ = tokio::time::timeout(GOODBYE, self.ask(self.proxy.close_image(&self.image))).await;
    }

    /// Ends skopeo.
    pub(crate) async fn end(self) {
        self.leash.pull().await;
    }
}

/// Whether the policy is applied when an image is opened, as older versions do not.
fn check_protocol(
    name: &str,
    proxy: &ImageProxy,
    strict: bool,
    by_copy: bool,
) -> Result<bool, Error> {
    let found = proxy.protocol_version();
    if !strict || (found.major, found.minor, found.patch) >= POLICY_PROTOCOL {
        return Ok(true);
    }
    if by_copy {
        return Ok(false);
    }
    Err(Error::PolicyNotApplied {
        image: name.to_owned(),
        found: found.to_string(),
        needed: "0.2.6",
    })
}

async fn open_image(
    image: &ImageReference,
    name: &str,
    proxy: &ImageProxy,
    stall: &Stall,
) -> Result<OpenedImage, Error> {
    let operation = "open the image";
    let there = image.to_string();
    let open = proxy.open_image(&there);
    let opened = match image.transport() {
        Transport::Docker | Transport::DockerDaemon => stall.watch(name, operation, open).await?,
        // An archive is unpacked here, however long it is, and no byte of that is seen.
        _ => open.await,
    };
    opened.map_err(|error| proxy_error(name, operation, error))
}

struct Pump<'a, F> {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    to: mpsc::Sender<Vec<u8>>,
    total: u64,
    stall: &'a Stall,
    received: F,
}

impl<F: FnMut(u64)> Pump<'_, F> {
    /// Moves one chunk. Safe to drop between two polls.
    async fn step(&mut self) -> io::Result<Step> {
        // While the disk is what is waited for, the source cannot be blamed.
        let ours = self.stall.not_the_source();
        let Ok(place) = self.to.reserve().await else {
            return Ok(Step::NobodyListens);
        };
        drop(ours);
        let mut chunk = vec![0; CHUNK];
        let count = self.reader.read(&mut chunk).await?;
        if count == 0 {
            return Ok(Step::End);
        }
        chunk.truncate(count);
        place.send(chunk);
        self.total += count as u64;
        self.stall.moved(count as u64);
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
