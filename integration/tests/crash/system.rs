//! A small operating system: a tree of some megabytes, its OCI image, and a sysroot with it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use pleach_integration::crash::mount::run;
use pleach_integration::crash::state::Random;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The version of its kernel.
const KERNEL: &str = "6.1.0-test";

/// A file, with contents that no other one has.
fn fill(root: &Path, path: &str, seed: u64, bytes: usize) -> Result<()> {
    let mut random = Random::new(seed);
    let mut contents = Vec::with_capacity(bytes + 8);
    while contents.len() < bytes {
        contents.extend(random.next_u64().to_le_bytes());
    }
    contents.truncate(bytes);
    write(root, path, &contents, 0o644)
}

fn write(root: &Path, path: &str, contents: &[u8], mode: u32) -> Result<()> {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("below the root"))?;
    std::fs::write(&path, contents)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// What all versions have.
fn common(root: &Path) -> Result<()> {
    for path in [
        "usr/bin", "usr/lib", "etc", "var", "sysroot", "boot", "dev", "proc", "sys", "run", "tmp",
    ] {
        std::fs::create_dir_all(root.join(path))?;
    }
    for number in 0..60 {
        fill(root, &format!("usr/bin/tool-{number}"), number, 9_000)?;
    }
    fill(root, "usr/lib/large", 100, 700_000)?;
    for number in 0..20 {
        fill(root, &format!("etc/conf.d/{number}"), 200 + number, 300)?;
    }
    write(root, "etc/shadow", b"root:*::\n", 0o600)?;
    write(
        root,
        "usr/lib/tmpfiles.d/var.conf",
        b"d /var/log 0755\n",
        0o644,
    )?;
    for (target, link) in [
        ("sysroot/ostree", "ostree"),
        ("var/home", "home"),
        ("var/roothome", "root"),
    ] {
        symlink(target, root.join(link))?;
    }
    Ok(())
}

/// What a version has of its own.
fn version(root: &Path, version: u64) -> Result<()> {
    let release = format!("ID=small\nVERSION_ID={version}\nPRETTY_NAME=\"Small {version}\"\n");
    write(root, "usr/lib/os-release", release.as_bytes(), 0o644)?;
    fill(
        root,
        &format!("usr/lib/modules/{KERNEL}/vmlinuz"),
        1000 + version,
        500_000,
    )?;
    fill(
        root,
        &format!("usr/lib/modules/{KERNEL}/initramfs.img"),
        2000 + version,
        400_000,
    )?;
    write(
        root,
        "usr/lib/bootc/kargs.d/10.toml",
        format!("kargs = [\"quiet\", \"v={version}\"]\n").as_bytes(),
        0o644,
    )?;
    for number in 0..12 {
        fill(
            root,
            &format!("usr/bin/part-{number}"),
            version * 5000 + number,
            20_000,
        )?;
    }
    for number in 0..8 {
        write(
            root,
            &format!("etc/image-{number}"),
            format!("of {version}\n").as_bytes(),
            0o644,
        )?;
    }
    write(root, &format!("etc/only-{version}"), b"once\n", 0o644)?;
    Ok(())
}

/// The tree of a version.
pub(crate) fn tree(root: &Path, number: u64) -> Result<()> {
    common(root)?;
    version(root, number)
}

/// What somebody does to `/etc` and `/var` of a machine.
pub(crate) fn local_changes(etc: &Path, var: &Path) -> Result<()> {
    write(etc, "image-0", b"local\n", 0o600)?;
    std::fs::remove_file(etc.join("image-1"))?;
    write(etc, "conf.d/local", b"local\n", 0o644)?;
    symlink("conf.d/local", etc.join("link"))?;
    std::fs::set_permissions(etc.join("image-2"), std::fs::Permissions::from_mode(0o600))?;
    fill(var, "lib/app/data", 9999, 50_000)?;
    Ok(())
}

/// An OCI layout with the versions `v1`, `v2`, …; all share their first layer.
pub(crate) fn images(folder: &Path, versions: u64) -> Result<PathBuf> {
    let layout = folder.join("layout");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |bytes: &[u8]| -> Result<(String, usize)> {
        let digest: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::write(blobs.join(&digest), bytes)?;
        Ok((format!("sha256:{digest}"), bytes.len()))
    };
    let layer = |name: &str, make: &dyn Fn(&Path) -> Result<()>| -> Result<(String, usize)> {
        let root = folder.join(name);
        make(&root)?;
        let file = folder.join(format!("{name}.tar"));
        run(Command::new("tar")
            .args([
                "--sort=name",
                "--numeric-owner",
                "--owner=0",
                "--group=0",
                "--mtime=@1767225600",
                "-cf",
            ])
            .arg(&file)
            .arg("-C")
            .arg(&root)
            .arg("."))?;
        let put = put(&std::fs::read(&file)?)?;
        std::fs::remove_dir_all(&root)?;
        std::fs::remove_file(&file)?;
        Ok(put)
    };
    const OCI: &str = "application/vnd.oci.image";
    let base = layer("common", &common)?;
    let mut manifests = Vec::new();
    for number in 1..=versions {
        let own = layer("own", &|root| version(root, number))?;
        let config = put(&serde_json::to_vec(&json!({
            "architecture": "amd64",
            "os": "linux",
            "created": format!("2026-01-0{number}T00:00:00Z"),
            "config": {"Labels": {
                "containers.bootc": "1",
                "org.opencontainers.image.version": format!("{number}.0"),
            }},
            "rootfs": {"type": "layers", "diff_ids": [base.0, own.0]},
        }))?)?;
        let descriptor = |kind: &str, (digest, size): &(String, usize)| json!({"mediaType": format!("{OCI}.{kind}"), "digest": digest, "size": size});
        let manifest = put(&serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": format!("{OCI}.manifest.v1+json"),
            "config": descriptor("config.v1+json", &config),
            "layers": [descriptor("layer.v1.tar", &base), descriptor("layer.v1.tar", &own)],
        }))?)?;
        let mut entry = descriptor("manifest.v1+json", &manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": format!("v{number}")});
        manifests.push(entry);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": format!("{OCI}.index.v1+json"),
        "manifests": manifests,
    });
    std::fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    std::fs::write(
        layout.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    Ok(layout)
}
