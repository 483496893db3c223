//! What an archive says about one path, checked: names, owners, attributes and links that a tree can
//! have.

use pleach_fs_tree::{Device, FileContent, Inode, Kind, Metadata, TreePath, escape};

use crate::options::XattrAction;
use crate::tar::member::{Member, Type};
use crate::whiteout::{Meaning, PREFIX, meaning};
use crate::{Fault, Limits, MergeOptions};

/// As many as Linux has (kdev_t.h).
const MAJOR_BITS: u32 = 12;
const MINOR_BITS: u32 = 20;

/// What an entry does to its path.
#[derive(Debug, Clone)]
pub(crate) enum Action<C> {
    /// Hides what lower layers have there.
    Whiteout,
    /// Hides what lower layers have in this directory.
    Opaque,
    /// Puts something there.
    Put(Inode<C>),
    /// Gives what is at another path one more name.
    Link(TreePath),
}

/// An entry before the content of a file is known.
pub(crate) enum Checked {
    /// It means nothing.
    Skip,
    /// A file: put it there when its content has come.
    File(TreePath, Metadata),
    /// Everything else.
    Other(TreePath, Action<std::convert::Infallible>),
}

/// Checks an entry; `note` is told what is left out. `layer` says whether names can be whiteouts.
pub(crate) fn check(
    member: Member,
    layer: bool,
    options: &MergeOptions,
    note: &mut dyn FnMut(String),
) -> Result<Checked, Fault> {
    let limits = &options.limits;
    let path = clean(&member.path, layer, limits)?;
    let slash = member.path.ends_with(b"/") || member.path.ends_with(b"/.");
    let meaning = if layer {
        meaning(&path)?
    } else {
        Meaning::Plain
    };
    let hides = match meaning {
        Meaning::Plain => None,
        Meaning::Aufs => {
            note("metadata of aufs".to_owned());
            return Ok(Checked::Skip);
        }
        Meaning::Whiteout(hidden) => Some((hidden, Some(Action::Whiteout))),
        Meaning::Opaque(directory) => Some((directory, Some(Action::Opaque))),
        Meaning::Nothing => Some((TreePath::root(), None)),
    };
    if let Some((path, action)) = hides {
        if member.kind != Type::File || slash {
            return Err(Fault::BadWhiteout("it is no regular file"));
        }
        if member.size > 0 {
            note("content of a whiteout".to_owned());
        }
        return Ok(match action {
            Some(action) => Checked::Other(path, action),
            None => {
                note("a whiteout of a name that cannot be".to_owned());
                Checked::Skip
            }
        });
    }
    if path.is_root() && member.kind != Type::Directory {
        return Err(Fault::RootType);
    }
    if member.kind == Type::File && slash {
        return Err(Fault::BadPath("a regular file with a slash at its end"));
    }
    for keyword in &member.ignored {
        note(format!("PAX record {keyword}"));
    }
    let kind = match member.kind {
        Type::File => None,
        Type::Directory => Some(Kind::Directory(Default::default())),
        Type::Symlink => Some(Kind::Symlink(target(&member.link, limits)?)),
        Type::Fifo => Some(Kind::Fifo),
        Type::CharDevice => match device(&member)? {
            // What overlayfs takes for a whiteout.
            Device { major: 0, minor: 0 } => {
                let what = "character device 0:0".to_owned();
                return Err(Fault::UnsupportedType(what));
            }
            device => Some(Kind::CharDevice(device)),
        },
        Type::BlockDevice => Some(Kind::BlockDevice(device(&member)?)),
        Type::HardLink => {
            let target = link_target(&member.link, limits)?;
            // The inode has its metadata already; those of this entry are ignored.
            return Ok(Checked::Other(path, Action::Link(target)));
        }
    };
    let metadata = metadata(member, options, note)?;
    Ok(match kind {
        Some(kind) => Checked::Other(path, Action::Put(Inode { metadata, kind })),
        None => Checked::File(path, metadata),
    })
}

