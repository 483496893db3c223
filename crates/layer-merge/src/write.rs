//! A tree, or the difference of two, becomes a layer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use oci_spec::image::{Descriptor, MediaType};
use pleach_fs_tree::{
    ContentSource, Digest, FileContent, Inode, InodeId, Kind, Metadata, Timestamp, Tree, TreePath,
};

use crate::compression::Encoder;
use crate::digest::Hashing;
use crate::tar::encode::{Entry, encode};
use crate::tar::{BLOCK, padding};
use crate::whiteout::PREFIX;
use crate::{BUFFER, Changes, Compression, Error, Layer};

/// Content whose size is known before it is read, as an archive needs it.
pub trait FileSize {
    /// Bytes.
    fn file_size(&self) -> u64;
}

impl FileSize for Vec<u8> {
    fn file_size(&self) -> u64 {
        self.len() as u64
    }
}

impl FileSize for FileContent {
    fn file_size(&self) -> u64 {
        self.size
    }
}

/// How a layer is written.
#[derive(Debug, Clone, Default)]
pub struct LayerOptions {
    /// How it is compressed.
    pub compression: Compression,
    /// The compressor's level; its default (gzip 6, zstd 3) if `None`.
    pub level: Option<i32>,
    /// Later modification times are written as this one (`SOURCE_DATE_EPOCH`).
    pub clamp_mtime: Option<Timestamp>,
}

/// A layer that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// By its compression.
    pub media_type: MediaType,
    /// Of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub unpacked_size: u64,
    /// Entries, whiteouts included.
    pub entries: u64,
}

impl WrittenLayer {
    /// The layer as an image's manifest and configuration would name it.
    pub fn layer(&self) -> Layer {
        Layer {
            media_type: self.media_type.clone(),
            digest: self.digest,
            size: self.size,
            diff_id: self.diff_id,
        }
    }

    /// The descriptor that a manifest holds.
    pub fn descriptor(&self) -> Descriptor {
        crate::digest::descriptor(self.media_type.clone(), self.size, &self.digest)
    }
}

/// Writes a whole tree as one layer. The bytes depend on nothing but the tree, the contents and the
/// options; entries are sorted as the tree's walk is.
///
/// # Errors
/// When the tree has a socket, a name that is a whiteout's, or an extended attribute whose name no
/// PAX record can hold; when contents cannot be read or have another size; when `out` fails.
pub fn write_tree<C: FileSize>(
    tree: &Tree<C>,
    source: &mut dyn ContentSource<C>,
    out: impl Write,
    options: &LayerOptions,
) -> Result<WrittenLayer, Error> {
    write(tree, &BTreeSet::new(), true, source, out, options)
}

/// Writes changes as one layer, in the same way. Whiteouts come right after their directory and
/// before what is in it, so that readers that apply entries one by one get them right too.
///
/// # Errors
/// As [`write_tree`].
pub fn write_layer<C: FileSize>(
    changes: &Changes<C>,
    source: &mut dyn ContentSource<C>,
    out: impl Write,
    options: &LayerOptions,
) -> Result<WrittenLayer, Error> {
    let Changes {
        additions,
        removals,
        root,
    } = changes;
    write(additions, removals, *root, source, out, options)
}

fn write<C: FileSize>(
    tree: &Tree<C>,
    removals: &BTreeSet<TreePath>,
    root: bool,
    source: &mut dyn ContentSource<C>,
    out: impl Write,
    options: &LayerOptions,
) -> Result<WrittenLayer, Error> {
    let encoder = Encoder::new(Hashing::new(out), options.compression, options.level)
        .map_err(Error::io("begin", "the layer"))?;
    let mut writer = Writer {
        out: Hashing::new(encoder),
        buffer: vec![0; BUFFER],
        entries: 0,
        clamp: options.clamp_mtime,
    };
    // By parent, so that each whiteout follows its directory.
    let mut whiteouts = BTreeMap::<TreePath, Vec<&TreePath>>::new();
    for path in removals {
        let parent = path.parent().ok_or_else(|| Error::Unrepresentable {
            path: path.clone(),
            what: "the root cannot be removed",
        })?;
        if tree.lookup(path).is_none() {
            whiteouts.entry(parent).or_default().push(path);
        }
    }
    let mut first_names = BTreeMap::<InodeId, TreePath>::new();
    for (path, id) in tree.walk() {
        if !path.is_root() || root {
            writer.entry(tree.inode(id), id, &path, &mut first_names, source)?;
        }
        if tree.inode(id).entries().is_some() {
            for removed in whiteouts.remove(&path).into_iter().flatten() {
                writer.whiteout(removed)?;
            }
        }
    }
    for removed in whiteouts.into_values().flatten() {
        writer.whiteout(removed)?;
    }
    writer.write(&[0; 2 * BLOCK])?;
    let entries = writer.entries;
    let (diff_id, unpacked_size, encoder) = writer.out.finish();
    let hashing = encoder.finish().map_err(Error::io("finish", "the layer"))?;
    let (digest, size, mut out) = hashing.finish();
    out.flush().map_err(Error::io("write", "the layer"))?;
    Ok(WrittenLayer {
        media_type: options.compression.media_type(),
        digest,
        size,
        diff_id,
        unpacked_size,
        entries,
    })
}

