//! A commit into a bootable deployment.

use std::path::PathBuf;

use ostree_ext::container::OstreeImageReference;
use ostree_ext::container::deploy::ORIGIN_CONTAINER;
use ostree_ext::gio::Cancellable;
use ostree_ext::glib::KeyFile;
use ostree_ext::ostree;

use crate::boot_entry::BootEntry;
use crate::commit::Checksum;
use crate::error::{Error, Result, ostree as failed};
use crate::kargs_d;
use crate::kernel_arguments::KernelArguments;
use crate::walk::open_dir;
use crate::{Sysroot, var};

/// What to deploy, and where.
#[derive(Debug, Clone)]
pub struct DeployOptions {
    /// Stateroot, made before with [`Sysroot::init_stateroot`].
    pub stateroot: String,
    /// The commit.
    pub commit: Checksum,
    /// Appended to those that the image brings in `kargs.d`. `ostree=` is not yours to give.
    pub kernel_arguments: KernelArguments,
    /// How to read the image's `kargs.d`.
    pub kargs_d: kargs_d::Options,
    /// Where the commit is from.
    pub origin: Origin,
}

impl DeployOptions {
    /// No kernel arguments of the caller's.
    pub fn new(stateroot: &str, commit: Checksum, origin: Origin) -> Self {
        Self {
            stateroot: stateroot.into(),
            commit,
            kernel_arguments: KernelArguments::new(),
            kargs_d: kargs_d::Options::default(),
            origin,
        }
    }
}

/// Where a deployment's updates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// `container-image-reference`, spelled as ostree-ext and bootc do:
    /// `ostree-unverified-registry:HOST/NAME:TAG`, `ostree-unverified-image:oci:DIR`, …
    ContainerImage(String),
    /// `refspec`: a branch of the repository, or `REMOTE:BRANCH`.
    Refspec(String),
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The stateroot that it is in.
    pub stateroot: String,
    /// Its commit.
    pub checksum: Checksum,
    /// Tells deployments of one commit apart.
    pub serial: u32,
    /// Its root, below the sysroot.
    pub path: PathBuf,
    /// Where its updates come from, if it says so in a way that this crate knows.
    pub origin: Option<Origin>,
    /// Kept until unpinned.
    pub pinned: bool,
    /// The boot loader entry that boots it; found by what the entry says, not by its name.
    pub boot_entry: Option<BootEntry>,
}

impl Sysroot {
    /// Make a deployment of a commit, and a boot loader entry that is the default from then on.
    ///
    /// `/etc` is a fresh copy of the commit's `/usr/etc`, also if there is an earlier deployment: merging
    /// local changes into it is the caller's to do (see [`Sysroot::deployment_etc`]). Kernel arguments are the
    /// image's and then `options`'; those of an earlier deployment are not carried over. Of the earlier
    /// deployments of the stateroot, the newest is kept to roll back to, with those that are pinned or booted.
    /// On a stateroot's first deployment its `/var` gets the content of the image's, if nobody has put
    /// anything there; never later.
    pub fn deploy(&self, options: &DeployOptions) -> Result<Deployment> {
        if let Some(a) = options
            .kernel_arguments
            .iter()
            .find(|a| a.has_key("ostree"))
        {
            return Err(Error::ReservedKernelArgument {
                argument: a.to_string(),
            });
        }
        let origin = options.origin.to_key_file()?;
        self.require_stateroot(&options.stateroot)?;
        let _lock = self.lock()?;
        let sysroot = self.loaded()?;
        let path = match self.deploy_locked(sysroot, &origin, options) {
            Ok(path) => path,
            Err(e) => {
                // What was made is garbage, being in no list; the first error is the one to report.
                let _ = self.clean(sysroot);
                return Err(e);
            }
        };
        self.deployments()?
            .into_iter()
            .find(|d| d.path == path)
            .ok_or_else(|| Error::Ostree {
                operation: "deploy tree",
                message: format!("{} is not listed afterwards", path.display()),
            })
    }

