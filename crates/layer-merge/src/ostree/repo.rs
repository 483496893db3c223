//! A repository as a directory: `ostree init`, its configuration, its lock, its refs.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use cap_std::fs::Dir;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use pleach_fs_tree::{Digest, write_all};
use rustix::fs::{AtFlags, Mode as Permissions, OFlags};
use rustix::io::Errno;

use super::error::{Error, io};
use crate::digest::hex;
use crate::layout::{REGULAR, replace};

/// How a repository holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are, with owner, mode and extended attributes: only root can write it.
    Bare,
    /// As the caller's files; owner, mode and extended attributes are in the attribute
    /// `user.ostreemeta`.
    BareUser,
}

impl Mode {
    /// As the configuration has it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::BareUser => "bare-user",
        }
    }
}

/// A repository.
#[derive(Debug)]
pub struct Repo {
    pub(super) dir: Dir,
    pub(super) mode: Mode,
}

const CONFIG: &str = "config";
/// What `ostree init` makes, `objects` last: with it the repository is one.
const DIRECTORIES: [&str; 9] = [
    "tmp",
    "tmp/cache",
    "extensions",
    "state",
    "refs",
    "refs/heads",
    "refs/mirrors",
    "refs/remotes",
    "objects",
];
/// A larger configuration or ref is nobody's.
const MAX_FILE: u64 = 1 << 20;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Repo {
    /// Opens the repository in `dir`.
    ///
    /// # Errors
    /// When there is none, or one of a kind that is not written here: an archive, `bare-user-only`,
    /// one with another version, or with fs-verity asked for.
    pub fn open(dir: &Dir) -> Result<Self, Error> {
        let mode = read_config(dir)?;
        open_directory(dir, "objects")?;
        let dir = dir.try_clone().map_err(io("open", "the repository"))?;
        Ok(Self { dir, mode })
    }

    /// Opens the repository in `dir`, whatever its mode; where there is none, makes what `ostree init`
    /// makes, in the mode `new`. One that is half made becomes whole.
    ///
    /// # Errors
    /// When it cannot be made, or is of a kind that is not written here.
    pub fn open_or_create(dir: &Dir, new: Mode) -> Result<Self, Error> {
        if !dir.try_exists(CONFIG).map_err(io("stat", CONFIG))? {
            let text = format!("[core]\nrepo_version=1\nmode={}\n", new.as_str());
            replace(dir, CONFIG, text.as_bytes())?;
        }
        read_config(dir)?;
        for name in DIRECTORIES {
            make_directory(dir, name).map_err(io("create", name))?;
        }
        Self::open(dir)
    }

    /// As [`open_or_create`](Self::open_or_create), and a repository that is there has that mode.
    ///
    /// # Errors
    /// As there, and when it has another mode.
    pub fn create(dir: &Dir, mode: Mode) -> Result<Self, Error> {
        let repo = Self::open_or_create(dir, mode)?;
        if repo.mode != mode {
            let (found, mode) = (repo.mode.as_str(), mode.as_str());
            let why = format!("its mode is {found}, not {mode}");
            return Err(Error::Unsupported(why));
        }
        Ok(repo)
    }

    /// How it holds files.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The commit that a ref of this repository (`refs/heads`) points to, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is no ref.
    pub fn resolve(&self, name: &str) -> Result<Option<Digest>, Error> {
        check_ref(name)?;
        let read = || -> std::io::Result<Option<Vec<u8>>> {
            let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
            let mut at = self.dir.try_clone()?;
            let parts = parents.split('/').filter(|part| !part.is_empty());
            for part in ["refs", "heads"].into_iter().chain(parts) {
                at = match open_below(&at, part) {
                    Err(Errno::NOENT) => return Ok(None),
                    opened => opened?,
                };
            }
            read_regular(&at, last)
        };
        let Some(bytes) = read().map_err(io("read ref", name))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let digest = crate::parse_digest(&format!("sha256:{}", text.trim_end()));
        digest.map(Some).map_err(|_| Error::Invalid {
            what: "ref",
            value: name.to_owned(),
            why: "no checksum is in its file",
        })
    }

    /// Points a ref to a commit, durably if `sync`; its file is written in `tmp`.
    pub(super) fn set_ref(
        &self,
        tmp: &Dir,
        name: &str,
        commit: &Digest,
        sync: bool,
    ) -> Result<(), Error> {
        let set = || -> std::io::Result<()> {
            let (parents, last) = name.rsplit_once('/').unwrap_or(("", name));
            let mut at = open_below(&open_below(&self.dir, "refs")?, "heads")?;
            for part in parents.split('/').filter(|part| !part.is_empty()) {
                make_directory(&at, part)?;
                if sync {
                    sync_directory(&at, ".")?;
                }
                at = open_below(&at, part)?;
            }
            place(tmp, &at, last, &format!("{}\n", hex(commit)), sync)?;
            // libostree tells by it that refs have changed.
            Ok(rustix::fs::utimensat(
                &self.dir,
                ".",
                &NOW,
                AtFlags::empty(),
            )?)
        };
        set().map_err(io("write ref", name))
    }

    /// Locks the repository against `ostree prune`, and waits for one that runs.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = || -> std::io::Result<Lock> {
            let mode = Permissions::from_raw_mode(0o660);
            let fd = rustix::fs::openat(&self.dir, ".lock", flags, mode)?;
            // As libostree: of the open file, so that no other thread's close gives it back.
            let whole = libc::flock {
                l_type: libc::F_RDLCK as i16,
                l_whence: libc::SEEK_SET as i16,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            loop {
                match fcntl(fd.as_raw_fd(), FcntlArg::F_OFD_SETLKW(&whole)) {
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                    Ok(_) => return Ok(Lock(fd)),
                }
            }
        };
        lock().map_err(io("lock", "the repository"))
    }
}

