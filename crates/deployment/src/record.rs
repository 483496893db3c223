//! What is remembered of a deployment that ostree has no place for: a file beside it, where ostree keeps
//! its own.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, io};
use crate::owners::OwnedArguments;
use crate::walk::open_dir;

/// The version of the file's form.
const FORMAT_VERSION: u32 = 1;

/// The image that a deployment is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
    /// As it was asked for, in the form of containers-transports(5).
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    /// The version that it gives itself (`org.opencontainers.image.version`).
    pub version: Option<String>,
    /// When it was created, in seconds since the epoch; 0 where it does not say.
    pub created: u64,
    /// By which policy its signature was verified when it was fetched, for people.
    pub verified: String,
}

/// What is remembered of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Its image.
    pub image: Option<ImageRecord>,
    /// What ostree calls its kernel, which has another name in `/boot`; set when it is finalized.
    pub boot_checksum: Option<String>,
    /// Its kernel arguments.
    pub kernel_arguments: OwnedArguments,
    /// How its `/etc` was merged: the caller's own form, kept and given back.
    pub etc: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format_version: u32,
    #[serde(flatten)]
    record: Record,
}

/// Where the record of a deployment is.
pub(crate) fn path(deployment: &Path) -> PathBuf {
    let mut path = deployment.as_os_str().to_owned();
    path.push(".pleach.json");
    path.into()
}

/// The record of a deployment; none if another tool made it.
pub(crate) fn read(sysroot: &Dir, deployment: &Path) -> Result<Option<Record>> {
    let path = path(deployment);
    let text = match sysroot.read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io("read", &path))?,
    };
    let syntax = |line, message| Error::Syntax {
        path: path.clone(),
        line,
        message,
    };
    let file: File =
        serde_json::from_slice(&text).map_err(|e| syntax(e.line().max(1), e.to_string()))?;
    match file.format_version {
        FORMAT_VERSION => Ok(Some(file.record)),
        other => Err(syntax(
            1,
            format!("of format version {other}, which is not known"),
        )),
    }
}

/// Writes it whole, in place of one that is there. It is synced with all else that an entry leads to.
pub(crate) fn write(sysroot: &Dir, deployment: &Path, record: &Record) -> Result<()> {
    let shown = path(deployment);
    let (folder, name) = (deployment.parent(), shown.file_name());
    let folder = open_dir(sysroot, folder.unwrap_or(Path::new(".")))?;
    let name = Path::new(name.unwrap_or_default());
    let part = name.with_extension("part");
    let file = File {
        format_version: FORMAT_VERSION,
        record: record.clone(),
    };
    let text = serde_json::to_vec_pretty(&file)
        .map_err(|e| io("write", &shown)(std::io::Error::other(e)))?;
    let mut options = OpenOptions::new();
    // What a machine changed in /etc is nobody else's to read.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = folder
        .open_with(&part, &options)
        .map_err(io("create", &shown))?;
    out.write_all(&text).map_err(io("write", &shown))?;
    folder
        .rename(&part, &folder, name)
        .map_err(io("rename", &shown))
}

/// Removes it.
pub(crate) fn remove(sysroot: &Dir, deployment: &Path) -> Result<()> {
    let path = path(deployment);
    crate::loader::gone(sysroot.remove_file(&path)).map_err(io("remove", path))
}
