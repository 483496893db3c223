use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use crate::Policy;

/// How to fetch. [`FetchOptions::new`] gives every field but the policy a value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The signature policy in effect.
    pub policy: Policy,
    /// Whether an image is refused that the policy takes without asking for anything
    /// (`insecureAcceptAnything`). Default false.
    pub enforce_policy: bool,
    /// Whether `skopeo copy` is asked to apply a policy that skopeo's proxy is too old to apply
    /// (protocol before 0.2.6). It is asked before anything of the image is stored, transfers the
    /// manifest, its signatures and the config, and must have seen the manifest that is fetched.
    /// Default false: such a fetch is refused.
    pub policy_by_copy: bool,
    /// The name that the image gets in the layout (`org.opencontainers.image.ref.name`). An image
    /// that had the name before loses it. Without a name the image is found by its digest only.
    pub ref_name: Option<String>,
    /// Whether registries must speak TLS with a certificate that verifies. Default true.
    pub tls_verify: bool,
    /// A containers-auth.json(5) file. Without one skopeo looks in its standard places.
    pub authfile: Option<PathBuf>,
    /// A directory with client certificates and CAs, as containers-certs.d(5) describes.
    pub cert_dir: Option<PathBuf>,
    /// The instance to choose from an image index. Without one, that of this machine.
    pub platform: Option<Platform>,
    /// The program to run; looked up in `PATH` when it has no slash. Default `skopeo`.
    pub skopeo: PathBuf,
    /// How many blobs are fetched at a time; at least one. Default 3.
    pub concurrent_blobs: usize,
    /// How blobs that the store has already are checked. Default [`PresentBlobs::Digest`].
    pub present_blobs: PresentBlobs,
    /// Whether each layer is also decompressed, and its digest compared with the config's
    /// `rootfs.diff_ids`. Default true. A caller that unpacks the layers with the same check may
    /// save the time here.
    pub check_diff_ids: bool,
    /// Whether to wait for another process that fetches into the same store. Default true.
    pub wait_for_lock: bool,
    /// What to do about registries that fail for a while.
    pub retry: Retry,
    /// If fewer than [`stall_floor`](Self::stall_floor) bytes arrive in this time, over all blobs,
    /// the fetch counts as stalled. Default 30 s.
    pub stall_timeout: Duration,
    /// The bytes that must arrive in each [`stall_timeout`](Self::stall_timeout). Default 1024.
    pub stall_floor: u64,
    /// The time that the whole fetch may take, waiting for the lock included. Default none.
    pub deadline: Option<Duration>,
    /// What an image may be at most.
    pub limits: Limits,
}

impl FetchOptions {
    /// The defaults, with the policy that only the caller can know.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            enforce_policy: false,
            policy_by_copy: false,
            ref_name: None,
            tls_verify: true,
            authfile: None,
            cert_dir: None,
            platform: None,
            skopeo: "skopeo".into(),
            concurrent_blobs: 3,
            present_blobs: PresentBlobs::Digest,
            check_diff_ids: true,
            wait_for_lock: true,
            retry: Retry::default(),
            stall_timeout: Duration::from_secs(30),
            stall_floor: 1024,
            deadline: None,
            limits: Limits::default(),
        }
    }
}

/// An instance of an image index, in the words of the OCI image spec (Go's `GOOS`, `GOARCH`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, …
    pub variant: Option<String>,
}

/// How a blob is checked that the store has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresentBlobs {
    /// It is read to its end, as if it had just been fetched. A bad one is fetched again.
    Digest,
    /// Only its size is compared: fast, for a store that nobody else writes to.
    Size,
}

/// What to do about failures that pass: 5xx answers, cut connections, stalls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// How often in a row to try again; an attempt that completed a blob starts the count anew.
    /// Default 3.
    pub attempts: u32,
    /// The pause before the first of them; each next one is twice as long, with up to a quarter
    /// taken off at random. Default 500 ms.
    pub backoff: Duration,
    /// The longest pause. Default 10 s.
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// What an image may be at most. Sizes are in bytes. Reaching one is [`Error::Limit`](crate::Error::Limit).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The manifest, and the layout's `index.json`. Default 4 MiB, as registries have it.
    pub manifest_bytes: u64,
    /// The image configuration. Default 4 MiB.
    pub config_bytes: u64,
    /// One layer as it is transferred. Default 16 GiB.
    pub blob_bytes: u64,
    /// One layer when decompressed. Default 64 GiB.
    pub uncompressed_bytes: u64,
    /// All blobs together, as they are transferred. Default 64 GiB.
    pub total_bytes: u64,
    /// The number of layers. Default 1000.
    pub layers: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 4 << 20,
            blob_bytes: 16 << 30,
            uncompressed_bytes: 64 << 30,
            total_bytes: 64 << 30,
            layers: 1000,
        }
    }
}

impl Retry {
    /// The pause before attempt `failures`, counted from one.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let doubled = self
            .backoff
            .saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        let full = doubled.min(self.max_backoff);
        // Many machines that lost one registry must not all come back at the same moment. A new
        // RandomState is the standard library's only random number.
        let random = RandomState::new().build_hasher().finish() % 256;
        full - full.mul_f64(random as f64 / 1024.0)
    }
}
