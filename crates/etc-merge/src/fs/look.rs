//! What the three directories have under one name, with as few calls as will do.

use std::os::fd::OwnedFd;

use pleach_fs_tree::TreePath;

use super::failed;
use super::origin::{Origin, SIDES};
use super::stat::{Said, Stat, name, open_and_look};
use super::walk::{Found, Handle, Walker, Worker};
use crate::{Database, Error, Sides};

impl Walker<'_> {
    /// What the sides have under a name. On a mount point of the current tree, and below, it is what
    /// the pristine one has: what is mounted hides the machine's own files, which cannot be seen. A
    /// mounted directory that is in no image is kept, empty: it is there to be mounted on.
    pub(super) fn look(
        &self,
        w: &mut Worker,
        handles: &Sides<Option<Handle>>,
        listed: [Option<Said>; 3],
        entry: &[u8],
        above: &TreePath,
        open: &mut Sides<Option<OwnedFd>>,
    ) -> Result<Sides<Option<Found>>, Error> {
        let mut out = Sides::<Option<Found>>::default();
        // Where nothing is known it will be read anyway: looking at what is open spares a call. Of the
        // new tree most files are the pristine one's inodes, and are not opened at all.
        let read = self.known.is_empty() && listed.iter().all(Option::is_some);
        for origin in Origin::ALL {
            let (Some(said), Some(handle)) = (listed[origin as usize], origin.of(handles)) else {
                continue;
            };
            if handle.origin != origin {
                *origin.of_mut(&mut out) = out.pristine;
                continue;
            }
            if origin == Origin::New
                && let Some(pristine) = self.twin(handles, listed, &out)
            {
                out.new = Some(pristine);
                continue;
            }
            let path = || above.join(&name(entry));
            let opened = (read && origin != Origin::New)
                .then(|| open_and_look(&handle.fd, entry, said.file_type));
            let stat = match opened.flatten() {
                Some((fd, stat)) => {
                    *origin.of_mut(open) = Some(fd);
                    stat
                }
                None => {
                    let stat = Stat::find(&handle.fd, entry);
                    let Some(stat) = stat.map_err(|e| failed(origin, "stat", &path())(e))? else {
                        continue;
                    };
                    stat
                }
            };
            let found = Found {
                stat,
                origin,
                hidden: false,
            };
            let top = origin.of(&self.tops).map(|top| top.stat);
            let found = match top.is_none_or(|top| top.same_mount(&stat)) {
                true => Some(found),
                false if origin != Origin::Current => {
                    let (side, path) = (SIDES[origin as usize], path());
                    return Err(Error::Mounted { side, path });
                }
                false => {
                    *origin.of_mut(open) = None;
                    w.mounts.push(path());
                    let empty = stat.is_directory().then_some(Found {
                        hidden: true,
                        ..found
                    });
                    out.pristine.or(empty)
                }
            };
            *origin.of_mut(&mut out) = found;
        }
        Ok(out)
    }

    /// Two images of one repository share their files. That the new one has the pristine one's inode
    /// the directories say already, so it need not be looked at. (Not so for a mount point; but what
    /// is below it is the image's.)
    fn twin(
        &self,
        handles: &Sides<Option<Handle>>,
        listed: [Option<Said>; 3],
        found: &Sides<Option<Found>>,
    ) -> Option<Found> {
        let [Some(said), _, Some(twin)] = listed else {
            return None;
        };
        let pristine = found.pristine.filter(|found| !found.stat.is_directory())?;
        let (above, new) = (handles.pristine.as_ref()?, handles.new.as_ref()?);
        let one = said.inode == twin.inode
            && pristine.stat.inode == twin.inode
            && above.stat.device == new.stat.device
            && pristine.stat.device == new.stat.device;
        one.then_some(Found {
            origin: Origin::New,
            ..pristine
        })
    }

    /// The kernel must see it also where it is the same on all sides: a stamp is never in a result,
    /// and account files are merged with one another.
    pub(super) fn is_needed(&self, above: &TreePath, entry: &[u8]) -> bool {
        let path = || above.join(&name(entry));
        let mut stamps = self.policies.stamps.iter();
        let mut accounts = Database::ALL.into_iter();
        stamps.any(|stamp| stamp.as_bytes().ends_with(entry) && *stamp == path())
            || accounts.any(|database| database.file_name().as_bytes() == entry)
                && self
                    .policies
                    .covering(&path())
                    .is_some_and(|rule| self.policies.rules[rule].action == crate::Action::Accounts)
    }
}
