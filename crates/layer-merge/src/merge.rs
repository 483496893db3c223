//! Layers, one above the other, become one tree.

use std::io::{self, Read};

use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Metadata, Tree, TreePath};

use crate::cache::{Cache, CacheContent};
use crate::entry::Action;
use crate::hidden::{self, Hidden};
use crate::kept::{Keep, KeepSink, Kept};
use crate::layout::{Image, Layer, Layout};
use crate::notes::Notes;
use crate::options::Budget;
use crate::overlay::Overlay;
use crate::parallel::{Job, read_layers};
use crate::provenance::Provenance;
use crate::read::{LayerEntries, read_archive, read_layer};
use crate::removals::{Removal, Removals};
use crate::work::Work;
use crate::{
    ContentRef, ContentSink, ContentStore, EntryPosition, Error, Fault, IndexOnly, MergeOptions,
    Note,
};

/// The merged tree of an image.
#[derive(Debug)]
pub struct Merged<C> {
    /// The tree.
    pub tree: Tree<C>,
    /// Which layer and entry put each path there.
    pub provenance: Provenance,
    /// The whiteouts that hid something.
    pub removals: Vec<Removal>,
    /// Files of layers that higher ones hide, in the order of those.
    pub hidden: Vec<Hidden>,
    /// What of the image is not in the tree, or not as the image says it.
    pub notes: Vec<Note>,
}

/// Merges all layers of an image and keeps the contents of regular files in `store`. Nothing else is
/// written.
///
/// # Errors
/// When a layer is refused, missing or cannot be read.
pub fn merge(
    layout: &Layout,
    image: &Image,
    store: &ContentStore,
    options: &MergeOptions,
) -> Result<Merged<ContentRef>, Error> {
    merge_layers(
        image.layers(),
        options,
        || store.sink(),
        |job, sink, budget| {
            let blob = layout.open_layer(job.index, job.layer)?;
            read_layer(job.guard(blob), job.index, job.layer, options, budget, sink)
        },
    )
}

/// Merges all layers of an image and keeps of each regular file its size and digest alone. Nothing
/// is written.
///
/// # Errors
/// As [`merge`].
pub fn index(
    layout: &Layout,
    image: &Image,
    options: &MergeOptions,
) -> Result<Merged<FileContent>, Error> {
    merge_layers(
        image.layers(),
        options,
        || IndexOnly,
        |job, sink, budget| {
            let blob = layout.open_layer(job.index, job.layer)?;
            read_layer(job.guard(blob), job.index, job.layer, options, budget, sink)
        },
    )
}

/// As [`index`], with what was read before: the index of each layer is kept in `cache`, in a file
/// named by its diff ID. A layer whose index is there is not opened, and so not verified again: it
/// was when its index was made. A file that is damaged, of another version or made with other
/// options is ignored and written anew. Who may write to `cache` may make an image look like
/// another one. Nothing is ever removed from it.
///
/// # Errors
/// As [`merge`], and when `cache` cannot be written.
pub fn index_cached(
    layout: &Layout,
    image: &Image,
    cache: &Dir,
    options: &MergeOptions,
) -> Result<Merged<FileContent>, Error> {
    let cache = Cache::new(cache, options, "");
    index_with(layout, image, options, Some(&cache), true, || IndexOnly)
}

/// As [`index`], with the contents of the files that `keep` wants; in `cache`, if there is one, the
/// index of each layer is kept as [`index_cached`] does it.
///
/// # Errors
/// As [`index_cached`].
pub fn index_keeping(
    layout: &Layout,
    image: &Image,
    keep: Keep<'_>,
    cache: Option<&Dir>,
    options: &MergeOptions,
) -> Result<Merged<Kept>, Error> {
    let also = format!(" {}", keep.name);
    let cache = cache.map(|dir| Cache::new(dir, options, &also));
    index_with(layout, image, options, cache.as_ref(), true, || {
        KeepSink::new(keep)
    })
}

/// Merges all layers; one whose index is in `cache` is not opened, and with `store` the others' are put
/// there.
pub(crate) fn index_with<S: ContentSink<Content: CacheContent + Send>>(
    layout: &Layout,
    image: &Image,
    options: &MergeOptions,
    cache: Option<&Cache<'_>>,
    store: bool,
    sink: impl Fn() -> S + Sync,
) -> Result<Merged<S::Content>, Error> {
    merge_layers(image.layers(), options, sink, |job, sink, budget| {
        let (index, layer) = (job.index, job.layer);
        if let Some(entries) = cache.and_then(|cache| cache.load(index, layer)) {
            return entries.charge(budget, &options.limits);
        }
        let blob = layout.open_layer(index, layer)?;
        let entries = read_layer(job.guard(blob), index, layer, options, budget, sink)?;
        if let Some(cache) = cache.filter(|_| store) {
            cache.store(layer, &entries)?;
        }
        Ok(entries)
    })
}

/// As [`merge`], with blobs that come from anywhere, for example from a download that has not ended:
/// `open` is called once for each layer with its index, on the thread that reads it, the largest
/// layers first. Every blob is read to its end and verified like one of a layout.
///
/// # Errors
/// As [`merge`]; what `open` fails with is a [`Fault::Io`] of the layer.
pub fn merge_blobs<R: Read + Send>(
    layers: &[Layer],
    open: impl Fn(usize) -> io::Result<R> + Sync,
    store: &ContentStore,
    options: &MergeOptions,
) -> Result<Merged<ContentRef>, Error> {
    merge_layers(
        layers,
        options,
        || store.sink(),
        |job, sink, budget| {
            let (index, layer) = (job.index, job.layer);
            let blob = open(index).map_err(|error| Error::unopened(index, layer, error))?;
            read_layer(job.guard(blob), index, layer, options, budget, sink)
        },
    )
}

