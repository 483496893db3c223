//! An index that keeps the contents of some files, small ones.

use std::io;
use std::sync::Arc;

use pleach_fs_tree::{FileContent, Metadata, TreePath};

use crate::ContentSink;
use crate::cache::{CacheContent, Input, Output};

/// Which contents an index keeps.
#[derive(Clone, Copy)]
pub struct Keep<'a> {
    /// A name for the choice and its limits: an index that was made with another one is not taken from a
    /// cache.
    pub name: &'a str,
    /// Bytes of a file, by its path: none that is larger is kept, or asked about.
    pub max: &'a (dyn Fn(&[u8]) -> u64 + Sync),
    /// Whether the content of a file is kept, by its path, as the layer calls it and without a slash
    /// in front, and by its bytes.
    pub wants: &'a (dyn Fn(&[u8], &[u8]) -> bool + Sync),
}

/// What such an index holds of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    content: FileContent,
    bytes: Option<Arc<[u8]>>,
}

impl Kept {
    /// Size and digest.
    pub fn content(&self) -> FileContent {
        self.content
    }

    /// The bytes, if they were kept.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

/// Keeps the contents that are wanted.
pub(crate) struct KeepSink<'a> {
    keep: Keep<'a>,
    path: Vec<u8>,
    /// What the file may have.
    max: u64,
    /// The file so far; `None` of one that is too large.
    bytes: Option<Vec<u8>>,
}

impl<'a> KeepSink<'a> {
    pub(crate) fn new(keep: Keep<'a>) -> Self {
        Self {
            keep,
            path: Vec::new(),
            max: 0,
            bytes: None,
        }
    }

    /// What `more` bytes are added to, if they still fit.
    fn room(&mut self, more: u64) -> Option<&mut Vec<u8>> {
        let max = self.max;
        let fits = |bytes: &Vec<u8>| bytes.len() as u64 + more <= max;
        if !self.bytes.as_ref().is_some_and(fits) {
            self.bytes = None;
        }
        self.bytes.as_mut()
    }
}

impl ContentSink for KeepSink<'_> {
    type Content = Kept;

    fn path(&mut self, path: &TreePath) {
        self.path.clear();
        self.path.extend_from_slice(path.as_bytes());
    }

    fn begin(&mut self, _: &Metadata, size: u64) -> io::Result<()> {
        self.max = (self.keep.max)(&self.path);
        self.bytes = (size <= self.max).then(Vec::new);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(room) = self.room(bytes.len() as u64) {
            room.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        if let Some(room) = self.room(length) {
            let zeros = usize::try_from(length).expect("no more than what is kept");
            room.resize(room.len() + zeros, 0);
        }
        Ok(())
    }

    fn finish(&mut self, content: FileContent) -> io::Result<Kept> {
        let bytes = self.bytes.take();
        let bytes = bytes.filter(|bytes| (self.keep.wants)(&self.path, bytes));
        let bytes = bytes.map(Into::into);
        Ok(Kept { content, bytes })
    }
}

impl CacheContent for Kept {
    const SUFFIX: &str = "kept";

    fn content(&self) -> FileContent {
        self.content
    }

    fn write(&self, output: &mut Output) {
        self.content.write(output);
        output.number(u64::from(self.bytes.is_some()));
        if let Some(bytes) = &self.bytes {
            output.bytes(bytes);
        }
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        let content = FileContent::read(input)?;
        let bytes = match input.number::<u64>()? {
            0 => None,
            1 => Some(input.bytes()?.into()),
            _ => return None,
        };
        // It was made of them.
        let whole = |bytes: &Arc<[u8]>| bytes.len() as u64 == content.size;
        bytes
            .as_ref()
            .is_none_or(whole)
            .then_some(Self { content, bytes })
    }
}
