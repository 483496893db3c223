//! The image that is measured, and what is made of it for those who need another shape.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_layer_merge::{
    History, Image, Layer, LayerOptions, Layout, MergeOptions, WrittenLayer, append_layer, diff,
    index, write_layer,
};
use xshell::cmd;

use crate::workspace::Workspace;

/// An image in a layout of its own, which has these tags.
pub(in crate::bench) struct Subject {
    pub(in crate::bench) layout: PathBuf,
    name: String,
    /// Of the blobs, lowest first: 64 hexadecimal digits.
    pub(in crate::bench) layers: Vec<String>,
    /// Compressed bytes.
    size: u64,
    /// Paths of the merged tree.
    pub(in crate::bench) paths: usize,
    /// umoci knows no zstd.
    pub(in crate::bench) zstd: bool,
}

/// The image.
pub(in crate::bench) const IMAGE: &str = "image";
/// The image with a small layer on top, and with another one there.
pub(in crate::bench) const UPGRADE: [&str; 2] = ["old", "new"];

/// The tag of the same image for ostree-ext, which wants an encapsulated commit below: the same blobs
/// above one of an empty `/usr`.
pub(in crate::bench) fn for_ostree_ext(tag: &str) -> String {
    format!("{tag}-on-ostree")
}

impl Subject {
    /// Copies an image into a layout of its own, compressed with gzip.
    pub(in crate::bench) fn gzip(workspace: &Workspace, reference: &str) -> Result<Self> {
        let mut subject = Self::copy(workspace, reference, false)?;
        let options = MergeOptions {
            file_digests: false,
            ..MergeOptions::default()
        };
        let layout = open(&subject.layout)?;
        let image = layout.resolve(Some(IMAGE), None)?;
        subject.paths = index(&layout, &image, &options)?.tree.walk().count();
        Ok(subject)
    }

    /// The same image compressed with zstd, in place of what was there; xtask cannot read it.
    pub(in crate::bench) fn zstd(&self, workspace: &Workspace, reference: &str) -> Result<Self> {
        let mut subject = Self::copy(workspace, reference, true)?;
        subject.paths = self.paths;
        Ok(subject)
    }

    fn copy(workspace: &Workspace, reference: &str, zstd: bool) -> Result<Self> {
        let sh = &workspace.sh;
        let Some((_, name)) = reference
            .strip_prefix("oci:")
            .and_then(|r| r.rsplit_once(':'))
        else {
            bail!("{reference}: not oci:DIR:TAG");
        };
        let format = if zstd { "zstd" } else { "gzip" };
        let layout = workspace.artifacts().join("bench-layers-image");
        sh.remove_path(&layout)?;
        let to = format!("oci:{}:{IMAGE}", layout.display());
        cmd!(
            sh,
            "skopeo --insecure-policy copy --quiet --dest-compress-format {format} {reference} {to}"
        )
        .run()?;
        let opened = open(&layout)?;
        let image = opened.resolve(Some(IMAGE), None)?;
        let layers = image.layers();
        let is_zstd = |layer: &Layer| layer.media_type.as_ref().ends_with("zstd");
        if layers.iter().any(|layer| is_zstd(layer) != zstd) {
            bail!("skopeo did not make {format} of {reference}");
        }
        let hex = |digest: String| digest.trim_start_matches("sha256:").to_owned();
        Ok(Self {
            name: name.to_owned(),
            layers: layers
                .iter()
                .map(|layer| hex(layer.digest.to_string()))
                .collect(),
            size: layers.iter().map(|layer| layer.size).sum(),
            paths: 0,
            zstd,
            layout,
        })
    }

    pub(in crate::bench) fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.layout.display())
    }

    pub(in crate::bench) fn what(&self) -> String {
        let compression = if self.zstd { "zstd" } else { "gzip" };
        let (layers, size) = (self.layers.len(), self.size as f64 / 1e6);
        format!(
            "{} {compression}: {layers} layers, {size:.1} MB, {} paths",
            self.name, self.paths
        )
    }

    /// Makes the two images of [`UPGRADE`].
    pub(in crate::bench) fn make_upgrade(&self) -> Result<()> {
        let layout = open(&self.layout)?;
        let image = layout.resolve(Some(IMAGE), None)?;
        for tag in UPGRADE {
            let layer = Self::small_layer(&layout, tag)?;
            append(&layout, &image, &layer, tag)?;
        }
        Ok(())
    }

    /// Makes what [`for_ostree_ext`] names, of some tags; `base` is the image of the commit below.
    pub(in crate::bench) fn make_for_ostree_ext(&self, base: &Path, tags: &[&str]) -> Result<()> {
        let layout = open(&self.layout)?;
        let from = open(base)?;
        let base = from.resolve(Some("base"), None)?;
        for layer in base.layers() {
            let mut blob = layout.write_blob()?;
            std::io::copy(
                &mut from.open_blob(&layer.digest, Some(layer.size))?,
                &mut blob,
            )?;
            blob.finish()?;
        }
        for tag in tags {
            let mut image = base.clone();
            for layer in layout.resolve(Some(tag), None)?.layers() {
                let layer = WrittenLayer {
                    media_type: layer.media_type.clone(),
                    digest: layer.digest,
                    size: layer.size,
                    diff_id: layer.diff_id,
                    // Nobody writes these down.
                    unpacked_size: 0,
                    entries: 0,
                };
                image = append(&layout, &image, &layer, &for_ostree_ext(tag))?;
            }
        }
        Ok(())
    }

    fn small_layer(layout: &Layout, text: &str) -> Result<WrittenLayer> {
        let mut lower = Tree::<Vec<u8>>::new(Metadata::default());
        let mut upper = lower.clone();
        // The base image has one, and no policy. For libostree's deploy it is enough to want semodule,
        // and bubblewrap to run it in.
        lower.put_with_parents(
            &TreePath::new("etc/selinux/config")?,
            Inode::file(Metadata::with_mode(0o644), Vec::new()),
            &Metadata::with_mode(0o755),
        )?;
        upper.make_directories(&TreePath::new("etc/selinux")?, &Metadata::with_mode(0o755))?;
        let directory = TreePath::new("usr/share/bench-upgrade")?;
        let directory = upper.make_directories(&directory, &Metadata::with_mode(0o755))?;
        for number in 0..10 {
            let name = TreePath::new(format!("{number}"))?;
            let content = format!("{text} {number}\n").repeat(100).into_bytes();
            let file = Inode::file(Metadata::with_mode(0o644), content);
            upper.insert(directory, name.file_name().context("a name")?, file)?;
        }
        // Always with gzip: xtask needs no C library.
        let options = LayerOptions::default();
        let mut source = |content: &Vec<u8>| Ok(Cursor::new(content.clone()));
        let mut blob = layout.write_blob()?;
        let changes = diff(&lower, &upper, |a, b| a == b);
        let layer = write_layer(&changes, &mut source, &mut blob, &options)?;
        blob.finish()?;
        Ok(layer)
    }
}

fn open(layout: &Path) -> Result<Layout> {
    let dir = Dir::open_ambient_dir(layout, ambient_authority());
    let dir = dir.with_context(|| format!("opening {}", layout.display()))?;
    Ok(Layout::open(&dir)?)
}

fn append(layout: &Layout, image: &Image, layer: &WrittenLayer, tag: &str) -> Result<Image> {
    let (history, nothing) = (History::default(), BTreeMap::new());
    let image = append_layer(image, layer, &history, &nothing, &nothing)?;
    layout.put_image(&image, Some(tag))?;
    Ok(layout.resolve(Some(tag), None)?)
}
