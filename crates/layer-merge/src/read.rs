//! A blob becomes a list of entries; the tree is not needed for it, so layers may be read at the
//! same time.

use std::io::Read;

use pleach_fs_tree::{Chunks, Digest, FileContent, Inode, Metadata, TreePath, escape};
use sha2::{Digest as _, Sha256};

use crate::decompress::Decompressor;
use crate::digest::Hashing;
use crate::entry::{Action, Checked, check, without_content};
use crate::layout::Layer;
use crate::notes::Notes;
use crate::options::Budget;
use crate::pieces::{Here, Pieces, read_pieces};
use crate::tar::decode::{Decoder, Event};
use crate::{Compression, ContentSink, EntryPosition, Error, Fault, Limits, MergeOptions};

/// A layer that was read and verified.
#[derive(Debug)]
pub struct LayerEntries<C> {
    pub(crate) index: usize,
    pub(crate) digest: Digest,
    pub(crate) used: Used,
    pub(crate) entries: Chunks<Entry<C>>,
    pub(crate) notes: Vec<crate::Note>,
}

/// What a layer took of the limits that all layers share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) entries: u64,
    pub(crate) metadata: u64,
    /// Bytes of archive and holes.
    pub(crate) unpacked: u64,
}

#[derive(Debug)]
pub(crate) struct Entry<C> {
    pub(crate) number: u64,
    pub(crate) path: TreePath,
    pub(crate) action: Action<C>,
}

impl<C> LayerEntries<C> {
    /// The contents of its regular files.
    #[cfg(feature = "ostree")]
    pub(crate) fn contents(&self) -> impl Iterator<Item = &C> {
        self.entries.iter().filter_map(|entry| match &entry.action {
            Action::Put(Inode {
                kind: pleach_fs_tree::Kind::File(content),
                ..
            }) => Some(content),
            _ => None,
        })
    }

    /// Counts a layer that need not be read, as if it were.
    pub(crate) fn charge(self, budget: &Budget, limits: &Limits) -> Result<Self, Error> {
        let Used {
            entries,
            metadata,
            unpacked,
        } = self.used;
        let charged = budget
            .entries(entries, limits)
            .and_then(|()| budget.metadata(metadata, limits))
            .and_then(|()| budget.unpacked(unpacked, limits));
        match charged {
            Ok(()) => Ok(self),
            Err(fault) => Err(Error::Layer {
                index: self.index,
                digest: self.digest,
                entry: None,
                fault,
            }),
        }
    }
}

/// Reads the blob of the layer with that index in the manifest, to its end: size, digest and diff ID
/// are verified before anything is returned. Contents go to `sink` meanwhile.
///
/// # Errors
/// [`Error::Layer`], whatever is wrong. If the blob is not the one that the manifest names, that is
/// what is reported.
pub fn read_layer<S: ContentSink>(
    blob: impl Read + Send,
    index: usize,
    layer: &Layer,
    options: &MergeOptions,
    budget: &Budget,
    sink: &mut S,
) -> Result<LayerEntries<S::Content>, Error> {
    let error = |(entry, fault)| Error::Layer {
        index,
        digest: layer.digest,
        entry,
        fault,
    };
    let compression = Compression::of_media_type(&layer.media_type);
    let compression = compression.map_err(|fault| error((None, fault)))?;
    let stream = Decompressor::new(blob, layer.size, compression, &options.limits);
    let stream = stream.map_err(|fault| error((None, fault)))?;
    let mut reader = Reader::new(index, options, budget, sink);
    let ahead = options.threads() > 1;
    let (result, stream) = read_pieces(stream, layer.size, &options.limits, ahead, |pieces| {
        reader.run(pieces, true)
    });
    let Reader {
        entries,
        notes,
        hasher,
        used,
        ..
    } = reader;
    let verified = verify(stream, layer);
    match (result, verified) {
        // Bytes that nobody promised are the cause of whatever they led to.
        (_, Err(fault @ Fault::DigestMismatch { .. })) => Err(error((None, fault))),
        (Err(at), _) => Err(error(at)),
        (Ok(()), Err(fault)) => Err(error((None, fault))),
        (Ok(()), Ok(())) => {
            let diff_id = Digest(hasher.finalize().into());
            if diff_id != layer.diff_id {
                let fault = Fault::DigestMismatch {
                    what: "the digest of the uncompressed archive",
                    expected: layer.diff_id.to_string(),
                    found: diff_id.to_string(),
                };
                return Err(error((None, fault)));
            }
            Ok(LayerEntries {
                index,
                digest: layer.digest,
                used,
                entries,
                notes: notes.finish(),
            })
        }
    }
}

