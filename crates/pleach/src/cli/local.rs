//! The files beside a document: what `--files-dir` names, and nothing outside of it.

use std::path::Path;

use cap_std::fs::{Dir, MetadataExt as _};
use pleach_customization::{LocalFiles, TreeEntry, TreeKind};

/// The directory of local files, if one was given. No link leads out of it.
pub(super) struct FilesDir<'a>(pub(super) Option<&'a Path>);

impl FilesDir<'_> {
    fn open(&self) -> Result<Dir, String> {
        let Some(folder) = self.0 else {
            return Err("give the folder that it is in with --files-dir".to_owned());
        };
        Dir::open_ambient_dir(folder, cap_std::ambient_authority())
            .map_err(|e| format!("{}: {e}", folder.display()))
    }
}

impl LocalFiles for FilesDir<'_> {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self.open()?.read(name).map_err(|e| e.to_string())
    }

    fn tree(&self, name: &str) -> Result<Vec<TreeEntry>, String> {
        let folder = self.open()?;
        let root = match name {
            "" => folder,
            name => folder.open_dir(name).map_err(|e| e.to_string())?,
        };
        let mut entries = Vec::new();
        walk(&root, "", &mut entries)?;
        Ok(entries)
    }
}

/// What is below `dir`; no link is followed.
fn walk(dir: &Dir, above: &str, out: &mut Vec<TreeEntry>) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{above}: {e}");
    for entry in dir.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| format!("{above}{name:?}: the name is not UTF-8"))?;
        let path = format!("{above}{name}");
        let failed = |e: std::io::Error| format!("{path}: {e}");
        let metadata = entry.metadata().map_err(failed)?;
        let kind = if metadata.is_dir() {
            let below = dir.open_dir(name).map_err(failed)?;
            walk(&below, &format!("{path}/"), out)?;
            TreeKind::Directory
        } else if metadata.is_symlink() {
            let target = dir.read_link_contents(name).map_err(failed)?;
            let target = target.to_str();
            TreeKind::Symlink {
                target: target
                    .ok_or_else(|| format!("{path}: the target is not UTF-8"))?
                    .to_owned(),
            }
        } else if metadata.is_file() {
            TreeKind::File {
                executable: metadata.mode() & 0o111 != 0,
            }
        } else {
            TreeKind::Other
        };
        out.push(TreeEntry { path, kind });
    }
    Ok(())
}
