//! A program in skopeo's place that speaks its protocol and lies: what we check must not rest on
//! what it says. It also speaks the later protocol versions, whatever skopeo is installed.

use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pleach_image_fetch::{Digest, Error, Event, FetchOptions, Policy};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};

use crate::image::Image;
use crate::support::{Outcome, Place, have, index, options, partials};

const JOB: &str = "PLEACH_IMAGE_FETCH_FAKE";

/// The program: this test binary, with the socket as its standard input.
#[test]
#[ignore = "run in skopeo's place by the tests below"]
fn fake() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Value = serde_json::from_str(&job).unwrap();
    let fake = Fake {
        layout: job["layout"].as_str().unwrap().into(),
        protocol: job["protocol"].as_str().unwrap().to_owned(),
        lie: job["lie"].as_str().unwrap().to_owned(),
        about: job["about"].as_str().unwrap().to_owned(),
        manifest: job["manifest"].as_str().unwrap().to_owned(),
    };
    let socket = std::io::stdin();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (count, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        if count == 0 {
            return;
        }
        let request: Value = serde_json::from_slice(&buffer[..count]).unwrap();
        let (value, fds, pipe) = fake.answer(&request);
        let reply = json!({ "success": true, "error": "", "pipeid": pipe, "value": value });
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let reply = reply.to_string();
        let reply = [IoSlice::new(reply.as_bytes())];
        rustix::net::sendmsg(&socket, &reply, &mut control, SendFlags::empty()).unwrap();
    }
}

struct Fake {
    layout: PathBuf,
    protocol: String,
    lie: String,
    about: String,
    manifest: String,
}

impl Fake {
    fn answer(&self, request: &Value) -> (Value, Vec<OwnedFd>, u32) {
        let blob = || request["args"][1].as_str().unwrap();
        match request["method"].as_str().unwrap() {
            "Initialize" => (json!(self.protocol), vec![], 0),
            "OpenImage" => (json!(1), vec![], 0),
            "GetManifest" => (
                json!(self.manifest),
                vec![stream(self.bytes(&self.manifest))],
                1,
            ),
            "GetBlob" => (json!(-1), vec![stream(self.bytes(blob()))], 1),
            "GetRawBlob" => {
                let body = stream(self.bytes(blob()));
                (json!(-1), vec![body, stream(self.verdict(blob()))], 0)
            }
            "FinishPipe" | "CloseImage" => (Value::Null, vec![], 0),
            other => panic!("{other}"),
        }
    }

    fn bytes(&self, digest: &str) -> Vec<u8> {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let mut bytes = fs::read(self.layout.join("blobs/sha256").join(hex)).unwrap();
        if digest == self.about {
            match self.lie.as_str() {
                "flip" => bytes[100] ^= 1,
                "short" => bytes.truncate(100),
                "empty" => bytes.clear(),
                "long" => bytes.push(0),
                "endless" => bytes = b"0123456789abcdef".repeat(1 << 20),
                "retryable" if self.tired() => bytes.truncate(100),
                _ => {}
            }
        }
        bytes
    }

    /// What the second pipe of GetRawBlob says: nothing, but for what is asked for.
    fn verdict(&self, digest: &str) -> Vec<u8> {
        if digest != self.about || self.lie != "retryable" || !self.tired() {
            return Vec::new();
        }
        fs::write(self.layout.join("told"), "").unwrap();
        json!({ "code": "retryable", "message": "the registry was tired" })
            .to_string()
            .into_bytes()
    }

    fn tired(&self) -> bool {
        !self.layout.join("told").exists()
    }
}

/// The read end of a pipe with these bytes in it, and then its end.
fn stream(bytes: Vec<u8>) -> OwnedFd {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // Whoever stops reading early is right to.
    std::thread::spawn(move || drop(fs::File::from(write).write_all(&bytes)));
    read
}

