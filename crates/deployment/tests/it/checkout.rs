//! A deployment that this crate checks out is the one that libostree would have made.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    Scratch, can_run, commit, deploy_options, directory, ostree_admin, run, set_xattr, write,
};

/// All that there is to be seen of each path below `root`; of a file in /usr also which object it is.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let xattrs = run(Command::new("getfattr")
        .args(["--recursive", "--physical", "--no-dereference", "--dump"])
        .args(["--match=-", "--absolute-names", "--encoding=hex"])
        .arg(root));
    let xattrs: BTreeMap<_, _> = xattrs
        .split("# file: ")
        .filter_map(|one| one.split_once('\n'))
        .map(|(path, rest)| (PathBuf::from(path), rest.trim().to_owned()))
        .collect();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            seen.insert(path.clone(), String::new());
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    seen.insert(root.to_owned(), String::new());
    seen.into_keys()
        .map(|path| {
            let found = fs::symlink_metadata(&path).unwrap();
            let below = path.strip_prefix(root).unwrap().to_owned();
            let mut what = format!("{:o} {}:{}", found.mode(), found.uid(), found.gid());
            // libostree leaves the time of the copy in /etc, and copies files of nothing everywhere.
            let copied = below.starts_with("etc") || found.is_file() && found.size() == 0;
            if !copied && !below.as_os_str().is_empty() {
                what += &format!(" at {}", found.mtime());
            }
            if !found.is_dir() {
                what += &format!(" {} bytes", found.size());
                let object = format!(" links {} inode {}", found.nlink(), found.ino());
                what += if copied { "" } else { &object };
            }
            if found.is_symlink() {
                what += &format!(" to {}", fs::read_link(&path).unwrap().display());
            } else if found.is_file() {
                let bytes = fs::read(&path).unwrap();
                what += &format!(" {:?}", &bytes[..bytes.len().min(16)]);
            }
            let xattrs = xattrs.get(&path).map_or("", |x| x.as_str());
            (below, format!("{what} {xattrs}"))
        })
        .collect()
}

fn check(case: &str, change: impl Fn(&Path)) {
    let scratch = Scratch::new();
    let sysroot = scratch.sysroot("sysroot");
    let tree = scratch.tree("tree");
    change(&scratch.path("tree"));
    let made = commit(&sysroot, &tree);
    let ours = sysroot.deploy(&deploy_options(&made, "root=x")).unwrap();
    let path = scratch.path("sysroot");
    let (ours, theirs) = (path.join(&ours.path), {
        ostree_admin(&path, &["deploy", "--os=os", made.checksum.as_str()]);
        path.join(format!("ostree/deploy/os/deploy/{}.1", made.checksum))
    });
    let (ours, theirs) = (seen(&ours), seen(&theirs));
    let differ: Vec<_> = theirs
        .keys()
        .chain(ours.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{path:?}\n  {:?}\n  {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(
        differ.is_empty(),
        "{case}: ours, libostree's\n{}",
        differ.join("\n")
    );
    assert!(ours.len() > 30, "{case}: {ours:?}");

    // Both have found the same name for the kernel, but for the last byte.
    let names = fs::read_dir(path.join("boot/ostree")).unwrap();
    let names: Vec<_> = names.map(|n| n.unwrap().file_name()).collect();
    let names: Vec<_> = names.iter().map(|n| n.to_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "{case}: {names:?}");
    let [one, other] = [names[0], names[1]].map(|name| &name[..name.len() - 2]);
    assert_eq!(one, other, "{case}: the checksum of the kernel");
}

#[test]
fn a_checkout_is_libostrees() {
    if !can_run(&["ostree", "getfattr"]) {
        return;
    }
    check("every kind of metadata", |_| {});
    check("directories with attributes", |tree| {
        directory(tree, "etc/deep/er", 0o2711, (3, 4));
        write(tree, "etc/deep/er/file", b"x", 0o4711, (5, 6));
        set_xattr(&tree.join("etc/deep"), "user.deep", b"1");
        set_xattr(
            &tree.join("etc/deep/er/file"),
            "security.capability",
            &crate::support::CAPABILITY,
        );
        directory(tree, "usr/private", 0o000, (9, 9));
        directory(tree, "usr/private/in", 0o1777, (9, 9));
        set_xattr(&tree.join("usr/private"), "trusted.t", b"\0\x01");
    });
    check("links in /etc, broken and with owners", |tree| {
        symlink("/nowhere", tree.join("etc/broken")).unwrap();
        symlink("hostname", tree.join("etc/short")).unwrap();
        std::os::unix::fs::lchown(tree.join("etc/short"), Some(11), Some(12)).unwrap();
        set_xattr(&tree.join("etc/broken"), "trusted.l", b"link");
    });
    check(
        "more directories than may be open at once, and deep ones",
        |tree| {
            for number in 0..1500 {
                directory(tree, &format!("usr/many/{number}"), 0o755, (0, 0));
            }
            directory(tree, &format!("usr/{}", "deep/".repeat(100)), 0o755, (0, 0));
        },
    );
    check(
        "a file of nothing, and one of a megabyte, in /etc",
        |tree| {
            write(tree, "etc/empty", b"", 0o600, (0, 0));
            write(tree, "etc/large", &vec![7; 1 << 20], 0o640, (0, 7));
        },
    );
    check("a kernel without an initramfs", |tree| {
        fs::remove_file(tree.join("usr/lib/modules/9.9.9/initramfs.img")).unwrap();
    });
}
