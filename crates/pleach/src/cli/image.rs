//! Images by reference, opened from a layout and merged.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, MaterializeOptions, Tree};
use pleach_image_fetch::{Fetched, ImageReference, LayerStream, Transport};
use pleach_layer_merge::{
    ContentRef, ContentStore, Image, Layer, Layout, MergeOptions, Note, StoreOptions, index_cached,
    parse_digest,
};

use super::fetch::Source;
use super::output;

/// An image in a layout.
pub(crate) struct OpenImage {
    reference: String,
    place: String,
    verified: String,
    layout: Layout,
    image: Image,
}

/// Opens an image: one in a layout right there, any other after fetching it into the store.
pub(crate) fn open(reference: &str, source: &Source) -> Result<OpenImage> {
    let parsed: ImageReference = reference.parse()?;
    if parsed.transport() == Transport::Oci {
        let (folder, tag) = layout_name(reference)?;
        return open_layout(&folder, tag);
    }
    let (store, fetched) = source.fetch(&parsed, parsed.name())?;
    open_fetched(reference, &store, &fetched)
}

/// Opens the blob of a layer, by its index.
pub(crate) type OpenBlob<'a> = dyn Fn(usize) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

/// Opens an image whose layers `read` reads: while they come, where it has to be fetched. It may be
/// called again then.
pub(crate) fn open_with<T: Send + 'static>(
    reference: &str,
    source: &Source,
    read: impl Fn(&[Layer], &OpenBlob<'_>) -> Result<T> + Send + Sync + 'static,
) -> Result<(OpenImage, T)> {
    let parsed: ImageReference = reference.parse()?;
    if parsed.transport() == Transport::Oci {
        let image = open(reference, source)?;
        let layers = image.image.layers();
        let blob = |index: usize| {
            let blob = image.layout.open_layer(index, &layers[index]);
            Ok(Box::new(blob.map_err(io::Error::other)?) as Box<dyn Read + Send>)
        };
        let value = read(layers, &blob).with_context(|| format!("reading {reference}"))?;
        return Ok((image, value));
    }
    let read = move |streams: &[LayerStream]| {
        let layers = streams.iter().map(layer).collect::<Result<Vec<_>>>()?;
        read(&layers, &|index| Ok(Box::new(streams[index].open())))
    };
    let (store, fetched, value) = source.fetch_with(&parsed, parsed.name(), read)?;
    Ok((open_fetched(reference, &store, &fetched)?, value))
}

fn layer(stream: &LayerStream) -> Result<Layer> {
    Ok(Layer {
        media_type: stream.media_type().into(),
        digest: parse_digest(&stream.digest().to_string())?,
        size: stream.size(),
        diff_id: parse_digest(&stream.diff_id().to_string())?,
    })
}

fn open_fetched(reference: &str, store: &Path, fetched: &Fetched) -> Result<OpenImage> {
    let mut image = open_layout(store, Some(&fetched.manifest_digest.to_string()))?;
    image.reference = reference.to_owned();
    image.verified = fetched.policy.join(", ");
    Ok(image)
}

/// Opens an image of a layout, by tag or digest.
pub(crate) fn open_layout(folder: &Path, name: Option<&str>) -> Result<OpenImage> {
    let reference = match name {
        Some(name) => format!("oci:{}:{name}", folder.display()),
        None => format!("oci:{}", folder.display()),
    };
    let layout =
        Layout::open(&open_dir(folder)?).with_context(|| format!("opening {reference}"))?;
    let image = layout
        .resolve(name, None)
        .with_context(|| format!("opening {reference}"))?;
    Ok(OpenImage {
        place: reference.clone(),
        reference,
        verified: "no signature policy: a layout on this machine".to_owned(),
        layout,
        image,
    })
}

/// The folder and the tag of `oci:DIR[:TAG]`.
pub(crate) fn layout_name(reference: &str) -> Result<(PathBuf, Option<&str>)> {
    let Some(rest) = reference.strip_prefix("oci:") else {
        bail!("{reference}: only oci:DIR[:TAG] can be written to");
    };
    Ok(match rest.split_once(':') {
        Some((folder, tag)) => (folder.into(), Some(tag)),
        None => (rest.into(), None),
    })
}

