//! What takes long to make is kept, by what it was made from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xshell::Shell;

/// A directory of directories that are each made once.
pub(crate) struct Cache<'a> {
    pub(crate) sh: &'a Shell,
    pub(crate) dir: PathBuf,
}

impl Cache<'_> {
    /// The directory that `make` filled for this key (hexadecimal digits), now or earlier. It gets
    /// its name only when it is whole; those of other keys go.
    pub(crate) fn get(
        &self,
        name: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.dir.join(format!("{name}-{}", &key[..16]));
        if done.exists() {
            return Ok(done);
        }
        self.sh.create_dir(&self.dir)?;
        let part = self.dir.join(format!(".{name}-{}", std::process::id()));
        self.sh.remove_path(&part)?;
        self.sh.create_dir(&part)?;
        if let Err(error) = make(&part) {
            self.sh.remove_path(&part)?;
            return Err(error);
        }
        match std::fs::rename(&part, &done) {
            // Somebody else was faster, with the same inputs.
            Err(_) if done.exists() => self.sh.remove_path(&part)?,
            result => result.with_context(|| format!("naming {}", done.display()))?,
        }
        for old in self.sh.read_dir(&self.dir)? {
            if old != done && is_entry_of(&old, name) {
                self.sh.remove_path(&old)?;
            }
        }
        Ok(done)
    }
}

/// Whether a path is an entry `NAME-KEY` of the cache.
fn is_entry_of(path: &Path, name: &str) -> bool {
    path.file_name()
        .and_then(|file| file.to_str())
        .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'))
        .is_some_and(|key| key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_entries_of_the_cache_are_left_alone() {
        for (file, name, expect) in [
            ("base-0123456789abcdef", "base", true),
            ("base-root-0123456789abcdef", "base", false),
            ("base-root-0123456789abcdef", "base-root", true),
            (".base-17", "base", false),
            ("base-notes", "base", false),
        ] {
            assert_eq!(is_entry_of(Path::new(file), name), expect, "{file} {name}");
        }
    }
}