struct Writer<W: Write> {
    out: Hashing<Encoder<Hashing<W>>>,
    buffer: Vec<u8>,
    entries: u64,
    clamp: Option<Timestamp>,
}

impl<W: Write> Writer<W> {
    fn entry<C: FileSize>(
        &mut self,
        inode: &Inode<C>,
        id: InodeId,
        path: &TreePath,
        first_names: &mut BTreeMap<InodeId, TreePath>,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), Error> {
        check(path, &inode.metadata)?;
        check_target(path, &inode.kind)?;
        let mtime = inode.metadata.mtime;
        let mut name = path.as_bytes().to_vec();
        if inode.entries().is_some() {
            name.extend_from_slice(if path.is_root() { b"./" } else { b"/" });
        }
        let mut entry = Entry {
            path: &name,
            typeflag: b'0',
            metadata: &inode.metadata,
            mtime: self.clamp.map_or(mtime, |clamp| mtime.min(clamp)),
            size: 0,
            link: b"",
            device: None,
        };
        if let Some(first) = first_names.get(&id) {
            entry.typeflag = b'1';
            entry.link = first.as_bytes();
            return self.header(&entry);
        }
        match &inode.kind {
            Kind::Directory(_) => {
                entry.typeflag = b'5';
                return self.header(&entry);
            }
            Kind::File(content) => {
                entry.size = content.file_size();
                self.header(&entry)?;
                self.content(content, path, entry.size, source)?;
            }
            Kind::Symlink(target) => {
                entry.typeflag = b'2';
                entry.link = target;
                self.header(&entry)?;
            }
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                let character = matches!(inode.kind, Kind::CharDevice(_));
                entry.typeflag = if character { b'3' } else { b'4' };
                entry.device = Some(*device);
                self.header(&entry)?;
            }
            Kind::Fifo => {
                entry.typeflag = b'6';
                self.header(&entry)?;
            }
            Kind::Socket => {
                return Err(Error::Unrepresentable {
                    path: path.clone(),
                    what: "an archive has no sockets",
                });
            }
        }
        first_names.insert(id, path.clone());
        Ok(())
    }

    fn whiteout(&mut self, removed: &TreePath) -> Result<(), Error> {
        check(removed, &Metadata::default())?;
        let name = removed.file_name().expect("not the root");
        let mut path = removed.parent().unwrap_or_default().as_bytes().to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(PREFIX);
        path.extend_from_slice(name.as_bytes());
        self.header(&Entry {
            path: &path,
            typeflag: b'0',
            metadata: &Metadata::with_mode(0o644),
            mtime: Timestamp::default(),
            size: 0,
            link: b"",
            device: None,
        })
    }

    fn header(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        self.entries += 1;
        let mut blocks = Vec::with_capacity(BLOCK);
        encode(entry, &mut blocks);
        self.write(&blocks)
    }

    fn content<C>(
        &mut self,
        content: &C,
        path: &TreePath,
        expected: u64,
        source: &mut dyn ContentSource<C>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Content {
            path: path.clone(),
            source,
        };
        let mut reader = source.open(content).map_err(failed)?;
        let mut found = 0;
        loop {
            let n = match reader.read(&mut self.buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            found += n as u64;
            if found > expected || (n == 0 && found < expected) {
                return Err(Error::ContentSize {
                    path: path.clone(),
                    expected,
                    found,
                });
            }
            if n == 0 {
                break;
            }
            self.out
                .write_all(&self.buffer[..n])
                .map_err(Error::io("write", "the layer"))?;
        }
        let padding = usize::try_from(padding(expected)).expect("less than a block");
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out
            .write_all(bytes)
            .map_err(Error::io("write", "the layer"))
    }
}

/// What no layer can say is refused, rather than written as something else.
fn check(path: &TreePath, metadata: &Metadata) -> Result<(), Error> {
    let what = if path.components().any(|c| c.starts_with(PREFIX)) {
        "a name that begins with .wh. would be a whiteout"
    } else if metadata
        .xattrs
        .keys()
        .any(|k| k.is_empty() || k.contains(&b'=') || k.contains(&0))
    {
        "an extended attribute's name is empty or has = or NUL in it"
    } else {
        return Ok(());
    };
    Err(Error::Unrepresentable {
        path: path.clone(),
        what,
    })
}

fn check_target<C>(path: &TreePath, kind: &Kind<C>) -> Result<(), Error> {
    match kind {
        Kind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            Err(Error::Unrepresentable {
                path: path.clone(),
                what: "the target of a symbolic link is empty or has a NUL in it",
            })
        }
        _ => Ok(()),
    }
}
