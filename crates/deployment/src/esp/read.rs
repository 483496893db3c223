//! What the root has, and what the ESP has.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File};

use super::plan::{BootFile, Esp, EspEntry, RootEntry};
use super::{ENTRIES, EntryName, HIDDEN, KERNELS, PART};
use crate::boot_entry::{self, BootEntry};
use crate::error::{Error, Result, io};
use crate::walk::{TreeLimits, open_dir, open_dir_if_there, walk};

/// Most bytes of an entry.
const MAX_ENTRY: u64 = 64 << 10;

/// The prefix of the files that are ostree's and ours.
const OURS: &str = "ostree-";

/// The entries of a sysroot, the default one first, and the files that they name.
///
/// # Errors
/// When a file that an entry names is not there, among others.
pub fn read_root(sysroot: &Dir) -> Result<Vec<RootEntry>> {
    // /boot/loader is a symbolic link of ostree's.
    let entries = match sysroot.open_dir(boot_entry::DIRECTORY) {
        Ok(dir) => dir,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("open directory", boot_entry::DIRECTORY)(e)),
    };
    let boot = open_dir(sysroot, "boot")?;
    let mut all = Vec::new();
    for (file_name, name) in names(&entries, boot_entry::DIRECTORY)? {
        let text = text(&entries, &file_name)?;
        let entry = BootEntry::parse(Path::new(&file_name), &text)?;
        all.push((entry, name, from_esp_root(&text)));
    }
    let mut order: Vec<_> = all.iter().map(|(entry, ..)| entry.clone()).collect();
    boot_entry::sort(&mut order);
    all.sort_by_key(|(entry, ..)| order.iter().position(|other| other == entry));
    all.into_iter()
        .map(|(_, name, text)| {
            let parsed = BootEntry::parse(Path::new(&name.id), &text)?;
            let files = files(&parsed)?.into_iter().map(|path| {
                let found = boot.metadata(&path).map_err(io("stat", &path))?;
                Ok(BootFile {
                    source: path.clone(),
                    path,
                    bytes: found.len(),
                })
            });
            let files = files.collect::<Result<_>>()?;
            Ok(RootEntry {
                id: name.id,
                text,
                files,
            })
        })
        .collect()
}

/// What of ours is on a mounted ESP; nothing of it need be there.
pub fn read(esp: &Dir) -> Result<Esp> {
    let mut found = Esp::default();
    if let Some(entries) = open_dir_if_there(esp, ENTRIES)? {
        for (file_name, name) in names(&entries, ENTRIES)? {
            let text = text(&entries, &file_name)?;
            let entry = BootEntry::parse(Path::new(&file_name), &text)?;
            found.entries.push(EspEntry {
                name,
                text,
                files: files(&entry)?,
            });
        }
        for entry in entries.entries().map_err(io("read directory", ENTRIES))? {
            let name = entry.map_err(io("read directory", ENTRIES))?.file_name();
            let left = |name: &str| name.ends_with(PART) || name.ends_with(HIDDEN);
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(OURS) && left(name))
            {
                found.unfinished.push(Path::new(ENTRIES).join(name));
            }
        }
        found.unfinished.sort();
    }
    if let Some(kernels) = open_dir_if_there(esp, KERNELS)? {
        walk(&kernels, &TreeLimits::default(), &mut |_, path, stat| {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            if kind == rustix::fs::FileType::RegularFile {
                let path = Path::new(KERNELS).join(path);
                found.files.insert(path, stat.st_size as u64);
            }
            Ok(())
        })?;
    }
    let twins = twins(esp, &found)?;
    found.twins.extend(twins);
    let space = rustix::fs::fstatvfs(esp).map_err(io("stat filesystem", "."))?;
    found.free = space.f_bavail * space.f_frsize;
    Ok(found)
}