    fn deploy_locked(
        &self,
        sysroot: &ostree::Sysroot,
        origin: &KeyFile,
        options: &DeployOptions,
    ) -> Result<PathBuf> {
        let previous = sysroot.merge_deployment(Some(&options.stateroot));
        let new = sysroot
            .deploy_tree(
                Some(&options.stateroot),
                options.commit.as_str(),
                Some(origin),
                None,
                &[],
                Cancellable::NONE,
            )
            .map_err(failed("deploy tree"))?;
        let path = deployment_path(sysroot, &new);
        let root = open_dir(self.dir(), &path)?;
        let fragments = kargs_d::read(&root, &options.kargs_d)?;
        let mut arguments = kargs_d::kernel_arguments(&fragments);
        arguments.extend(&options.kernel_arguments);
        let config = new.bootconfig().ok_or_else(|| Error::Ostree {
            operation: "set kernel arguments",
            message: "the deployment has no boot configuration".into(),
        })?;
        config.set("options", &arguments.to_string());
        if previous.is_none() {
            let var = self.var(&options.stateroot)?;
            var::seed(self.repo(), &options.commit, &root, &var)?;
        }
        sysroot
            .simple_write_deployment(
                Some(&options.stateroot),
                &new,
                previous.as_ref(),
                ostree::SysrootSimpleWriteDeploymentFlags::NO_CLEAN,
                Cancellable::NONE,
            )
            .map_err(failed("write deployments"))?;
        self.clean(sysroot)?;
        Ok(path)
    }

    /// Delete deployments that are in no list, and objects that no deployment or branch needs. libostree's
    /// own `cleanup` is these two steps, and prints to standard output what it freed.
    fn clean(&self, sysroot: &ostree::Sysroot) -> Result<()> {
        sysroot
            .prepare_cleanup(Cancellable::NONE)
            .map_err(failed("clean up deployments"))?;
        self.repo()
            .prune(ostree::RepoPruneFlags::REFS_ONLY, 0, Cancellable::NONE)
            .map(drop)
            .map_err(failed("prune repository"))
    }

    /// All deployments, in boot order: the first is the default.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        let entries = self.boot_entries()?;
        let all = self.loaded()?.deployments();
        all.iter().map(|d| self.describe(d, &entries)).collect()
    }

    pub(crate) fn describe(
        &self,
        found: &ostree::Deployment,
        entries: &[BootEntry],
    ) -> Result<Deployment> {
        let path = deployment_path(self.loaded()?, found);
        // ostree=/ostree/boot.N/STATEROOT/… is a chain of links below the sysroot that ends at the root
        // of the deployment.
        let boots = |entry: &&BootEntry| {
            let target = entry
                .ostree()
                .and_then(|t| self.dir().canonicalize(t.trim_start_matches('/')).ok());
            target.is_some_and(|t| t == path)
        };
        Ok(Deployment {
            stateroot: found.osname().into(),
            checksum: found.csum().parse()?,
            serial: u32::try_from(found.deployserial()).unwrap_or_default(),
            origin: found.origin().and_then(|o| Origin::from_key_file(&o)),
            pinned: found.is_pinned(),
            boot_entry: entries.iter().find(boots).cloned(),
            path,
        })
    }
}

fn deployment_path(sysroot: &ostree::Sysroot, deployment: &ostree::Deployment) -> PathBuf {
    sysroot.deployment_dirpath(deployment).as_str().into()
}

const ORIGIN_GROUP: &str = "origin";
const ORIGIN_REFSPEC: &str = "refspec";

impl Origin {
    fn to_key_file(&self) -> Result<KeyFile> {
        let file = KeyFile::new();
        match self {
            Self::ContainerImage(reference) => {
                OstreeImageReference::try_from(&**reference).map_err(|e| Error::Invalid {
                    what: "container image reference",
                    value: reference.clone(),
                    reason: e.to_string(),
                })?;
                file.set_string(ORIGIN_GROUP, ORIGIN_CONTAINER, reference);
            }
            Self::Refspec(refspec) => file.set_string(ORIGIN_GROUP, ORIGIN_REFSPEC, refspec),
        }
        Ok(file)
    }

    fn from_key_file(file: &KeyFile) -> Option<Self> {
        let get = |key| file.string(ORIGIN_GROUP, key).ok().map(String::from);
        get(ORIGIN_CONTAINER)
            .map(Self::ContainerImage)
            .or_else(|| get(ORIGIN_REFSPEC).map(Self::Refspec))
    }
}
