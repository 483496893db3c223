//! OCI image layouts on disk (OCI image spec, image-layout.md).

mod append;
mod blob;
mod image;
mod index;

pub use append::{History, NewImage, append_layer};
pub(crate) use blob::Temporary;
#[cfg(feature = "ostree")]
pub(crate) use blob::replace;
pub use blob::{BlobReader, BlobWriter};
pub use image::{Image, Layer};

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use cap_std::fs::Dir;
use oci_spec::image::{Descriptor, MediaType, Platform};
use pleach_fs_tree::Digest;
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::Value;

use crate::digest::hex;
use crate::{Error, Fault, Limits, parse_digest};

const MARKER: &str = "oci-layout";

/// An image layout in a directory. Nothing in it is opened through a symbolic link.
#[derive(Debug)]
pub struct Layout {
    dir: Dir,
    blobs: Dir,
    limits: Limits,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
pub(crate) const REGULAR: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Layout {
    /// Makes a layout in a directory, or opens the one that is there; what writers left in it that
    /// were killed is removed.
    ///
    /// # Errors
    /// When the directory cannot be written, or has a layout of another version.
    pub fn create(dir: &Dir) -> Result<Self, Error> {
        for (parent, name) in [("", "blobs"), ("blobs", "sha256")] {
            let parent = match parent {
                "" => open_directory(dir, ".")?,
                other => open_directory(dir, other)?,
            };
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(Error::io("create", name)(error)),
            }
        }
        if rustix::fs::statat(dir, index::FILE, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err() {
            let empty = index::Index::default();
            blob::replace(dir, index::FILE, &empty.to_bytes())?;
        }
        if rustix::fs::statat(dir, MARKER, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_err() {
            blob::replace(dir, MARKER, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        let layout = Self::open(dir)?;
        for dir in [&layout.dir, &layout.blobs] {
            blob::sweep(dir).map_err(Error::io("clear", "what a killed writer left"))?;
        }
        Ok(layout)
    }

    /// Opens a layout.
    ///
    /// # Errors
    /// When there is none, or one of another version than 1.0.0.
    pub fn open(dir: &Dir) -> Result<Self, Error> {
        let limits = Limits::default();
        let marker = read_file(dir, MARKER, &limits)?;
        let marker: Value = parse(&marker).map_err(document(MARKER))?;
        if marker["imageLayoutVersion"] != "1.0.0" {
            let what = format!("imageLayoutVersion is {}", marker["imageLayoutVersion"]);
            return Err(document(MARKER)(Fault::BadDocument(what)));
        }
        let top = dir.try_clone().map_err(Error::io("open", "the layout"))?;
        let blobs = open_directory(&open_directory(dir, "blobs")?, "sha256")?;
        Ok(Self {
            dir: top,
            blobs,
            limits,
        })
    }

    /// The same layout, read with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The limits that its documents are read with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The image of a reference: a tag (`org.opencontainers.image.ref.name` in `index.json`), a
    /// digest (`sha256:...`, which may also be one that no index names), or with `None` the only
    /// image there is. An index is followed to the image of `platform`, or to the only one in it.
    ///
    /// # Errors
    /// When none or several fit; when a document is missing, too large, not what its digest says,
    /// or no image.
    pub fn resolve(
        &self,
        reference: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<Image, Error> {
        let index = self.index()?;
        let mut descriptor = index.find(reference, &self.blobs)?;
        // An index in an index is allowed; more than a few is nobody's.
        for _ in 0..4 {
            let bytes = self.read_blob(&descriptor)?;
            let what = descriptor.digest().to_string();
            let json: Value = parse(&bytes).map_err(document(&what))?;
            if !image::is_index(&descriptor, &json) {
                return Image::read(self, descriptor, bytes, json);
            }
            let nested = index::Index::parse(&bytes).map_err(document(&what))?;
            descriptor = nested.of_platform(&what, platform)?;
        }
        let fault = Fault::Limit {
            what: "indexes in indexes",
            limit: 4,
        };
        Err(document(descriptor.digest().as_ref())(fault))
    }

    /// The tags and the descriptors of `index.json`, in its order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn images(&self) -> Result<Vec<(Option<String>, Descriptor)>, Error> {
        self.index()?.images()
    }

    fn index(&self) -> Result<index::Index, Error> {
        let bytes = read_file(&self.dir, index::FILE, &self.limits)?;
        index::Index::parse(&bytes).map_err(document(index::FILE))
    }

    /// Opens a blob; what is read through it is verified when its end is reached.
    ///
    /// # Errors
    /// When there is none, or its size is not `size`.
    pub fn open_blob(&self, digest: &Digest, size: Option<u64>) -> Result<BlobReader, Error> {
        BlobReader::open(&self.blobs, digest, size)
    }

    /// Opens the blob of the layer with that index in the manifest. Nothing of it is verified but its
    /// size: who reads it does that, as [`merge_blobs`](crate::merge_blobs).
    ///
    /// # Errors
    /// When there is none, or its size is not the layer's.
    pub fn open_layer(&self, index: usize, layer: &Layer) -> Result<cap_std::fs::File, Error> {
        let failed = |fault| Error::Layer {
            index,
            digest: layer.digest,
            entry: None,
            fault,
        };
        let open = BlobReader::open(&self.blobs, &layer.digest, Some(layer.size));
        open.map(BlobReader::into_file)
            .map_err(|error| match error {
                Error::Document { fault, .. } => failed(fault),
                Error::Io { source, .. } => failed(Fault::Io(source)),
                other => other,
            })
    }

    /// Whether there is a blob of that digest and size. Its content is not read.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        BlobReader::open(&self.blobs, digest, Some(size)).is_ok()
    }

    /// Reads a document and verifies it.
    ///
    /// # Errors
    /// When it is missing, larger than [`Limits::document`], or not what the descriptor says.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let what = descriptor.digest().to_string();
        let digest = parse_digest(&what).map_err(document(&what))?;
        limit_document(descriptor.size(), &self.limits).map_err(document(&what))?;
        let mut reader = self.open_blob(&digest, Some(descriptor.size()))?;
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &what))?;
        reader.verify().map_err(document(&what))?;
        Ok(bytes)
    }

