//! Filesystems that only a kernel can write: made on a loop device, mounted where nobody sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};
use rustix::fs::{IFlags, Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use super::partitions::Region;
use super::tool::{IMAGE, Tool};
use super::{DiskOptions, Filesystem, finish};
use crate::error::{Error, Result, io};
use crate::walk::open_dir;

/// Makes the filesystem of a sysroot in a part of a disk.
pub(super) fn make(
    sysroot: &Dir,
    disk: &File,
    at: Region,
    filesystem: Filesystem,
    options: &DiskOptions,
) -> Result<()> {
    let (kind, program, package, label, uuid) = match filesystem {
        Filesystem::Btrfs => ("btrfs", "mkfs.btrfs", "btrfs-progs", "-L", "-U".into()),
        _ => ("xfs", "mkfs.xfs", "xfsprogs", "-L", "-m".into()),
    };
    let uuid: [String; 2] = match filesystem {
        Filesystem::Btrfs => [uuid, options.uuid.clone()],
        _ => [uuid, format!("uuid={}", options.uuid)],
    };
    let device = Loop::new(disk, at, options)?;
    Tool::new(Path::new(program), options.timestamp)
        .package(package)
        .args(["-q", "-f", label, &options.label])
        .args(uuid)
        .args([&device.path])
        .run(disk.as_fd(), &[])?;
    let root = mount(kind, &device.path)?;
    // From here on the device goes when the mount does.
    drop(device);
    Tool::new(Path::new("cp"), options.timestamp)
        .package("coreutils")
        .args(["-dR", "--sparse=auto"])
        .args([
            "--preserve=mode,ownership,timestamps,links,xattr",
            "--",
            ".",
        ])
        .args([format!("{IMAGE}/")])
        .cwd(sysroot)?
        .run(root.as_fd(), &[])?;
    let root = Dir::from_std_file(root.into());
    root.set_permissions(".", permissions())
        .map_err(io("set mode of", "."))?;
    for path in finish::deployments(sysroot)? {
        let deployment = open_dir(&root, &path)?;
        rustix::fs::ioctl_setflags(&deployment, IFlags::IMMUTABLE)
            .map_err(io("make immutable", &path))?;
    }
    rustix::fs::syncfs(&root).map_err(io("sync", "."))
}

fn permissions() -> cap_std::fs::Permissions {
    use cap_std::fs::PermissionsExt as _;
    cap_std::fs::Permissions::from_mode(0o755)
}

/// A mount that is in no file tree: it ends when its descriptor is closed, whatever becomes of us.
fn mount(kind: &str, device: &str) -> Result<OwnedFd> {
    let failed = || io("mount", PathBuf::from(device));
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    fsconfig_set_string(context.as_fd(), "source", device).map_err(failed())?;
    fsconfig_create(context.as_fd()).map_err(failed())?;
    let mount = fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .map_err(failed())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&mount, ".", flags, Mode::empty()).map_err(failed())
}

/// A loop device on a part of a file or device.
struct Loop<'d> {
    path: String,
    disk: &'d File,
}

impl<'d> Loop<'d> {
    fn new(disk: &'d File, at: Region, options: &DiskOptions) -> Result<Self> {
        let (offset, limit) = (
            format!("--offset={}", at.offset),
            format!("--sizelimit={}", at.bytes),
        );
        let output = Tool::new(Path::new("losetup"), options.timestamp)
            .package("mount")
            .args(["--find", "--show", &offset, &limit, IMAGE])
            .run(disk.as_fd(), &[])?;
        let path = String::from_utf8_lossy(&output).trim().to_owned();
        match path.starts_with("/dev/") {
            true => Ok(Self { path, disk }),
            false => Err(Error::ToolFailed {
                tool: "losetup".into(),
                status: "it named no device".into(),
                stderr: path,
            }),
        }
    }
}

impl Drop for Loop<'_> {
    /// A device that is mounted goes when the mount does.
    fn drop(&mut self) {
        let _ = Tool::new(Path::new("losetup"), 0)
            .args(["--detach", &self.path])
            .run(self.disk.as_fd(), &[]);
    }
}