fn limit(what: &'static str, limit: usize) -> Fault {
    let limit = limit as u64;
    Fault::Limit { what, limit }
}

/// A path of an archive as a path of the tree: leading, doubled and final slashes and components
/// `.` mean nothing, and a component `..` is refused wherever it stands.
fn clean(path: &[u8], layer: bool, limits: &Limits) -> Result<TreePath, Fault> {
    if path.is_empty() {
        return Err(Fault::BadPath("empty"));
    }
    if path.contains(&0) {
        return Err(Fault::BadPath("it has a NUL byte"));
    }
    if path.len() > limits.path {
        return Err(limit("bytes of a path", limits.path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut depth = 0;
    for component in path.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Fault::PathEscape),
            // The name that a whiteout hides may be as long as any.
            name if layer
                && name.starts_with(PREFIX)
                && name.len() - PREFIX.len() <= limits.name => {}
            name if name.len() > limits.name => return Err(limit("bytes of a name", limits.name)),
            _ => {}
        }
        if depth > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(component);
        depth += 1;
    }
    if depth > limits.depth {
        return Err(limit("components of a path", limits.depth));
    }
    TreePath::new(out).map_err(|_| Fault::BadPath("no path of a tree"))
}

fn bad_link(link: &[u8], why: &'static str) -> Fault {
    Fault::BadLink {
        target: escape(link),
        why,
    }
}

/// The target of a symbolic link; it may lead anywhere, since nobody follows it outside the image.
fn target(link: &[u8], limits: &Limits) -> Result<Box<[u8]>, Fault> {
    if link.is_empty() {
        return Err(bad_link(link, "empty"));
    }
    if link.contains(&0) {
        return Err(bad_link(link, "it has a NUL byte"));
    }
    if link.len() > limits.link_target {
        return Err(limit(
            "bytes of a symbolic link's target",
            limits.link_target,
        ));
    }
    Ok(link.into())
}

/// The target of a hard link: a path of the image, written like any other.
fn link_target(link: &[u8], limits: &Limits) -> Result<TreePath, Fault> {
    let path = clean(link, false, limits).map_err(|fault| match fault {
        Fault::PathEscape => bad_link(link, "it leaves the image: it has a component .."),
        Fault::BadPath(why) => bad_link(link, why),
        other => other,
    })?;
    if path.is_root() {
        return Err(bad_link(link, "a directory has only one name"));
    }
    Ok(path)
}

fn device(member: &Member) -> Result<Device, Fault> {
    let number = |number: u64, bits: u32, what| {
        let limit = (1 << bits) - 1;
        let fits = u32::try_from(number)
            .ok()
            .filter(|&n| u64::from(n) <= limit);
        fits.ok_or(Fault::Limit { what, limit })
    };
    Ok(Device {
        major: number(member.major, MAJOR_BITS, "major number of a device")?,
        minor: number(member.minor, MINOR_BITS, "minor number of a device")?,
    })
}

fn metadata(
    member: Member,
    options: &MergeOptions,
    note: &mut dyn FnMut(String),
) -> Result<Metadata, Fault> {
    let limits = &options.limits;
    if member.xattrs.len() > limits.xattrs {
        return Err(limit("extended attributes of an inode", limits.xattrs));
    }
    let mut metadata = Metadata {
        // Linux has no other for symbolic links (symlink(7)); what archives say differs by writer.
        mode: match member.kind {
            Type::Symlink => 0o777,
            _ => member.mode,
        },
        uid: member.uid,
        gid: member.gid,
        mtime: member.mtime,
        ..Metadata::default()
    };
    for (name, value) in member.xattrs {
        if xattr(member.kind, &name, &value, options)? {
            metadata.xattrs.insert(name, value);
        } else {
            note(format!("extended attribute {}", escape(&name)));
        }
    }
    Ok(metadata)
}

