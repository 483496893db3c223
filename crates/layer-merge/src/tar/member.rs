//! One entry: its header and what extended headers say about it, as values.

use pleach_fs_tree::{Timestamp, Xattrs};

use super::header::{self, Header};
use super::pax::Extended;
use crate::Fault;

/// What an entry is, as its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// An entry with all that extended headers say about it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: Box<[u8]>,
    pub(crate) kind: Type,
    pub(crate) link: Box<[u8]>,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    /// Bytes of a file, holes included.
    pub(crate) size: u64,
    pub(crate) xattrs: Xattrs,
    /// Keywords of PAX records that are not understood.
    pub(crate) ignored: Vec<String>,
}

impl Member {
    /// Bytes that are kept of it, besides content.
    pub(crate) fn metadata_bytes(&self) -> u64 {
        let xattrs = self.xattrs.iter().map(|(k, v)| k.len() + v.len());
        (self.path.len() + self.link.len() + xattrs.sum::<usize>()) as u64
    }
}

/// The path of an entry: of all that may say it, the last word of the newest format.
pub(crate) fn path(block: &Header, extended: &mut Extended, gnu: Option<Box<[u8]>>) -> Box<[u8]> {
    let sparse = extended.sparse.remove(b"name".as_slice());
    let path = sparse.or(extended.path.take()).or(gnu);
    path.unwrap_or_else(|| name(block))
}

/// Everything else; also how many bytes follow the header.
pub(crate) fn read(
    block: &Header,
    path: Box<[u8]>,
    extended: &mut Extended,
    gnu_link: Option<Box<[u8]>>,
) -> Result<(Member, u64), Fault> {
    let kind = match block.0[header::TYPE] {
        // Before POSIX a slash at the end was all that told a directory.
        0 if path.ends_with(b"/") => Type::Directory,
        0 | b'0' | b'7' | b'S' => Type::File,
        b'1' => Type::HardLink,
        b'2' => Type::Symlink,
        b'3' => Type::CharDevice,
        b'4' => Type::BlockDevice,
        b'5' => Type::Directory,
        b'6' => Type::Fifo,
        other => {
            let name = format!("{:?}", char::from(other));
            return Err(Fault::UnsupportedType(name));
        }
    };
    let stored = extended
        .size
        .map_or_else(|| block.unsigned(header::SIZE, "size"), Ok)?;
    // A directory's size is an allocation hint, a device's is undefined (POSIX, ustar); a link's
    // must be 0, and readers differ on whether data follows one that is not.
    if matches!(kind, Type::HardLink | Type::Symlink) && stored != 0 {
        return Err(Fault::BadHeader("a link with a size"));
    }
    let has_device = matches!(kind, Type::CharDevice | Type::BlockDevice)
        && block.0[header::MAGIC].starts_with(b"ustar");
    let device = |extended: Option<u64>, field, what| match extended {
        Some(number) => Ok(number),
        None if has_device => block.unsigned(field, what),
        None => Ok(0),
    };
    let id = |extended: Option<u64>, field, what| {
        let id = extended.map_or_else(|| block.unsigned(field, what), Ok)?;
        // The highest one means "leave it as it is" to chown(2).
        let id = u32::try_from(id).ok().filter(|&id| id != u32::MAX);
        id.ok_or(Fault::BadHeader(what))
    };
    let mtime = || {
        let seconds = block.number(header::MTIME);
        seconds.map(Timestamp::from_seconds)
    };
    let link = extended.link.take().or(gnu_link);
    let mode = block.unsigned(header::MODE, "mode")? & 0o7777;
    let member = Member {
        path,
        kind,
        link: link.unwrap_or_else(|| block.text(header::LINK).into()),
        mode: u16::try_from(mode).expect("12 bits"),
        uid: id(extended.uid, header::UID, "uid")?,
        gid: id(extended.gid, header::GID, "gid")?,
        mtime: extended
            .mtime
            .or_else(mtime)
            .ok_or(Fault::BadHeader("mtime"))?,
        major: device(extended.major, header::MAJOR, "major")?,
        minor: device(extended.minor, header::MINOR, "minor")?,
        size: if kind == Type::File { stored } else { 0 },
        xattrs: std::mem::take(&mut extended.xattrs),
        ignored: std::mem::take(&mut extended.ignored),
    };
    Ok((member, stored))
}

/// The path of the header itself: name, and in POSIX archives a prefix.
fn name(block: &Header) -> Box<[u8]> {
    let name = block.text(header::NAME);
    let posix = block.0[header::MAGIC].starts_with(b"ustar\0");
    let star = &block.0[header::STAR_MAGIC] == b"tar\0";
    let prefix = match (posix, star) {
        (false, _) => b"",
        (true, true) => block.text(header::STAR_PREFIX),
        (true, false) => block.text(header::PREFIX),
    };
    match prefix {
        b"" => name.into(),
        prefix => [prefix, b"/", name].concat().into(),
    }
}