fn wrapper(
    place: &Place,
    layout: &Path,
    protocol: &str,
    lie: &str,
    about: Digest,
    manifest: Digest,
) -> PathBuf {
    let job = json!({
        "layout": layout, "protocol": protocol, "lie": lie,
        "about": about.to_string(), "manifest": manifest.to_string(),
    });
    let binary = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{JOB}='{job}' exec '{}' --exact lying::fake --ignored --nocapture\n",
        binary.display()
    );
    let path = place.path("skopeo");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn fetch(
    protocol: &str,
    lie: &str,
    about: impl Fn(&Image) -> Digest,
    mut options: FetchOptions,
) -> (Outcome, Digest) {
    let place = Place::new();
    let image = Image::small(600);
    let layout = place.path("layout");
    image.write(&layout);
    let about = about(&image);
    options.skopeo = wrapper(
        &place,
        &layout,
        protocol,
        lie,
        about,
        image.manifest_digest(),
    );
    let outcome = place
        .fetch("docker://registry.example/base", &options)
        .await;
    if outcome.result.is_err() {
        assert_eq!(index(&place.store()), [], "{protocol} {lie}");
        assert!(partials(&place.store()).is_empty(), "{protocol} {lie}");
    }
    (outcome, about)
}

fn first_layer(image: &Image) -> Digest {
    image.layers[0].digest()
}

fn config(image: &Image) -> Digest {
    image.manifest["config"]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_proxy_that_lies_is_found_out() {
    if !have(&["sh"]) {
        return;
    }
    for protocol in ["0.2.3", "0.2.6", "0.2.8", "0.2.10"] {
        // The control: without a lie, the same program gives the image.
        fetch(protocol, "none", first_layer, options())
            .await
            .0
            .fetched();
        for about in [first_layer, config] {
            for lie in ["flip", "short", "empty", "long", "endless"] {
                let (outcome, about) = fetch(protocol, lie, about, options()).await;
                assert_eq!(outcome.count(|it| matches!(it, Event::Retry { .. })), 0);
                match outcome.error() {
                    Error::DigestMismatch { digest, .. } if lie == "flip" => {
                        assert_eq!(digest, about, "{protocol} {lie}");
                    }
                    Error::SizeMismatch { digest, .. } if lie != "flip" => {
                        assert_eq!(digest, about, "{protocol} {lie}");
                    }
                    other => panic!("{protocol} {lie}: {other}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_manifest_that_never_ends_is_refused() {
    if !have(&["sh"]) {
        return;
    }
    let (outcome, _) = fetch("0.2.8", "endless", Image::manifest_digest, options()).await;
    match outcome.error() {
        Error::Limit {
            limit: "manifest_bytes",
            found,
            ..
        } => assert_eq!(found, 16 << 20),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_failure_that_the_proxy_calls_retryable_is_retried() {
    if !have(&["sh"]) {
        return;
    }
    let (outcome, _) = fetch("0.2.8", "retryable", first_layer, options()).await;
    let reason = |it: &Event| matches!(it, Event::Retry { reason, .. } if reason.contains("tired"));
    assert_eq!(outcome.count(reason), 1, "{:?}", outcome.events);
    outcome.fetched();
}

#[tokio::test]
async fn policies_need_a_protocol_that_applies_them() {
    if !have(&["sh"]) {
        return;
    }
    for (protocol, applies) in [
        ("0.2.3", false),
        ("0.2.5", false),
        ("0.2.6", true),
        ("0.2.8", true),
        ("0.2.10", true),
    ] {
        let mut options = options();
        options.policy = Policy::Document(br#"{"default":[{"type":"reject"}]}"#.to_vec());
        // This program rejects nothing: what is asked is whether it gets so far.
        match fetch(protocol, "none", first_layer, options).await.0.result {
            Ok(_) => assert!(applies, "{protocol}"),
            Err(Error::PolicyNotApplied { found, .. }) => {
                assert!(!applies, "{protocol}");
                assert_eq!(found, protocol);
            }
            Err(other) => panic!("{protocol}: {other}"),
        }
    }
    for protocol in ["0.1.0", "0.2.2", "0.3.0", "1.0.0", "none"] {
        let error = fetch(protocol, "none", first_layer, options())
            .await
            .0
            .error();
        assert!(
            matches!(
                error,
                Error::Proxy {
                    transient: false,
                    ..
                }
            ),
            "{protocol}: {error}"
        );
    }
}
