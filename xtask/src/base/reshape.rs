//! From a Debian root to the shape of a bootable container: pure functions on a tree.
//!
//! The shape is bootc's and ostree's: the kernel in `/usr/lib/modules`, `/var` empty, the
//! directories that a user writes to are links into it, and nothing that says which machine it is.

use anyhow::{Context as _, Result, bail};
use pleach_fs_tree::{Inode, Kind, Metadata, Name, Timestamp, Tree, TreePath};

use super::recipe::{Changes, EPOCH, IMAGE_ID};
use super::tree::{self, Content};

/// Directories that the running system fills.
const EMPTY: [(&str, u16); 10] = [
    ("boot", 0o755),
    ("dev", 0o755),
    // Where systemd mounts the ESP.
    ("efi", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("sysroot", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("usr/lib/sysimage", 0o755),
];

/// Links that stand where Debian has directories; tmpfiles.d makes their targets.
const LINKS: [(&str, &str); 8] = [
    ("home", "var/home"),
    ("root", "var/roothome"),
    ("opt", "var/opt"),
    ("srv", "var/srv"),
    ("mnt", "var/mnt"),
    ("media", "run/media"),
    ("ostree", "sysroot/ostree"),
    ("usr/local", "../var/usrlocal"),
];

/// What only one machine has, or only this build.
const IDENTITY: [&str; 7] = [
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/.updated",
];

/// SysV's scripts and their links, which systemd has units for. Where one is, `systemctl enable` and
/// `disable` work on it besides, and change `/etc` by what a customization does not say.
const SYSV: [&str; 9] = [
    "etc/init.d",
    "etc/rc0.d",
    "etc/rc1.d",
    "etc/rc2.d",
    "etc/rc3.d",
    "etc/rc4.d",
    "etc/rc5.d",
    "etc/rc6.d",
    "etc/rcS.d",
];

/// Reshapes the root that mmdebstrap made, the base's or a variant's, into the version `v1`.
pub(super) fn reshape(tree: &mut Tree<Content>, variant: Option<&str>) -> Result<()> {
    move_kernel(tree)?;
    move_package_database(tree)?;
    for (path, mode) in EMPTY {
        let keep = path.starts_with("usr/");
        empty_directory(tree, path, mode, keep)?;
    }
    for (path, target) in LINKS {
        tree::replace(tree, path, Inode::symlink(metadata(0o777), target))?;
    }
    leave_out(tree)?;
    let variant = variant.map(|name| ("VARIANT_ID", name));
    let said = [("IMAGE_ID", IMAGE_ID), ("IMAGE_VERSION", "v1")];
    set_release(tree, said.into_iter().chain(variant))?;
    clamp_times(tree);
    Ok(())
}

/// The second version, out of the first.
pub(super) fn second_version(
    tree: &mut Tree<Content>,
    overlay: &Tree<Content>,
    changes: &Changes,
) -> Result<()> {
    for path in &changes.remove {
        if !tree.remove(path) {
            bail!("{path} is to be removed, and is not there");
        }
    }
    tree::overlay(tree, overlay)?;
    for (mode, path) in &changes.modes {
        let id = tree.lookup(path).with_context(|| format!("no {path}"))?;
        tree.metadata_mut(id).mode = *mode;
    }
    set_release(tree, [("IMAGE_VERSION", "v2")])?;
    clamp_times(tree);
    Ok(())
}

/// The version of the kernel that a reshaped tree boots.
///
/// # Errors
/// When there is none, more than one, or one that lacks its image or its initramfs.
pub(super) fn kernel_version(tree: &Tree<Content>) -> Result<String> {
    let modules = TreePath::new("usr/lib/modules")?;
    let id = tree.lookup(&modules).context("no /usr/lib/modules")?;
    let entries = tree.inode(id).entries().context("/usr/lib/modules")?;
    let [version] = entries.keys().collect::<Vec<_>>()[..] else {
        bail!("{} kernels in /usr/lib/modules, not one", entries.len());
    };
    for file in ["vmlinuz", "initramfs.img"] {
        let path = modules.join(version).join(&Name::new(file.as_bytes())?);
        let found = tree.get(&path).map(|inode| &inode.kind);
        if !matches!(found, Some(Kind::File(_))) {
            bail!("no {path}");
        }
    }
    Ok(version.to_string())
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mtime: Timestamp::from_seconds(EPOCH),
        ..Metadata::with_mode(mode)
    }
}

fn move_kernel(tree: &mut Tree<Content>) -> Result<()> {
    let boot = tree.directory(&TreePath::new("boot")?)?;
    let entries = tree.inode(boot).entries().into_iter().flatten();
    let kernels: Vec<_> = entries
        .filter_map(|(name, _)| Some((name.clone(), name.as_bytes().strip_prefix(b"vmlinuz-")?)))
        .map(|(name, version)| (name, version.to_owned()))
        .collect();
    let [(image, version)] = &kernels[..] else {
        bail!("{} kernels in /boot, not one", kernels.len());
    };
    let from = TreePath::new("boot")?.join(image);
    let to = TreePath::new("usr/lib/modules")?
        .join(&Name::new(version)?)
        .join(&Name::new(b"vmlinuz")?);
    tree::rename(tree, &from, &to)?;
    for link in ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"] {
        tree.remove(&TreePath::new(link)?);
    }
    kernel_version(tree).map(drop)
}

