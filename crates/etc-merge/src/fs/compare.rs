//! What is no directory, compared on all sides.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use pleach_fs_tree::{Inode, Kind, NodeType, TreePath, Xattrs, read_xattrs};

use super::failed;
use super::known;
use super::open::read_up_to;
use super::origin::{Located, Origin};
use super::stat::{Changed, Stat, open_file, open_special};
use super::walk::{Found, Handle, Inodes, Walker, Worker};
use crate::inode::same_attributes;
use crate::{Error, Sides};

impl Walker<'_> {
    /// All three are there and the same, without anything being read.
    pub(super) fn same_by_stat(&self, w: &mut Worker, found: &Sides<Option<Found>>) -> bool {
        let Sides {
            pristine: Some(pristine),
            current: Some(current),
            new: Some(new),
        } = found
        else {
            return false;
        };
        let (pristine, current, new) = (&pristine.stat, &current.stat, &new.stat);
        if !pristine.same_owner_and_mode(current) || !pristine.same_owner_and_mode(new) {
            return false;
        }
        let before = w.used.len();
        let mut same = |a: &Stat, b: &Stat| {
            a.same_inode(b) || {
                let known = self.known.find(a, b);
                w.used.extend(known.filter(|_| self.learns));
                known.is_some()
            }
        };
        let all = same(pristine, current) && (same(pristine, new) || same(current, new));
        if !all {
            w.used.truncate(before);
        }
        all
    }

    /// What most files are: in the new tree the pristine one's inode, and the machine's copy of it as
    /// it came. Nothing is kept of them, so nothing is made of them either.
    pub(super) fn same_by_reading(
        &self,
        w: &mut Worker,
        found: &Sides<Option<Found>>,
        open: &Sides<Option<OwnedFd>>,
    ) -> bool {
        let (Some(pristine), Some(current), Some(new)) =
            (&found.pristine, &found.current, &found.new)
        else {
            return false;
        };
        let (a, b) = (&pristine.stat, &current.stat);
        let (Some(x), Some(y)) = (&open.pristine, &open.current) else {
            return false;
        };
        let plain = |fd| rustix::fs::flistxattr(fd, &mut [0_u8; 0]) == Ok(0);
        let same = a.node_type == NodeType::File
            && a.same_inode(&new.stat)
            && a.same_owner_and_mode(b)
            && a.size == b.size
            && plain(x)
            && plain(y)
            && same_bytes(x, y, a.size, &mut w.buffers).is_ok_and(|same| same);
        if same {
            self.learn_pair(w, a, b);
        }
        same
    }

    /// Reads what is no directory, and compares the contents.
    pub(super) fn inodes(
        &self,
        w: &mut Worker,
        handles: &Sides<Option<Handle>>,
        entry: &[u8],
        found: Sides<Option<Found>>,
        mut open: Sides<Option<OwnedFd>>,
        path: &TreePath,
    ) -> Result<Inodes, Error> {
        let mut out = Inodes::default();
        let mut files = Sides::<Option<OwnedFd>>::default();
        for origin in Origin::ALL {
            let Some(found_here) = origin.of(&found) else {
                continue;
            };
            let stat = found_here.stat;
            if stat.is_directory() {
                continue;
            }
            // One inode under two names, as in two deployments of one repository, is read once.
            let twin = out.pristine.as_ref().filter(|_| {
                let pristine = found.pristine.filter(|_| origin != Origin::Pristine);
                pristine.is_some_and(|pristine| pristine.stat.same_inode(&stat))
            });
            let located = |class| Located {
                origin: found_here.origin,
                stat: Box::new(stat),
                class,
            };
            if let Some(twin) = twin {
                let metadata = twin.metadata.clone();
                let kind = match &twin.kind {
                    Kind::File(_) => Kind::File(located(0)),
                    kind => kind.clone(),
                };
                *origin.of_mut(&mut out) = Some(Inode { metadata, kind });
                continue;
            }
            let handle = found_here.origin.of(handles).as_ref();
            let open = origin.of_mut(&mut open).take();
            let read = || -> io::Result<(Option<OwnedFd>, Xattrs, Kind<Located>)> {
                let directory = &handle.ok_or(Changed)?.fd;
                let (fd, kind) = match (stat.node_type, open) {
                    (NodeType::File, Some(fd)) => (fd, Kind::File(located(origin as u8))),
                    (NodeType::File, None) => {
                        let fd = open_file(directory, entry, &stat)?;
                        (fd, Kind::File(located(origin as u8)))
                    }
                    (_, open) => {
                        let fd = match open {
                            Some(fd) => fd,
                            None => open_special(directory, entry, &stat)?,
                        };
                        let kind = other(&fd, &stat)?;
                        (fd, kind)
                    }
                };
                let xattrs = read_xattrs(&fd, stat.node_type)?;
                Ok((Some(fd), xattrs, kind))
            };
            let (fd, xattrs, kind) = read().map_err(failed(origin, "read", path))?;
            if stat.node_type == NodeType::File {
                *origin.of_mut(&mut files) = fd;
            }
            let metadata = stat.metadata(xattrs);
            *origin.of_mut(&mut out) = Some(Inode { metadata, kind });
        }
        self.classify(w, &mut out, &files, path)?;
        self.learn(w, &out, &found);
        Ok(out)
    }

    /// Gives each content the number of the first that it equals.
    pub(super) fn classify(
        &self,
        w: &mut Worker,
        inodes: &mut Inodes,
        files: &Sides<Option<OwnedFd>>,
        path: &TreePath,
    ) -> Result<(), Error> {
        let pairs = [
            (Origin::Pristine, Origin::Current),
            (Origin::Pristine, Origin::New),
            (Origin::Current, Origin::New),
        ];
        for (first, second) in pairs {
            let (Some(a), Some(b)) = (located(inodes, first), located(inodes, second)) else {
                continue;
            };
            // One of the two equals an earlier one, which was compared with the other.
            if b.class != second as u8 || a.class != first as u8 {
                continue;
            }
            let same = a.stat.same_inode(&b.stat)
                || a.stat.size == b.stat.size
                    && match (first.of(files), second.of(files)) {
                        _ if self.known.find(&a.stat, &b.stat).is_some() => true,
                        (Some(x), Some(y)) => same_bytes(x, y, a.stat.size, &mut w.buffers)
                            .map_err(failed(second, "read", path))?,
                        _ => false,
                    };
            let class = a.class;
            if same
                && let Some(Inode {
                    kind: Kind::File(b),
                    ..
                }) = second.of_mut(inodes)
            {
                b.class = class;
            }
        }
        Ok(())
    }

    pub(super) fn learn(&self, w: &mut Worker, inodes: &Inodes, found: &Sides<Option<Found>>) {
        if !self.learns {
            return;
        }
        let all = Origin::ALL
            .map(|origin| Some((origin.of(inodes).as_ref()?, origin.of(found).as_ref()?)));
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let (Some((a, at_a)), Some((b, at_b))) = (all[i], all[j]) else {
                continue;
            };
            let same = match (&a.kind, &b.kind) {
                (Kind::File(a), Kind::File(b)) => a.class == b.class,
                (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
                _ => false,
            };
            if same && a.metadata.xattrs == b.metadata.xattrs {
                self.learn_pair(w, &at_a.stat, &at_b.stat);
            }
        }
    }

    fn learn_pair(&self, w: &mut Worker, a: &Stat, b: &Stat) {
        let old = |stat: &Stat| known::old_enough(stat.ctime, self.now, known::MARGIN_OF_OTHERS);
        if self.learns && !a.same_inode(b) && old(a) && old(b) {
            w.pairs.push(known::pair(a, b));
        }
    }
}

