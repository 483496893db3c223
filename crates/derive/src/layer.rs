//! A derivation becomes a layer.

use std::io::{self, Cursor, Read, Write};

use pleach_fs_tree::{ContentSource, Tree};
use pleach_layer_merge::{Changes, Error, FileSize, LayerOptions, WrittenLayer};

use crate::{Content, Derivation};

impl<C: FileSize> FileSize for Content<C> {
    fn file_size(&self) -> u64 {
        match self {
            Self::Base(content) => content.file_size(),
            Self::New(bytes) => bytes.len() as u64,
        }
    }
}

/// Reads base contents from the base and new ones from memory.
pub(crate) struct Source<'a, C>(pub(crate) &'a mut dyn ContentSource<C>);

impl<C> ContentSource<Content<C>> for Source<'_, C> {
    fn open(&mut self, content: &Content<C>) -> io::Result<Box<dyn Read + '_>> {
        match content {
            Content::Base(content) => self.0.open(content),
            Content::New(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
        }
    }
}

/// What makes the derived tree of the base's.
pub(crate) fn changes<C: Clone>(
    base: &Tree<C>,
    derivation: &Derivation<C>,
    same: impl Fn(&C, &C) -> bool,
) -> Changes<Content<C>> {
    let same = |a: &C, b: &Content<C>| matches!(b, Content::Base(b) if same(a, b));
    pleach_layer_merge::diff(base, &derivation.tree, same)
}

/// Writes what the derivation adds to `base`, the tree that it was planned on, as one layer. The
/// same derivation gives the same bytes. `same` compares two contents of the base; `source` is asked
/// only for a file of the base whose metadata changed.
///
/// # Errors
/// When something cannot be in an archive, or reading or writing fails.
pub fn write_layer<C: Clone + FileSize>(
    base: &Tree<C>,
    derivation: &Derivation<C>,
    same: impl Fn(&C, &C) -> bool,
    source: &mut dyn ContentSource<C>,
    out: impl Write,
    options: &LayerOptions,
) -> Result<WrittenLayer, Error> {
    let changes = changes(base, derivation, same);
    pleach_layer_merge::write_layer(&changes, &mut Source(source), out, options)
}
