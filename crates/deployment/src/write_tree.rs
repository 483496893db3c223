//! A directory into objects of a repository.
//!
//! libostree can do this by itself, but then neither moves `/etc`, nor tells what it could not store, nor
//! leaves out a device.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};
use ostree_ext::glib::{Variant, prelude::*};
use ostree_ext::{gio::Cancellable, gio::prelude::*, ostree};
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::commit::{Unstorable, UnstorableKind};
use crate::error::{Error, Result, io, ostree as failed};
use crate::walk::{TreeLimits, walk};
use crate::xattr;

/// Files up to this many bytes are written in one call.
const INLINE: u64 = 128 << 10;

/// Write `root`, with `etc` as `usr/etc` if `move_etc`; also returns what was left out, in path order.
pub(crate) fn write_tree(
    repo: &ostree::Repo,
    root: &Dir,
    move_etc: bool,
    limits: &TreeLimits,
) -> Result<(ostree::RepoFile, Vec<Unstorable>)> {
    let policy = ostree::SePolicy::new_at(root.as_fd().as_raw_fd(), Cancellable::NONE)
        .map_err(failed("read SELinux policy"))?;
    let tree = ostree::MutableTree::new();
    let mut writer = Writer {
        repo,
        policy: policy.csum().is_some().then_some(policy),
        move_etc,
        directories: HashMap::from([(PathBuf::new(), tree.clone())]),
        linked: HashMap::new(),
        unstorable: Vec::new(),
    };
    let stat = rustix::fs::fstat(root).map_err(io("stat", "."))?;
    writer.directory(root.as_fd(), Path::new(""), &stat, &tree)?;
    walk(root, limits, &mut |parent, path, stat| {
        writer.entry(parent, path, stat)
    })?;
    let mut unstorable = writer.unstorable;
    unstorable.sort_by(|a, b| a.path.cmp(&b.path));
    let file = repo
        .write_mtree(&tree, Cancellable::NONE)
        .map_err(failed("write directory"))?;
    let file = file.downcast().map_err(|_| Error::Ostree {
        operation: "write directory",
        message: "not a repository file".into(),
    })?;
    Ok((file, unstorable))
}

struct Writer<'a> {
    repo: &'a ostree::Repo,
    policy: Option<ostree::SePolicy>,
    move_etc: bool,
    /// By path in the source.
    directories: HashMap<PathBuf, ostree::MutableTree>,
    /// Objects of files with several names, by device and inode.
    linked: HashMap<(u64, u64), String>,
    unstorable: Vec<Unstorable>,
}

