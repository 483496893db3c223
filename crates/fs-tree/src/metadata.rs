//! What an inode carries besides its content.

use std::collections::BTreeMap;

/// Extended attributes by name; both name and value are bytes, and a value may be empty.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// A point in time: seconds since the epoch (before it: negative) and nanoseconds, 0 to 999,999,999,
/// counted forwards from that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds on top of the seconds.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// A whole second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Device {
    /// Major number (Linux: 12 bits).
    pub major: u32,
    /// Minor number (Linux: 20 bits).
    pub minor: u32,
}

/// Mode, owner, modification time and extended attributes of an inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: `0o0000` to `0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// All extended attributes that whoever read the tree was asked to read.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// Metadata of root's: the given mode, owner 0:0, epoch, no extended attributes.
    pub fn with_mode(mode: u16) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }
}
