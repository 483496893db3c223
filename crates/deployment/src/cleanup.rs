//! Which deployments stay; and what no entry leads to goes: deployments, kernels, and objects that no
//! deployment or branch needs.
//!
//! libostree does the same in its `cleanup`, and each time, whatever there is to do: it makes the whole
//! repository durable, writes all refs anew, and looks at every object.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use ostree_ext::gio::Cancellable;
use ostree_ext::ostree;

use crate::boot_entry::BootEntry;
use crate::commit::Checksum;
use crate::deploy::Deployment;
use crate::error::{Error, Result, io, ostree as failed};
use crate::loader::{LOADER, Loader, gone, names};
use crate::stage::{Writer, seal};
use crate::sysroot::{Sysroot, stateroot_path};
use crate::walk::open_dir;
use crate::{kernel, record};

impl Writer<'_> {
    /// The deployments that are neither the default, nor the one before it in its stateroot, nor pinned, nor
    /// one of `also`. The last deployment of a stateroot is not among them: its `/var` would be nobody's.
    pub fn not_kept(&self, also: &[PathBuf]) -> Result<Vec<Deployment>> {
        let all = self.sysroot.deployments()?;
        let mut newer = BTreeMap::<&str, u32>::new();
        let mut lost = Vec::new();
        for found in &all {
            let before = newer.entry(&found.stateroot).or_default();
            let most = match found.stateroot == all[0].stateroot {
                true => 2,
                false => 1,
            };
            let kept = *before < most || found.pinned || also.contains(&found.path);
            *before += 1;
            if !kept {
                lost.push(found.clone());
            }
        }
        Ok(lost)
    }

    /// Remove all that is [not kept](Self::not_kept). A deployment that is staged and not finalized is
    /// removed too.
    pub fn keep(&self, also: &[PathBuf]) -> Result<()> {
        self.remove(&self.not_kept(also)?)
    }

    /// Remove deployments, and what only they needed.
    pub fn remove(&self, lost: &[Deployment]) -> Result<()> {
        let loader = Loader::open(self.sysroot.dir(), self.sysroot.durable())?;
        let mut entries = loader.entries()?;
        let mut seen = BTreeSet::new();
        // Of two entries of one deployment the later one counts.
        entries.retain(|entry| {
            let target = self.sysroot.target(entry);
            let lost = lost.iter().any(|d| target.as_deref() == Some(&d.path));
            lost || !seen.insert(target)
        });
        loader.remove(&entries)?;
        self.sysroot.touch()?;
        self.collect()
    }

    /// Remove a stateroot with all its deployments, and its `/var` with all data.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the default deployment is one of it.
    pub fn remove_stateroot(&self, name: &str) -> Result<()> {
        self.sysroot.require_stateroot(name)?;
        let all = self.sysroot.deployments()?;
        if all.first().is_some_and(|d| d.stateroot == name) {
            return Err(Error::Invalid {
                what: "stateroot",
                value: name.into(),
                reason: "is the one that the machine boots".into(),
            });
        }
        let lost: Vec<_> = all.into_iter().filter(|d| d.stateroot == name).collect();
        self.remove(&lost)?;
        let path = stateroot_path(name);
        self.sysroot
            .dir()
            .remove_dir_all(&path)
            .map_err(io("remove", path))
    }

    /// Remove what no entry leads to.
    ///
    /// Objects are looked for where a commit is there that no ref leads to: that takes as long as the
    /// repository is large. What an interrupted run may have left besides waits until then, or for
    /// [`Writer::prune`].
    pub(crate) fn collect(&self) -> Result<()> {
        let sysroot = self.sysroot;
        let loader = Loader::open(sysroot.dir(), sysroot.durable())?;
        let (entries, deployments) = (loader.entries()?, sysroot.deployments()?);
        sysroot.remove_other_versions(&loader)?;
        sysroot.remove_deployments(&deployments)?;
        sysroot.remove_kernels(&entries)?;
        sysroot.write_refs(&loader, &deployments)?;
        match sysroot.has_commit_of_no_ref()? {
            true => self.prune(),
            false => Ok(()),
        }
    }

    /// Look at every object of the repository, and delete those that no deployment or branch needs.
    ///
    /// # Errors
    /// When the repository cannot be read or written; what it has is whole then.
    pub fn prune(&self) -> Result<()> {
        let flags = ostree::RepoPruneFlags::REFS_ONLY;
        let pruned = self.sysroot.repo().prune(flags, 0, Cancellable::NONE);
        pruned.map(drop).map_err(failed("prune repository"))
    }
}