fn verify<R: Read>(stream: Decompressor<R>, layer: &Layer) -> Result<(), Fault> {
    let (digest, size) = stream.finish()?;
    if size != layer.size {
        return Err(Fault::DigestMismatch {
            what: "the size of the blob",
            expected: format!("{} bytes", layer.size),
            found: format!("{size} bytes"),
        });
    }
    if digest != layer.digest {
        return Err(Fault::DigestMismatch {
            what: "the digest of the blob",
            expected: layer.digest.to_string(),
            found: digest.to_string(),
        });
    }
    Ok(())
}

/// Reads a plain archive that is no layer: no name in it is a whiteout.
pub(crate) fn read_archive<S: ContentSink>(
    archive: impl Read,
    options: &MergeOptions,
    sink: &mut S,
) -> Result<LayerEntries<S::Content>, Error> {
    let error = |(entry, fault)| Error::Archive { entry, fault };
    let stream = Decompressor::new(archive, u64::MAX, Compression::None, &options.limits);
    let mut stream = stream.map_err(|fault| error((None, fault)))?;
    let budget = Budget::default();
    let mut reader = Reader::new(0, options, &budget, sink);
    let mut pieces = Here::new(&mut stream, &options.limits);
    reader.run(&mut pieces, false).map_err(error)?;
    Ok(LayerEntries {
        index: 0,
        digest: Digest(reader.hasher.finalize().into()),
        used: reader.used,
        entries: reader.entries,
        notes: reader.notes.finish(),
    })
}

/// A file whose content is coming.
struct File {
    path: TreePath,
    metadata: Metadata,
    hashing: Option<Hashing<std::io::Sink>>,
    size: u64,
}

struct Reader<'a, S: ContentSink> {
    options: &'a MergeOptions,
    budget: &'a Budget,
    sink: &'a mut S,
    hasher: Sha256,
    entries: Chunks<Entry<S::Content>>,
    notes: Notes,
    file: Option<File>,
    used: Used,
    /// Bytes of the blob so far.
    blob_bytes: u64,
    /// Bytes after the archive's end so far, and whether one was not zero.
    trailing: u64,
    garbage: bool,
}

type At = (Option<Box<EntryPosition>>, Fault);

impl<'a, S: ContentSink> Reader<'a, S> {
    fn new(index: usize, options: &'a MergeOptions, budget: &'a Budget, sink: &'a mut S) -> Self {
        Self {
            options,
            budget,
            sink,
            hasher: Sha256::new(),
            entries: Chunks::default(),
            notes: Notes::new(index),
            file: None,
            used: Used::default(),
            blob_bytes: 0,
            trailing: 0,
            garbage: false,
        }
    }

    /// Reads the archive to the end of its stream.
    fn run(&mut self, pieces: &mut dyn Pieces, layer: bool) -> Result<(), At> {
        let options = self.options;
        let mut decoder = Decoder::new(&options.limits);
        loop {
            let piece = pieces.next();
            let (mut input, blob_bytes) = piece.map_err(|fault| (None, fault))?;
            if input.is_empty() {
                break;
            }
            self.hasher.update(input);
            self.blob_bytes = blob_bytes;
            let unpacked = self.unpack(input.len() as u64);
            unpacked.map_err(|fault| (None, fault))?;
            loop {
                let event = decoder.next(&mut input);
                let more = !matches!(event, Ok(Event::More));
                let result = event.and_then(|event| self.event(event, &decoder, layer));
                result.map_err(|fault| (Some(Box::new(decoder.position())), fault))?;
                if !more {
                    break;
                }
            }
        }
        decoder
            .finish()
            .map_err(|fault| (Some(Box::new(decoder.position())), fault))?;
        Ok(())
    }

