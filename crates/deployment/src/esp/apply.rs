//! A plan, carried out on a mounted ESP, or on a directory that becomes one.

use std::path::Path;

use cap_std::fs::Dir;

use super::{ENTRIES, PART, Plan, Step};
use crate::error::{Result, io};
use crate::walk::open_dir;

/// Carries out a plan: each step is on the disk before the next one begins.
///
/// vfat has no journal, so nothing that an entry names is ever written in place: files are written under
/// another name, synced, and renamed.
pub fn apply(sysroot: &Dir, esp: &Dir, plan: &Plan) -> Result<()> {
    for step in &plan.steps {
        match step {
            Step::Remove { path } => {
                esp.remove_file(path).map_err(io("remove", path))?;
                sync(esp, path)?;
            }
            Step::RemoveDirectory { path } => {
                esp.remove_dir(path).map_err(io("remove", path))?;
                sync(esp, path)?;
            }
            Step::Copy { path, .. } => {
                let source = Path::new("boot").join(path);
                let mut source = sysroot.open(&source).map_err(io("open", &source))?;
                write(esp, path, &mut source)?;
            }
            Step::WriteEntry { name, text } => {
                let path = Path::new(ENTRIES).join(name.to_string());
                write(esp, &path, &mut text.as_bytes())?;
            }
            Step::RemoveEntry { name } => {
                let path = Path::new(ENTRIES).join(name.to_string());
                esp.remove_file(&path).map_err(io("remove", &path))?;
                sync(esp, &path)?;
            }
        }
    }
    Ok(())
}

/// Writes a file whole or not at all, and makes the directories that it is in.
pub(super) fn write(esp: &Dir, path: &Path, source: &mut dyn std::io::Read) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_directories(esp, parent)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(PART);
    let part = Path::new(&part);
    let mut file = esp.create(part).map_err(io("create", part))?;
    std::io::copy(source, &mut file).map_err(io("write", part))?;
    file.sync_all().map_err(io("sync", part))?;
    drop(file);
    esp.rename(part, esp, path).map_err(io("rename", part))?;
    sync(esp, path)
}

fn make_directories(esp: &Dir, path: &Path) -> Result<()> {
    if open_dir(esp, path).is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(esp, parent)?;
    }
    esp.create_dir(path).map_err(io("create directory", path))?;
    sync(esp, path)
}

/// Syncs the directory that an entry is in.
fn sync(esp: &Dir, path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let dir = open_dir(esp, parent)?;
    rustix::fs::fsync(&dir).map_err(io("sync", parent))
}