/// The package database describes `/usr`, so it goes where `/usr` goes.
fn move_package_database(tree: &mut Tree<Content>) -> Result<()> {
    let to = TreePath::new("usr/lib/sysimage/dpkg")?;
    tree.make_directories(&TreePath::new("usr/lib/sysimage")?, &metadata(0o755))?;
    tree::rename(tree, &TreePath::new("var/lib/dpkg")?, &to)?;
    // Written by each run of dpkg, of use only to an interrupted one.
    for leftover in ["lock", "lock-frontend", "triggers/Lock", "status-old"] {
        tree.remove(&to.concat(&TreePath::new(leftover)?));
    }
    Ok(())
}

fn empty_directory(tree: &mut Tree<Content>, path: &str, mode: u16, keep: bool) -> Result<()> {
    let id = tree.make_directories(&TreePath::new(path)?, &metadata(mode))?;
    if !keep {
        tree.clear(id);
    }
    *tree.metadata_mut(id) = metadata(mode);
    Ok(())
}

fn leave_out(tree: &mut Tree<Content>) -> Result<()> {
    for path in IDENTITY.iter().chain(&SYSV) {
        tree.remove(&TreePath::new(path)?);
    }
    let ssh = tree.directory(&TreePath::new("etc/ssh")?)?;
    let keys = tree.inode(ssh).entries().into_iter().flatten();
    let keys: Vec<_> = keys
        .map(|(name, _)| name.clone())
        .filter(|name| name.as_bytes().starts_with(b"ssh_host_"))
        .collect();
    for key in keys {
        tree.remove_entry(ssh, key.as_bytes());
    }
    // machine-id(5): the next boot is the first one, whatever else is in /etc.
    let id = Content::new(*b"uninitialized\n");
    tree::replace(tree, "etc/machine-id", Inode::file(metadata(0o444), id))
}

/// Sets fields of os-release(5).
fn set_release<'a>(
    tree: &mut Tree<Content>,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    const PATH: &str = "usr/lib/os-release";
    let inode = tree.get(&TreePath::new(PATH)?);
    let Some(Kind::File(old)) = inode.map(|inode| &inode.kind) else {
        bail!("no /{PATH}");
    };
    let mut lines: Vec<_> = std::str::from_utf8(old)?
        .lines()
        .map(str::to_owned)
        .collect();
    for (name, value) in fields {
        lines.retain(|line| line.split_once('=').is_none_or(|(field, _)| field != name));
        lines.push(format!("{name}={value}"));
    }
    let text = lines.join("\n") + "\n";
    let file = Inode::file(metadata(0o644), Content::new(text.into_bytes()));
    tree::replace(tree, PATH, file)
}

