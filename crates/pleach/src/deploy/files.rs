//! Files and folders that the verbs here make, and folders that they take away.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;

use crate::cli::image::{Merged, materialize_options, open_dir};

/// Writes a merged tree with its owners into an empty directory.
pub(crate) fn materialize(merged: &Merged, target: &Dir) -> Result<()> {
    let mut contents = pleach_layer_merge::contents();
    let options = materialize_options(true);
    pleach_fs_tree::materialize(merged.tree(), target, &mut contents, &options)?;
    Ok(())
}

/// Writes a file whole, or says which one it could not.
pub(crate) fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    std::fs::write(&part, contents)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// The folder of a file, open, and the file's name.
pub(crate) fn split(path: &Path) -> Result<(Dir, PathBuf)> {
    let name = path
        .file_name()
        .with_context(|| format!("{} is no file", path.display()))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((open_dir(folder)?, name.into()))
}

/// Removes a folder with all that is in it, deployments (which are immutable) included.
pub(crate) fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    crate::compose::unlock(path)?;
    std::fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))
}
