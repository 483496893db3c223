//! composefs as `cargo xtask bench layers` runs it: `IMAGE REPO` pulls an image into a repository,
//! which is made if it is missing. fs-verity is not asked for, since not every file system has it:
//! without it, this peer has less to do.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measuring tool works on paths that it is given"
)]

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use composefs::fsverity::Sha256HashValue;
use composefs::repository::{Repository, RepositoryConfig};
use composefs_oci::PullOptions;
use containers_image_proxy::ImageProxyConfig;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, repo] = &arguments[..] else {
        bail!("IMAGE REPO");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(pull(image, Path::new(repo)))
}

async fn pull(image: &str, repo: &Path) -> Result<()> {
    let config = RepositoryConfig::default().set_insecure();
    let (repo, _) = Repository::<Sha256HashValue>::init_path(rustix::fs::CWD, repo, config)?;
    let mut proxy = ImageProxyConfig::default();
    proxy.insecure_skip_tls_verification = Some(true);
    let options = PullOptions {
        img_proxy_config: Some(proxy),
        ..PullOptions::default()
    };
    composefs_oci::pull(&Arc::new(repo), image, Some("bench"), options).await?;
    Ok(())
}
