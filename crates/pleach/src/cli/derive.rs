//! `pleach derive`: a customization into an image.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_customization::{Customization, Verdict};
use pleach_derive::{Derivation, Options};
use pleach_fs_tree::Timestamp;
use pleach_layer_merge::{
    Compression, ContentRef, History, LayerOptions, Layout, append_layer, contents,
};

use super::config::Document;
use super::exit::End;
use super::fetch::Source;
use super::image::{self, Merged, OpenImage, Reader, make};
use super::output;

/// Build an image: the base's layers and one more that holds the customization.
///
/// The same base and document give the same image, byte for byte.
#[derive(Args)]
pub(crate) struct Derive {
    /// The base image.
    #[arg(long, value_name = "IMAGE")]
    base: String,
    #[command(flatten)]
    document: Document,
    /// Where the image is written: oci:DIR[:TAG]
    #[arg(long, value_name = "IMAGE")]
    output: String,
    #[command(flatten)]
    source: Source,
}

impl Derive {
    pub(crate) fn run(&self) -> Result<End> {
        let customization = self.document.read()?;
        let (folder, tag) = image::layout_name(&self.output)?;
        let base = image::open(&self.base, &self.source)?;
        let merged = base.merge(&make(&folder)?)?;
        let derivation = plan(&customization, &merged, &base)?;
        for note in &derivation.notes {
            if let Verdict::CarriedDifferently { how, why } = note.verdict {
                output::step(&format!("{}: {}: {how}: {why}", note.origin, note.item));
            }
        }
        let derived = write(&base, &merged, &derivation, &folder, tag)?;
        output::print(&format!("{}@{}\n", derived.reference(), derived.digest()))?;
        Ok(End::Fine)
    }
}

/// Plans the derivation; what is added has the base's own time.
pub(crate) fn plan(
    customization: &Customization,
    merged: &Merged,
    base: &OpenImage,
) -> Result<Derivation<ContentRef>> {
    let seconds = i64::try_from(base.created()).context("the base is from a far future")?;
    let options = Options {
        mtime: Timestamp::from_seconds(seconds),
    };
    let reader = Reader::default();
    let read = |content: &ContentRef| reader.read(content);
    let derivation = pleach_derive::plan(customization, merged.tree(), &read, &options)?;
    reader.finish()?;
    Ok(derivation)
}

/// Writes the derived image into the layout in `folder`, with all of the base's blobs.
pub(crate) fn write(
    base: &OpenImage,
    merged: &Merged,
    derivation: &Derivation<ContentRef>,
    folder: &Path,
    tag: Option<&str>,
) -> Result<OpenImage> {
    let layout = Layout::create(&make(folder)?)?;
    base.copy_layers(&layout)?;
    let options = LayerOptions {
        compression: Compression::Gzip,
        ..LayerOptions::default()
    };
    let mut blob = layout.write_blob()?;
    let layer = pleach_derive::write_layer(
        merged.tree(),
        derivation,
        |a, b| a.content() == b.content(),
        &mut contents(),
        &mut blob,
        &options,
    )?;
    blob.finish()?;
    let history = History {
        created: base.created_text(),
        created_by: Some("pleach derive".to_owned()),
        comment: None,
        ..History::default()
    };
    let none = BTreeMap::new();
    let image = append_layer(base.image(), &layer, &history, &none, &none)?;
    layout.put_image(&image, tag)?;
    image::open_layout(folder, tag)
}
