//! How a layer's archive is compressed: media types and the writing side.

use std::io::{self, Write};

use oci_spec::image::MediaType;

use crate::{Fault, gzip};

/// How a layer's archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952; several members are one stream.
    #[default]
    Gzip,
    /// RFC 8878; several frames are one stream, skippable ones are skipped.
    Zstd,
}

impl Compression {
    /// The media type of a layer that is compressed so.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    /// The compression that a layer's media type says: those of OCI, the non-distributable ones
    /// (deprecated, to be accepted still) and Docker's. The bytes are never asked.
    ///
    /// # Errors
    /// [`Fault::UnsupportedMediaType`] for all others.
    pub fn of_media_type(media_type: &MediaType) -> Result<Self, Fault> {
        Ok(match media_type.as_ref() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Self::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Self::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::Zstd,
            other => return Err(Fault::UnsupportedMediaType(other.to_owned())),
        })
    }
}

/// Compresses what is written to it; the same bytes always give the same bytes.
#[allow(clippy::large_enum_variant, reason = "there is one for a layer")]
pub(crate) enum Encoder<W: Write> {
    None(W),
    Gzip(gzip::Writer<W>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compression: Compression, level: Option<i32>) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(out),
            Compression::Gzip => {
                let level = u8::try_from(level.unwrap_or(6).clamp(0, 9));
                Self::Gzip(gzip::Writer::new(out, level.expect("it is clamped")))
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level.unwrap_or(3))?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            #[cfg(not(feature = "zstd"))]
            Compression::Zstd => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "built without the feature zstd",
                ));
            }
        })
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(out) => out.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