/// Nothing is younger than the image.
fn clamp_times(tree: &mut Tree<Content>) {
    let ids: Vec<_> = tree.walk().map(|(_, id)| id).collect();
    let epoch = Timestamp::from_seconds(EPOCH);
    for id in ids {
        let mtime = &mut tree.metadata_mut(id).mtime;
        *mtime = (*mtime).min(epoch);
    }
}

#[cfg(test)]
mod tests {
    use pleach_fs_tree::{dump, parse_dump};

    use super::*;

    fn parse(text: &str) -> Tree<Content> {
        parse_dump(text, |bytes| Some(Content::new(bytes))).expect("a dump")
    }

    fn print(tree: &Tree<Content>) -> String {
        dump(tree, |content| content.to_vec())
    }

    const DEBIAN: &str = "\
/ directory 0755 0:0 9999999999.0
/boot directory 0755 0:0 5.0
/boot/System.map-6.1 file 0600 0:0 5.0 map
/boot/vmlinuz-6.1 file 0644 0:0 5.0 kernel
/dev directory 0755 0:0 5.0
/dev/null char-device 0666 0:0 5.0 1:3
/etc directory 0755 0:0 5.0
/etc/hostname file 0644 0:0 5.0 builder
/etc/init.d directory 0755 0:0 5.0
/etc/init.d/ssh file 0755 0:0 5.0 script
/etc/machine-id file 0444 0:0 5.0 0123
/etc/passwd file 0644 0:0 5.0 root
/etc/passwd- file 0644 0:0 5.0 root
/etc/rc2.d directory 0755 0:0 5.0
/etc/rc2.d/S01ssh symlink 0777 0:0 5.0 ../init.d/ssh
/etc/ssh directory 0755 0:0 5.0
/etc/ssh/ssh_config file 0644 0:0 5.0 x
/etc/ssh/ssh_host_ed25519_key file 0600 0:0 5.0 secret
/home directory 0755 0:0 5.0
/root directory 0700 0:0 5.0
/srv directory 0755 0:0 5.0
/usr directory 0755 0:0 5.0
/usr/lib directory 0755 0:0 5.0
/usr/lib/modules directory 0755 0:0 5.0
/usr/lib/modules/6.1 directory 0755 0:0 5.0
/usr/lib/modules/6.1/initramfs.img file 0600 0:0 9999999999.5 initramfs
/usr/lib/os-release file 0644 0:0 5.0 ID\\x3ddebian\\nIMAGE_VERSION\\x3dold\\n
/usr/local directory 0755 0:0 5.0
/usr/local/bin directory 0755 0:0 5.0
/var directory 0755 0:0 5.0
/var/lib directory 0755 0:0 5.0
/var/lib/dpkg directory 0755 0:0 5.0
/var/lib/dpkg/lock file 0640 0:0 5.0 -
/var/lib/dpkg/status file 0644 0:0 5.0 packages
/vmlinuz symlink 0777 0:0 5.0 boot/vmlinuz\\x2d6.1
";

