//! The ownership ledger on disk: `pleach/ownership.json` below the machine's `/etc`, so that it goes
//! with `/etc` through upgrades and rollbacks.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use pleach_booted_state::model::PathEntry;
use pleach_etc_merge::{Before, Document, Ledger, Owner, Place, Record};
use pleach_fs_tree::{Digest, TreePath, unescape};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::{beneath, entry};

/// Below `/etc`.
pub(super) const PATH: &str = "pleach/ownership.json";
const DIRECTORY: &str = "pleach";
const NAME: &str = "ownership.json";
const NEW: &str = ".ownership.json.new";
const FORMAT_VERSION: u32 = 1;
/// Most bytes that are read.
const MAX_BYTES: u64 = 256 << 20;

/// The ledger, locked against other writers until it is dropped.
pub(super) struct LedgerFile {
    etc: Dir,
    path: PathBuf,
    pub(super) ledger: Ledger<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    format_version: u32,
    records: Vec<RecordOnDisk>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordOnDisk {
    path: String,
    route: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<DocumentOnDisk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<PlaceOnDisk>,
    before: BeforeOnDisk,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put: Option<PathEntry>,
    #[serde(default)]
    pinned: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentOnDisk {
    name: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaceOnDisk {
    line: usize,
    column: usize,
    path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BeforeOnDisk {
    Absent,
    Default,
    Local,
}

/// Reads the ledger of an `/etc`, without a lock; empty where there is none.
pub(crate) fn read(etc: &Dir, shown: &Path) -> Result<Ledger<Digest>> {
    let path = shown.join(DIRECTORY).join(NAME);
    let opened = beneath::find_dir(etc, &TreePath::new(DIRECTORY)?)
        .with_context(|| format!("opening {}", shown.join(DIRECTORY).display()))?;
    match opened {
        Some(dir) => load(&dir, &path),
        None => Ok(Ledger::default()),
    }
}

fn load(dir: &Dir, path: &Path) -> Result<Ledger<Digest>> {
    let there = beneath::file_type(dir, NAME.as_bytes());
    if there
        .with_context(|| format!("reading {}", path.display()))?
        .is_none()
    {
        return Ok(Ledger::default());
    }
    let json = beneath::read(dir, NAME.as_bytes(), MAX_BYTES, path)?;
    parse(&json).with_context(|| {
        format!(
            "{} cannot be read as an ownership ledger; it is left as it is",
            path.display()
        )
    })
}

fn parse(json: &[u8]) -> Result<Ledger<Digest>> {
    #[derive(Deserialize)]
    struct Header {
        format_version: u32,
    }
    let Header { format_version } = serde_json::from_slice(json)?;
    if format_version != FORMAT_VERSION {
        bail!(
            "its format version is {format_version}, this pleach knows {FORMAT_VERSION}: use the pleach that wrote it"
        );
    }
    let on_disk: OnDisk = serde_json::from_slice(json)?;
    let mut ledger = Ledger::default();
    for record in on_disk.records {
        let shown = record.path.clone();
        let (path, record) = from_disk(record).with_context(|| format!("the record of {shown}"))?;
        if path.is_root() || ledger.insert(path, record).is_some() {
            bail!("the record of {shown}: a second one, or one of all of /etc");
        }
    }
    Ok(ledger)
}

impl LedgerFile {
    /// Opens the ledger of an `/etc` for writing. Its directory is made when there is something to
    /// write; so it is `/etc` itself that is locked.
    pub(super) fn lock(etc: &Dir, shown: &Path) -> Result<Self> {
        let etc = beneath::open_dir(etc, &TreePath::root())
            .with_context(|| format!("opening {}", shown.display()))?;
        rustix::fs::flock(&etc, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => anyhow::anyhow!(
                    "{} is locked: another pleach works on it; try again when it has ended",
                    shown.display()
                ),
                _ => anyhow::Error::from(error).context(format!("locking {}", shown.display())),
            })?;
        let path = shown.join(DIRECTORY).join(NAME);
        let ledger = match beneath::find_dir(&etc, &TreePath::new(DIRECTORY)?) {
            Ok(Some(dir)) => load(&dir, &path)?,
            Ok(None) => Ledger::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("opening {}", path.display()));
            }
        };
        Ok(Self { etc, path, ledger })
    }

    /// Writes it: beside, synced, renamed. Digests of what only root may read are in it, so nobody
    /// else reads it.
    pub(super) fn write(&self) -> Result<()> {
        let records = self.ledger.records();
        let on_disk = OnDisk {
            format_version: FORMAT_VERSION,
            records: records
                .map(|(path, record)| to_disk(path, record))
                .collect(),
        };
        let mut json = serde_json::to_vec_pretty(&on_disk)?;
        json.push(b'\n');
        self.replace(&json)
            .with_context(|| format!("writing {}", self.path.display()))
    }

    fn replace(&self, json: &[u8]) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.etc, DIRECTORY, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let path = TreePath::new(DIRECTORY).map_err(io::Error::other)?;
        let dir = beneath::open_dir(&self.etc, &path)?;
        match rustix::fs::unlinkat(&dir, NEW, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, NEW, flags, Mode::from_raw_mode(0o600))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(json)?;
        file.sync_all()?;
        rustix::fs::renameat(&dir, NEW, &dir, NAME)?;
        rustix::fs::fsync(&dir)?;
        Ok(())
    }
}

fn from_disk(record: RecordOnDisk) -> Result<(TreePath, Record<Digest>)> {
    let path = TreePath::new(unescape(&record.path)?)?;
    let owner = Owner {
        route: record.route,
        document: record.document.map(|d| Document {
            name: d.name,
            digest: d.digest,
        }),
        place: record.place.map(|p| Place {
            line: p.line,
            column: p.column,
            path: p.path,
        }),
    };
    let record = Record {
        owner,
        before: match record.before {
            BeforeOnDisk::Absent => Before::Absent,
            BeforeOnDisk::Default => Before::Default,
            BeforeOnDisk::Local => Before::Local,
        },
        put: record.put.as_ref().map(entry::inode).transpose()?,
        pinned: record.pinned,
    };
    Ok((path, record))
}

fn to_disk(path: &TreePath, record: &Record<Digest>) -> RecordOnDisk {
    let Owner {
        route,
        document,
        place,
    } = record.owner.clone();
    RecordOnDisk {
        path: path.to_string(),
        route,
        document: document.map(|d| DocumentOnDisk {
            name: d.name,
            digest: d.digest,
        }),
        place: place.map(|p| PlaceOnDisk {
            line: p.line,
            column: p.column,
            path: p.path,
        }),
        before: match record.before {
            Before::Absent => BeforeOnDisk::Absent,
            Before::Default => BeforeOnDisk::Default,
            Before::Local => BeforeOnDisk::Local,
        },
        put: record.put.as_ref().map(entry::of),
        pinned: record.pinned,
    }
}
