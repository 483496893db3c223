//! A small bootable tree, a scratch directory that can be deleted, and running programs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_deployment::{Commit, CommitOptions, DeployOptions, Deployment, Origin, Sysroot};
use rustix::fs::{IFlags, XattrFlags};

pub(crate) const TIMESTAMP: u64 = 1_767_225_600;
pub(crate) const REF: &str = "test/tree";

/// Says whether the machine can run the test; if not, a skip is printed, or with CI=true fails.
pub(crate) fn can_run(tools: &[&str]) -> bool {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let root = rustix::process::geteuid().is_root();
    let missing: Vec<_> = tools.iter().filter(|t| which(t).is_none()).collect();
    if root && missing.is_empty() {
        return true;
    }
    let why = format!("root: {root}, missing programs: {missing:?}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI must run this test; {why}"
    );
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Past libtest's capture, which would swallow it in a test that passes.
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("SKIP {name} ({why}); {count} skipped so far\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(tool))
        .find(|p| p.is_file())
}

/// A directory for a test; clears the immutable flags that libostree set, so that it can be deleted.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn dir(&self, name: &str) -> Dir {
        fs::create_dir_all(self.path(name)).unwrap();
        Dir::open_ambient_dir(self.path(name), ambient_authority()).unwrap()
    }

    /// A new sysroot with the stateroot `os`.
    pub(crate) fn sysroot(&self, name: &str) -> Sysroot {
        let sysroot = Sysroot::init(&self.dir(name)).unwrap().without_fsync();
        sysroot.init_stateroot("os").unwrap();
        sysroot
    }

    /// A new bootable tree.
    pub(crate) fn tree(&self, name: &str) -> Dir {
        let dir = self.dir(name);
        bootable_tree(&self.path(name));
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear_immutable(self.0.path(), 6);
    }
}

fn clear_immutable(path: &Path, depth: u32) {
    let Ok(dir) = Dir::open_ambient_dir(path, ambient_authority()) else {
        return;
    };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&dir)
        && flags.contains(IFlags::IMMUTABLE)
    {
        rustix::fs::ioctl_setflags(&dir, flags - IFlags::IMMUTABLE).unwrap();
    }
    for entry in dir.entries().unwrap().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            clear_immutable(&path.join(entry.file_name()), depth - 1);
        }
    }
}

