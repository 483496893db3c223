//! The kernel: its arguments, modules, settings and mounts.

use std::io::Read;
use std::os::fd::OwnedFd;

use pleach_fs_tree::{Digest, TreePath, escape};
use rustix::fs::{AtFlags, FileType, Mode};

use super::section;
use super::tools::text;
use super::view::{DIRECTORY, REGULAR, View, at, existing, io_error, names};
use crate::model::{KernelArgument, Module, MountStack, Sysctl};
use crate::parse::{kernel, mountinfo};
use crate::{Error, Section};

/// A file of `/proc`, or why there is none.
fn proc_file(view: &View<'_>, path: &str) -> Result<Result<Vec<u8>, String>, Error> {
    let content = view.read(&at(path))?;
    Ok(content.ok_or_else(|| format!("{path}: not found")))
}

pub(crate) fn arguments(view: &View<'_>) -> Result<Section<KernelArgument>, Error> {
    let content = proc_file(view, "/proc/cmdline")?;
    Ok(section(content.map(|text| kernel::command_line(&text))))
}

pub(crate) fn modules(view: &View<'_>) -> Result<Section<Module>, Error> {
    // A kernel without modules has no such file: then there are none.
    let content = view.read(&at("/proc/modules"))?.unwrap_or_default();
    Ok(kernel::modules(&text(content)).into_iter().collect())
}

/// PID 1's mounts: those of the capture itself may be a sandbox.
pub(crate) fn mounts(view: &View<'_>) -> Result<Section<MountStack>, Error> {
    let content = proc_file(view, "/proc/1/mountinfo")?;
    Ok(section(content.and_then(|text| mountinfo::parse(&text))))
}

pub(crate) fn release(view: &View<'_>) -> Result<Section<String>, Error> {
    let files = [
        ("release", "/proc/sys/kernel/osrelease"),
        ("version", "/proc/sys/kernel/version"),
        ("machine", "/proc/sys/kernel/arch"),
        ("lsm", "/sys/kernel/security/lsm"),
    ];
    let mut found = Vec::new();
    for (key, path) in files {
        found.extend(view.line(path)?.map(|text| (key.to_owned(), text)));
    }
    Ok(found.into_iter().collect())
}

/// Below `/proc/sys`, what is not read, and why.
const SKIPPED: &[(&str, &str)] = &[
    ("fs.binfmt_misc", "an automount: looking mounts it"),
    (
        "vm.stat_refresh",
        "reading it makes every processor fold its counters",
    ),
];

/// Ends of names that the kernel logs a warning about when they are read; each has a successor.
const DEPRECATED: &[&str] = &[".base_reachable_time", ".retrans_time"];

/// Ends of names whose value is a secret.
const SECRET: &[&str] = &[".tcp_fastopen_key", ".stable_secret"];

pub(crate) fn sysctls(view: &View<'_>) -> Result<Section<Sysctl>, Error> {
    let path = at("/proc/sys");
    let Some(fd) = existing(view.open_dir(&path)).map_err(io_error("open", &path))? else {
        return Ok(Section::unavailable("/proc/sys: not found"));
    };
    let mut found = Vec::new();
    sysctl_directory(&fd, &path, "", &mut found)?;
    Ok(found.into_iter().collect())
}

fn sysctl_directory(
    directory: &OwnedFd,
    path: &TreePath,
    prefix: &str,
    found: &mut Vec<(String, Sysctl)>,
) -> Result<(), Error> {
    for name in names(directory).map_err(io_error("list", path))? {
        let path = path.join(&name);
        // sysctl(8): a dot in a name is printed as a slash.
        let key = format!("{prefix}{}", escape(name.as_bytes()).replace('.', "/"));
        if SKIPPED.iter().any(|(skipped, _)| *skipped == key)
            || DEPRECATED.iter().any(|end| key.ends_with(end))
        {
            continue;
        }
        let stat = rustix::fs::statat(directory, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = existing(stat).map_err(io_error("stat", &path))? else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opened =
                    rustix::fs::openat(directory, name.as_bytes(), DIRECTORY, Mode::empty());
                if let Some(fd) = existing(opened).map_err(io_error("open", &path))? {
                    sysctl_directory(&fd, &path, &format!("{key}."), found)?;
                }
            }
            FileType::RegularFile if stat.st_mode & 0o444 != 0 => {
                found.extend(sysctl(directory, name.as_bytes(), &key).map(|value| (key, value)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `None` if it has vanished, as those of a network interface may.
fn sysctl(directory: &OwnedFd, name: &[u8], key: &str) -> Option<Sysctl> {
    let read = || {
        let fd = rustix::fs::openat(directory, name, REGULAR, Mode::empty())?;
        let mut content = Vec::new();
        cap_std::fs::File::from_std(fd.into()).read_to_end(&mut content)?;
        Ok::<_, std::io::Error>(content)
    };
    match read() {
        Ok(content) => {
            let content = content.strip_suffix(b"\n").unwrap_or(&content);
            Some(if SECRET.iter().any(|end| key.ends_with(end)) {
                Sysctl::Secret(Digest::of(content).to_string())
            } else {
                Sysctl::Value(escape(content))
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Sysctl::Unreadable(error.to_string())),
    }
}
