//! Inodes as captures and the ledger spell them.

use anyhow::{Context as _, Result, bail};
use pleach_booted_state::model::{Mode, PathEntry, PathType};
use pleach_fs_tree::{Device, Digest, Inode, Kind, Metadata, NodeType, Xattrs, escape, unescape};

/// An inode from its entry.
pub(super) fn inode(entry: &PathEntry) -> Result<Inode<Digest>> {
    let device = || {
        let text = entry
            .device
            .as_deref()
            .context("a device without a number")?;
        let (major, minor) = text
            .split_once(':')
            .context("a device number without a colon")?;
        let (major, minor) = (major.parse()?, minor.parse()?);
        anyhow::Ok(Device { major, minor })
    };
    let kind = match entry.path_type {
        PathType::Directory => Kind::Directory(Default::default()),
        PathType::File => {
            let text = entry.digest.as_deref().context("a file without a digest")?;
            Kind::File(digest(text)?)
        }
        PathType::Symlink => {
            let target = entry.target.as_deref().context("a link without a target")?;
            Kind::Symlink(unescape(target)?.into())
        }
        PathType::CharDevice => Kind::CharDevice(device()?),
        PathType::BlockDevice => Kind::BlockDevice(device()?),
        PathType::Fifo => Kind::Fifo,
        PathType::Socket => Kind::Socket,
    };
    let mut xattrs = Xattrs::new();
    for (name, value) in &entry.xattrs {
        xattrs.insert(unescape(name)?.into(), unescape(value)?.into());
    }
    let metadata = Metadata {
        mode: entry.mode.0,
        uid: entry.uid,
        gid: entry.gid,
        mtime: Default::default(),
        xattrs,
    };
    Ok(Inode { metadata, kind })
}

/// The entry of an inode.
pub(super) fn of(inode: &Inode<Digest>) -> PathEntry {
    let Metadata {
        mode,
        uid,
        gid,
        ref xattrs,
        ..
    } = inode.metadata;
    let xattrs = xattrs.iter().map(|(n, v)| (escape(n), escape(v)));
    let mut entry = PathEntry {
        path_type: path_type(inode.kind.node_type()),
        mode: Mode(mode),
        uid,
        gid,
        size: None,
        digest: None,
        target: None,
        device: None,
        xattrs: xattrs.collect(),
        hard_link: None,
        unlisted: None,
    };
    match &inode.kind {
        Kind::File(digest) => entry.digest = Some(digest.to_string()),
        Kind::Symlink(target) => entry.target = Some(escape(target)),
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            entry.device = Some(format!("{}:{}", device.major, device.minor));
        }
        Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
    }
    entry
}

fn path_type(node_type: NodeType) -> PathType {
    match node_type {
        NodeType::Directory => PathType::Directory,
        NodeType::File => PathType::File,
        NodeType::Symlink => PathType::Symlink,
        NodeType::CharDevice => PathType::CharDevice,
        NodeType::BlockDevice => PathType::BlockDevice,
        NodeType::Fifo => PathType::Fifo,
        NodeType::Socket => PathType::Socket,
    }
}

/// A digest from its text.
pub(super) fn digest(text: &str) -> Result<Digest> {
    let digits = text.strip_prefix("sha256:").filter(|d| d.len() == 64);
    let bytes = digits.map(|digits| -> Option<Vec<u8>> {
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    });
    match bytes.flatten().map(<[u8; 32]>::try_from) {
        Some(Ok(bytes)) => Ok(Digest(bytes)),
        _ => bail!("{text:?} is not sha256: and 64 hexadecimal digits"),
    }
}
