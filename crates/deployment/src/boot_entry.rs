//! Boot loader entries, type 1 (UAPI.1 Boot Loader Specification).

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::kernel_arguments::KernelArguments;

/// Where the entries are, below the root of a sysroot.
pub(crate) const DIRECTORY: &str = "boot/loader/entries";

/// One menu entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootEntry {
    /// File name; ostree versions differ in it, so it identifies nothing.
    pub file_name: PathBuf,
    /// `title`, for people.
    pub title: Option<String>,
    /// `version`; ostree counts deployments down in it, the highest is the default.
    pub version: Option<String>,
    /// `linux`: path of the kernel on the boot filesystem.
    pub linux: Option<String>,
    /// `initrd`, in order.
    pub initrd: Vec<String>,
    /// `options`, all lines of them joined.
    pub options: KernelArguments,
    /// All other keys with their values, in order.
    pub other: Vec<(String, String)>,
}

impl BootEntry {
    /// Read one file; `file_name` is kept, and stands in errors.
    pub fn parse(file_name: &Path, text: &str) -> Result<Self> {
        let mut entry = Self {
            file_name: file_name.to_owned(),
            ..Self::default()
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let syntax = |message: String| Error::Syntax {
                path: file_name.to_owned(),
                line: number + 1,
                message,
            };
            let (key, value) = line
                .split_once(|c: char| c.is_ascii_whitespace())
                .map(|(key, value)| (key, value.trim_start()))
                .unwrap_or((line, ""));
            let once = |field: &mut Option<String>| match field.replace(value.to_owned()) {
                None => Ok(()),
                Some(_) => Err(syntax(format!("`{key}` a second time"))),
            };
            match key {
                "title" => once(&mut entry.title)?,
                "version" => once(&mut entry.version)?,
                "linux" => once(&mut entry.linux)?,
                "initrd" => entry.initrd.push(value.to_owned()),
                "options" => {
                    let options: KernelArguments = value
                        .parse()
                        .map_err(|e: crate::KernelArgumentError| syntax(e.to_string()))?;
                    entry.options.extend(&options);
                }
                _ => entry.other.push((key.to_owned(), value.to_owned())),
            }
        }
        Ok(entry)
    }

    /// The deployment that it boots: the value of `ostree=`, a path below the physical root.
    pub fn ostree(&self) -> Option<&str> {
        self.options.values("ostree").next_back().flatten()
    }

    /// The parts of `ostree=/ostree/boot.N/STATEROOT/CHECKSUM/NUMBER` from the stateroot on.
    pub(crate) fn link(&self) -> Option<(&str, &str, &str)> {
        let mut parts = self.ostree()?.rsplit('/');
        let (number, checksum) = (parts.next()?, parts.next()?);
        Some((parts.next()?, checksum, number))
    }

    /// The boot counter in the file name, if there is one.
    pub fn tries(&self) -> Option<Tries> {
        Tries::split(&self.file_name.file_stem()?.to_string_lossy()).1
    }

    /// Whether it was tried as often as it may be and never came up.
    pub fn is_bad(&self) -> bool {
        self.tries().is_some_and(|tries| tries.left == 0)
    }

    /// `version` as a number, which ostree's always are.
    pub(crate) fn number(&self) -> u64 {
        let version = self.version.as_deref().unwrap_or_default();
        version.parse().unwrap_or_default()
    }
}

/// The file's text.
impl fmt::Display for BootEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |key: &str, value: &str| writeln!(f, "{key} {value}");
        if let Some(title) = &self.title {
            line("title", title)?;
        }
        if let Some(version) = &self.version {
            line("version", version)?;
        }
        for (key, value) in &self.other {
            line(key, value)?;
        }
        if !self.options.is_empty() {
            line("options", &self.options.to_string())?;
        }
        if let Some(linux) = &self.linux {
            line("linux", linux)?;
        }
        self.initrd
            .iter()
            .try_for_each(|initrd| line("initrd", initrd))
    }
}

/// How often an entry may still be tried, and was: `NAME+LEFT[-DONE].conf` (UAPI.1, "Boot counting").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Attempts that are left; none makes the entry a bad one, which sorts last.
    pub left: u32,
    /// Attempts that were made.
    pub done: u32,
}

impl Tries {
    /// A file name's stem without its counter, and the counter.
    pub fn split(stem: &str) -> (&str, Option<Self>) {
        let parse = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let counter = |text: &str| {
            let (left, done) = match text.split_once('-') {
                None => (text, "0"),
                Some((left, done)) => (left, done),
            };
            Some(Self {
                left: parse(left)?,
                done: parse(done)?,
            })
        };
        match stem.rsplit_once('+') {
            Some((name, text)) => match counter(text) {
                Some(tries) => (name, Some(tries)),
                None => (stem, None),
            },
            None => (stem, None),
        }
    }
}

/// The order in which a boot loader offers them: what was tried in vain last, then the highest version
/// first, so that the first is the default.
pub(crate) fn sort(entries: &mut [BootEntry]) {
    entries.sort_by(|a, b| {
        let version = |e: &BootEntry| e.version.clone().unwrap_or_default();
        a.is_bad()
            .cmp(&b.is_bad())
            .then_with(|| compare_versions(&version(b), &version(a)))
            .then_with(|| a.file_name.cmp(&b.file_name))
    });
}

/// Numbers by value, all else by bytes; enough for ostree's, which are plain numbers.
fn compare_versions(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}