/// Whether an extended attribute is kept.
fn xattr(kind: Type, name: &[u8], value: &[u8], options: &MergeOptions) -> Result<bool, Fault> {
    let limits = &options.limits;
    let bad = |why| Fault::BadXattr {
        name: escape(name),
        why,
    };
    if let Some(why) = crate::xattr::fault(kind, name, value) {
        return Err(bad(why));
    }
    if name.len() > limits.xattr_name {
        let what = "bytes of an extended attribute's name";
        return Err(limit(what, limits.xattr_name));
    }
    if value.len() > limits.xattr_value {
        let what = "bytes of an extended attribute's value";
        return Err(limit(what, limits.xattr_value));
    }
    // Linux has user attributes for files and directories alone (xattr(7)).
    let possible = matches!(kind, Type::File | Type::Directory) || !name.starts_with(b"user.");
    match options.xattr(name) {
        XattrAction::Keep => Ok(possible),
        XattrAction::Drop => Ok(false),
        XattrAction::Refuse => Err(bad("an image must not have it")),
    }
}

/// Whether [`check`] could have said this of an entry of a layer.
pub(crate) fn is_possible<C>(
    path: &TreePath,
    action: &Action<C>,
    content: impl Fn(&C) -> FileContent,
    options: &MergeOptions,
) -> bool {
    let limits = &options.limits;
    let named =
        |path: &TreePath, layer| path.is_root() || clean(path.as_bytes(), layer, limits).is_ok();
    let plain = matches!(meaning(path), Ok(Meaning::Plain));
    let inode = match action {
        Action::Whiteout => return !path.is_root() && plain && named(path, true),
        Action::Opaque => return plain && named(path, true),
        Action::Link(target) => {
            return !path.is_root()
                && plain
                && named(path, true)
                && !target.is_root()
                && named(target, false);
        }
        Action::Put(inode) => inode,
    };
    let device = |device: &Device| device.major < 1 << MAJOR_BITS && device.minor < 1 << MINOR_BITS;
    let metadata = &inode.metadata;
    let (kind, possible) = match &inode.kind {
        Kind::Directory(entries) => (Type::Directory, entries.is_empty()),
        Kind::File(file) => {
            let content = content(file);
            let digest = content.digest.is_some() == options.file_digests;
            (Type::File, digest && content.size <= limits.file)
        }
        Kind::Symlink(link) => {
            let possible = metadata.mode == 0o777 && target(link, limits).is_ok();
            (Type::Symlink, possible)
        }
        Kind::CharDevice(number) => {
            let whiteout = *number == Device { major: 0, minor: 0 };
            (Type::CharDevice, !whiteout && device(number))
        }
        Kind::BlockDevice(number) => (Type::BlockDevice, device(number)),
        Kind::Fifo => (Type::Fifo, true),
        Kind::Socket => return false,
    };
    let mut xattrs = metadata.xattrs.iter();
    possible
        && plain
        && named(path, true)
        && (kind == Type::Directory || !path.is_root())
        && metadata.mode <= 0o7777
        && metadata.uid != u32::MAX
        && metadata.gid != u32::MAX
        && metadata.mtime.nanoseconds < 1_000_000_000
        && metadata.xattrs.len() <= limits.xattrs
        && xattrs.all(|(name, value)| xattr(kind, name, value, options).is_ok_and(|kept| kept))
}

/// What is no regular file, for a tree with any contents.
pub(crate) fn without_content<C>(action: Action<std::convert::Infallible>) -> Action<C> {
    match action {
        Action::Whiteout => Action::Whiteout,
        Action::Opaque => Action::Opaque,
        Action::Link(target) => Action::Link(target),
        Action::Put(Inode { metadata, kind }) => {
            let kind = match kind {
                Kind::File(never) => match never {},
                // A new entry has no children.
                Kind::Directory(_) => Kind::Directory(Default::default()),
                Kind::Symlink(target) => Kind::Symlink(target),
                Kind::CharDevice(device) => Kind::CharDevice(device),
                Kind::BlockDevice(device) => Kind::BlockDevice(device),
                Kind::Fifo => Kind::Fifo,
                Kind::Socket => Kind::Socket,
            };
            Action::Put(Inode { metadata, kind })
        }
    }
}
