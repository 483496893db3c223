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
use crate::walk::{open_at, open_dir, open_dir_if_there};
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
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no boot loader entry and there are deployments: its file system may
    /// not be mounted. Nothing is removed then.
    pub fn remove(&self, lost: &[Deployment]) -> Result<()> {
        let (sysroot, roots) = (self.sysroot, self.sysroot.roots()?);
        if sysroot.boot_entries()?.is_empty() && !roots.is_empty() {
            return Err(Error::Invalid {
                what: "sysroot",
                value: roots[0].display().to_string(),
                reason: "no boot loader entry boots a deployment: is /boot mounted?".into(),
            });
        }
        let loader = Loader::open(sysroot.dir(), sysroot.durable())?;
        let mut entries = loader.entries()?;
        let mut seen = BTreeSet::new();
        // Of two entries of one deployment the later one counts. Those of other systems stay.
        entries.retain(|entry| {
            let target = sysroot.target(entry);
            target
                .is_some_and(|target| lost.iter().any(|d| target == d.path) || !seen.insert(target))
        });
        loader.remove(&entries)?;
        sysroot.touch()?;
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
        // First: they are what keeps the objects of a new deployment, whatever fails after it.
        sysroot.write_refs(&loader, &deployments)?;
        sysroot.remove_other_versions(&loader)?;
        sysroot.remove_deployments(&deployments)?;
        sysroot.remove_kernels(&entries)?;
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

    /// Roots of deployments, whether an entry boots them or not: `CHECKSUM.SERIAL`.
    fn roots(&self) -> Result<Vec<PathBuf>> {
        let mut roots = Vec::new();
        for (path, name) in self.beside_deployments()? {
            let root = path.join(&name);
            let found = self.dir().symlink_metadata(&root);
            if deployment(&name) == Some(&name) && found.is_ok_and(|found| found.is_dir()) {
                roots.push(root);
            }
        }
        Ok(roots)
    }

    /// The root of the deployment that this process runs in, if it is one of this sysroot: see
    /// [`with_running_root`](Self::with_running_root).
    ///
    /// # Errors
    /// When deployments cannot be looked at.
    pub fn running_deployment(&self) -> Result<Option<PathBuf>> {
        for root in self.roots()? {
            if self.is_running(&open_dir(self.dir(), &root)?)? {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// Names in the folders of deployments, in order, with the folders.
    fn beside_deployments(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for stateroot in self.stateroots()? {
            let path = PathBuf::from(stateroot_path(&stateroot)).join("deploy");
            let names = names_if_there(self.dir(), &path)?;
            found.extend(names.into_iter().map(|name| (path.clone(), name)));
        }
        Ok(found)
    }

    /// Deployments that no entry boots, and what stands beside one that is gone.
    fn remove_deployments(&self, kept: &[Deployment]) -> Result<()> {
        let kept = |root: &Path| kept.iter().any(|deployment| deployment.path == root);
        for root in self.roots()? {
            let opened = open_dir(self.dir(), &root)?;
            if !kept(&root) && !self.is_running(&opened)? {
                seal(&opened, &root, false)?;
                remove_all(self.dir(), &root)?;
            }
        }
        let roots = self.roots()?;
        for (path, name) in self.beside_deployments()? {
            let Some(of) = deployment(&name) else {
                continue;
            };
            let root = path.join(of);
            if roots.contains(&root) {
                continue;
            }
            match &name[of.len()..] {
                ".origin" => gone(self.dir().remove_file(path.join(&name)))
                    .map_err(io("remove", path.join(&name)))?,
                ".pleach.json" => record::remove(self.dir(), &root)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Kernels that no entry names: `STATEROOT-CHECKSUM`, and nothing else that ostree has there.
    fn remove_kernels(&self, entries: &[BootEntry]) -> Result<()> {
        let path = Path::new(kernel::FOLDERS);
        let named: BTreeSet<String> = entries
            .iter()
            .filter_map(BootEntry::link)
            .map(|(stateroot, name, _)| format!("{stateroot}-{name}"))
            .collect();
        for name in names_if_there(self.dir(), path)? {
            let checksum = name.rsplit_once('-').map(|(_, checksum)| checksum);
            let is_kernel = checksum.is_some_and(|text| text.parse::<Checksum>().is_ok());
            if is_kernel && !named.contains(&name) {
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
            let parts: Vec<&str> = name.split('/').collect();
            let is_version = |part: &str| ["0", "1"].contains(&part);
            let is_one = matches!(parts[..], [_, version, sub, index]
                if is_version(version) && is_version(sub) && index.parse::<u32>().is_ok());
            if is_one && !(0..deployments.len()).any(|index| wanted(index) == **name) {
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
            let folder = rustix::fs::Dir::new(open_at(&objects, &first, &shown)?);
            for entry in folder.map_err(io("read directory", &shown))? {
                let entry = entry.map_err(io("read directory", &shown))?;
                let name = entry.file_name().to_string_lossy();
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

/// The part of a name that is a deployment's: `CHECKSUM.SERIAL`, and behind it what is beside it.
fn deployment(name: &str) -> Option<&str> {
    let (checksum, rest) = name.split_once('.')?;
    let serial = rest.split('.').next()?;
    let is_one = checksum.parse::<Checksum>().is_ok() && serial.parse::<u32>().is_ok();
    is_one.then(|| &name[..checksum.len() + 1 + serial.len()])
}

/// Names in a directory, in order; none where it is not there. What is no text is none of ours.
fn names_if_there(dir: &Dir, path: &Path) -> Result<Vec<String>> {
    let Some(dir) = open_dir_if_there(dir, path)? else {
        return Ok(Vec::new());
    };
    Ok(names(&dir, path)?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// Removes a directory with all that is in it.
fn remove_all(dir: &Dir, path: &Path) -> Result<()> {
    gone(dir.remove_dir_all(path)).map_err(io("remove", path))
}
