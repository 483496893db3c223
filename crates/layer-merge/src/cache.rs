//! The indexes of layers that were read before, each in a file named by its diff ID.
//!
//! A file is the magic bytes with the version of the format, what the layer was read with, its diff
//! ID, how much it was, its entries and notes, and the SHA-256 of all that. Numbers are little
//! endian; bytes and lists have their length in front.

use std::io::{Read as _, Write as _};

use cap_std::fs::Dir;
use pleach_fs_tree::{
    Device, Digest, FileContent, Inode, Kind, Metadata, Timestamp, TreePath, Xattrs,
};
use rustix::fs::Mode;

use crate::digest::hex;
use crate::entry::{Action, is_possible};
use crate::layout::{Layer, REGULAR, Temporary};
use crate::read::{Entry, LayerEntries, Used};
use crate::{Compression, Error, MergeOptions, Note};

const MAGIC: &[u8; 16] = b"pleach index 002";
/// A larger index is neither written nor read.
const MAX_BYTES: u64 = 1 << 30;

/// What an index holds of a regular file.
pub(crate) trait CacheContent: Sized {
    /// The end of a file's name: indexes with other contents may be in the same directory.
    const SUFFIX: &str;
    /// Size and digest.
    fn content(&self) -> FileContent;
    fn write(&self, output: &mut Output);
    fn read(input: &mut Input<'_>) -> Option<Self>;
}

impl CacheContent for FileContent {
    const SUFFIX: &str = "index";

    fn content(&self) -> FileContent {
        *self
    }

    fn write(&self, output: &mut Output) {
        output.number(self.size);
        let digest = self.digest.as_ref().map(|digest| &digest.0[..]);
        output.bytes(digest.unwrap_or_default());
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        Some(Self {
            size: input.number()?,
            digest: match input.bytes()? {
                [] => None,
                digest => Some(Digest(digest.try_into().ok()?)),
            },
        })
    }
}

/// A directory with indexes.
pub(crate) struct Cache<'a> {
    dir: &'a Dir,
    options: &'a MergeOptions,
    /// What else than the archive an index depends on.
    read_with: Digest,
}

impl<'a> Cache<'a> {
    /// `also` is what an index depends on besides the archive and the options.
    pub(crate) fn new(dir: &'a Dir, options: &'a MergeOptions, also: &str) -> Self {
        let MergeOptions {
            limits,
            xattrs,
            file_digests,
            strict: _,
            threads: _,
            provenance: _,
        } = options;
        let text = format!("{limits:?} {xattrs:?} {file_digests}{also}");
        Self {
            dir,
            options,
            read_with: Digest::of(text.as_bytes()),
        }
    }

    /// The index of a layer, if there is one that is whole and was made in the same way.
    pub(crate) fn load<C: CacheContent>(
        &self,
        index: usize,
        layer: &Layer,
    ) -> Option<LayerEntries<C>> {
        // What is refused is refused with a cache, too.
        Compression::of_media_type(&layer.media_type).ok()?;
        let name = file_name::<C>(layer);
        let fd = rustix::fs::openat(self.dir, &*name, REGULAR, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        let file = cap_std::fs::File::from_std(fd.into());
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() as u64 > MAX_BYTES {
            return None;
        }
        let (whole, sum) = bytes.split_last_chunk::<32>()?;
        if Digest::of(whole).0 != *sum {
            return None;
        }
        let body = whole.strip_prefix(&*self.header(layer))?;
        let mut input = Input(body);
        let read: LayerEntries<C> = input.layer(index, layer.digest)?;
        // Whoever may write here is believed, but gets no further than an image would.
        let possible = |e: &Entry<C>| is_possible(&e.path, &e.action, C::content, self.options);
        // Each entry that is kept was counted.
        let counted = read.used.entries >= read.entries.len() as u64;
        let whole = input.0.is_empty() && counted && read.entries.iter().all(possible);
        whole.then_some(read)
    }

    /// Writes the index of a layer that was verified.
    pub(crate) fn store<C: CacheContent>(
        &self,
        layer: &Layer,
        read: &LayerEntries<C>,
    ) -> Result<(), Error> {
        let mut out = Output(self.header(layer));
        out.layer(read);
        let sum = Digest::of(&out.0);
        out.0.extend_from_slice(&sum.0);
        if out.0.len() as u64 > MAX_BYTES {
            return Ok(());
        }
        let write = || -> std::io::Result<()> {
            let (mut temporary, mut file) = Temporary::new(self.dir)?;
            // Not synced: what a crash leaves of it is not taken for whole.
            file.write_all(&out.0)?;
            temporary.rename(&file_name::<C>(layer))
        };
        write().map_err(Error::io("write", file_name::<C>(layer)))
    }

    fn header(&self, layer: &Layer) -> Vec<u8> {
        [&MAGIC[..], &self.read_with.0, &layer.diff_id.0].concat()
    }
}

fn file_name<C: CacheContent>(layer: &Layer) -> String {
    format!("{}.{}", hex(&layer.diff_id), C::SUFFIX)
}

pub(crate) struct Output(Vec<u8>);

impl Output {
    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn layer<C: CacheContent>(&mut self, layer: &LayerEntries<C>) {
        let Used {
            entries,
            metadata,
            unpacked,
        } = layer.used;
        for number in [entries, metadata, unpacked] {
            self.number(number);
        }
        self.number(layer.entries.len() as u64);
        for entry in layer.entries.iter() {
            self.number(entry.number);
            self.bytes(entry.path.as_bytes());
            match &entry.action {
                Action::Whiteout => self.0.push(b'w'),
                Action::Opaque => self.0.push(b'o'),
                Action::Link(target) => {
                    self.0.push(b'h');
                    self.bytes(target.as_bytes());
                }
                Action::Put(inode) => self.inode(inode),
            }
        }
        self.number(layer.notes.len() as u64);
        for note in &layer.notes {
            self.number(note.entry);
            self.bytes(note.path.as_bytes());
            self.bytes(note.what.as_bytes());
        }
    }

