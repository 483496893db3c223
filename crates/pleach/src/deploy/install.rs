//! `pleach deploy install`: an image onto a disk.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use cap_std::fs::Dir;
use clap::{Args, ValueEnum};
use pleach_deployment::{disk, esp};

use crate::cli::fetch::Source;
use crate::cli::image::{self, OpenImage, make, open_dir};
use crate::cli::output;
use crate::cli::private::make_private;
use crate::compose::Composed;
use crate::files::{self, split};

/// Write a disk, or a file system, with a deployment of an image.
///
/// A file is whole or not there; a device has no partition table until all else is on it.
#[derive(Args)]
pub(crate) struct Install {
    image: String,
    /// A file to make, a block device, or a folder: a file system that is mounted there and is empty.
    #[arg(long, value_name = "FILE|DEVICE|DIR")]
    target: PathBuf,
    /// What is on it.
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// Who boots it; it comes out of the image.
    #[arg(long, value_enum, default_value_t)]
    boot_loader: BootLoader,
    /// The root's file system. xfs and btrfs are mounted to be written, for which root of a user namespace
    /// is not enough.
    #[arg(long, value_enum, default_value_t)]
    filesystem: Filesystem,
    /// Size of a file in bytes [default: 1 GiB more than is needed]
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Lose what the target holds.
    #[arg(long)]
    wipe: bool,
    /// Where the root is, as root= takes it, for a folder whose file system does not tell.
    #[arg(long, value_name = "SPEC")]
    root: Option<String>,
    /// A kernel argument behind those of the image; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    karg: Vec<String>,
    /// An image that is deployed too, for the machine to fall back to.
    #[arg(long, value_name = "IMAGE")]
    fallback: Option<String>,
    /// How many boots the image may try before the machine falls back to the other one; the boot loader
    /// counts, and the image's systemd says when a boot was good. 0: nobody counts.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    boot_tries: u32,
    /// An image that the repository holds too, as the branch pleach/next, and that is not deployed: the
    /// machine's own ostree can do that without a network (`ostree admin deploy pleach/next`).
    #[arg(long, value_name = "IMAGE")]
    next: Option<String>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Layout {
    /// A partition table with an EFI system partition and a root.
    #[default]
    Uefi,
    /// The root file system from the first byte on, for a virtual machine that is given the kernel.
    Direct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum BootLoader {
    /// systemd-boot, from /usr/lib/systemd/boot/efi.
    #[default]
    SystemdBoot,
    /// GRUB, if it can read boot loader entries (blscfg).
    Grub,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Filesystem {
    #[default]
    Ext4,
    Xfs,
    Btrfs,
}

impl From<Filesystem> for disk::Filesystem {
    fn from(filesystem: Filesystem) -> Self {
        match filesystem {
            Filesystem::Ext4 => Self::Ext4,
            Filesystem::Xfs => Self::Xfs,
            Filesystem::Btrfs => Self::Btrfs,
        }
    }
}

/// What the target is.
enum Kind {
    File,
    Device,
    Folder,
}

impl Install {
    pub(crate) fn run(&self) -> Result<()> {
        image::require_root("deploy install")?;
        let kind = self.kind()?;
        let image = image::open(&self.image, &self.source)?;
        let open = |name: &Option<String>| {
            let name = name.as_ref();
            name.map(|name| image::open(name, &self.source)).transpose()
        };
        let images = Images {
            image: &image,
            fallback: open(&self.fallback)?,
            next: open(&self.next)?,
        };
        match kind {
            Kind::Folder => self.onto_folder(&images)?,
            Kind::File | Kind::Device => {
                let device = matches!(kind, Kind::Device);
                let work = self.work(device);
                ensure!(!work.exists(), "{} is in the way", work.display());
                let written = self.onto_disk(&images, &work, device);
                files::remove(&work)?;
                written?;
            }
        }
        output::print(&format!(
            "{}@{}\n  on {}\n",
            image.reference(),
            image.digest(),
            self.target.display()
        ))
    }

    /// What the target is, if it will do as far as that can be said at once.
    fn kind(&self) -> Result<Kind> {
        let shown = self.target.display();
        let kind = match std::fs::metadata(&self.target) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Kind::File,
            Err(e) => return Err(e).with_context(|| format!("looking at {shown}")),
            Ok(found) if found.is_dir() => Kind::Folder,
            Ok(found) if found.file_type().is_block_device() => Kind::Device,
            Ok(found) if found.is_file() && (found.len() == 0 || self.wipe) => Kind::File,
            Ok(found) if found.is_file() => bail!("{shown} is there already; --wipe replaces it"),
            Ok(_) => bail!("{shown} is neither file, block device nor folder"),
        };
        if self.layout == Layout::Uefi && self.boot_loader == BootLoader::Grub {
            bail!(
                "--boot-loader grub: a GRUB that reads boot loader entries (its command blscfg) is needed, and none was found that this version could be tried with; see docs/install.md"
            );
        }
        match kind {
            Kind::Folder => {
                ensure!(
                    !self.wipe,
                    "{shown} is a folder, which is not wiped; empty it"
                );
                ensure!(self.size.is_none(), "{shown} is a folder: it has a size");
                if let Some(found) = held(&self.target)? {
                    bail!("{shown} is not empty: it holds {found}");
                }
            }
            Kind::File | Kind::Device => ensure!(
                self.root.is_none(),
                "--root is for a folder; a disk's root is found by its UUID"
            ),
        }
        Ok(kind)
    }

    /// A folder for all that is needed only meanwhile: beside a file, since it is large.
    fn work(&self, device: bool) -> PathBuf {
        let name = format!(".work-{}", std::process::id());
        if device {
            let temporary = std::env::var_os("TMPDIR").map(PathBuf::from);
            let temporary = temporary.unwrap_or_else(|| "/var/tmp".into());
            return temporary.join(format!("pleach{name}"));
        }
        let mut work = self.target.clone().into_os_string();
        work.push(name);
        work.into()
    }

    fn onto_disk(&self, images: &Images<'_>, work: &Path, device: bool) -> Result<()> {
        make_private(work)?;
        let ids = Ids::random()?;
        let root = format!("UUID={}", ids.filesystem);
        let composed = self.compose(images, &root, &work.join("sysroot"))?;
        let content = match self.layout {
            Layout::Uefi => {
                let content = make(&work.join("esp"))?;
                self.boot(&composed, &content, false)?;
                Some(content)
            }
            Layout::Direct => None,
        };
        let mut filesystem =
            disk::DiskOptions::new(&ids.filesystem, &ids.hash_seed, composed.timestamp());
        filesystem.size = match self.size {
            Some(bytes) => disk::DiskSize::Bytes(bytes),
            None => filesystem.size,
        };
        let mut options = disk::InstallOptions::new(filesystem);
        options.filesystem = self.filesystem.into();
        options.wipe = self.wipe;
        options.esp = content.as_ref().map(|content| disk::EspOptions {
            content,
            bytes: None,
            volume_id: ids.volume,
            ids: ids.partitions.clone(),
        });
        output::step("writing the disk");
        let target = std::fs::canonicalize(&self.target);
        let (folder, name) = split(target.as_deref().unwrap_or(&self.target))?;
        let to = match device {
            true => disk::Target::Device(&folder, &name),
            false => disk::Target::File(&folder, &name),
        };
        disk::install(&composed.dir()?, to, &options)?;
        if device && self.layout == Layout::Uefi {
            read_again(&self.target);
        }
        Ok(())
    }

    fn onto_folder(&self, images: &Images<'_>) -> Result<()> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => format!("UUID={}", uuid_of(&self.target)?),
        };
        let esp = match self.layout {
            Layout::Uefi => Some(mounted_esp(&self.target)?),
            Layout::Direct => None,
        };
        let made = self.fill(images, &root, esp.as_ref());
        if made.is_err() {
            // What was made is of no use to anybody.
            empty(&self.target)?;
        }
        made
    }

    fn fill(&self, images: &Images<'_>, root: &str, esp: Option<&Dir>) -> Result<()> {
        let composed = self.compose(images, root, &self.target)?;
        // The descriptor of a Dir need not be one that can be synced.
        let root = std::fs::File::open(&self.target)?;
        rustix::fs::syncfs(root).with_context(|| format!("syncing {}", self.target.display()))?;
        match esp {
            Some(esp) => self.boot(&composed, esp, true),
            None => Ok(()),
        }
    }

    /// A sysroot with all that is deployed.
    fn compose(&self, images: &Images<'_>, root: &str, sysroot: &Path) -> Result<Composed> {
        let first = images.fallback.as_ref().unwrap_or(images.image);
        output::step(&format!("deploying {}", first.reference()));
        let mut composed = Composed::new(first, root, &self.karg, None, sysroot)?;
        if images.fallback.is_some() {
            output::step(&format!("deploying {}", images.image.reference()));
            composed.upgrade(images.image)?;
        }
        if let Some(next) = &images.next {
            output::step(&format!("importing {}", next.reference()));
            composed.add(next)?;
        }
        Ok(composed)
    }

    /// Fills an ESP, or what becomes the content of one and is written to the disk as a whole.
    fn boot(&self, composed: &Composed, content: &Dir, mounted: bool) -> Result<()> {
        esp::install_systemd_boot(&composed.root()?, content)
            .context("--layout direct needs no boot loader")?;
        let sysroot = composed.dir()?;
        let mut options = esp::PlanOptions::default();
        options.tries = (self.boot_tries > 0).then_some(self.boot_tries);
        let mut plan = esp::plan(&esp::read_root(&sysroot)?, &esp::read(content)?, &options)?;
        plan.steps
            .retain(|step| mounted || *step != esp::Step::Settle);
        Ok(esp::apply(&sysroot, content, &plan)?)
    }
}

/// What is brought to the disk.
struct Images<'a> {
    image: &'a OpenImage,
    fallback: Option<OpenImage>,
    next: Option<OpenImage>,
}

