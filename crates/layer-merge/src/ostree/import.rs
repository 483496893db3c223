//! An image into a repository: its layers are read, and what they have is written meanwhile.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;

use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Kind, Metadata, Tree};

use super::error::{Error, io};
use super::object::Object;
use super::transaction::Transaction;
use crate::cache::{Cache, CacheContent, Input, Output};
use crate::merge::{index_with, merge_layers};
use crate::read::{LayerEntries, read_layer};
use crate::{ContentSink, Image, Layer, Layout, MergeOptions, Merged};

/// How an image is imported.
#[derive(Debug, Default)]
pub struct ImportOptions<'a> {
    /// How its layers are read; [`file_digests`](MergeOptions::file_digests) are one more SHA-256 of
    /// all contents.
    pub merge: MergeOptions,
    /// Keeps the index of each layer here, with the names of its objects, under its diff ID. A layer
    /// whose index is there is not opened, if the repository has all of its files that are in the
    /// merged tree; see [`index_cached`](crate::index_cached) on who is believed.
    pub cache: Option<&'a Dir>,
}

/// An imported image.
#[derive(Debug)]
pub struct Imported {
    /// Its merged tree, and where it is from.
    pub merged: Merged<Object>,
    /// The layers that were read, by their index; the others' indexes were kept.
    pub read: BTreeSet<usize>,
}

/// What an image has, without an object being looked for or written: the index of a layer that was
/// imported with the same `options` is taken from their cache, of the others only sizes are read.
///
/// # Errors
/// As [`index`](crate::index).
pub fn index_imported(
    layout: &Layout,
    image: &Image,
    options: &ImportOptions<'_>,
) -> Result<Merged<FileContent>, crate::Error> {
    let merge = &options.merge;
    let cache = options.cache.map(|dir| Cache::new(dir, merge, ""));
    let merged = index_with(layout, image, merge, cache.as_ref(), false, || Sizes)?;
    Ok(Merged {
        tree: merged.tree.map(|Size(content)| content),
        provenance: merged.provenance,
        removals: merged.removals,
        hidden: merged.hidden,
        notes: merged.notes,
    })
}

/// What is left of an [`Object`] without its name.
#[derive(Debug)]
struct Size(FileContent);

struct Sizes;

impl ContentSink for Sizes {
    type Content = Size;

    fn begin(&mut self, _: &Metadata, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> std::io::Result<Size> {
        Ok(Size(content))
    }
}

impl CacheContent for Size {
    const SUFFIX: &str = Object::SUFFIX;

    fn content(&self) -> FileContent {
        self.0
    }

    fn write(&self, _: &mut Output) {
        unreachable!("what is kept has the names of its objects");
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        Object::read(input).map(|object| Self(object.content))
    }
}

impl Transaction {
    /// Merges all layers of an image; the contents of regular files are written as objects while
    /// they are read, each once, and never read again. Files of the repository are not written
    /// again. The objects are in the repository when a commit that has them is.
    ///
    /// # Errors
    /// When a layer is refused, missing or cannot be read, or an object not be written.
    pub fn import(
        &self,
        layout: &Layout,
        image: &Image,
        options: &ImportOptions<'_>,
    ) -> Result<Imported, Error> {
        let layers = image.layers();
        self.import_opened(
            layers,
            &|index| layout.open_layer(index, &layers[index]),
            options,
        )
    }

    /// As [`import`](Self::import), with blobs that come from anywhere, as for
    /// [`merge_blobs`](crate::merge_blobs); a layer may be opened again.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn import_blobs<R: Read + Send>(
        &self,
        layers: &[Layer],
        open: impl Fn(usize) -> std::io::Result<R> + Sync,
        options: &ImportOptions<'_>,
    ) -> Result<Imported, Error> {
        let open = |index: usize| {
            open(index).map_err(|error| crate::Error::unopened(index, &layers[index], error))
        };
        self.import_opened(layers, &open, options)
    }

