//! `pleach inspect`: what an image is, and where a path in it comes from.

use anyhow::{Result, bail};
use clap::Args;
use pleach_fs_tree::TreePath;
use pleach_image_lint::{Policy, Report};
use pleach_layer_merge::Removal;
use serde_json::json;

use super::exit::End;
use super::fetch::Source;
use super::judge::{Judged, Judging, judge};
use super::output::{self, Format};

/// Say what an image is, what speaks for that and how sure it is, and what it is made of; with --path,
/// which layer put a path there.
#[derive(Args)]
pub(crate) struct Inspect {
    /// An image, or rootfs:DIR, the root of a system in a directory.
    image: String,
    /// A path in the merged tree.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    judging: Judging,
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Inspect {
    pub(crate) fn run(&self) -> Result<End> {
        let judged = judge(&self.image, &self.source, &self.judging, &Policy::default())?;
        let Judged {
            name,
            report,
            image,
        } = &judged;
        let mut value = json!({
            "format_version": 2,
            "role": report.role,
            "role_certainty": report.role_certainty,
            "scope": report.scope,
            "scope_certainty": report.scope_certainty,
            "declared": report.declared,
            "evidence": report.evidence,
            "unread": report.unread,
            "reference": self.image,
        });
        let Some((image, index)) = image else {
            if self.path.is_some() {
                bail!("{name}: a directory has no layers");
            }
            return self.print(&value, name, report);
        };
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
        value["reference"] = image.reference().into();
        value["digest"] = image.digest().into();
        value["labels"] = image.image().config_json()["config"]["Labels"].clone();
        value["layers"] = layers.into();
        if let Some(path) = &self.path {
            let path = TreePath::new(path)?;
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
        self.print(&value, name, report)
    }

    fn print(&self, value: &serde_json::Value, name: &str, report: &Report) -> Result<End> {
        match self.format {
            Format::Json => output::print(&(serde_json::to_string_pretty(value)? + "\n"))?,
            Format::Human => output::print(&human(value, name, report))?,
        }
        Ok(End::Fine)
    }
}

fn human(value: &serde_json::Value, name: &str, report: &Report) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!(
        "{name}\n  {} ({}), {} ({})\n",
        report.role, report.role_certainty, report.scope, report.scope_certainty
    );
    for evidence in &report.evidence {
        out.push_str(&format!("    {evidence}\n"));
    }
    for path in &report.unread {
        out.push_str(&format!("    not read: {path}\n"));
    }
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
