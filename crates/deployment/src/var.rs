//! A stateroot's first `/var`.
//!
//! libostree since 2024.3 fills an empty `/var` of a stateroot from the commit on the first deployment, and
//! never touches it again; 2022.7 does not. This does the same, so that the version of the host's libostree
//! is not seen on the machine.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, Permissions, PermissionsExt as _};
use ostree_ext::{gio::Cancellable, ostree};

use crate::commit::Checksum;
use crate::error::{Result, io, ostree as failed};

/// What `os-init` of libostree before 2024.3 puts into `/var`: directories, and links with their targets.
const LEGACY_DIRECTORIES: [(&str, u32); 3] = [("tmp", 0o1777), ("lib", 0o755), ("log", 0o755)];
const LEGACY_LINKS: [(&str, &str); 2] = [("run", "../run"), ("lock", "../run/lock")];
/// libostree's note to itself that it has seen to SELinux labels; it is there before we are.
const LABELED: &str = ".ostree-selabeled";

/// Fill `var` from the commit's `/var`, unless somebody has put anything into it.
pub(crate) fn seed(
    repo: &ostree::Repo,
    commit: &Checksum,
    deployment: &Dir,
    var: &Dir,
) -> Result<()> {
    let is_directory = |path: &str| {
        deployment
            .symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_dir())
    };
    if !clear_if_pristine(var)? {
        return Ok(());
    }
    if is_directory("var") {
        let options = ostree::RepoCheckoutAtOptions {
            // The repository's objects must not change with what the machine writes.
            force_copy: true,
            subpath: Some(PathBuf::from("/var")),
            overwrite_mode: ostree::RepoCheckoutOverwriteMode::UnionFiles,
            ..Default::default()
        };
        repo.checkout_at(
            Some(&options),
            var.as_fd().as_raw_fd(),
            ".",
            commit.as_str(),
            Cancellable::NONE,
        )
        .map_err(failed("copy the image's /var"))?;
    }
    // Without systemd-tmpfiles nobody would make these.
    if !is_directory("usr/lib/tmpfiles.d") {
        legacy_layout(var)?;
    }
    Ok(())
}

/// Remove what an old `os-init` made; `false`, and nothing is removed, if there is anything else.
fn clear_if_pristine(var: &Dir) -> Result<bool> {
    let mut names = Vec::new();
    for entry in var.entries().map_err(io("read directory", "var"))? {
        let name = entry.map_err(io("read directory", "var"))?.file_name();
        if name == LABELED {
            continue;
        }
        let known = LEGACY_DIRECTORIES.iter().any(|(n, _)| {
            name == *n && var.symlink_metadata(n).is_ok_and(|m| m.is_dir()) && is_empty(var, n)
        }) || LEGACY_LINKS.iter().any(|(n, target)| {
            name == *n
                && var
                    .read_link_contents(n)
                    .is_ok_and(|t| t.as_os_str() == *target)
        });
        if !known {
            return Ok(false);
        }
        names.push(name);
    }
    for name in names {
        let removed = match LEGACY_DIRECTORIES.iter().any(|(n, _)| name == *n) {
            true => var.remove_dir(&name),
            false => var.remove_file(&name),
        };
        removed.map_err(io("remove", &name))?;
    }
    Ok(true)
}

fn is_empty(dir: &Dir, name: &str) -> bool {
    dir.read_dir(name)
        .is_ok_and(|mut entries| entries.next().is_none())
}

fn legacy_layout(var: &Dir) -> Result<()> {
    for (name, mode) in LEGACY_DIRECTORIES {
        if var.symlink_metadata(name).is_err() {
            let mut builder = DirBuilder::new();
            builder.mode(mode);
            var.create_dir_with(name, &builder)
                .map_err(io("create directory", name))?;
            // Apart from the mode at creation, which the umask cuts.
            var.set_permissions(name, Permissions::from_mode(mode))
                .map_err(io("set mode of", name))?;
        }
    }
    for (name, target) in LEGACY_LINKS {
        if var.symlink_metadata(name).is_err() {
            var.symlink_contents(target, name)
                .map_err(io("create link", name))?;
        }
    }
    Ok(())
}
