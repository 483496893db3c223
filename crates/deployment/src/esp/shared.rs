//! Names of kernels here.
//!
//! On the root each deployment has a name of its own for its kernel, all for the same file. Here, where
//! there are no hard links, it is to be there once: by the name that it has already, whoever gave it.

use std::path::{Path, PathBuf};

use super::{Esp, KERNELS, RootEntry};
use crate::commit::Checksum;
use crate::kernel;

/// An entry of the root with the names that its kernel has, or is to have, on the ESP.
pub(super) fn with_shared_names(entry: &RootEntry, esp: &Esp) -> RootEntry {
    let mut entry = entry.clone();
    for file in &mut entry.files {
        if let Some(path) = shared(&file.path, esp) {
            file.path = path;
        }
    }
    let line = |line: &str| match line.split_once(' ') {
        Some((key @ ("linux" | "initrd"), path)) => {
            let shared = shared(Path::new(path.trim_start_matches('/')), esp);
            match shared {
                Some(path) => format!("{key} /{}\n", path.display()),
                None => format!("{line}\n"),
            }
        }
        _ => format!("{line}\n"),
    };
    entry.text = entry.text.lines().map(line).collect();
    entry
}

/// Where a file of a kernel is on the ESP: `ostree/STATEROOT-CHECKSUM/FILE`. None of what is not a kernel's.
fn shared(path: &Path, esp: &Esp) -> Option<PathBuf> {
    let (folder, file) = (path.parent()?, path.file_name()?);
    let (stateroot, name) = kernel_of(folder)?;
    let same = |other: &&Path| {
        let other = kernel_of(other);
        other.is_some_and(|(of, other)| of == stateroot && kernel::is_same(other, name))
    };
    let there = esp.files.keys().filter_map(|path| path.parent()).find(same);
    let new = || Path::new(KERNELS).join(format!("{stateroot}-{}", kernel::shared_name(name)));
    let folder = there.map_or_else(new, Path::to_owned);
    Some(folder.join(file))
}

fn kernel_of(folder: &Path) -> Option<(&str, &str)> {
    let name = folder.strip_prefix(KERNELS).ok()?.to_str()?;
    let (stateroot, name) = name.rsplit_once('-')?;
    name.parse::<Checksum>().ok()?;
    Some((stateroot, name))
}