    fn import_opened<R: Read + Send>(
        &self,
        layers: &[Layer],
        open: &(impl Fn(usize) -> Result<R, crate::Error> + Sync),
        options: &ImportOptions<'_>,
    ) -> Result<Imported, Error> {
        let mut wanted = BTreeSet::new();
        let mut read = BTreeSet::new();
        loop {
            let merged = self.merge(layers, open, options, &wanted)?;
            let (cached, merged) = merged;
            read.extend((0..layers.len()).filter(|index| !cached.contains(index)));
            let missing = self.missing(&merged.tree)?;
            if missing.is_empty() {
                return Ok(Imported { merged, read });
            }
            // Somebody has pruned them since. What was read now stands in the cache.
            wanted = layers_with(&missing, &cached, layers, options);
            if wanted.is_empty() {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(io("find", "objects that were just written")(gone));
            }
        }
    }

    /// The merged tree, and the layers whose index was in the cache; those of `wanted` are read.
    fn merge<R: Read + Send>(
        &self,
        layers: &[Layer],
        open: &(impl Fn(usize) -> Result<R, crate::Error> + Sync),
        options: &ImportOptions<'_>,
        wanted: &BTreeSet<usize>,
    ) -> Result<(BTreeSet<usize>, Merged<Object>), Error> {
        let merge = &options.merge;
        let cache = options.cache.map(|dir| Cache::new(dir, merge, ""));
        let cached = std::sync::Mutex::new(BTreeSet::new());
        let merged = merge_layers(
            layers,
            merge,
            || self.sink(),
            |job, sink, budget| {
                let (index, layer) = (job.index, job.layer);
                let kept = cache.as_ref().filter(|_| !wanted.contains(&index));
                if let Some(entries) = kept.and_then(|cache| cache.load(index, layer)) {
                    let mut cached = cached.lock().unwrap_or_else(|e| e.into_inner());
                    cached.insert(index);
                    return entries.charge(budget, &merge.limits);
                }
                let blob = open(index)?;
                let entries = read_layer(job.guard(blob), index, layer, merge, budget, sink)?;
                if let Some(cache) = &cache {
                    cache.store(layer, &entries)?;
                }
                Ok(entries)
            },
        )?;
        let cached = cached.into_inner().unwrap_or_else(|e| e.into_inner());
        Ok((cached, merged))
    }

    /// The files of a tree that are in no object.
    fn missing(&self, tree: &Tree<Object>) -> Result<HashSet<pleach_fs_tree::Digest>, Error> {
        let mut missing = HashSet::new();
        for name in files(tree) {
            if !self.store.has(&name).map_err(io("look up", "an object"))? {
                missing.insert(name);
            }
        }
        Ok(missing)
    }
}

/// The layers of `cached` that have one of those objects.
fn layers_with(
    missing: &HashSet<pleach_fs_tree::Digest>,
    cached: &BTreeSet<usize>,
    layers: &[Layer],
    options: &ImportOptions<'_>,
) -> BTreeSet<usize> {
    let Some(dir) = options.cache else {
        return BTreeSet::new();
    };
    let cache = Cache::new(dir, &options.merge, "");
    let has = |&index: &usize| {
        let entries: Option<LayerEntries<Object>> = cache.load(index, &layers[index]);
        entries.is_none_or(|entries| entries.contents().any(|o| missing.contains(&o.name)))
    };
    cached.iter().copied().filter(has).collect()
}

fn files(tree: &Tree<Object>) -> impl Iterator<Item = pleach_fs_tree::Digest> {
    let mut directories = vec![tree.root()];
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for &id in tree
            .inode(directory)
            .entries()
            .into_iter()
            .flatten()
            .map(|(_, id)| id)
        {
            match &tree.inode(id).kind {
                Kind::Directory(_) => directories.push(id),
                Kind::File(object) => found.push(object.name),
                _ => {}
            }
        }
    }
    found.into_iter()
}
