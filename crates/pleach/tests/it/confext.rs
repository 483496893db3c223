//! An extension of `/etc`: what it holds is what the route `etc` writes, and it says what it is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use pleach_fs_tree::{FileContent, Tree, TreePath, diff};

use crate::images::{has, is_root};
use crate::parts::timeless;
use crate::{pleach, scratch};

const SITE: &str = "\
variant: fcos
version: 1.5.0
storage:
  directories:
    - { path: /etc/site, mode: 0750, group: { id: 27 } }
    - { path: /etc/site/empty, mode: 01777 }
  files:
    - { path: /etc/motd, contents: { inline: hello } }
    - { path: /etc/site/key, mode: 0600, user: { id: 33 }, group: { id: 34 }, contents: { inline: private } }
    - { path: /etc/deep/er/nothing, contents: { inline: \"\" } }
    - { path: \"/etc/a b\", mode: 0755, contents: { inline: x } }
  links:
    - { path: /etc/site/current, target: ../motd }
";
const UNITS: &str = "\
systemd:
  units:
    - name: site.service
      enabled: true
      contents: \"[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\nAlias=other.service\\n\"
      dropins: [{ name: 10-nice.conf, contents: \"[Service]\\nNice=5\\n\" }]
    - { name: loud.service, mask: true }
";

fn confext(folder: &Path, more: &[&str]) {
    let arguments = ["inject", "confext", "--config=site.bu", "--output=made"];
    let (code, _, stderr) = pleach(folder, &[&arguments, more].concat());
    assert_eq!(code, Some(0), "{stderr}");
}

/// What a folder's `etc` has, but for what says that it is an extension.
fn etc(folder: &Path) -> Tree<FileContent> {
    let mut tree = timeless(&folder.join("etc"));
    tree.remove(&TreePath::new("/extension-release.d").expect("a plain path"));
    tree
}

#[test]
fn an_extension_is_what_the_route_etc_writes() {
    if !is_root("an_extension_is_what_the_route_etc_writes") {
        return;
    }
    let check = |document: &str, more: &[&str], name: &str, release: &str, paths: usize| {
        let scratch = scratch();
        let folder = scratch.path();
        std::fs::write(folder.join("site.bu"), document).expect("written");
        for name in ["root/etc", "root/usr", "root/var"] {
            std::fs::create_dir_all(folder.join(name)).expect("made");
        }
        let inject = ["inject", "etc", "--config=site.bu", "--deployment=root"];
        let (code, _, stderr) = pleach(folder, &inject);
        assert_eq!(code, Some(0), "{stderr}");
        confext(folder, more);
        let made = folder.join("made").join(name);
        let (left, right) = (etc(&folder.join("root")), etc(&made));
        let different = diff(&left, &right, |a, b| a == b);
        assert!(different.is_empty(), "{different:#?}");
        assert_eq!(left.walk().count(), paths, "paths");
        // It is an extension by a file of its own name, which says whom it fits.
        let said = made.join(format!("etc/extension-release.d/extension-release.{name}"));
        assert_eq!(std::fs::read_to_string(said).expect("there"), release);
        let beside = std::fs::read_dir(&made).expect("made").count();
        assert_eq!(beside, 1, "nothing but /etc");
    };
    let whole = format!("{SITE}{UNITS}");
    check(SITE, &[], "pleach", "ID=_any\n", 10);
    check(
        SITE,
        &["--name=site-1.2", "--release=debian:13"],
        "site-1.2",
        "ID=debian\nVERSION_ID=13\n",
        10,
    );
    check(
        &whole,
        &[],
        "pleach",
        "ID=_any\nEXTENSION_RELOAD_MANAGER=1\n",
        21,
    );
}

#[test]
fn an_extension_is_an_image_too() {
    let test = "an_extension_is_an_image_too";
    if !is_root(test) || !has(test, "mkfs.erofs") {
        return;
    }
    let scratch = scratch();
    let folder = scratch.path();
    std::fs::write(folder.join("site.bu"), SITE).expect("written");
    let raw = folder.join("made/pleach.raw");
    let image = || {
        confext(folder, &["--image"]);
        std::fs::read(&raw).expect("an image")
    };
    let (first, second) = (image(), image());
    assert!(first == second, "the same document gives other bytes");
    let mode = std::fs::metadata(&raw).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600, "it holds a private file");
    let read = Command::new("fsck.erofs")
        .args(["--extract=read", "--preserve", "made/pleach.raw"])
        .current_dir(folder)
        .output()
        .expect("of the same package");
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}");
    let (left, right) = (
        timeless(&folder.join("made/pleach")),
        timeless(&folder.join("read")),
    );
    let different = diff(&left, &right, |a, b| a == b);
    assert!(different.is_empty(), "{different:#?}");
    // No tool, no image, and no half of one.
    std::fs::remove_file(&raw).expect("there");
    let without = Command::new(env!("CARGO_BIN_EXE_pleach"))
        .args([
            "inject",
            "confext",
            "--config=site.bu",
            "--output=made",
            "--image",
        ])
        .current_dir(folder)
        .env("PATH", folder)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&without.stderr);
    assert_eq!(without.status.code(), Some(3), "{said}");
    assert!(
        said.contains("running mkfs.erofs") && said.contains("erofs-utils"),
        "{said}"
    );
    assert!(!raw.exists());
}
