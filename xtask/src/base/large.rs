//! A larger image to measure on: what a Debian server has, in layers as somebody would build them.
//! Nobody boots it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_layer_merge::{Changes, Layout, NewImage, diff};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use xshell::Shell;

use super::tree::Content;
use super::{compose, image, recipe};
use crate::workspace::Workspace;

/// The layers that packages make, lowest first, each with the packages that it adds.
const PACKAGES: [(&str, &[&str]); 3] = [
    (
        "base",
        &[
            "systemd-sysv",
            "libpam-systemd",
            "dbus",
            "tzdata",
            "python3",
            "perl",
            "man-db",
            "manpages",
            "groff-base",
        ],
    ),
    ("kernel", &["linux-image-cloud-amd64"]),
    (
        "userland",
        &["ostree", "podman", "skopeo", "openssh-server", "git", "vim"],
    ),
];

/// Two more remove what is in these directories, which nobody reads, and add what does not compress.
const REMOVED: [&str; 3] = [
    "usr/share/doc",
    "usr/share/lintian/overrides",
    "usr/share/bug",
];
const ADDED: &str = "usr/share/bench";
const ADDED_FILES: u64 = 5;
const ADDED_BYTES: usize = 4 << 20;

const TAG: &str = "large";

/// The image's reference; it is built if it is not there, from whatever the archive of packages has
/// that day.
///
/// # Errors
/// When mmdebstrap fails, or what it made cannot be written as layers.
pub(crate) fn large(workspace: &Workspace) -> Result<String> {
    let inputs =
        ["large.rs", "compose.rs"].map(|file| workspace.root().join("xtask/src/base").join(file));
    let key = recipe::fingerprint(workspace.root(), &inputs)?;
    let layout = super::cache(workspace).get("large", &key, |dir| build(&workspace.sh, dir))?;
    Ok(format!("oci:{}:{TAG}", layout.display()))
}

fn build(sh: &Shell, dir: &Path) -> Result<()> {
    let layout = Layout::create(&Dir::open_ambient_dir(dir, ambient_authority())?)?;
    let scratch = sh.create_temp_dir()?;
    let mut stack = Vec::new();
    let mut put = |name: &str, changes: &Changes<Content>| -> Result<()> {
        let said = image::history(&format!("xtask, layer {name}"));
        stack.push((image::put_layer(&layout, changes)?, said));
        Ok(())
    };
    let mut lower = Tree::new(Metadata::default());
    let mut packages = Vec::new();
    for (name, more) in PACKAGES {
        eprintln!("fixtures: the larger image, layer {name} (some minutes)");
        packages.extend(more);
        let tar = scratch.path().join("root.tar");
        compose::root(sh, "important", &packages, Vec::new(), &tar)?;
        let mut upper = image::read_tar(&tar)?;
        // Device nodes are for root alone, and of no interest here.
        let dev = upper.lookup(&TreePath::new("dev")?).context("no /dev")?;
        upper.clear(dev);
        put(name, &diff(&lower, &upper, |a, b| a == b))?;
        lower = upper;
    }
    let mut upper = lower.clone();
    for path in REMOVED {
        let removed = upper.directory(&TreePath::new(path)?)?;
        upper.clear(removed);
    }
    put("cleanup", &diff(&lower, &upper, |a, b| a == b))?;

    let mut last = upper.clone();
    let directory = last.make_directories(&TreePath::new(ADDED)?, &Metadata::with_mode(0o755))?;
    for number in 0..ADDED_FILES {
        let name = TreePath::new(format!("{number}"))?;
        let name = name.file_name().context("a name")?;
        let file = Inode::file(Metadata::with_mode(0o644), Content::new(noise(number)));
        last.insert(directory, name, file)?;
    }
    put("noise", &diff(&upper, &last, |a, b| a == b))?;

    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": image::CREATED,
        "config": {"Cmd": ["/bin/sh"]},
    });
    let image = NewImage::scratch(config, &stack, &BTreeMap::new())?;
    layout.put_image(&image, Some(TAG))?;
    Ok(())
}

/// Bytes that no compression makes fewer, the same ones each time.
fn noise(seed: u64) -> Vec<u8> {
    let blocks = 0..(ADDED_BYTES / 32) as u64;
    blocks
        .flat_map(|block| {
            let input = [seed.to_le_bytes(), block.to_le_bytes()].concat();
            <[u8; 32]>::from(Sha256::digest(input))
        })
        .collect()
}
