//! `pleach inspect`: what an image is, and where a path in it comes from.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use pleach_fs_tree::TreePath;
use pleach_layer_merge::Removal;
use serde_json::json;

use super::exit::End;
use super::fetch::Source;
use super::image;
use super::output::{self, Format};

/// Say what an image is made of; with --path, which layer put a path there.
#[derive(Args)]
pub(crate) struct Inspect {
    image: String,
    /// A path in the merged tree.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Keep the indexes of layers here, and read those that are there instead of the layers.
    #[arg(long, value_name = "DIR", requires = "path")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Inspect {
    pub(crate) fn run(&self) -> Result<End> {
        let image = image::open(&self.image, &self.source)?;
        let layers: Vec<_> = image
            .image()
            .layers()
            .iter()
            .map(|layer| {
                json!({
                    "digest": layer.digest.to_string(),
                    "diff_id": layer.diff_id.to_string(),
                    "size": layer.size,
                    "media_type": layer.media_type.to_string(),
                })
            })
            .collect();
        let mut value = json!({
            "format_version": 1,
            "reference": image.reference(),
            "digest": image.digest(),
            "labels": image.image().config_json()["config"]["Labels"],
            "layers": layers,
        });
        if let Some(path) = &self.path {
            let path = TreePath::new(path)?;
            let index = image.index(self.cache.as_deref())?;
            let layers = image.image().layers();
            let place = |layer: usize, entry: Option<u64>| json!({ "layer": layers[layer].digest.to_string(), "entry": entry });
            let origin = index.provenance.origin(&index.tree, &path);
            let origins: Vec<_> = origin
                .into_iter()
                .flat_map(|origin| origin.chain())
                .map(|origin| place(origin.layer, origin.entry))
                .collect();
            // The whiteouts that took something with this path away, the latest first.
            let hides = |removal: &&Removal| {
                path.starts_with(&removal.path) && !(removal.opaque && removal.path == path)
            };
            let removals = index.removals.iter().rev().filter(hides);
            let hidden: Vec<_> = removals
                .map(|removal| place(removal.layer, Some(removal.entry)))
                .collect();
            if origins.is_empty() && hidden.is_empty() {
                bail!("{path} is not in the image's merged tree, and no whiteout hides it");
            }
            value["path"] =
                json!({ "path": path.to_string(), "origins": origins, "whiteouts": hidden });
        }
        match self.format {
            Format::Json => output::print(&(serde_json::to_string_pretty(&value)? + "\n"))?,
            Format::Human => output::print(&human(&value))?,
        }
        Ok(End::Fine)
    }
}

fn human(value: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!("{}@{}\n", text(&value["reference"]), text(&value["digest"]));
    for (name, label) in value["labels"].as_object().into_iter().flatten() {
        out.push_str(&format!("  label {name}={}\n", text(label)));
    }
    for layer in value["layers"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "  layer {} {} bytes\n",
            text(&layer["digest"]),
            layer["size"]
        ));
    }
    if let Some(path) = value.get("path") {
        for (index, origin) in path["origins"].as_array().into_iter().flatten().enumerate() {
            let verb = if index == 0 {
                "is from"
            } else {
                "hides one from"
            };
            let layer = text(&origin["layer"]);
            let entry = match origin["entry"].as_u64() {
                Some(number) => format!("entry {number}"),
                None => "on the way to an entry".to_owned(),
            };
            out.push_str(&format!(
                "  {} {verb} layer {layer}, {entry}\n",
                text(&path["path"])
            ));
        }
        for whiteout in path["whiteouts"].as_array().into_iter().flatten() {
            out.push_str(&format!(
                "  {} is hidden where lower layers have it by layer {}, entry {}\n",
                text(&path["path"]),
                text(&whiteout["layer"]),
                whiteout["entry"]
            ));
        }
    }
    out
}