impl Sysroot {
    /// What libostree left of the entries and links that were current before its last switch.
    fn remove_other_versions(&self, loader: &Loader<'_>) -> Result<()> {
        let other = |version| if version == "0" { "1" } else { "0" };
        let (version, sub) = loader.versions();
        let (old, old_sub) = (other(version), other(sub));
        for path in [
            format!("{LOADER}.{old}"),
            format!("ostree/boot.{old}"),
            format!("ostree/boot.{old}.0"),
            format!("ostree/boot.{old}.1"),
            format!("ostree/boot.{version}.{old_sub}"),
        ] {
            match self.dir().symlink_metadata(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                found => match found.map_err(io("stat", &path))?.is_dir() {
                    true => remove_all(self.dir(), Path::new(&path))?,
                    false => gone(self.dir().remove_file(&path)).map_err(io("remove", &path))?,
                },
            }
        }
        Ok(())
    }

    /// Deployments that no entry boots, and what stands beside one that is gone.
    fn remove_deployments(&self, kept: &[Deployment]) -> Result<()> {
        for stateroot in self.stateroots()? {
            let path = PathBuf::from(stateroot_path(&stateroot)).join("deploy");
            let Ok(dir) = open_dir(self.dir(), &path) else {
                continue;
            };
            for name in names(&dir, &path)? {
                let text = name.to_string_lossy();
                // CHECKSUM.SERIAL, and behind that what a file beside it is for.
                let parts: Vec<&str> = text.splitn(3, '.').collect();
                let [checksum, serial, ..] = parts[..] else {
                    continue;
                };
                let root = path.join(format!("{checksum}.{serial}"));
                let stays = kept.iter().any(|deployment| deployment.path == root);
                if stays || checksum.parse::<Checksum>().is_err() {
                    continue;
                }
                match parts.get(2) {
                    None => {
                        let opened = open_dir(self.dir(), &root)?;
                        if !self.is_booted(&opened)? {
                            seal(&opened, &root, false)?;
                            remove_all(self.dir(), &root)?;
                        }
                    }
                    Some(&"origin") => {
                        gone(dir.remove_file(&name)).map_err(io("remove", path.join(&name)))?;
                    }
                    Some(_) => record::remove(self.dir(), &root)?,
                }
            }
        }
        Ok(())
    }

    /// Kernels that no entry names.
    fn remove_kernels(&self, entries: &[BootEntry]) -> Result<()> {
        let path = Path::new(kernel::FOLDERS);
        let Ok(dir) = open_dir(self.dir(), path) else {
            return Ok(());
        };
        let named: BTreeSet<String> = entries
            .iter()
            .filter_map(BootEntry::link)
            .map(|(stateroot, name, _)| format!("{stateroot}-{name}"))
            .collect();
        for name in names(&dir, path)? {
            if !named.contains(&*name.to_string_lossy()) {
                remove_all(self.dir(), &path.join(name))?;
            }
        }
        Ok(())
    }

    /// Has one ref for each deployment, by which libostree keeps its objects, and no other one:
    /// `ostree/BOOTVERSION/SUBBOOTVERSION/INDEX`.
    fn write_refs(&self, loader: &Loader<'_>, deployments: &[Deployment]) -> Result<()> {
        const PREFIX: &str = "ostree";
        let repo = self.repo();
        let found = repo
            .list_refs_ext(
                Some(PREFIX),
                ostree::RepoListRefsExtFlags::NONE,
                Cancellable::NONE,
            )
            .map_err(failed("list refs"))?;
        let (version, sub) = loader.versions();
        let wanted = |index: usize| format!("{PREFIX}/{version}/{sub}/{index}");
        let set = |name: &str, commit: Option<&str>| {
            repo.set_ref_immediate(None, name, commit, Cancellable::NONE)
                .map_err(failed("write ref"))
        };
        for (index, deployment) in deployments.iter().enumerate() {
            let (name, commit) = (wanted(index), deployment.checksum.as_str());
            if found.get(&*name).is_none_or(|now| now != commit) {
                set(&name, Some(commit))?;
            }
        }
        for name in found.keys() {
            // Not a branch of somebody's that happens to begin so.
            let ours = name
                .split('/')
                .skip(1)
                .all(|part| part.parse::<u32>().is_ok());
            if ours && !(0..deployments.len()).any(|index| wanted(index) == **name) {
                set(name, None)?;
            }
        }
        Ok(())
    }

    /// Whether the repository has a commit that nothing keeps.
    fn has_commit_of_no_ref(&self) -> Result<bool> {
        let refs = self
            .repo()
            .list_refs(None, Cancellable::NONE)
            .map_err(failed("list refs"))?;
        let kept: BTreeSet<&str> = refs.values().map(|commit| &**commit).collect();
        let path = Path::new("ostree/repo/objects");
        let objects = open_dir(self.dir(), path)?;
        for first in names(&objects, path)? {
            let shown = path.join(&first);
            for name in names(&open_dir(&objects, &first)?, &shown)? {
                let name = name.to_string_lossy();
                if let Some(rest) = name.strip_suffix(".commit")
                    && !kept.contains(&*format!("{}{rest}", first.to_string_lossy()))
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Removes a directory with all that is in it.
fn remove_all(dir: &Dir, path: &Path) -> Result<()> {
    gone(dir.remove_dir_all(path)).map_err(io("remove", path))
}
