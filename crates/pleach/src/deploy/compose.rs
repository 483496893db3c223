//! An image becomes a sysroot and a disk, with or without something injected.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use pleach_booted_state::{CaptureOptions, PathRule, Snapshot};
use pleach_deployment::{DeployOptions, Deployment, OwnedArguments, Record, Sysroot, disk};
use pleach_inject::EtcPlan;

use crate::cli::etc::Recorder;
use crate::cli::image::{OpenImage, make, open_dir};
use crate::files::split;
use crate::machine;

/// The stateroot, as bootc names it.
const STATEROOT: &str = "default";

/// What machines need here that no image should say: where the root is. Those that are compared find it by
/// its label, which is the same for all.
pub(crate) const BY_LABEL: &str = "LABEL=root";

/// Fixed, so that two disks do not differ by it.
const UUID: &str = "6f1ddb3a-3f6a-4f0c-9d55-0d2b6a1f7a10";

/// The branch of the image that is deployed, and that of one that is not yet.
pub(crate) const BRANCH: &str = "pleach/image";
const NEXT: &str = "pleach/next";

/// A sysroot in a folder, from which a disk image can be made.
pub(crate) struct Composed {
    sysroot: PathBuf,
    deployment: Deployment,
    arguments: OwnedArguments,
    timestamp: u64,
}

impl Composed {
    /// Imports an image and deploys it.
    ///
    /// `root` says where the root filesystem is, as `root=` does. `kernel_arguments` come behind it and those
    /// of the image and, with `inject`, before its own.
    pub(crate) fn new(
        image: &OpenImage,
        root: &str,
        kernel_arguments: &[String],
        inject: Option<&EtcPlan>,
        sysroot: &Path,
    ) -> Result<Self> {
        let dir = make(sysroot)?;
        let arguments = arguments(root, kernel_arguments, inject)?;
        let root = Sysroot::init(&dir)?.without_fsync();
        root.init_stateroot(STATEROOT)?;
        let deployment = deploy(&root, sysroot, image, &arguments)?;
        if let Some(plan) = inject {
            let (etc, var) = (root.deployment_etc(&deployment)?, root.var(STATEROOT)?);
            pleach_inject::apply(plan, &etc, &var)?;
        }
        Ok(Self {
            sysroot: sysroot.to_owned(),
            deployment,
            arguments,
            timestamp: image.created(),
        })
    }

    /// Deploys another image on top, which is the default from then on.
    pub(crate) fn upgrade(&mut self, image: &OpenImage) -> Result<()> {
        let root = Sysroot::open(&open_dir(&self.sysroot)?)?.without_fsync();
        self.deployment = deploy(&root, &self.sysroot, image, &self.arguments)?;
        self.timestamp = self.timestamp.max(image.created());
        Ok(())
    }

    /// The root of the deployment that is the default.
    pub(crate) fn root(&self) -> Result<Dir> {
        let root = Sysroot::open(&open_dir(&self.sysroot)?)?;
        Ok(root.deployment_root(&self.deployment)?)
    }

    /// What a disk is made of.
    pub(crate) fn dir(&self) -> Result<Dir> {
        open_dir(&self.sysroot)
    }

    /// A time that is the image's, in seconds since the epoch.
    pub(crate) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Imports another image as the branch [`NEXT`]. It is not deployed.
    pub(crate) fn add(&self, image: &OpenImage) -> Result<()> {
        let root = Sysroot::open(&open_dir(&self.sysroot)?)?.without_fsync();
        machine::bring(&root, &self.sysroot, image, NEXT, false).map(drop)
    }

    /// Writes the disk image.
    pub(crate) fn write_disk(&self, image: &Path) -> Result<()> {
        let (folder, name) = split(image)?;
        let options = disk::DiskOptions::new(UUID, UUID, self.timestamp);
        disk::write_image(&open_dir(&self.sysroot)?, (&folder, &name), &options)?;
        Ok(())
    }