impl Writer<'_> {
    fn entry(&mut self, parent: BorrowedFd<'_>, path: &Path, stat: &Stat) -> Result<()> {
        let name = check_name(path)?;
        let checksum = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let tree = self.tree_of(path, name)?;
                self.directory(parent, path, stat, &tree)?;
                self.directories.insert(path.to_owned(), tree);
                return Ok(());
            }
            FileType::RegularFile => self.linked_file(parent, path, stat)?,
            FileType::Symlink => self.symlink(parent, path, stat)?,
            FileType::BlockDevice => return self.leave_out(path, UnstorableKind::BlockDevice),
            FileType::CharacterDevice => {
                return self.leave_out(path, UnstorableKind::CharacterDevice);
            }
            FileType::Fifo => return self.leave_out(path, UnstorableKind::Fifo),
            _ => return self.leave_out(path, UnstorableKind::Socket),
        };
        self.parent_of(path)
            .replace_file(name, &checksum)
            .map_err(failed("add file"))
    }

    fn leave_out(&mut self, path: &Path, kind: UnstorableKind) -> Result<()> {
        self.unstorable.push(Unstorable {
            path: path.to_owned(),
            kind,
        });
        Ok(())
    }

    /// The walk comes to a directory before it comes to what is in it.
    fn parent_of(&self, path: &Path) -> &ostree::MutableTree {
        &self.directories[path.parent().unwrap_or(Path::new(""))]
    }

    /// Where a directory goes.
    fn tree_of(&self, path: &Path, name: &str) -> Result<ostree::MutableTree> {
        let parent = self.parent_of(path);
        match self.move_etc && path == Path::new("etc") {
            true => parent
                .ensure_dir("usr")
                .and_then(|usr| usr.ensure_dir(name)),
            false => parent.ensure_dir(name),
        }
        .map_err(failed("add directory"))
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        path: &Path,
        stat: &Stat,
        tree: &ostree::MutableTree,
    ) -> Result<()> {
        let xattrs = self.xattrs(parent, path, stat)?;
        // ostree's `OSTREE_DIRMETA_GVARIANT_FORMAT`, big-endian.
        let metadata = Variant::tuple_from_iter([
            stat.st_uid.to_be().to_variant(),
            stat.st_gid.to_be().to_variant(),
            stat.st_mode.to_be().to_variant(),
            xattrs,
        ]);
        let checksum = self
            .repo
            .write_metadata(
                ostree::ObjectType::DirMeta,
                None,
                &metadata,
                Cancellable::NONE,
            )
            .map_err(failed("write directory metadata"))?;
        tree.set_metadata_checksum(&checksum.to_hex());
        Ok(())
    }

    fn linked_file(&mut self, parent: BorrowedFd<'_>, path: &Path, stat: &Stat) -> Result<String> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(checksum) = self.linked.get(&key) {
            return Ok(checksum.clone());
        }
        let checksum = self.file(parent, path, stat)?;
        // With a policy, another name can have another label, and so another object.
        if stat.st_nlink > 1 && self.policy.is_none() {
            self.linked.insert(key, checksum.clone());
        }
        Ok(checksum)
    }

    fn file(&mut self, parent: BorrowedFd<'_>, path: &Path, stat: &Stat) -> Result<String> {
        const WRITE: &str = "write file";
        let xattrs = self.xattrs(parent, path, stat)?;
        let name = path.file_name().unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(io("open", path))?;
        let mut file = File::from_std(fd.into());
        let size = stat.st_size as u64;
        let (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode);
        if size <= INLINE {
            let mut content = Vec::with_capacity(size as usize);
            (&mut file)
                .take(INLINE + 1)
                .read_to_end(&mut content)
                .map_err(io("read", path))?;
            let checksum = self
                .repo
                .write_regfile_inline(
                    None,
                    uid,
                    gid,
                    mode,
                    Some(&xattrs),
                    &content,
                    Cancellable::NONE,
                )
                .map_err(failed(WRITE))?;
            return Ok(checksum.into());
        }
        let writer = self
            .repo
            .write_regfile(None, uid, gid, mode, size, Some(&xattrs))
            .map_err(failed(WRITE))?;
        let mut buffer = vec![0; INLINE as usize];
        loop {
            // libostree refuses in `finish` if it is not the announced number of bytes in the end.
            let length = file.read(&mut buffer).map_err(io("read", path))?;
            if length == 0 {
                break;
            }
            let (_, error) = writer
                .write_all(&buffer[..length], Cancellable::NONE)
                .map_err(failed(WRITE))?;
            error.map_or(Ok(()), |e| Err(failed(WRITE)(e)))?;
        }
        let checksum = writer.finish(Cancellable::NONE).map_err(failed(WRITE))?;
        Ok(checksum.into())
    }

    fn symlink(&mut self, parent: BorrowedFd<'_>, path: &Path, stat: &Stat) -> Result<String> {
        let xattrs = self.xattrs(parent, path, stat)?;
        let name = path.file_name().unwrap_or_default();
        let target =
            rustix::fs::readlinkat(parent, name, Vec::new()).map_err(io("read link", path))?;
        let target = target.to_str().map_err(|_| Error::FileName {
            path: path.to_owned(),
            reason: "the link's target is not UTF-8, which ostree asks for",
        })?;
        self.repo
            .write_symlink(
                None,
                stat.st_uid,
                stat.st_gid,
                Some(&xattrs),
                target,
                Cancellable::NONE,
            )
            .map(String::from)
            .map_err(failed("write link"))
    }

    /// As ostree has them: sorted by name, names with the zero byte at their end.
    fn xattrs(&mut self, parent: BorrowedFd<'_>, path: &Path, stat: &Stat) -> Result<Variant> {
        let mut all = xattr::read(parent, path)?;
        if let Some(policy) = &self.policy {
            let label = policy
                .label(&label_path(path), stat.st_mode, Cancellable::NONE)
                .map_err(failed("compute SELinux label"))?;
            if let Some(label) = label {
                let value = [label.as_bytes(), b"\0"].concat();
                all.insert(b"security.selinux".to_vec(), value);
            }
        }
        let mut stored = Vec::new();
        for (mut name, value) in all {
            if value.is_empty() {
                let name = OsStr::from_bytes(&name).to_owned();
                self.leave_out(path, UnstorableKind::EmptyXattr(name))?;
                continue;
            }
            name.push(0);
            stored.push((name, value));
        }
        Ok(stored.to_variant())
    }
}

/// Where the policy looks a path up: `/usr/etc` holds what will be `/etc`.
fn label_path(path: &Path) -> String {
    let place = match path.strip_prefix("usr/etc") {
        Ok(rest) => Path::new("etc").join(rest),
        Err(_) => path.to_owned(),
    };
    // Names were checked to be UTF-8; joining nothing leaves a slash.
    format!("/{}", place.to_string_lossy().trim_end_matches('/'))
}

/// ostree's directory objects hold names as UTF-8, and on checkout `.ostree-wh.NAME` turns into an
/// overlayfs whiteout.
fn check_name(path: &Path) -> Result<&str> {
    let bad = |reason| Error::FileName {
        path: path.to_owned(),
        reason,
    };
    let name = path.file_name().unwrap_or_default().to_str();
    match name.ok_or_else(|| bad("the name is not UTF-8, which ostree asks for"))? {
        name if name.starts_with(".ostree-wh.") => {
            Err(bad("ostree would turn a file of this name into a whiteout"))
        }
        name => Ok(name),
    }
}
