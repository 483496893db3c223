//! A plan, carried out on a mounted ESP, or on a directory that becomes one.

use std::path::Path;

use cap_std::fs::{Dir, File};

use super::plan::entry_path;
use super::{HIDDEN, PART, Plan, Step, with};
use crate::error::{Result, io};
use crate::walk::open_dir;

/// Carries out a plan. What comes before a [`Step::Settle`] is on the disk before anything that comes
/// after it is begun.
pub fn apply(sysroot: &Dir, esp: &Dir, plan: &Plan) -> Result<()> {
    for step in &plan.steps {
        match step {
            Step::Remove { path } => esp.remove_file(path).map_err(io("remove", path))?,
            Step::RemoveDirectory { path } => esp.remove_dir(path).map_err(io("remove", path))?,
            Step::Copy { path, source, .. } => {
                let source = Path::new("boot").join(source);
                let mut source = sysroot.open(&source).map_err(io("open", &source))?;
                write_part(esp, path, &mut source)?;
            }
            Step::WriteEntry { name, text } => {
                write_part(esp, &entry_path(name), &mut text.as_bytes())?;
            }
            Step::Name { path } => rename(esp, &with(path, PART), path)?,
            Step::HideEntry { name } => {
                let path = entry_path(name);
                rename(esp, &path, &with(&path, HIDDEN))?;
            }
            Step::Settle => settle(esp)?,
        }
    }
    Ok(())
}

/// Writes a file whole or not at all, and makes the directories that it is in; it is on the disk then.
pub(super) fn write(esp: &Dir, path: &Path, source: &mut dyn std::io::Read) -> Result<()> {
    let file = write_part(esp, path, source)?;
    file.sync_all().map_err(io("sync", path))?;
    rename(esp, &with(path, PART), path)?;
    // A new name in vfat says nothing of where the file is until the file itself is synced again.
    file.sync_all().map_err(io("sync", path))?;
    let parents = path.ancestors().skip(1);
    parents.into_iter().try_for_each(|parent| sync(esp, parent))
}

/// Writes a file under another name than the one that it is to have.
fn write_part(esp: &Dir, path: &Path, source: &mut dyn std::io::Read) -> Result<File> {
    if let Some(parent) = path.parent() {
        esp.create_dir_all(parent)
            .map_err(io("create directory", parent))?;
    }
    let part = with(path, PART);
    let mut file = esp.create(&part).map_err(io("create", &part))?;
    std::io::copy(source, &mut file).map_err(io("write", &part))?;
    Ok(file)
}

fn rename(esp: &Dir, from: &Path, to: &Path) -> Result<()> {
    esp.rename(from, esp, to).map_err(io("rename", from))
}

/// All that was done is on the disk. syncfs(2) writes what Linux still has in memory; of vfat it does not
/// tell the disk to empty its own cache, which fsync(2) does (`fat_file_fsync`).
fn settle(esp: &Dir) -> Result<()> {
    let dir = open_dir(esp, "")?;
    rustix::fs::syncfs(&dir).map_err(io("sync filesystem", "."))?;
    sync(esp, Path::new(""))
}

fn sync(esp: &Dir, path: &Path) -> Result<()> {
    let dir = open_dir(esp, path)?;
    rustix::fs::fsync(&dir).map_err(io("sync", path))
}