    /// The folder that it is in.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// Writes what was injected into the ownership ledger, so that it can be taken back.
    pub(crate) fn record(&self, inject: Option<&EtcPlan>, document: &Path) -> Result<()> {
        let Some(plan) = inject else { return Ok(()) };
        let sysroot = Sysroot::open(&open_dir(&self.sysroot)?)?;
        let root = sysroot.deployment_root(&self.deployment)?;
        let etc = sysroot.deployment_etc(&self.deployment)?;
        let shown = self.sysroot.join(&self.deployment.path);
        // As it was before: what the image ships.
        let defaults = root.open_dir("usr/etc").context("opening usr/etc")?;
        let recorder = Recorder::after(&root, &etc, &defaults, &shown, document)?;
        let changes = plan.changes.iter();
        let changes = changes.map(|change| (&*change.path, &change.origin));
        recorder.record(&etc, &shown, changes).map(drop)
    }

    /// What can be known of it without booting it.
    pub(crate) fn static_view(&self) -> Result<Snapshot> {
        static_view(&self.sysroot, &self.deployment)
    }
}

/// What can be known of a deployment without booting it.
pub(crate) fn static_view(sysroot: &Path, deployment: &Deployment) -> Result<Snapshot> {
    let root = Sysroot::open(&open_dir(sysroot)?)?;
    let tree = root.deployment_root(deployment)?;
    let etc = root.deployment_etc(deployment)?;
    let var = root.var(&deployment.stateroot)?;
    let options = CaptureOptions {
        usr_rules: PathRule::usr_with_digests(),
        ..CaptureOptions::default()
    };
    pleach_booted_state::static_view(&tree, &etc, &var, &options).context("reading the deployment")
}

fn deploy(
    root: &Sysroot,
    path: &Path,
    image: &OpenImage,
    arguments: &OwnedArguments,
) -> Result<Deployment> {
    let commit = machine::bring(root, path, image, BRANCH, false)?;
    let image = machine::record(image);
    let origin = machine::origin(&image.reference);
    let mut options = DeployOptions::new(STATEROOT, commit, origin);
    options.kernel_arguments = arguments.machine.clone();
    let writer = root.writer()?;
    let mut staged = writer.stage(&options)?;
    staged.kernel_arguments.customization = arguments.customization.clone();
    let record = Record {
        image: Some(image),
        ..Record::default()
    };
    let deployment = writer.finalize(&staged, &record)?;
    writer.keep(&[])?;
    Ok(deployment)
}

fn arguments(root: &str, own: &[String], inject: Option<&EtcPlan>) -> Result<OwnedArguments> {
    let mut arguments = OwnedArguments::default();
    arguments.machine.extend(&format!("root={root}").parse()?);
    for argument in own {
        arguments.machine.extend(&argument.parse()?);
    }
    for argument in inject.iter().flat_map(|plan| &plan.kernel_arguments) {
        arguments.customization.extend(&argument.parse()?);
    }
    let removed = inject.is_some_and(|plan| !plan.removed_kernel_arguments.is_empty());
    anyhow::ensure!(
        !removed,
        "kernel_arguments.should_not_exist: removing an argument of the image's kargs.d from one deployment is not supported yet"
    );
    Ok(arguments)
}

/// Takes the immutable flag from the deployments of every sysroot at or below `path`, so that they can
/// be removed.
pub(crate) fn unlock(path: &Path) -> Result<()> {
    let is_sysroot = |path: &Path| path.join("ostree/repo").is_dir();
    if is_sysroot(path) {
        return unlock_sysroot(path);
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let path = entry.path();
        let has = is_sysroot(&path) || path.join("sysroot").is_dir();
        if has && entry.file_type()?.is_dir() {
            unlock(&path)?;
        }
    }
    Ok(())
}

/// The same for one sysroot.
pub(crate) fn unlock_sysroot(path: &Path) -> Result<()> {
    let sysroot = Sysroot::open(&open_dir(path)?)?;
    for deployment in sysroot.deployments()? {
        sysroot.set_mutable(&deployment, true)?;
    }
    Ok(())
}