pub(crate) fn write(root: &Path, path: &str, content: &[u8], mode: u32, owner: (u32, u32)) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    chown(&path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn directory(root: &Path, path: &str, mode: u32, owner: (u32, u32)) {
    let path = root.join(path);
    fs::create_dir_all(&path).unwrap();
    chown(&path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// `security.capability` with cap_net_raw=ep (`struct vfs_cap_data`, revision 2).
pub(crate) const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Every kind of metadata that ostree can hold, in the shape of a bootable container.
pub(crate) fn bootable_tree(root: &Path) {
    let own = (0, 0);
    for path in [
        "usr", "usr/bin", "usr/lib", "etc", "var", "sysroot", "boot", "dev", "proc", "sys", "run",
    ] {
        directory(root, path, 0o755, own);
    }
    write(root, "usr/lib/modules/9.9.9/vmlinuz", b"kernel", 0o644, own);
    write(
        root,
        "usr/lib/modules/9.9.9/initramfs.img",
        b"initramfs",
        0o600,
        own,
    );
    write(
        root,
        "usr/lib/os-release",
        b"ID=test\nPRETTY_NAME=\"Test OS 1\"\n",
        0o644,
        own,
    );
    write(
        root,
        "usr/lib/tmpfiles.d/var.conf",
        b"d /var/log 0755\n",
        0o644,
        own,
    );
    write(
        root,
        "usr/lib/bootc/kargs.d/10-console.toml",
        b"kargs = [\"console=tty0\", \"quiet\"]\n",
        0o644,
        own,
    );
    write(
        root,
        "usr/lib/bootc/kargs.d/20-other.toml",
        b"kargs = [\"never\"]\nmatch-architectures = [\"m68k\"]\n",
        0o644,
        own,
    );
    write(root, "usr/bin/su", b"su", 0o4755, own);
    write(root, "usr/bin/wall", b"wall", 0o2755, (0, 5));
    write(root, "usr/bin/ping", b"ping", 0o755, own);
    set_xattr(
        &root.join("usr/bin/ping"),
        "security.capability",
        &CAPABILITY,
    );
    write(root, "usr/share/note", b"", 0o444, (1000, 1000));
    set_xattr(&root.join("usr/share/note"), "user.note", b"a\0b");
    set_xattr(&root.join("usr/share"), "user.dir", b"d");
    write(root, "usr/share/empty", b"", 0o444, (1000, 1000));
    fs::hard_link(root.join("usr/bin/su"), root.join("usr/bin/su-again")).unwrap();
    write(
        root,
        "usr/share/name with space, \u{e9} and \"",
        b"odd",
        0o644,
        own,
    );
    // Over what is written in one call, and several attributes.
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    write(root, "usr/share/large", &large, 0o600, own);
    for name in ["user.b", "user.a", "trusted.c", "user.a.b"] {
        set_xattr(&root.join("usr/share/large"), name, name.as_bytes());
    }
    symlink("../lib/os-release", root.join("usr/bin/relative")).unwrap();
    symlink("/nowhere", root.join("usr/bin/absolute")).unwrap();
    lchown(root.join("usr/bin/absolute"), Some(7), Some(8)).unwrap();
    write(root, "etc/hostname", b"image\n", 0o644, own);
    write(root, "etc/shadow", b"root:*::\n", 0o640, (0, 42));
    write(root, "etc/sudoers.d/README", b"", 0o440, own);
    directory(root, "etc/sudoers.d", 0o750, own);
    symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
    set_xattr(&root.join("etc/hostname"), "user.origin", b"image");
    write(root, "var/lib/app/state", b"seed", 0o600, (1000, 1001));
    directory(root, "var/lib/app", 0o2770, (1000, 1001));
    directory(root, "var/tmp", 0o1777, own);
    set_xattr(&root.join("var/lib/app"), "user.app", b"1");
    directory(root, "tmp", 0o1777, own);
    for (target, link) in [
        ("sysroot/ostree", "ostree"),
        ("var/home", "home"),
        ("var/roothome", "root"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
}

/// Each path with all that a test can see of it, apart from times.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let output = run(Command::new("find")
        .arg(root)
        .args(["-printf", "%P %y %m %U:%G %n %s %l\\n"]));
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

pub(crate) fn ostree(sysroot: &Path, arguments: &[&str]) -> String {
    let repo = sysroot.join("ostree/repo");
    // In another locale it prints names that are not ASCII in another way.
    run(Command::new("ostree")
        .env("LC_ALL", "C.UTF-8")
        .arg(format!("--repo={}", repo.display()))
        .args(arguments))
}

pub(crate) fn ostree_admin(sysroot: &Path, arguments: &[&str]) -> String {
    let sysroot = format!("--sysroot={}", sysroot.display());
    run(Command::new("ostree")
        .env("LC_ALL", "C.UTF-8")
        .arg("admin")
        .arg(arguments[0])
        .arg(sysroot)
        .args(&arguments[1..]))
}

pub(crate) fn commit(sysroot: &Sysroot, tree: &Dir) -> Commit {
    sysroot
        .commit_tree(tree, &CommitOptions::new(REF, TIMESTAMP))
        .unwrap()
}

pub(crate) fn deploy_options(commit: &Commit, arguments: &str) -> DeployOptions {
    let mut options =
        DeployOptions::new("os", commit.checksum.clone(), Origin::Refspec(REF.into()));
    options.kargs_d.architecture = "x86_64".into();
    options.kernel_arguments = arguments.parse().unwrap();
    options
}

/// A sysroot with one deployment of the tree.
pub(crate) fn deployed(scratch: &Scratch, arguments: &str) -> (Sysroot, Deployment) {
    let sysroot = scratch.sysroot("sysroot");
    let commit = commit(&sysroot, &scratch.tree("tree"));
    let deployment = sysroot.deploy(&deploy_options(&commit, arguments)).unwrap();
    (sysroot, deployment)
}