/// Names that no other disk has.
struct Ids {
    filesystem: String,
    hash_seed: String,
    volume: u32,
    partitions: disk::PartitionIds,
}

impl Ids {
    fn random() -> Result<Self> {
        let uuid = || {
            const KERNEL: &str = "/proc/sys/kernel/random/uuid";
            let text = std::fs::read_to_string(KERNEL);
            let text = text.with_context(|| format!("reading {KERNEL}"))?;
            anyhow::Ok(text.trim().to_owned())
        };
        let volume = uuid()?;
        Ok(Self {
            filesystem: uuid()?,
            hash_seed: uuid()?,
            volume: u32::from_str_radix(&volume[..8], 16)?,
            partitions: disk::PartitionIds {
                disk: uuid()?,
                esp: uuid()?,
                root: uuid()?,
            },
        })
    }
}

/// What a new file system has by itself, and where others may be mounted already.
const MAY_BE_THERE: [&str; 3] = ["lost+found", "boot", "efi"];

/// Something in a folder that would be in the way.
fn held(folder: &Path) -> Result<Option<String>> {
    for name in names(folder)? {
        let path = folder.join(&name);
        match name.as_str() {
            "lost+found" | "efi" if path.is_dir() => {}
            // A mount point for the ESP in an otherwise empty directory.
            "boot" if path.is_dir() && names(&path)?.iter().all(|name| name == "efi") => {}
            _ => return Ok(Some(name)),
        }
    }
    Ok(None)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder);
    let entries = entries.with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Removes what a failed install left.
