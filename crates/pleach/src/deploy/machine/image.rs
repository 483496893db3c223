//! An image into the repository of a machine.

use std::path::Path;

use anyhow::Result;
use cap_std::fs::Dir;
use pleach_deployment::{
    Checksum, CommitOptions, ImageMetadata, ImageRecord, Origin, Sysroot, Writer,
};
use pleach_layer_merge::ostree::{Mode, Repo};

use super::Machine;
use super::space::{Need, layers_of};
use crate::cli::image::{self, OpenImage};
use crate::cli::ostree::{Import, has_policy};
use crate::cli::output;
use crate::cli::private::make_private;
use crate::compose::BRANCH;
use crate::files;

/// What is written of an image into a record.
pub(crate) fn record(image: &OpenImage) -> ImageRecord {
    ImageRecord {
        reference: absolute(image.reference()),
        digest: image.digest(),
        version: image.version(),
        created: image.created(),
        verified: image.verified().to_owned(),
    }
}

/// The same wherever it is read again: names of files from the root.
fn absolute(reference: &str) -> String {
    let local = ["oci:", "oci-archive:", "dir:"];
    let Some(transport) = local.iter().find(|t| reference.starts_with(**t)) else {
        return reference.to_owned();
    };
    let name = &reference[transport.len()..];
    let (path, tag) = name.split_at(name.find(':').unwrap_or(name.len()));
    match std::path::absolute(path) {
        Ok(path) => format!("{transport}{}{tag}", path.display()),
        Err(_) => reference.to_owned(),
    }
}

/// Where updates come from, as ostree-ext and bootc spell it. What was verified is in the record.
pub(crate) fn origin(reference: &str) -> Origin {
    let spelled = match reference.strip_prefix("docker://") {
        Some(name) => format!("ostree-unverified-registry:{name}"),
        None => format!("ostree-unverified-image:{reference}"),
    };
    Origin::ContainerImage(spelled)
}

/// The other way round.
pub(super) fn reference(origin: &Origin) -> Option<String> {
    let Origin::ContainerImage(spelled) = origin else {
        return None;
    };
    let rest = |prefix: &str| spelled.strip_prefix(prefix);
    if let Some(name) =
        rest("ostree-unverified-registry:").or(rest("ostree-image-signed:registry:"))
    {
        return Some(format!("docker://{name}"));
    }
    if let Some(name) = rest("ostree-unverified-image:").or(rest("ostree-image-signed:")) {
        return Some(match name.strip_prefix("registry:") {
            Some(name) => format!("docker://{name}"),
            None => name.to_owned(),
        });
    }
    // ostree-remote-registry:REMOTE:NAME, ostree-remote-image:REMOTE:TRANSPORT:NAME
    if let Some((_, name)) = rest("ostree-remote-registry:").and_then(|rest| rest.split_once(':')) {
        return Some(format!("docker://{name}"));
    }
    let (_, name) = rest("ostree-remote-image:")?.split_once(':')?;
    Some(name.to_owned())
}

impl Machine {
    /// Refuses an image that does not fit, and writes one that does as a commit.
    ///
    /// `_writer` keeps others from pruning what nothing leads to yet.
    pub(super) fn import(&self, _writer: &Writer<'_>, image: &OpenImage) -> Result<Checksum> {
        let cache = self.path.join(INDEXES);
        let known = match cache.is_dir() {
            true => Some(image::open_dir(&cache)?),
            false => None,
        };
        let merged = import(BRANCH, known, true).index(image)?;
        let mut there = std::collections::BTreeSet::new();
        for deployment in self.sysroot.deployments()? {
            there.extend(layers_of(&self.sysroot, &deployment)?);
        }
        let mut need = Need::of(image, &merged, &there)?;
        if has_policy(&merged.tree) {
            need = need.unpacked();
        }
        need.check(&self.dir, &self.path)?;
        drop(merged);
        output::step(&format!("importing {}", image.reference()));
        bring(&self.sysroot, &self.path, image, BRANCH, true)
    }
}

/// Where the indexes of layers are kept, below a sysroot.
const INDEXES: &str = "ostree/pleach/index";

fn import(branch: &str, cache: Option<Dir>, sync: bool) -> Import<'_> {
    Import {
        reference: branch,
        cache,
        low_memory: false,
        skip_unstorable: false,
        sync,
    }
}

/// Writes an image as a commit into the repository of a sysroot, which is at `path`; with `sync` so that a
/// power cut may come.
pub(crate) fn bring(
    sysroot: &Sysroot,
    path: &Path,
    image: &OpenImage,
    branch: &str,
    sync: bool,
) -> Result<Checksum> {
    let repo = image::open_dir(&path.join("ostree/repo"))?;
    let repo = Repo::open_or_create(&repo, Mode::Bare)?;
    let cache = path.join(INDEXES);
    make_private(&cache)?;
    match import(branch, Some(image::make(&cache)?), sync).run(&repo, image)? {
        Some(commit) => Ok(commit.parse()?),
        None => commit_labelled(sysroot, path, image, branch),
    }
}

/// A tree with a SELinux policy, whose labels libostree computes while it commits it.
fn commit_labelled(
    sysroot: &Sysroot,
    path: &Path,
    image: &OpenImage,
    branch: &str,
) -> Result<Checksum> {
    let work = path.join("ostree/pleach/work");
    files::remove(&work)?;
    make_private(&work)?;
    let commit = (|| {
        let tree = image::make(&work.join("tree"))?;
        let merged = image.merge(&image::make(&work.join("spool"))?)?;
        files::materialize(&merged, &tree)?;
        let options = commit_options(branch, image)?;
        Ok(sysroot.commit_tree(&tree, &options)?.checksum)
    })();
    files::remove(&work)?;
    commit
}

/// What a commit of an image's tree says of it.
fn commit_options(branch: &str, image: &OpenImage) -> Result<CommitOptions> {
    let mut options = CommitOptions::new(branch, image.created());
    options.subject = image.digest();
    options.metadata.version = image.version();
    options.metadata.image = Some(ImageMetadata {
        manifest_digest: image.digest(),
        manifest: image.manifest()?,
        config: image.config()?,
    });
    Ok(options)
}
