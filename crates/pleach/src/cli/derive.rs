//! `pleach derive`: a customization into an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use pleach_customization::{Customization, Split};
use pleach_derive::{ARCHIVE, Containerfile, Derivation, Options};
use pleach_fs_tree::Timestamp;
use pleach_layer_merge::{
    Compression, ContentRef, History, LayerOptions, Layout, append_layer, contents,
};

use super::config::Document;
use super::exit::End;
use super::fetch::Source;
use super::image::{self, Merged, OpenImage, Reader, make};
use super::output;
use super::remainder::{self, Remainder};

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
    #[arg(long, value_name = "IMAGE", required_unless_present = "containerfile")]
    output: Option<String>,
    /// Write a Containerfile there, with the archive that it adds: `podman build DIR` gives the same
    /// tree as the layer. Replaces those that are there. Where something is taken away it runs `rm`
    /// in the image; what that leaves besides is said.
    #[arg(long, value_name = "DIR")]
    containerfile: Option<PathBuf>,
    /// An annotation of the image that is written, over those of the base: org.pleach.role=final says
    /// what the image is. May be given again.
    #[arg(long, value_name = "NAME=VALUE", value_parser = annotation, conflicts_with = "containerfile")]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    remainder: Remainder,
    #[command(flatten)]
    source: Source,
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("an annotation is NAME=VALUE".to_owned()),
    }
}

/// Where things are put that may be in several places.
#[derive(Args, Clone, Default)]
pub(crate) struct Placing {
    /// Where unit files, drop-ins and presets of the document are put. Links that enable or mask are
    /// in /etc in either case, as systemctl makes them.
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    units_in: UnitsIn,
    /// A file of the document that holds no secret, although only its owner may read it: a layer,
    /// which everybody who pulls the image can read, may have it. May be given again.
    #[arg(long, value_name = "PATH")]
    publish: Vec<String>,
}

/// The place of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum UnitsIn {
    /// /etc/systemd: as injection puts them. A machine may change them, and keeps its change.
    #[default]
    Etc,
    /// /usr/lib/systemd: as packages put them. They follow the image.
    Usr,
}

impl Placing {
    /// Takes files for public that are named so.
    ///
    /// # Errors
    /// When the document has no such file: it is spelled another way, and stays private.
    pub(crate) fn publish(&self, customization: &mut Customization) -> Result<()> {
        for path in &self.publish {
            if !customization.publish(path) {
                bail!("--publish {path}: the document has no file with that path");
            }
        }
        Ok(())
    }

    /// Whether units are the image's rather than the machine's.
    #[allow(
        dead_code,
        reason = "of the two programs pleach-deploy compares routes"
    )]
    pub(crate) fn units_in_usr(&self) -> bool {
        self.units_in == UnitsIn::Usr
    }

    fn options(&self, base: &OpenImage) -> Result<Options> {
        let seconds = i64::try_from(base.created()).context("the base is from a far future")?;
        Ok(Options {
            mtime: Timestamp::from_seconds(seconds),
            units_in: match self.units_in {
                UnitsIn::Etc => pleach_customization::lower::UnitsIn::Etc,
                UnitsIn::Usr => pleach_customization::lower::UnitsIn::Usr,
            },
        })
    }
}

impl Derive {
    pub(crate) fn run(&self) -> Result<End> {
        let mut customization = self.document.read()?;
        self.placing.publish(&mut customization)?;
        let output = self.output.as_deref().map(image::layout_name).transpose()?;
        let base = image::open(&self.base, &self.source)?;
        let folders = output
            .as_ref()
            .map(|(folder, _)| folder)
            .or(self.containerfile.as_ref());
        let merged = base.merge(&make(folders.context("clap asks for one of them")?)?)?;
        let derivation = match self.remainder.allow_remainder {
            true => {
                let (parts, derivation) = divide(&customization, &merged, &base, &self.placing)?;
                self.remainder.finish(&parts)?;
                derivation
            }
            false => {
                let derivation = plan(&customization, &merged, &base, &self.placing)?;
                remainder::tell(&derivation.notes);
                derivation
            }
        };
        if let Some(folder) = &self.containerfile {
            write_containerfile(&self.base, &base, &merged, &derivation, folder)?;
        }
        if let Some((folder, tag)) = output {
            let said = self.annotation.iter().cloned().collect();
            let derived = write_annotated(&base, &merged, &derivation, &folder, tag, &said)?;
            output::print(&format!("{}@{}\n", derived.reference(), derived.digest()))?;
        }
        Ok(End::Fine)
    }
}