fn located(inodes: &Inodes, origin: Origin) -> Option<&Located> {
    match &origin.of(inodes).as_ref()?.kind {
        Kind::File(located) => Some(located),
        _ => None,
    }
}

fn other(fd: &OwnedFd, stat: &Stat) -> io::Result<Kind<Located>> {
    Ok(match stat.node_type {
        NodeType::Symlink => {
            let target = rustix::fs::readlinkat(fd, "", Vec::new())?;
            Kind::Symlink(target.into_bytes().into())
        }
        NodeType::CharDevice => Kind::CharDevice(stat.node),
        NodeType::BlockDevice => Kind::BlockDevice(stat.node),
        NodeType::Fifo => Kind::Fifo,
        NodeType::Socket => Kind::Socket,
        NodeType::Directory | NodeType::File => return Err(Changed.into()),
    })
}

pub(super) fn all_same(inodes: &Inodes) -> bool {
    let Sides {
        pristine: Some(pristine),
        current: Some(current),
        new: Some(new),
    } = inodes
    else {
        return false;
    };
    let same = |a: &Inode<Located>, b: &Inode<Located>| {
        crate::inode::same_content(&a.kind, &b.kind, &|a, b| a.class == b.class)
            && same_attributes(&a.metadata, &b.metadata)
    };
    same(pristine, current) && same(pristine, new)
}

const CHUNK: usize = 64 * 1024;

/// Compares two files of one size.
fn same_bytes(a: &OwnedFd, b: &OwnedFd, size: u64, buffers: &mut [Vec<u8>; 2]) -> io::Result<bool> {
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        for (buffer, fd) in buffers.iter_mut().zip([a, b]) {
            buffer.resize(CHUNK.max(buffer.len()), 0);
            if read_up_to(fd.as_fd(), &mut buffer[..length], at)? != length {
                return Err(Changed.into());
            }
        }
        let [x, y] = &*buffers;
        if x[..length] != y[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}