fn empty(folder: &Path) -> Result<()> {
    if folder.join("ostree/repo").is_dir() {
        // An ostree sysroot or part of one: its deployments are immutable.
        let unlocked = crate::compose::unlock_sysroot(folder);
        unlocked.with_context(|| format!("removing what is in {}", folder.display()))?;
    }
    for name in names(folder)? {
        let path = folder.join(&name);
        if !MAY_BE_THERE.contains(&name.as_str()) {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    let boot = folder.join("boot");
    if boot.is_dir() {
        for name in names(&boot)?.iter().filter(|name| *name != "efi") {
            let path = boot.join(name);
            match path.is_symlink() {
                true => std::fs::remove_file(&path)?,
                false => std::fs::remove_dir_all(&path)?,
            }
        }
    }
    Ok(())
}

/// Where the ESP is mounted below a root.
fn mounted_esp(root: &Path) -> Result<Dir> {
    for path in ["efi", "boot/efi"] {
        let path = root.join(path);
        if path.is_dir() {
            return open_dir(&path);
        }
    }
    bail!(
        "no EFI system partition is mounted on {0}/efi or {0}/boot/efi",
        root.display()
    )
}

/// The UUID of the file system that a folder is on.
fn uuid_of(folder: &Path) -> Result<String> {
    let output = std::process::Command::new("findmnt")
        .args([
            "--noheadings",
            "--first-only",
            "--output",
            "UUID",
            "--target",
        ])
        .arg(folder)
        .output()
        .context("running findmnt (Debian package util-linux)")?;
    let uuid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        !uuid.is_empty(),
        "the file system of {} does not tell its UUID: give --root",
        folder.display()
    );
    Ok(uuid)
}

/// The kernel reads a new partition table when it is asked to.
fn read_again(device: &Path) {
    let status = std::process::Command::new("blockdev")
        .arg("--rereadpt")
        .arg(device)
        .stderr(std::process::Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        output::step(&format!(
            "the kernel has not read the new partition table: partprobe {} does it",
            device.display()
        ));
    }
}