    /// Counts bytes that come out, and compares with those that go in.
    fn unpack(&mut self, bytes: u64) -> Result<(), Fault> {
        let limits = &self.options.limits;
        self.budget.unpacked(bytes, limits)?;
        self.used.unpacked += bytes;
        let unpacked = self.used.unpacked;
        let limit = limits.compression_ratio;
        let allowed = self.blob_bytes.saturating_mul(limit);
        if unpacked > limits.compression_grace && unpacked > allowed {
            let what = "ratio of compression";
            return Err(Fault::Limit { what, limit });
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, decoder: &Decoder<'_>, layer: bool) -> Result<(), Fault> {
        match event {
            Event::More => Ok(()),
            Event::Member(member) => {
                let limits = &self.options.limits;
                let metadata = member.metadata_bytes();
                self.budget.entries(1, limits)?;
                self.budget.metadata(metadata, limits)?;
                self.used.entries += 1;
                self.used.metadata += metadata;
                let number = decoder.position().number;
                let raw = member.path.clone();
                let size = member.size;
                let notes = &mut self.notes;
                let mut note = |what| notes.add(number, || escape(&raw), what);
                match check(*member, layer, self.options, &mut note)? {
                    Checked::Skip => {}
                    Checked::Other(path, action) => {
                        let action = without_content(action);
                        self.entries.push(Entry {
                            number,
                            path,
                            action,
                        });
                    }
                    Checked::File(path, metadata) => self.begin(path, metadata, size)?,
                }
                Ok(())
            }
            Event::Data(bytes) => match &mut self.file {
                None => Ok(()),
                Some(file) => {
                    file.add(bytes.len() as u64, self.options.limits.file)?;
                    if let Some(hashing) = &mut file.hashing {
                        std::io::Write::write_all(hashing, bytes)?;
                    }
                    Ok(self.sink.data(bytes)?)
                }
            },
            Event::Hole(length) => {
                self.unpack(length)?;
                let Some(file) = &mut self.file else {
                    return Ok(());
                };
                file.add(length, self.options.limits.file)?;
                if let Some(hashing) = &mut file.hashing {
                    std::io::copy(&mut std::io::repeat(0).take(length), hashing)?;
                }
                Ok(self.sink.hole(length)?)
            }
            Event::FileEnd => match self.file.take() {
                None => Ok(()),
                Some(file) => self.end(file, decoder.position().number),
            },
            Event::Global => {
                let what = "global PAX header".to_owned();
                self.notes.add(decoder.position().number, String::new, what);
                Ok(())
            }
            Event::Trailing(bytes) => self.trail(bytes, decoder.position().number),
        }
    }

    fn begin(&mut self, path: TreePath, metadata: Metadata, size: u64) -> Result<(), Fault> {
        // What is promised counts when it comes: an archive that is cut off says so.
        self.sink.path(&path);
        self.sink
            .begin(&metadata, size.min(self.options.limits.file))?;
        self.file = Some(File {
            path,
            metadata,
            hashing: self
                .options
                .file_digests
                .then(|| Hashing::new(std::io::sink())),
            size: 0,
        });
        Ok(())
    }

    fn end(&mut self, file: File, number: u64) -> Result<(), Fault> {
        let content = self.sink.finish(FileContent {
            size: file.size,
            digest: file.hashing.map(|hashing| hashing.finish().0),
        })?;
        self.entries.push(Entry {
            number,
            path: file.path,
            action: Action::Put(Inode::file(file.metadata, content)),
        });
        Ok(())
    }

    fn trail(&mut self, bytes: &[u8], number: u64) -> Result<(), Fault> {
        let limit = self.options.limits.trailing;
        self.trailing += bytes.len() as u64;
        if self.trailing > limit {
            let what = "bytes after the end of the archive";
            return Err(Fault::Limit { what, limit });
        }
        // Zeros are the padding of a record.
        if !self.garbage && bytes.iter().any(|&b| b != 0) {
            self.garbage = true;
            let what = "bytes after the end of the archive".to_owned();
            self.notes.add(number, String::new, what);
        }
        Ok(())
    }
}

impl File {
    fn add(&mut self, bytes: u64, limit: u64) -> Result<(), Fault> {
        self.size += bytes;
        if self.size > limit {
            let what = "bytes of a file";
            return Err(Fault::Limit { what, limit });
        }
        Ok(())
    }
}
