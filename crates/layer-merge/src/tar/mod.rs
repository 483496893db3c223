//! The archive format: POSIX.1-2017 pax, with the GNU, star and libarchive extensions that layers
//! really have.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod header;
pub(crate) mod member;
pub(crate) mod pax;
pub(crate) mod sparse;

pub(crate) const BLOCK: usize = 512;

/// Bytes of padding after that many bytes of content.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