/// Names of which a rename that was cut short may have left both: each pair that reads the same.
///
/// Which clusters a name leads to cannot be asked here. Two files of their own that are alike are taken for
/// one then, which costs their room and no more.
fn twins(esp: &Dir, found: &Esp) -> Result<Vec<PathBuf>> {
    let paths = found.unfinished.iter().chain(found.files.keys());
    let mut twins = Vec::new();
    for path in paths {
        let name = path.to_str().unwrap_or_default();
        let other = [PART, HIDDEN].iter().find_map(|end| name.strip_suffix(end));
        let Some(other) = other.map(Path::new).filter(|other| esp.exists(other)) else {
            continue;
        };
        if alike(esp, path, other)? {
            twins.extend([path.clone(), other.to_owned()]);
        }
    }
    Ok(twins)
}

/// Whether two files are alike; empty ones have no clusters and are not.
fn alike(esp: &Dir, one: &Path, other: &Path) -> Result<bool> {
    let open = |path: &Path| esp.open(path).map_err(io("open", path));
    let (first, second) = (open(one)?, open(other)?);
    let size = |file: &File| {
        file.metadata()
            .map(|found| found.len())
            .map_err(io("stat", one))
    };
    if size(&first)? != size(&second)? || size(&first)? == 0 {
        return Ok(false);
    }
    let (mut first, mut second) = (BufReader::new(first), BufReader::new(second));
    loop {
        let (a, b) = (
            first.fill_buf().map_err(io("read", one))?,
            second.fill_buf().map_err(io("read", other))?,
        );
        let length = a.len().min(b.len());
        if length == 0 || a[..length] != b[..length] {
            return Ok(a.is_empty() && b.is_empty());
        }
        first.consume(length);
        second.consume(length);
    }
}

/// File names of our entries, in order, also parsed.
fn names(dir: &Dir, path: &str) -> Result<Vec<(String, EntryName)>> {
    let mut names = Vec::new();
    for entry in dir.entries().map_err(io("read directory", path))? {
        let name = entry.map_err(io("read directory", path))?.file_name();
        let Ok(name) = name.into_string() else {
            continue;
        };
        if let Some(parsed) = EntryName::parse(&name).filter(|_| name.starts_with(OURS)) {
            names.push((name, parsed));
        }
    }
    names.sort();
    Ok(names)
}

fn text(dir: &Dir, name: &str) -> Result<String> {
    let file = dir.open(name).map_err(io("open", name))?;
    let mut text = String::new();
    let read = file.take(MAX_ENTRY + 1).read_to_string(&mut text);
    match read.map_err(io("read", name))? as u64 {
        0..=MAX_ENTRY => Ok(text),
        _ => Err(Error::Limit {
            limit: "bytes of a boot entry",
            value: MAX_ENTRY,
            path: name.into(),
        }),
    }
}

/// Paths in an entry are from the root of the filesystem that it is on. On the root that may be `/boot`'s
/// own or, where ostree is told so (`sysroot.bootprefix`), the one that has `/boot` as a directory.
fn from_esp_root(text: &str) -> String {
    let line = |line: &str| match line.split_once(char::is_whitespace) {
        Some((key @ ("linux" | "initrd"), path)) => {
            let path = path.trim();
            format!("{key} {}\n", path.strip_prefix("/boot").unwrap_or(path))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What an entry names, below the root of its filesystem.
fn files(entry: &BootEntry) -> Result<Vec<PathBuf>> {
    let all = entry.linux.iter().chain(&entry.initrd);
    all.map(|path| {
        let relative = Path::new(path.trim_start_matches('/'));
        let plain = |c| matches!(c, std::path::Component::Normal(_));
        match relative.starts_with(KERNELS) && relative.components().all(plain) {
            true => Ok(relative.to_owned()),
            false => Err(Error::Invalid {
                what: "path in a boot entry",
                value: path.clone(),
                reason: "is not below /ostree".into(),
            }),
        }
    })
    .collect()
}
