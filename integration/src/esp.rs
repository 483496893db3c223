//! The EFI system partition of a disk image, read and changed by mtools: no kernel here need know vfat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Where `pleach deploy install` puts it, and how large it is at least.
const OFFSET: u64 = 1 << 20;
const BYTES: u64 = 512 << 20;

/// The ESP of an image.
#[derive(Debug)]
pub struct Esp {
    image: PathBuf,
}

impl Esp {
    /// That of the disk image.
    pub fn of(image: &Path) -> Self {
        Self {
            image: image.to_owned(),
        }
    }

    /// Its sectors of the disk.
    pub fn sectors() -> std::ops::Range<u64> {
        OFFSET / 512..(OFFSET + BYTES) / 512
    }

    fn mtools(&self, tool: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = Command::new(tool)
            .env("MTOOLSRC", "/dev/null")
            .arg("-i")
            .arg(format!("{}@@{OFFSET}", self.image.display()))
            .args(arguments)
            .output()
            .with_context(|| format!("running {tool}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{tool} {arguments:?}: {said}");
        Ok(output.stdout)
    }

    /// Names of the boot loader entries, in order, with their counters.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn entries(&self) -> Result<Vec<String>> {
        let listing = self.mtools("mdir", &["-b", "::/loader/entries"])?;
        let listing = String::from_utf8(listing)?;
        let names = listing.lines().filter_map(|line| line.rsplit('/').next());
        let mut names: Vec<_> = names.map(|name| name.trim().to_owned()).collect();
        names.retain(|name| name.ends_with(".conf"));
        names.sort();
        Ok(names)
    }

    /// A file.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.mtools("mtype", &[&format!("::{path}")])
    }

    /// The size of a file.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn size(&self, path: &str) -> Result<u64> {
        let listing = String::from_utf8(self.mtools("mdir", &["-a", &format!("::{path}")])?)?;
        let total = listing.lines().find_map(|line| {
            let (_, rest) = line.split_once(" file ")?;
            Some(
                rest.replace("bytes", "")
                    .split_whitespace()
                    .collect::<String>(),
            )
        });
        let total = total.with_context(|| format!("no size of {path}:\n{listing}"))?;
        Ok(total.parse()?)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.mtools("mdel", &[&format!("::{path}")]).map(drop)
    }

    /// Writes a file over one that may be there.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let local = self.image.with_extension("contents");
        fs::write(&local, contents)?;
        let done = self.mtools(
            "mcopy",
            &["-o", &local.display().to_string(), &format!("::{path}")],
        );
        fs::remove_file(&local)?;
        done.map(drop)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// With what mtools said.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        self.mtools("mmd", &[&format!("::{path}")]).map(drop)
    }

    /// Changes the text of an entry.
    ///
    /// # Errors
    /// When it says the same afterwards, or mtools fails.
    pub fn edit(&self, entry: &str, change: impl Fn(&str) -> String) -> Result<()> {
        let path = format!("/loader/entries/{entry}");
        let lines = String::from_utf8(self.read(&path)?)?;
        let changed: String = lines.lines().map(|line| change(line) + "\n").collect();
        ensure!(changed != lines, "{entry} is as it was:\n{lines}");
        self.write(&path, changed.as_bytes())
    }

    /// The path that an entry has for a key.
    ///
    /// # Errors
    /// When it has none.
    pub fn named(&self, entry: &str, key: &str) -> Result<String> {
        let text = String::from_utf8(self.read(&format!("/loader/entries/{entry}"))?)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let path = line.with_context(|| format!("{entry} has no {key}:\n{text}"))?;
        Ok(path.trim().to_owned())
    }
}
