//! What `inspect` and `lint` look at: an image, or the root of a system in a directory.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use clap::Args;
use pleach_fs_tree::{FileContent, ScanOptions, TreePath, scan_readable};
use pleach_image_lint::{
    Allow, Hidden, Image, Own, Policy, Report, Requirement, inspect, largest, wants,
};
use pleach_layer_merge::{Keep, Kept, MergeOptions, Merged, index_keeping};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::exit::Usage;
use super::fetch::Source;
use super::image::{self, OpenImage, make, open_dir};

/// The metadata that a path has in the image that another one is made from.
type Metadata<'a> = dyn Fn(&TreePath) -> Option<pleach_fs_tree::Metadata> + 'a;

/// What an image is judged by.
#[derive(Args, Clone, Default)]
pub(crate) struct Judging {
    /// The image that this one is made from: setuid bits and open permissions are compared with it.
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// Keep the indexes of layers here, and read those that are there instead of the layers.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// What a release asks for.
#[derive(Args, Clone, Default)]
pub(crate) struct Asking {
    /// What the image has to be: base or final, generic or specific.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    require: Vec<Requirement>,
    /// Accept findings of a rule, everywhere or below a pattern, for a reason; may be given again.
    #[arg(long, value_name = "RULE[:PATH]=REASON")]
    allow: Vec<Allow>,
    /// A folder of rules of your own, files that end with .toml; may be given again.
    #[arg(long, value_name = "DIR")]
    rules: Vec<PathBuf>,
}

impl Asking {
    /// Reads the files of rules.
    pub(crate) fn policy(&self) -> Result<Policy> {
        let mut policy = Policy {
            require: self.require.clone(),
            allow: self.allow.clone(),
            own: Vec::new(),
        };
        for folder in &self.rules {
            let dir = open_dir(folder)?;
            let mut names: Vec<_> = dir
                .entries()?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<std::io::Result<_>>()?;
            names.sort();
            for name in names {
                if !name.as_encoded_bytes().ends_with(b".toml") {
                    continue;
                }
                let shown = folder.join(&name).display().to_string();
                let text = dir.read_to_string(&name);
                let text = text.with_context(|| format!("reading {shown}"))?;
                let (own, allow) = Own::parse(&shown, &text).map_err(Usage::new)?;
                policy.own.extend(own);
                policy.allow.extend(allow);
            }
        }
        policy.check().map_err(Usage::new)?;
        Ok(policy)
    }
}

/// An image that was judged.
pub(crate) struct Judged {
    /// As it was asked for, with the digest where there is one.
    pub(crate) name: String,
    pub(crate) report: Report,
    /// Not of a directory.
    pub(crate) image: Option<(OpenImage, Merged<Kept>)>,
}

/// Judges `rootfs:DIR`, or an image.
pub(crate) fn judge(
    reference: &str,
    source: &Source,
    judging: &Judging,
    policy: &Policy,
) -> Result<Judged> {
    let base = judging.base.as_ref().map(|base| {
        let base = image::open(base, source)?;
        Ok::<_, anyhow::Error>(index(&base, judging.cache.as_deref(), &policy.own)?.tree)
    });
    let base = base.transpose()?;
    let of_base = |path: &TreePath| {
        let inode = base.as_ref()?.get(path)?;
        Some(inode.metadata.clone())
    };
    let metadata: Option<&Metadata<'_>> = base.is_some().then_some(&of_base);
    if let Some(folder) = reference.strip_prefix("rootfs:") {
        let report = directory(Path::new(folder), metadata, policy)?;
        return Ok(Judged {
            name: reference.to_owned(),
            report,
            image: None,
        });
    }
    let opened = image::open(reference, source)?;
    let merged = index(&opened, judging.cache.as_deref(), &policy.own)?;
    let layers = opened.image().layers().iter();
    let layers: Vec<String> = layers.map(|layer| layer.digest.to_string()).collect();
    let hidden = hidden(&merged);
    let report = inspect(
        &Image {
            tree: &merged.tree,
            read: &|_, kept: &Kept| kept.bytes().map(<[u8]>::to_vec),
            size: &|kept: &Kept| kept.content().size,
            labels: &labels(&opened),
            layers: &layers,
            layer: &|path| {
                let origin = merged.provenance.origin(&merged.tree, path)?;
                Some(origin.layer)
            },
            hidden: &hidden,
            base: metadata,
        },
        policy,
    );
    image::tell(reference, &merged.notes);
    Ok(Judged {
        name: format!("{}@{}", opened.reference(), opened.digest()),
        report,
        image: Some((opened, merged)),
    })
}

/// The index of an image with the contents that rules read.
fn index(image: &OpenImage, cache: Option<&Path>, own: &[Own]) -> Result<Merged<Kept>> {
    let cache = cache.map(make).transpose()?;
    let keep = Keep {
        // What is kept depends on the rules, those of the user included.
        name: &format!("image-lint 2 {} {own:?}", cfg!(feature = "rpm")),
        max: &largest,
        wants: &|path, bytes| wants(path, bytes) || own.iter().any(|own| own.wants(path)),
    };
    let (layout, of) = (image.layout(), image.image());
    // What is asked of contents is asked of bytes.
    let options = MergeOptions {
        file_digests: false,
        ..MergeOptions::default()
    };
    index_keeping(layout, of, keep, cache.as_ref(), &options)
        .with_context(|| format!("reading {}", image.reference()))
}

/// Labels, and annotations over them: those are not inherited by what is built upon an image.
fn labels(image: &OpenImage) -> BTreeMap<String, String> {
    let places = [
        &image.image().config_json()["config"]["Labels"],
        &image.image().manifest_json()["annotations"],
    ];
    let objects = places.into_iter().filter_map(|place| place.as_object());
    objects
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Files of layers that higher ones hide, but for those that have the same bytes again.
fn hidden(merged: &Merged<Kept>) -> Vec<Hidden<Kept>> {
    let kept = |inode: &pleach_fs_tree::Inode<Kept>| match &inode.kind {
        pleach_fs_tree::Kind::File(kept) => Some(kept.clone()),
        _ => None,
    };
    let mut out = Vec::new();
    for hidden in &merged.hidden {
        let Some(content) = kept(merged.tree.inode(hidden.inode)) else {
            continue;
        };
        let now = merged.tree.get(&hidden.path).and_then(kept);
        let Some(bytes) = content.bytes() else {
            continue;
        };
        if now.as_ref().and_then(Kept::bytes) != Some(bytes) {
            let (path, layer, by) = (hidden.path.clone(), hidden.layer, hidden.by);
            out.push(Hidden {
                path,
                layer,
                by,
                content,
            });
        }
    }
    out
}

/// Judges the root of a system in a directory, as far as this user may read it.
fn directory(folder: &Path, base: Option<&Metadata<'_>>, policy: &Policy) -> Result<Report> {
    let root = open_dir(folder)?;
    let options = ScanOptions {
        digest: false,
        xattrs: false,
        ..ScanOptions::default()
    };
    let (tree, skipped) =
        scan_readable(&root, &options).with_context(|| format!("reading {}", folder.display()))?;
    let mut report = inspect(
        &Image {
            tree: &tree,
            read: &|path, _: &FileContent| read(&root, path).ok(),
            size: &|content: &FileContent| content.size,
            labels: &BTreeMap::new(),
            layers: &[],
            layer: &|_| None,
            hidden: &[],
            base,
        },
        policy,
    );
    report
        .unread
        .extend(skipped.iter().map(ToString::to_string));
    report.unread.sort();
    Ok(report)
}

/// The bytes of a file below `root`; no link is followed.
fn read(root: &Dir, path: &TreePath) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let fd = rustix::fs::openat2(root, path.as_bytes(), flags, Mode::empty(), resolve)?;
    let mut bytes = Vec::new();
    let file = cap_std::fs::File::from_std(fd.into());
    file.take(largest(path.as_bytes()))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
