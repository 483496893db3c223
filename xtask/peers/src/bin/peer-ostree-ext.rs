//! ostree-ext as `cargo xtask bench layers` runs it.
//!
//! `import IMAGE REPO` imports an image into a bare repository, which is made if it is missing, as
//! ostree-ext's own `container image pull` does. `base LAYOUT` writes the lowest layer that such an
//! image must have: a commit of an empty `/usr`, encapsulated, with the tag `base`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measuring tool works on paths that it is given"
)]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ostree_ext::container::store::{ImageImporter, PrepareResult};
use ostree_ext::container::{
    Config, ImageReference, OstreeImageReference, SignatureSource, Transport, encapsulate,
};
use ostree_ext::containers_image_proxy::ImageProxyConfig;
use ostree_ext::gio::Cancellable;
use ostree_ext::glib::prelude::Cast as _;
use ostree_ext::ostree;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match words[..] {
        ["import", image, repo] => runtime.block_on(import(image, Path::new(repo))),
        ["base", layout] => runtime.block_on(base(Path::new(layout))),
        _ => bail!("import IMAGE REPO, or base LAYOUT"),
    }
}

async fn import(image: &str, repo: &Path) -> Result<()> {
    let repo = open(repo)?;
    let image = OstreeImageReference {
        sigverify: SignatureSource::ContainerPolicyAllowInsecure,
        imgref: ImageReference::try_from(image)?,
    };
    // Its own default as root is skopeo as nobody, who may not read the layout.
    let config = ImageProxyConfig {
        insecure_skip_tls_verification: Some(true),
        skopeo_cmd: Some(Command::new("skopeo")),
        ..ImageProxyConfig::default()
    };
    let mut importer = ImageImporter::new(&repo, &image, config).await?;
    match importer.prepare().await? {
        PrepareResult::AlreadyPresent(_) => bail!("{image} is there already"),
        PrepareResult::Ready(prepared) => importer.import(prepared).await?,
    };
    Ok(())
}

async fn base(layout: &Path) -> Result<()> {
    let parent = layout.parent().context("a layout beside others")?;
    let scratch = parent.join("empty-repo");
    let repo = open(&scratch)?;
    let none = Cancellable::NONE;
    let root = parent.join("empty-root");
    std::fs::create_dir_all(root.join("usr"))?;
    let transaction = repo.auto_transaction(none)?;
    let tree = ostree::MutableTree::new();
    repo.write_directory_to_mtree(&ostree_ext::gio::File::for_path(&root), &tree, None, none)?;
    let written = repo.write_mtree(&tree, none)?;
    let written = written
        .downcast_ref::<ostree::RepoFile>()
        .context("no tree of the repository")?;
    let commit = repo.write_commit_with_time(None, None, None, None, written, 0, none)?;
    repo.transaction_set_ref(None, "base", Some(&commit));
    transaction.commit(none)?;
    let to = ImageReference {
        transport: Transport::OciDir,
        name: format!("{}:base", layout.display()),
    };
    encapsulate(&repo, "base", &Config::default(), None, &to).await?;
    std::fs::remove_dir_all(&root)?;
    Ok(std::fs::remove_dir_all(&scratch)?)
}

fn open(path: &Path) -> Result<ostree::Repo> {
    let repo = ostree::Repo::new_for_path(path);
    let none = Cancellable::NONE;
    if path.exists() {
        repo.open(none)?;
    } else {
        std::fs::create_dir_all(path)?;
        repo.create(ostree::RepoMode::Bare, none)?;
    }
    Ok(repo)
}
