//! `pleach gc`: removes from a store what no image in it needs.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_image_fetch::GcOptions;
use serde_json::json;

use super::exit::End;
use super::fetch::store_path;
use super::image::open_dir;
use super::output::{self, Format};

/// Remove from an OCI layout the blobs that no image in it needs.
///
/// Every image that index.json names stays whole. Waits for a fetch into the same layout.
#[derive(Args)]
pub(crate) struct Gc {
    /// The OCI layout [default: pleach/store in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Remove nothing, only say what would be.
    #[arg(long)]
    dry_run: bool,
    /// Keep blobs that were written so many seconds ago or less: a program that takes no lock may be
    /// about to name them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    min_age: u64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Gc {
    pub(crate) fn run(&self) -> Result<End> {
        let path = store_path(self.store.as_deref())?;
        let shown = path.display();
        let mut options = GcOptions::default();
        options.dry_run = self.dry_run;
        // So long ago that there is no such time: all are younger.
        let since = SystemTime::now().checked_sub(Duration::from_secs(self.min_age));
        options.keep_since = Some(since.unwrap_or(SystemTime::UNIX_EPOCH));
        let done = pleach_image_fetch::gc(&open_dir(&path)?, &options)
            .with_context(|| format!("cleaning {shown}"))?;
        match self.format {
            Format::Json => {
                let removed: Vec<_> = done
                    .removed
                    .iter()
                    .map(|(digest, size)| json!({ "digest": digest.to_string(), "size": size }))
                    .collect();
                let value = json!({
                    "format_version": 1,
                    "store": shown.to_string(),
                    "dry_run": self.dry_run,
                    "removed": removed,
                    "removed_bytes": done.bytes(),
                    "kept": done.kept,
                    "recent": done.recent,
                });
                output::print(&(serde_json::to_string_pretty(&value)? + "\n"))?;
            }
            Format::Human => {
                let verb = match self.dry_run {
                    true => "would be removed",
                    false => "removed",
                };
                output::print(&format!(
                    "{shown}\n  {} blobs, {} bytes {verb}; {} needed, {} too recent\n",
                    done.removed.len(),
                    done.bytes(),
                    done.kept,
                    done.recent,
                ))?;
            }
        }
        Ok(End::Fine)
    }
}
