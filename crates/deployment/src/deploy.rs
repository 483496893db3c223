//! A commit into a bootable deployment.

use std::path::PathBuf;

use ostree_ext::container::OstreeImageReference;
use ostree_ext::container::deploy::ORIGIN_CONTAINER;
use ostree_ext::glib::KeyFile;
use ostree_ext::ostree;

use crate::Sysroot;
use crate::boot_entry::BootEntry;
use crate::commit::Checksum;
use crate::error::{Error, Result};
use crate::kargs_d;
use crate::kernel_arguments::KernelArguments;
use crate::record::{self, Record};
#[cfg(doc)]
use crate::stage::Writer;

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
    /// Make a deployment of a commit, and a boot loader entry that is the default from then on: what
    /// [`Writer::stage`], [`Writer::finalize`] and [`Writer::keep`] do in a row, for a caller who changes
    /// nothing in between. The default before it is kept, and what is pinned.
    pub fn deploy(&self, options: &DeployOptions) -> Result<Deployment> {
        let writer = self.writer()?;
        let staged = writer.stage(options)?;
        let record = Record {
            kernel_arguments: staged.kernel_arguments.clone(),
            ..Record::default()
        };
        let deployment = writer.finalize(&staged, &record)?;
        writer.keep(&[])?;
        Ok(deployment)
    }

    /// All deployments, in boot order: the first is the default.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        let entries = self.boot_entries()?;
        let mut all: Vec<Deployment> = Vec::new();
        for found in self.loaded()?.deployments() {
            // Two entries of one: a change of the default that is not cleaned up yet.
            let found = self.describe(&found, &entries)?;
            if all.iter().all(|known| known.path != found.path) {
                all.push(found);
            }
        }
        Ok(all)
    }

    /// The record of a deployment; none if another tool made it.
    pub fn record(&self, deployment: &Deployment) -> Result<Option<Record>> {
        record::read(self.dir(), &deployment.path)
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

pub(crate) fn deployment_path(
    sysroot: &ostree::Sysroot,
    deployment: &ostree::Deployment,
) -> PathBuf {
    sysroot.deployment_dirpath(deployment).as_str().into()
}

const ORIGIN_GROUP: &str = "origin";
const ORIGIN_REFSPEC: &str = "refspec";

impl Origin {
    pub(crate) fn to_key_file(&self) -> Result<KeyFile> {
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