pub(crate) fn merge_layers<S: ContentSink<Content: Send>>(
    layers: &[Layer],
    options: &MergeOptions,
    sink: impl Fn() -> S + Sync,
    read: impl Fn(Job<'_>, &mut S, &Budget) -> Result<LayerEntries<S::Content>, Error> + Sync,
) -> Result<Merged<S::Content>, Error> {
    let mut merger = Merger::new(options);
    let budget = Budget::default();
    let read = |job: Job<'_>, sink: &mut S| read(job, sink, &budget);
    let apply = |layer| merger.apply(layer);
    read_layers(layers, options.threads(), sink, read, apply)?;
    Ok(merger.finish())
}

/// Merges all layers of an image, one after the other; the contents of regular files go to `sink`,
/// also those that a higher layer hides later.
///
/// # Errors
/// As [`merge`].
pub fn merge_with<S: ContentSink>(
    layout: &Layout,
    image: &Image,
    sink: &mut S,
    options: &MergeOptions,
) -> Result<Merged<S::Content>, Error> {
    let budget = Budget::default();
    let mut merger = Merger::new(options);
    for (index, layer) in image.layers().iter().enumerate() {
        let blob = layout.open_layer(index, layer)?;
        merger.apply(read_layer(blob, index, layer, options, &budget, sink)?)?;
    }
    Ok(merger.finish())
}

/// Reads a plain archive, for example of a root file system: the rules are those of layers, but no
/// name is a whiteout. It is read to its end.
///
/// # Errors
/// [`Error::Archive`].
pub fn read_tar<S: ContentSink>(
    archive: &mut impl Read,
    sink: &mut S,
    options: &MergeOptions,
) -> Result<Merged<S::Content>, Error> {
    let mut merger = Merger::new(options);
    let entries = read_archive(archive, options, sink)?;
    let at_archive = |error| match error {
        Error::Layer { entry, fault, .. } => Error::Archive { entry, fault },
        other => other,
    };
    merger.apply(entries).map_err(at_archive)?;
    Ok(merger.finish())
}

/// Puts layers that were read on top of each other. All of it happens in memory.
#[derive(Debug)]
pub struct Merger<'o, C> {
    options: &'o MergeOptions,
    work: Work,
    merged: Merged<C>,
}

impl<'o, C> Merger<'o, C> {
    /// An empty tree.
    pub fn new(options: &'o MergeOptions) -> Self {
        Self {
            options,
            work: Work::default(),
            merged: Merged {
                tree: Tree::new(Metadata::with_mode(0o755)),
                provenance: Provenance::default(),
                removals: Vec::new(),
                hidden: Vec::new(),
                notes: Vec::new(),
            },
        }
    }

    /// Puts the next layer on top: first everything that it hides is taken away, then what it has is
    /// put there. The order of its entries matters only where two are about one path, and for the
    /// targets of hard links.
    ///
    /// # Errors
    /// When the layer contradicts itself or what is below it. The merger is of no use then.
    pub fn apply(&mut self, layer: LayerEntries<C>) -> Result<(), Error> {
        let LayerEntries {
            index,
            digest,
            entries,
            notes,
            used: _,
        } = layer;
        let failed = |number, path: &TreePath, fault| Error::Layer {
            index,
            digest,
            entry: Some(Box::new(EntryPosition {
                number,
                path: Some(path.to_string()),
            })),
            fault,
        };
        let Merged {
            tree,
            provenance,
            removals,
            hidden,
            notes: all_notes,
        } = &mut self.merged;
        all_notes.extend(notes);
        let remember = self.options.provenance;
        let removals_of = Removals::new(index, &entries, self.options, &self.work);
        let result = removals_of.apply(tree, |tree, target| {
            if remember {
                hidden::files(tree, provenance, &target.removal.path, index, hidden);
            }
            match &target.name {
                Some(name) => {
                    tree.remove_entry(target.directory, name.as_bytes());
                    provenance.remove(target.directory, name.as_bytes());
                }
                None => {
                    tree.clear(target.directory);
                    provenance.clear(target.directory);
                }
            }
            removals.push(target.removal);
        });
        result.map_err(|(number, path, fault)| failed(number, path, fault))?;

        if remember {
            hidden::replaced(tree, provenance, &entries, index, hidden);
        }
        let mut overlay = Overlay::new(tree, self.options, &self.work);
        let mut notes = Notes::new(index);
        for entry in entries {
            let result: Result<(), Fault> = match entry.action {
                Action::Whiteout | Action::Opaque => Ok(()),
                Action::Put(inode) => overlay.put(&entry.path, inode, entry.number),
                Action::Link(target) => overlay.link(&entry.path, &target, entry.number),
            };
            result.map_err(|fault| failed(entry.number, &entry.path, fault))?;
            if overlay.took_duplicate() {
                let what = "a second entry for this path: the first is gone".to_owned();
                notes.add(entry.number, || entry.path.to_string(), what);
            }
        }
        all_notes.extend(notes.finish());
        overlay.finish().graft(tree, &mut |name, entry| match name {
            _ if !remember => (),
            Some((parent, name)) => provenance.put(parent, name, index, entry),
            None => provenance.put_root(index, entry.expect("the root has an entry")),
        });
        Ok(())
    }

    /// The tree of all layers.
    pub fn finish(self) -> Merged<C> {
        self.merged
    }
}
