//! An image's layers become a directory: us, umoci, and skopeo with tar, and the floor: what nobody
//! who verifies can leave out. All in the same run, each time on a file system that is new, since one
//! on which much was deleted lately is slow.

mod report;
mod runs;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_layer_merge::{Layout, MergeOptions, index};
use xshell::cmd;

use crate::workspace::Workspace;
use report::Report;
use runs::{Machine, Tool};

/// An image in a layout.
struct Subject {
    layout: PathBuf,
    tag: String,
    /// Of the blobs, lowest first: 64 hexadecimal digits.
    layers: Vec<String>,
    /// Compressed bytes.
    size: u64,
    /// Paths of the merged tree.
    paths: usize,
    /// umoci knows no zstd.
    zstd: bool,
}

pub(super) fn run(workspace: &Workspace, pairs: usize, images: &[String]) -> Result<()> {
    let sh = &workspace.sh;
    let images = match images {
        [] => vec![workspace.base_image()?],
        images => images.to_vec(),
    };
    cmd!(sh, "cargo build --release -p pleach").run()?;
    cmd!(
        sh,
        "cargo build --release -p pleach-layer-merge --example floor"
    )
    .run()?;
    if cmd!(sh, "podman --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_err()
    {
        println!("podman: not installed, so it is not measured");
    }
    let machine = Machine::new(workspace);
    let mut reports = Vec::new();
    for image in images {
        let given = Subject::open(&image)?;
        let other = given.recompressed(workspace)?;
        for subject in [given, other] {
            let report = measured(&machine, &subject, pairs)?;
            print!("\n{report}");
            reports.push(report);
        }
    }
    println!("\nacceptance");
    for line in reports.iter().flat_map(Report::acceptance) {
        println!("  {line}");
    }
    Ok(())
}

fn measured(machine: &Machine<'_>, subject: &Subject, pairs: usize) -> Result<Report> {
    let mut tools = vec![Tool::Pleach, Tool::LowMemory, Tool::SkopeoTar, Tool::Floor];
    if !subject.zstd {
        tools.push(Tool::Umoci);
    }
    let mut report = Report::new(subject.what(), subject.paths, machine.what()?, &tools);
    for round in 0..=pairs {
        match round {
            0 => eprintln!("bench: {}, warming up", subject.what()),
            _ => eprintln!("bench: {}, pair {round} of {pairs}", subject.what()),
        }
        // Who begins alternates.
        tools.reverse();
        for &tool in &tools {
            let cost = machine.run(tool, subject)?;
            if round > 0 {
                report.add(tool, cost);
            }
        }
    }
    for tool in [Tool::Pleach, Tool::LowMemory] {
        report.calls(tool, machine.calls(tool, subject)?);
    }
    Ok(report)
}

impl Subject {
    fn open(reference: &str) -> Result<Self> {
        let name = reference
            .strip_prefix("oci:")
            .and_then(|name| name.rsplit_once(':'));
        let Some((layout, tag)) = name else {
            bail!("{reference}: not oci:DIR:TAG");
        };
        let dir = Dir::open_ambient_dir(layout, ambient_authority());
        let opened = Layout::open(&dir.with_context(|| reference.to_owned())?)?;
        let image = opened.resolve(Some(tag), None)?;
        let options = MergeOptions {
            file_digests: false,
            ..MergeOptions::default()
        };
        let layers = image.layers();
        let hex = |digest: String| digest.trim_start_matches("sha256:").to_owned();
        Ok(Self {
            layout: layout.into(),
            tag: tag.to_owned(),
            layers: layers
                .iter()
                .map(|layer| hex(layer.digest.to_string()))
                .collect(),
            size: layers.iter().map(|layer| layer.size).sum(),
            paths: index(&opened, &image, &options)?.tree.walk().count(),
            zstd: layers
                .iter()
                .any(|layer| layer.media_type.as_ref().ends_with("zstd")),
        })
    }

    fn reference(&self) -> String {
        format!("oci:{}:{}", self.layout.display(), self.tag)
    }

    fn what(&self) -> String {
        let compression = if self.zstd { "zstd" } else { "gzip" };
        let (layers, size) = (self.layers.len(), self.size as f64 / 1e6);
        format!(
            "{} {compression}: {layers} layers, {size:.1} MB, {} paths",
            self.tag, self.paths
        )
    }

    /// The same image with the other compression, which skopeo makes.
    fn recompressed(&self, workspace: &Workspace) -> Result<Self> {
        let sh = &workspace.sh;
        let format = if self.zstd { "gzip" } else { "zstd" };
        let made = workspace.artifacts().join(format!("bench-layers-{format}"));
        sh.remove_path(&made)?;
        let (from, to) = (
            self.reference(),
            format!("oci:{}:{}", made.display(), self.tag),
        );
        cmd!(
            sh,
            "skopeo --insecure-policy copy --quiet --dest-compress-format {format} {from} {to}"
        )
        .run()?;
        let subject = Self::open(&to)?;
        if subject.zstd == self.zstd {
            bail!("skopeo did not compress {from} again");
        }
        Ok(subject)
    }
}
