//! `pleach deploy install`: onto a file and into a folder, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::images::{Image, Scratch};
use crate::images::{has, is_root};

/// Images `v1` to `v3`, and `boot`, which is v2 with a boot loader.
fn scratch(name: &str) -> Option<Scratch> {
    if !is_root(name) || !has(name, "mkfs.ext4") || !has(name, "mkfs.vfat") || !has(name, "mcopy") {
        return None;
    }
    let scratch = Scratch::new();
    Image::number(2)
        .with("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "MZ")
        .write(&scratch.path("images"), "boot");
    Some(scratch)
}

fn install(scratch: &Scratch, arguments: &[&str]) -> (Option<i32>, String, String) {
    let all = [&["deploy", "install"], arguments].concat();
    crate::pleach(&scratch.path(""), &all)
}

/// Names below a folder, directories with a slash.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut names: Vec<_> = entries
        .flatten()
        .map(|e| e.file_name().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn what_would_be_lost_or_cannot_boot_is_refused() {
    let Some(scratch) = scratch("what_would_be_lost_or_cannot_boot_is_refused") else {
        return;
    };
    let folder = |name: &str, inside: &[&str]| -> PathBuf {
        let path = scratch.path(name);
        fs::create_dir_all(&path).expect("made");
        for name in inside {
            fs::create_dir_all(path.join(name)).expect("made");
        }
        path
    };
    fs::write(scratch.path("file.img"), "data").expect("written");
    folder("full", &["home"]);
    folder("booted", &["boot/grub"]);
    folder("empty", &["lost+found", "boot/efi"]);
    folder("bare", &[]);
    let check = |arguments: &[&str], why: &str| {
        let before = names(&scratch.path(""));
        let (code, _, stderr) = install(&scratch, arguments);
        assert_eq!(code, Some(3), "{arguments:?}: {stderr}");
        assert!(stderr.contains(why), "{arguments:?}: {stderr}");
        assert_eq!(
            names(&scratch.path("")),
            before,
            "{arguments:?} left something"
        );
    };
    let direct = ["--layout=direct"];
    let with = |more: &[&'static str]| [&["oci:images:v1"], more].concat();
    check(
        &with(&["--target=file.img"]),
        "is there already; --wipe replaces it",
    );
    check(
        &with(&["--target=/dev/null"]),
        "is neither file, block device nor folder",
    );
    check(&with(&["--target=full"]), "is not empty: it holds home");
    check(&with(&["--target=booted"]), "is not empty: it holds boot");
    check(
        &with(&["--target=empty", "--wipe"]),
        "is a folder, which is not wiped",
    );
    check(
        &with(&["--target=empty", "--size=1"]),
        "is a folder: it has a size",
    );
    check(
        &with(&["--target=new.img", "--root=LABEL=x"]),
        "--root is for a folder",
    );
    check(&with(&["--target=new.img", "--boot-loader=grub"]), "blscfg");
    check(
        &with(&["--target=bare", "--root=LABEL=x"]),
        "no EFI system partition is mounted on",
    );
    check(
        &with(&["--target=new.img"]),
        "the image has no boot loader in",
    );
    check(
        &with(&["--target=empty", "--root=LABEL=x"]),
        "the image has no boot loader in",
    );
    check(
        &[&with(&["--target=new.img", "--size=1048576"]), &direct[..]].concat(),
        "the target is too small",
    );
    // What was made before that was found out is gone, what was there is not.
    assert_eq!(names(&scratch.path("empty")), ["boot", "lost+found"]);
    assert_eq!(names(&scratch.path("empty/boot")), ["efi"]);
    assert_eq!(fs::read(scratch.path("file.img")).expect("read"), b"data");
}

#[test]
fn a_folder_becomes_a_sysroot_with_an_esp() {
    let Some(scratch) = scratch("a_folder_becomes_a_sysroot_with_an_esp") else {
        return;
    };
    fs::create_dir_all(scratch.path("root/efi")).expect("made");
    let (code, _, stderr) = install(
        &scratch,
        &[
            "oci:images:boot",
            "--target=root",
            "--root=LABEL=x",
            "--karg=own",
            "--fallback=oci:images:v1",
        ],
    );
    assert_eq!(code, Some(0), "{stderr}");
    let status = ["deploy", "status", "--sysroot=root"];
    let (code, stdout, stderr) = crate::pleach(&scratch.path(""), &status);
    assert_eq!(code, Some(0), "{stderr}");
    for (number, tag) in [("0", "boot"), ("1", "v1")] {
        let image = format!(
            "{number} oci:{}:{tag}@sha256:",
            scratch.path("images").display()
        );
        assert!(stdout.contains(&image), "no {image} in\n{stdout}");
    }
    let esp = scratch.path("root/efi");
    let entries = names(&esp.join("loader/entries"));
    let counted: Vec<_> = entries.iter().filter(|name| name.contains("+3")).collect();
    assert_eq!((entries.len(), counted.len()), (2, 1), "{entries:?}");
    let text = fs::read_to_string(esp.join("loader/entries").join(counted[0])).expect("read");
    assert!(text.contains("v=2 root=LABEL=x own"), "{text}");
    let path = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        esp.join(line.expect(key).trim().trim_start_matches('/'))
    };
    assert_eq!(
        fs::read_to_string(path("linux ")).expect("read"),
        "kernel 2\n"
    );
    assert_eq!(
        fs::read_to_string(path("initrd ")).expect("read"),
        "initramfs 2\n"
    );
    assert_eq!(
        fs::read(esp.join("EFI/BOOT/BOOTX64.EFI")).expect("read"),
        b"MZ"
    );
    // What is there is not installed over.
    let (code, _, stderr) = install(&scratch, &["oci:images:v1", "--target=root"]);
    assert!(
        code == Some(3) && stderr.contains("is not empty"),
        "{stderr}"
    );
}

#[test]
fn no_two_disks_have_the_same_names() {
    let Some(scratch) = scratch("no_two_disks_have_the_same_names") else {
        return;
    };
    let mut roots = BTreeSet::new();
    for target in ["one.img", "two.img"] {
        let (code, stdout, stderr) = install(
            &scratch,
            &[
                "oci:images:boot",
                &format!("--target={target}"),
                "--karg=own",
            ],
        );
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains(&format!("on {target}")), "{stdout}");
        let dir =
            cap_std::fs::Dir::open_ambient_dir(scratch.path(""), cap_std::ambient_authority());
        let dir = dir.expect("opened");
        let entries = pleach_deployment::disk::boot_entries((&dir, Path::new(target)));
        let entries = entries.expect("entries");
        let root = entries[0]
            .options
            .values("root")
            .next()
            .flatten()
            .expect("root=");
        assert!(root.starts_with("UUID="), "{root}");
        roots.insert(root.to_owned());
    }
    assert_eq!(roots.len(), 2, "{roots:?}");
}