    #[test]
    fn a_debian_root_becomes_a_bootable_container() -> Result<()> {
        let mut tree = parse(DEBIAN);
        reshape(&mut tree, None)?;
        let expect = "\
/ directory 0755 0:0 1767225600.0
/boot directory 0755 0:0 1767225600.0
/dev directory 0755 0:0 1767225600.0
/efi directory 0755 0:0 1767225600.0
/etc directory 0755 0:0 5.0
/etc/machine-id file 0444 0:0 1767225600.0 uninitialized\\n
/etc/passwd file 0644 0:0 5.0 root
/etc/ssh directory 0755 0:0 5.0
/etc/ssh/ssh_config file 0644 0:0 5.0 x
/home symlink 0777 0:0 1767225600.0 var/home
/media symlink 0777 0:0 1767225600.0 run/media
/mnt symlink 0777 0:0 1767225600.0 var/mnt
/opt symlink 0777 0:0 1767225600.0 var/opt
/ostree symlink 0777 0:0 1767225600.0 sysroot/ostree
/proc directory 0755 0:0 1767225600.0
/root symlink 0777 0:0 1767225600.0 var/roothome
/run directory 0755 0:0 1767225600.0
/srv symlink 0777 0:0 1767225600.0 var/srv
/sys directory 0755 0:0 1767225600.0
/sysroot directory 0755 0:0 1767225600.0
/tmp directory 1777 0:0 1767225600.0
/usr directory 0755 0:0 5.0
/usr/lib directory 0755 0:0 5.0
/usr/lib/modules directory 0755 0:0 5.0
/usr/lib/modules/6.1 directory 0755 0:0 5.0
/usr/lib/modules/6.1/initramfs.img file 0600 0:0 1767225600.0 initramfs
/usr/lib/modules/6.1/vmlinuz file 0644 0:0 5.0 kernel
/usr/lib/os-release file 0644 0:0 1767225600.0 ID\\x3ddebian\\nIMAGE_ID\\x3dpleach\\x2dbase\\nIMAGE_VERSION\\x3dv1\\n
/usr/lib/sysimage directory 0755 0:0 1767225600.0
/usr/lib/sysimage/dpkg directory 0755 0:0 5.0
/usr/lib/sysimage/dpkg/status file 0644 0:0 5.0 packages
/usr/local symlink 0777 0:0 1767225600.0 ../var/usrlocal
/var directory 0755 0:0 1767225600.0
";
        assert_eq!(print(&tree), expect);
        assert_eq!(kernel_version(&tree)?, "6.1");
        Ok(())
    }

    #[test]
    fn a_root_that_cannot_boot_is_refused() {
        let second = "/boot/vmlinuz-6.2 file 0644 0:0 5.0 kernel\n/dev ";
        for (from, to) in [
            ("/boot/vmlinuz-6.1 file", "/boot/kernel-6.1 file"),
            ("/dev ", second),
            ("initramfs.img file", "initrd.img file"),
            ("/usr/lib/os-release file", "/usr/lib/os-data file"),
        ] {
            let mut tree = parse(&DEBIAN.replacen(from, to, 1));
            assert!(reshape(&mut tree, None).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn the_second_version_changes_what_it_says() -> Result<()> {
        let mut tree = parse(DEBIAN);
        reshape(&mut tree, None)?;
        let before = print(&tree);
        let overlay = parse(
            "/ directory 0755 0:0 5.0\n/etc directory 0755 0:0 5.0\n/etc/motd file 0644 0:0 9999999999.0 hi\n",
        );
        let changes = Changes::parse("/etc/passwd\n", "0600 /etc/ssh/ssh_config\n")?;
        second_version(&mut tree, &overlay, &changes)?;
        let after = print(&tree);
        let only = |a: &str, b: &str| {
            let lines = a.lines().filter(|line| !b.contains(line));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            only(&before, &after),
            [
                "/etc/passwd file 0644 0:0 5.0 root",
                "/etc/ssh/ssh_config file 0644 0:0 5.0 x",
                "/usr/lib/os-release file 0644 0:0 1767225600.0 ID\\x3ddebian\\nIMAGE_ID\\x3dpleach\\x2dbase\\nIMAGE_VERSION\\x3dv1\\n",
            ]
        );
        assert_eq!(
            only(&after, &before),
            [
                "/etc/motd file 0644 0:0 1767225600.0 hi",
                "/etc/ssh/ssh_config file 0600 0:0 5.0 x",
                "/usr/lib/os-release file 0644 0:0 1767225600.0 ID\\x3ddebian\\nIMAGE_ID\\x3dpleach\\x2dbase\\nIMAGE_VERSION\\x3dv2\\n",
            ]
        );
        assert!(
            second_version(&mut tree, &overlay, &changes).is_err(),
            "nothing left to remove"
        );
        Ok(())
    }
}