/// Writes `Containerfile` and the archive that it adds.
fn write_containerfile(
    reference: &str,
    base: &OpenImage,
    merged: &Merged,
    derivation: &Derivation<ContentRef>,
    folder: &Path,
) -> Result<()> {
    // A registry's image is named with its digest, as podman does; others as they are.
    let from = match reference.strip_prefix("docker://") {
        Some(name) => format!(
            "{}@{}",
            name.split('@').next().unwrap_or(name),
            base.digest()
        ),
        None => reference.to_owned(),
    };
    let same = |a: &ContentRef, b: &ContentRef| a.content() == b.content();
    let made = Containerfile::new(merged.tree(), derivation, same, &from)?;
    let folder_dir = make(folder)?;
    match made.has_archive() {
        true => {
            let mut archive = folder_dir.create(ARCHIVE)?;
            let options = LayerOptions {
                compression: Compression::None,
                ..LayerOptions::default()
            };
            made.write_archive(&mut contents(), &mut archive, &options)?;
        }
        false => folder_dir
            .remove_file(ARCHIVE)
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?,
    }
    folder_dir.write("Containerfile", made.text())?;
    if !made.left_by_command().is_empty() {
        let left = made.left_by_command().join(" ");
        output::step(&format!(
            "the build will leave empty mount points that the layer has not, since the base has none: {left}"
        ));
    }
    output::step(&format!(
        "{}/Containerfile: podman build {}",
        folder.display(),
        folder.display()
    ));
    Ok(())
}

/// Plans the derivation; what is added has the base's own time.
pub(crate) fn plan(
    customization: &Customization,
    merged: &Merged,
    base: &OpenImage,
    placing: &Placing,
) -> Result<Derivation<ContentRef>> {
    let options = placing.options(base)?;
    let reader = Reader::default();
    let read = |content: &ContentRef| reader.read(content);
    let derivation = pleach_derive::plan(customization, merged.tree(), &read, &options);
    reader.finish()?;
    Ok(derivation?)
}

/// As [`plan`], for what a layer on this base can hold; with what it cannot.
pub(crate) fn divide(
    customization: &Customization,
    merged: &Merged,
    base: &OpenImage,
    placing: &Placing,
) -> Result<(Split, Derivation<ContentRef>)> {
    let options = placing.options(base)?;
    let reader = Reader::default();
    let read = |content: &ContentRef| reader.read(content);
    let divided = pleach_derive::divide(customization, merged.tree(), &read, &options);
    reader.finish()?;
    Ok(divided?)
}

/// Writes the derived image into the layout in `folder`, with all of the base's blobs.
pub(crate) fn write(
    base: &OpenImage,
    merged: &Merged,
    derivation: &Derivation<ContentRef>,
    folder: &Path,
    tag: Option<&str>,
) -> Result<OpenImage> {
    write_annotated(base, merged, derivation, folder, tag, &BTreeMap::new())
}

/// As [`write`], with annotations.
fn write_annotated(
    base: &OpenImage,
    merged: &Merged,
    derivation: &Derivation<ContentRef>,
    folder: &Path,
    tag: Option<&str>,
    annotations: &BTreeMap<String, String>,
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
    let image = append_layer(base.image(), &layer, &history, &none, annotations)?;
    layout.put_image(&image, tag)?;
    image::open_layout(folder, tag)
}