/// The shared lock of a repository, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "held, not read")] OwnedFd);

const NOW: rustix::fs::Timestamps = {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW as _,
    };
    rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    }
};

/// As libostree takes them (`OSTREE_REF_REGEXP`).
pub(super) fn check_ref(name: &str) -> Result<(), Error> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let part = |part: &str| {
        part.starts_with(word) && part.chars().all(|c| word(c) || c == '-' || c == '.')
    };
    match name.split('/').all(part) {
        true => Ok(()),
        false => Err(Error::Invalid {
            what: "ref",
            value: name.to_owned(),
            why: "parts of letters, digits, _, - and . with / between them, none beginning with - or .",
        }),
    }
}

pub(super) fn open_directory(parent: &Dir, name: &str) -> Result<Dir, Error> {
    open_below(parent, name).map_err(io("open", name))
}

fn open_below(parent: &Dir, name: &str) -> rustix::io::Result<Dir> {
    rustix::fs::openat(parent, name, DIRECTORY, Permissions::empty()).map(Dir::from)
}

/// A small regular file, if it is there.
fn read_regular(dir: &Dir, name: &str) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let fd = match rustix::fs::openat(dir, name, REGULAR, Permissions::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    let file = cap_std::fs::File::from_std(fd.into());
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes a directory as libostree does, for whom the umask allows; it may be there.
pub(super) fn make_directory(parent: &Dir, name: &str) -> std::io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Permissions::from_raw_mode(0o777)) {
        Err(Errno::EXIST) => Ok(()),
        made => Ok(made?),
    }
}

/// Writes a file in `tmp`, where nobody else does, and puts it in place.
fn place(tmp: &Dir, dir: &Dir, name: &str, text: &str, sync: bool) -> std::io::Result<()> {
    const NEW: &str = "new";
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
    let mode = Permissions::from_raw_mode(0o644);
    let file = rustix::fs::openat(tmp, NEW, flags | OFlags::CLOEXEC, mode)?;
    write_all(file.as_fd(), text.as_bytes())?;
    if sync {
        rustix::fs::fsync(&file)?;
    }
    rustix::fs::renameat(tmp, NEW, dir, name)?;
    if sync {
        sync_directory(dir, ".")?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(parent: &Dir, name: &str) -> std::io::Result<()> {
    let dir = rustix::fs::openat(parent, name, DIRECTORY, Permissions::empty())?;
    Ok(rustix::fs::fsync(dir)?)
}

fn read_config(dir: &Dir) -> Result<Mode, Error> {
    let bytes =
        read_regular(dir, CONFIG).and_then(|b| b.ok_or(std::io::ErrorKind::NotFound.into()));
    let text = String::from_utf8(bytes.map_err(io("read", CONFIG))?);
    let text = text.map_err(|_| Error::Unsupported("its configuration is no text".to_owned()))?;
    let mut section = "";
    let (mut mode, mut version) = (None, None);
    let unsupported = |what: String| Err(Error::Unsupported(what));
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        match (section, key.trim(), value.trim()) {
            ("core", "mode", value) => mode = Some(value),
            ("core", "repo_version", value) => version = Some(value),
            ("ex-integrity", "fsverity", value) if value != "no" && value != "false" => {
                return unsupported("it asks for fs-verity, which is not written here".to_owned());
            }
            _ => {}
        }
    }
    if version != Some("1") {
        return unsupported(format!(
            "its version is {}, not 1",
            version.unwrap_or("none")
        ));
    }
    // What libostree takes where nothing is said.
    match mode.unwrap_or("bare") {
        "bare" => Ok(Mode::Bare),
        "bare-user" => Ok(Mode::BareUser),
        other => unsupported(format!(
            "its mode is {other}; bare and bare-user are written"
        )),
    }
}
