//! `pleach fetch`: an image into an OCI layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::{ArgAction, Args};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pleach_image_fetch::{
    Event, FetchOptions, Fetched, ImageReference, LayerStream, Origin, Policy,
};
use serde_json::json;

use super::exit::End;
use super::image::make;
use super::output::{self, Format};

/// Fetch an image into an OCI image layout, each blob verified.
///
/// Interrupted and run again, it goes on with the blobs that are whole.
#[derive(Args)]
pub(crate) struct Fetch {
    /// docker://HOST/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE, dir:DIR, …
    image: ImageReference,
    #[command(flatten)]
    source: Source,
    /// The name in the layout; the image's own reference by default.
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Where images are kept and how a registry is spoken to.
#[derive(Args, Clone)]
pub(crate) struct Source {
    /// The OCI layout to fetch into [default: pleach/store in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Whether the registry must speak TLS with a certificate that verifies.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) tls_verify: bool,
    /// containers-auth.json(5); skopeo's standard places by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// containers-policy.json(5) [default: the user's, then the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Take any image, whatever the policy says.
    #[arg(long, conflicts_with = "policy")]
    pub(crate) insecure_policy: bool,
    /// Refuse an image that the policy accepts unsigned (insecureAcceptAnything).
    #[arg(long, conflicts_with = "insecure_policy")]
    pub(crate) enforce_sigpolicy: bool,
}

impl Fetch {
    pub(crate) fn run(&self) -> Result<End> {
        let name = self
            .tag
            .clone()
            .unwrap_or_else(|| self.image.name().to_owned());
        let (store, fetched) = self.source.fetch(&self.image, &name)?;
        let layers: Vec<_> = fetched
            .layers
            .iter()
            .map(|layer| {
                json!({
                    "digest": layer.blob.digest.to_string(),
                    "size": layer.blob.size,
                    "media_type": layer.media_type,
                    "diff_id": layer.diff_id.to_string(),
                    "fetched": layer.blob.origin == Origin::Fetched,
                })
            })
            .collect();
        match self.format {
            Format::Json => {
                let value = json!({
                    "format_version": 1,
                    "reference": self.image.to_string(),
                    "store": store.display().to_string(),
                    "name": name,
                    "manifest_digest": fetched.manifest_digest.to_string(),
                    "policy": fetched.policy,
                    "config_digest": fetched.config.digest.to_string(),
                    "layers": layers,
                    "fetched_bytes": fetched.bytes_fetched,
                });
                output::print(&(serde_json::to_string_pretty(&value)? + "\n"))?;
            }
            Format::Human => {
                let count = |origin| {
                    fetched
                        .layers
                        .iter()
                        .filter(|layer| layer.blob.origin == origin)
                        .count()
                };
                output::print(&format!(
                    "{}@{}\n  in oci:{}:{name}\n  {} layers fetched, {} present, {} bytes transferred\n  signature policy: {}\n",
                    self.image,
                    fetched.manifest_digest,
                    store.display(),
                    count(Origin::Fetched),
                    count(Origin::Present),
                    fetched.bytes_fetched,
                    fetched.policy.join(", "),
                ))?;
            }
        }
        Ok(End::Fine)
    }
}

impl Source {
    /// Fetches into the store under a name; gives the store's path.
    pub(crate) fn fetch(&self, image: &ImageReference, name: &str) -> Result<(PathBuf, Fetched)> {
        let (path, store) = self.store()?;
        let (options, bars) = (self.options(name)?, Bars::default());
        let progress = |event| bars.show(&event);
        let fetching = pleach_image_fetch::fetch(image, &store, &options, progress);
        Ok((path, runtime()?.block_on(fetching)?))
    }

    /// As `fetch`, and `read` reads the layers meanwhile.
    pub(crate) fn fetch_with<T: Send + 'static>(
        &self,
        image: &ImageReference,
        name: &str,
        read: impl Fn(&[LayerStream]) -> Result<T> + Send + Sync + 'static,
    ) -> Result<(PathBuf, Fetched, T)> {
        let (path, store) = self.store()?;
        let (options, bars) = (self.options(name)?, Bars::default());
        let progress = |event| bars.show(&event);
        let fetching = pleach_image_fetch::fetch_with(image, &store, &options, progress, read);
        let (fetched, value) = runtime()?.block_on(fetching)?;
        Ok((path, fetched, value))
    }

    fn store(&self) -> Result<(PathBuf, Dir)> {
        let path = store_path(self.store.as_deref())?;
        let dir = make(&path)?;
        Ok((path, dir))
    }

    fn options(&self, name: &str) -> Result<FetchOptions> {
        let mut options = FetchOptions::new(self.policy()?);
        options.enforce_policy = self.enforce_sigpolicy;
        options.policy_by_copy = true;
        options.ref_name = Some(name.to_owned());
        options.tls_verify = self.tls_verify;
        options.authfile = self.authfile.clone();
        Ok(options)
    }

    /// The policy that skopeo would take: the user's, else the system's.
    fn policy(&self) -> Result<Policy> {
        if self.insecure_policy {
            return Ok(Policy::AcceptAnything);
        }
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("reading the policy {}", path.display()))
        };
        if let Some(path) = &self.policy {
            return Ok(Policy::Document(read(path)?));
        }
        let user = std::env::var_os("HOME")
            .map(|home| PathBuf::from(home).join(".config/containers/policy.json"));
        let system = PathBuf::from("/etc/containers/policy.json");
        match user.into_iter().chain([system]).find(|path| path.exists()) {
            Some(path) => Ok(Policy::Document(read(&path)?)),
            None => bail!(
                "there is no containers-policy.json(5) in its standard places; give one with --policy, or --insecure-policy"
            ),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

/// The store that was asked for, or the user's.
pub(crate) fn store_path(asked: Option<&Path>) -> Result<PathBuf> {
    match asked {
        Some(path) => Ok(path.to_owned()),
        None => Ok(cache_dir()?.join("pleach/store")),
    }
}

fn cache_dir() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    xdg.map(PathBuf::from)
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME is set; give --store")
}

/// A bar for each blob on a terminal, a line for what is unusual anywhere.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    blobs: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Bars {
    fn show(&self, event: &Event) {
        let mut blobs = self
            .blobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::WaitingForLock => output::step("waiting for another fetch into the same store"),
            Event::BlobDamaged { digest } => {
                output::step(&format!(
                    "{digest} in the store is damaged, fetching it again"
                ));
            }
            Event::Retry {
                failures,
                delay,
                reason,
            } => {
                output::step(&format!(
                    "failed {failures} times ({reason}), again in {delay:?}"
                ));
            }
            Event::BlobStarted { digest, size } if output::bars() => {
                let style =
                    ProgressStyle::with_template("{prefix:.12} {bar:30} {bytes}/{total_bytes}")
                        .expect("a fixed template");
                let bar = ProgressBar::new(*size).with_style(style);
                let hex = digest.to_string();
                bar.set_prefix(hex.trim_start_matches("sha256:").to_owned());
                blobs.insert(hex, self.all.add(bar));
            }
            Event::BlobProgress {
                digest, received, ..
            } => {
                if let Some(bar) = blobs.get(&digest.to_string()) {
                    bar.set_position(*received);
                }
            }
            Event::BlobDone { digest, .. } => {
                if let Some(bar) = blobs.remove(&digest.to_string()) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}