    /// Begins a blob; nobody sees it before [`BlobWriter::finish`].
    ///
    /// # Errors
    /// When no file can be made.
    pub fn write_blob(&self) -> Result<BlobWriter<'_>, Error> {
        BlobWriter::new(&self.blobs)
    }

    /// Writes a blob whose bytes are at hand.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<(Digest, u64), Error> {
        use std::io::Write;
        let mut writer = self.write_blob()?;
        writer
            .write_all(bytes)
            .map_err(Error::io("write", "a blob"))?;
        writer.finish()
    }

    /// Writes the manifest and the configuration of an image whose layers are there already, and
    /// gives it a tag, which whatever had it loses. Without a tag the image is listed without one.
    /// All other entries of `index.json`, and its unknown fields, stay.
    ///
    /// # Errors
    /// When a layer is missing or something cannot be written. The image is either listed and
    /// whole, or not listed.
    pub fn put_image(&self, image: &NewImage, tag: Option<&str>) -> Result<Descriptor, Error> {
        // Who collects garbage holds it, too: what is there now stays there.
        let lock = self.lock()?;
        for layer in image.layers()? {
            let digest = parse_digest(layer.digest().as_ref()).map_err(document("manifest"))?;
            self.open_blob(&digest, Some(layer.size()))?;
        }
        self.put_blob(image.config())?;
        let (digest, size) = self.put_blob(image.manifest())?;
        let descriptor = crate::digest::descriptor(image.media_type().clone(), size, &digest);
        self.list(&lock, &descriptor, tag)?;
        Ok(descriptor)
    }

    /// Gives a manifest that is there a tag; see [`put_image`](Self::put_image).
    ///
    /// # Errors
    /// When `index.json` cannot be read or replaced.
    pub fn tag(&self, descriptor: &Descriptor, tag: Option<&str>) -> Result<(), Error> {
        self.list(&self.lock()?, descriptor, tag)
    }

    /// Two writers at a time would lose one's entry.
    fn lock(&self) -> Result<Lock, Error> {
        let lock = rustix::fs::openat(&self.dir, ".", DIRECTORY, Mode::empty())
            .map_err(Error::io("open", "the layout"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(Error::io("lock", "the layout"))?;
        Ok(Lock(lock))
    }

    fn list(&self, _: &Lock, descriptor: &Descriptor, tag: Option<&str>) -> Result<(), Error> {
        let mut index = self.index()?;
        index.put(descriptor, tag);
        blob::replace(&self.dir, index::FILE, &index.to_bytes())
    }
}

/// The layout's lock, until it is dropped.
struct Lock(#[allow(dead_code, reason = "held, not read")] OwnedFd);

fn open_directory(parent: &Dir, name: &str) -> Result<Dir, Error> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        .map(Dir::from)
        .map_err(Error::io("open", name))
}

/// A regular file and its size: a fifo or a device would never end, or never begin.
fn open_regular(dir: &Dir, name: &str) -> io::Result<(OwnedFd, u64)> {
    let fd = rustix::fs::openat(dir, name, REGULAR, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((fd, u64::try_from(stat.st_size).unwrap_or_default()))
}

fn document(what: &str) -> impl FnOnce(Fault) -> Error {
    let what = what.to_owned();
    move |fault| Error::Document { what, fault }
}

fn limit_document(size: u64, limits: &Limits) -> Result<(), Fault> {
    if size > limits.document {
        return Err(Fault::Limit {
            what: "bytes of a document",
            limit: limits.document,
        });
    }
    Ok(())
}

fn read_file(dir: &Dir, name: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let (fd, _) = open_regular(dir, name).map_err(Error::io("open", name))?;
    let mut bytes = Vec::new();
    cap_std::fs::File::from_std(fd.into())
        .take(limits.document + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", name))?;
    limit_document(bytes.len() as u64, limits).map_err(document(name))?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(bytes).map_err(|e| Fault::BadDocument(e.to_string()))
}

/// A descriptor as a document has it, with everything checked that is used later.
fn parse_descriptor(json: &Value) -> Result<Descriptor, Fault> {
    let descriptor: Descriptor = serde_json::from_value(json.clone())
        .map_err(|e| Fault::BadDocument(format!("descriptor: {e}")))?;
    parse_digest(descriptor.digest().as_ref())?;
    Ok(descriptor)
}

fn media_type(json: &Value) -> Option<MediaType> {
    json["mediaType"].as_str().map(MediaType::from)
}

fn blob_path(digest: &Digest) -> String {
    hex(digest)
}