    fn inode<C: CacheContent>(&mut self, inode: &Inode<C>) {
        match &inode.kind {
            Kind::Directory(_) => self.0.push(b'd'),
            Kind::File(content) => {
                self.0.push(b'f');
                content.write(self);
            }
            Kind::Symlink(target) => {
                self.0.push(b'l');
                self.bytes(target);
            }
            Kind::CharDevice(device) => self.device(b'c', *device),
            Kind::BlockDevice(device) => self.device(b'b', *device),
            Kind::Fifo => self.0.push(b'p'),
            Kind::Socket => self.0.push(b's'),
        }
        let Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = &inode.metadata;
        for number in [u32::from(*mode), *uid, *gid, mtime.nanoseconds] {
            self.number(number.into());
        }
        self.number(mtime.seconds.cast_unsigned());
        self.number(xattrs.len() as u64);
        for (name, value) in xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.0.push(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }
}

/// What is left to be read. `None` is: no index of this format.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn number<N: TryFrom<u64>>(&mut self) -> Option<N> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        u64::from_le_bytes(*number).try_into().ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn path(&mut self) -> Option<TreePath> {
        TreePath::new(self.bytes()?).ok()
    }

    /// A list; nothing is made for its length before its items are there.
    fn list<T, L: FromIterator<T>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<L> {
        let length: usize = self.number()?;
        (0..length).map(|_| item(self)).collect()
    }

    fn layer<C: CacheContent>(&mut self, index: usize, digest: Digest) -> Option<LayerEntries<C>> {
        Some(LayerEntries {
            index,
            digest,
            used: Used {
                entries: self.number()?,
                metadata: self.number()?,
                unpacked: self.number()?,
            },
            entries: self.list(Self::entry)?,
            notes: self.list(|input| {
                Some(Note {
                    layer: index,
                    entry: input.number()?,
                    path: input.text()?,
                    what: input.text()?,
                })
            })?,
        })
    }

    fn entry<C: CacheContent>(&mut self) -> Option<Entry<C>> {
        let (number, path) = (self.number()?, self.path()?);
        let (&tag, rest) = self.0.split_first()?;
        self.0 = rest;
        let kind = match tag {
            b'w' | b'o' | b'h' => {
                let action = match tag {
                    b'w' => Action::Whiteout,
                    b'o' => Action::Opaque,
                    _ => Action::Link(self.path()?),
                };
                return Some(Entry {
                    number,
                    path,
                    action,
                });
            }
            b'd' => Kind::Directory(Default::default()),
            b'f' => Kind::File(C::read(self)?),
            b'l' => Kind::Symlink(self.bytes()?.into()),
            b'c' => Kind::CharDevice(self.device()?),
            b'b' => Kind::BlockDevice(self.device()?),
            b'p' => Kind::Fifo,
            b's' => Kind::Socket,
            _ => return None,
        };
        let metadata = self.metadata()?;
        Some(Entry {
            number,
            path,
            action: Action::Put(Inode { metadata, kind }),
        })
    }

    fn device(&mut self) -> Option<Device> {
        Some(Device {
            major: self.number()?,
            minor: self.number()?,
        })
    }

    fn metadata(&mut self) -> Option<Metadata> {
        let (mode, uid, gid) = (self.number()?, self.number()?, self.number()?);
        let nanoseconds = self.number()?;
        let seconds = self.number::<u64>()?.cast_signed();
        let xattr = |input: &mut Self| Some((input.bytes()?.into(), input.bytes()?.into()));
        let xattrs: Xattrs = self.list(xattr)?;
        Some(Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds,
                nanoseconds,
            },
            xattrs,
        })
    }
}
