//! A sysroot as a boot loader finds it: the disk as it is, no journal replayed.
//!
//! `grub-fstest` is GRUB's own code for file systems, in a program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::view::Entry;

/// What a boot loader would load by an entry. Two are alike when it loads the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loading {
    options: String,
    /// Path and CRC-32, if it could be read to its end.
    kernel: (String, Option<String>),
    initrd: Vec<(String, Option<String>)>,
}

/// The boot menu of a disk, the default first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu(Vec<(u64, String, Loading)>);

impl Menu {
    /// Reads the menu of a disk image.
    ///
    /// # Errors
    /// When `grub-fstest` cannot be run.
    pub fn read(image: &Path) -> Result<Self> {
        let disk = Grub {
            image: image.to_owned(),
        };
        let folder = "/boot/loader/entries";
        let mut menu = Vec::new();
        // A folder that is not there has no names.
        let listed = disk.command("ls", folder)?.unwrap_or_default();
        for name in listed
            .split_whitespace()
            .filter(|name| name.ends_with(".conf"))
        {
            let Some(text) = disk.command("cat", &format!("{folder}/{name}"))? else {
                continue;
            };
            let entry = Entry::parse(&text);
            let loaded = |path: &String| -> Result<_> {
                Ok((path.clone(), disk.command("crc", &Entry::path(path))?))
            };
            let loading = Loading {
                options: entry.options.clone(),
                kernel: loaded(&entry.linux)?,
                initrd: entry.initrd.iter().map(loaded).collect::<Result<_>>()?,
            };
            menu.push((entry.version, name.to_owned(), loading));
        }
        menu.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        Ok(Self(menu))
    }

    /// What is loaded if nobody chooses.
    pub fn chosen(&self) -> Option<&Loading> {
        self.0.first().map(|(_, _, loading)| loading)
    }

    /// All of it.
    pub fn loadings(&self) -> impl Iterator<Item = &Loading> {
        self.0.iter().map(|(_, _, loading)| loading)
    }
}

struct Grub {
    image: PathBuf,
}

impl Grub {
    /// What it prints, or none if it could not read what was asked for.
    fn command(&self, verb: &str, path: &str) -> Result<Option<String>> {
        let output = Command::new("grub-fstest")
            .arg(&self.image)
            .args([verb, &format!("(loop0){path}")])
            .stdin(Stdio::null())
            .output()
            .context("running grub-fstest")?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(output.status.success().then_some(text))
    }
}

/// What a boot loader may load.
#[derive(Debug)]
pub struct Loadable {
    start: Menu,
    end: Menu,
    known: BTreeSet<Loading>,
}

impl Loadable {
    /// What it loads before and after.
    pub fn new(start: Menu, end: Menu) -> Self {
        let known = start.loadings().chain(end.loadings()).cloned().collect();
        Self { start, end, known }
    }

    /// What is wrong with a menu; `done` says that whoever changed it has said that all is done.
    pub fn problems(&self, menu: &Menu, done: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(default) = menu.chosen() else {
            if done || self.start.chosen().is_some() {
                problems.push("boot loader: no entry".to_owned());
            }
            return problems;
        };
        if !self.known.contains(default) {
            problems.push(format!(
                "boot loader: the default cannot be loaded: {default:?}"
            ));
        }
        if done && Some(default) != self.end.chosen() {
            problems.push("boot loader: all is done, and another entry is the default".to_owned());
        }
        problems
    }
}