impl OpenImage {
    /// As it was asked for.
    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }

    /// `sha256:…` of the manifest.
    pub(crate) fn digest(&self) -> String {
        self.image.digest().to_string()
    }

    /// As the layout has it that it is in: what is opened by this is fetched no second time.
    #[allow(dead_code, reason = "of the two programs pleach-deploy asks")]
    pub(crate) fn in_layout(&self) -> &str {
        &self.place
    }

    /// What its signature had to meet when it was fetched, for people.
    #[allow(dead_code, reason = "of the two programs pleach-deploy asks")]
    pub(crate) fn verified(&self) -> &str {
        &self.verified
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// The manifest as text.
    pub(crate) fn manifest(&self) -> Result<String> {
        Ok(String::from_utf8(self.image.manifest_bytes().to_vec())?)
    }

    /// The configuration as text.
    pub(crate) fn config(&self) -> Result<String> {
        Ok(String::from_utf8(self.image.config_bytes().to_vec())?)
    }

    /// When it was created, as the configuration says it.
    pub(crate) fn created_text(&self) -> Option<String> {
        self.image.config_json()["created"]
            .as_str()
            .map(str::to_owned)
    }

    /// When it was created, in seconds since the epoch; 0 where it does not say.
    pub(crate) fn created(&self) -> u64 {
        self.created_text()
            .as_deref()
            .and_then(seconds)
            .unwrap_or(0)
    }

    /// The version that it gives itself.
    pub(crate) fn version(&self) -> Option<String> {
        self.image
            .label("org.opencontainers.image.version")
            .map(str::to_owned)
    }

    /// Copies the layers' blobs into another layout, verified on the way.
    pub(crate) fn copy_layers(&self, to: &Layout) -> Result<()> {
        for layer in self.image.layers() {
            if to.has_blob(&layer.digest, layer.size) {
                continue;
            }
            let mut from = self.layout.open_blob(&layer.digest, Some(layer.size))?;
            let mut blob = to.write_blob()?;
            std::io::copy(&mut from, &mut blob)
                .with_context(|| format!("copying {}", layer.digest))?;
            blob.finish()?;
        }
        Ok(())
    }

    /// The merged tree; what is too large for memory goes into an unnamed file in `spool`.
    pub(crate) fn merge(&self, spool: &Dir) -> Result<Merged> {
        self.merge_with(spool, &StoreOptions::default(), &MergeOptions::default())
    }

    pub(crate) fn merge_with(
        &self,
        spool: &Dir,
        store: &StoreOptions,
        options: &MergeOptions,
    ) -> Result<Merged> {
        let store = ContentStore::new(spool, store)?;
        let merged = pleach_layer_merge::merge(&self.layout, &self.image, &store, options)
            .with_context(|| format!("merging {}", self.reference))?;
        Ok(Merged::new(&self.reference, merged))
    }

    /// The merged tree without its contents; the indexes of its layers are kept in the folder
    /// `cache`, if there is one.
    pub(crate) fn index(
        &self,
        cache: Option<&Path>,
    ) -> Result<pleach_layer_merge::Merged<FileContent>> {
        let options = MergeOptions::default();
        let index = match cache {
            Some(folder) => {
                let shown = folder.display();
                std::fs::create_dir_all(folder).with_context(|| format!("creating {shown}"))?;
                index_cached(&self.layout, &self.image, &open_dir(folder)?, &options)
            }
            None => pleach_layer_merge::index(&self.layout, &self.image, &options),
        };
        index.with_context(|| format!("reading {}", self.reference))
    }
}

/// Says what of an image is not in its tree.
pub(crate) fn tell(reference: &str, notes: &[Note]) {
    for note in notes {
        let (layer, path, what) = (note.layer, &note.path, &note.what);
        output::step(&format!("{reference}: layer {layer}: {path}: {what}"));
    }
}

/// A merged image with its contents.
pub(crate) struct Merged(pleach_layer_merge::Merged<ContentRef>);

impl Merged {
    pub(crate) fn new(reference: &str, merged: pleach_layer_merge::Merged<ContentRef>) -> Self {
        tell(reference, &merged.notes);
        Self(merged)
    }

    pub(crate) fn tree(&self) -> &Tree<ContentRef> {
        &self.0.tree
    }
}

pub(crate) fn materialize_options(owners: bool) -> MaterializeOptions {
    MaterializeOptions {
        owner: owners,
        devices: owners,
        ..MaterializeOptions::default()
    }
}

/// Reads files for plans, which take one that cannot be read for one that is missing; so what
/// failed is kept, and said before the plan is used.
#[derive(Default)]
pub(crate) struct Reader(RefCell<Option<anyhow::Error>>);

impl Reader {
    /// What `read` gives, if it gives something.
    pub(crate) fn keep<T>(&self, read: Result<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    /// The bytes of a file of a merged image.
    pub(crate) fn read(&self, content: &ContentRef) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = content
            .open()
            .read_to_end(&mut bytes)
            .context("reading the merged image");
        self.keep(read).map(|_| bytes)
    }

    /// The first failure, if there was one.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.into_inner().map_or(Ok(()), Err)
    }
}

/// RFC 3339 in UTC, as image configurations have it, to seconds since the epoch.
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let mut next = || date.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let time = time.strip_suffix('Z')?.split('.').next()?;
    let mut time = time.splitn(3, ':').map(str::parse::<i64>);
    let mut next = || time.next()?.ok();
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    let possible = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hours)
        && (0..60).contains(&minutes)
        && (0..=60).contains(&seconds);
    if !possible {
        return None;
    }
    // Days since the epoch in the proleptic Gregorian calendar, years beginning in March.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days * 86_400 + hours * 3600 + minutes * 60 + seconds).ok()
}

/// The day since the epoch, as shadow(5) counts.
pub(crate) fn today() -> Result<u32> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u32::try_from(now.as_secs() / 86_400)?)
}

/// Opens a directory.
pub(crate) fn open_dir(path: &Path) -> Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
        .with_context(|| format!("opening {}", path.display()))
}

/// Owners and devices of an image are root's to set.
pub(crate) fn require_root(what: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "{what} sets owners, so it must run as root, or in a user namespace: unshare --user --map-auto --map-root-user"
    )
}

/// Makes a directory with its parents and opens it.
pub(crate) fn make(path: &Path) -> Result<Dir> {
    std::fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    open_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_times_are_seconds() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(seconds(text), expect, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-01-01T00:00:00Z", Some(1_767_225_600));
        check("2024-02-29T12:34:56.789Z", Some(1_709_210_096));
        check("2000-03-01T00:00:00Z", Some(951_868_800));
        check("2026-01-01", None);
        check("9223372036854775807-01-01T00:00:00Z", None);
        check("2026-13-01T00:00:00Z", None);
        check("2026-01-01T25:00:00Z", None);
        check("yesterday", None);
    }
}
