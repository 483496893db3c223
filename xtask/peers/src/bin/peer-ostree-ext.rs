//! ostree-ext as `cargo xtask bench layers` and `cargo xtask bench deploy` run it.
//!
//! `import IMAGE REPO` imports an image into a bare repository, which is made if it is missing, as
//! ostree-ext's own `container image pull` does. `base LAYOUT` writes the lowest layer that such an
//! image must have: a commit of an empty `/usr` and the directories of any root, encapsulated, with the
//! tag `base`. `deploy IMAGE SYSROOT [ARGUMENT …]` imports an image and has libostree deploy it, by
//! ostree-ext's own `deploy`, into a sysroot that is made if it is missing; the kernel arguments are for
//! the first deployment, later ones take them and `/etc` from the one before.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measuring tool works on paths that it is given"
)]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use ostree_ext::container::deploy::DeployOpts;
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
        ["deploy", image, sysroot, ref arguments @ ..] => {
            runtime.block_on(deploy(image, Path::new(sysroot), arguments))
        }
        _ => bail!("import IMAGE REPO, base LAYOUT, or deploy IMAGE SYSROOT [ARGUMENT …]"),
    }
}

/// Nothing of it is verified by a signature.
fn named(image: &str) -> Result<OstreeImageReference> {
    Ok(OstreeImageReference {
        sigverify: SignatureSource::ContainerPolicyAllowInsecure,
        imgref: ImageReference::try_from(image)?,
    })
}

fn proxy() -> ImageProxyConfig {
    // Its own default as root is skopeo as nobody, who may not read the layout.
    ImageProxyConfig {
        insecure_skip_tls_verification: Some(true),
        skopeo_cmd: Some(Command::new("skopeo")),
        ..ImageProxyConfig::default()
    }
}

async fn deploy(image: &str, path: &Path, arguments: &[&str]) -> Result<()> {
    const STATEROOT: &str = "default";
    let none = Cancellable::NONE;
    let sysroot = ostree::Sysroot::new(Some(&ostree_ext::gio::File::for_path(path)));
    let first = !path.join("ostree/repo").exists();
    if first {
        std::fs::create_dir_all(path.join("boot"))?;
        sysroot.ensure_initialized(none)?;
        sysroot.load(none)?;
        let repo = sysroot.repo();
        let config = repo.copy_config();
        // Entries by the Boot Loader Specification alone.
        config.set_string("sysroot", "bootloader", "none");
        repo.write_config(&config)?;
        sysroot.init_osname(STATEROOT, none)?;
    }
    sysroot.load(none)?;
    let mut options = DeployOpts::default();
    options.kargs = first.then_some(arguments);
    options.proxy_cfg = Some(proxy());
    ostree_ext::container::deploy::deploy(&sysroot, STATEROOT, &named(image)?, Some(options))
        .await?;
    Ok(())
}

async fn import(image: &str, repo: &Path) -> Result<()> {
    let repo = open(repo)?;
    let image = named(image)?;
    let mut importer = ImageImporter::new(&repo, &image, proxy()).await?;
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
    for name in [
        "usr", "sysroot", "boot", "dev", "proc", "run", "sys", "tmp", "var",
    ] {
        std::fs::create_dir_all(root.join(name))?;
    }
    std::os::unix::fs::symlink("sysroot/ostree", root.join("ostree"))?;
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
    // Else it is not deployed.
    let labels = [("containers.bootc".to_owned(), "1".to_owned())];
    let config = Config {
        labels: Some(labels.into()),
        ..Config::default()
    };
    encapsulate(&repo, "base", &config, None, &to).await?;
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
