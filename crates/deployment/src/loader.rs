//! The boot loader's entries, and the links that they name.
//!
//! ostree switches between two directories of entries. A boot loader that reads the file system without
//! its journal can find that switch half made, and then no entry at all. So here nothing is switched: an
//! entry is one file more, with the highest version, in the directory that is current; the others stay as
//! they are, byte for byte. Which of the directories is current, and all names in them, are ostree's, so
//! that it reads what this writes, and the other way round.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _};

use crate::boot_entry::{self, BootEntry};
use crate::error::{Error, Result, io};
use crate::kernel;
use crate::walk::{open_dir, open_dir_if_there};

/// Makes what was written outlast a power failure; does nothing for a sysroot that no machine boots from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durable(pub(crate) bool);

impl Durable {
    /// A file, or the names in a directory.
    pub(crate) fn sync(self, file: impl AsFd, path: &Path) -> Result<()> {
        match self.0 {
            true => rustix::fs::fsync(file).map_err(io("sync", path)),
            false => Ok(()),
        }
    }

    /// All of the file system that a directory is on, also for a reader that does not replay its journal.
    pub(crate) fn settle(self, dir: &Dir, path: &str) -> Result<()> {
        if self.0 {
            rustix::fs::syncfs(dir).map_err(io("sync the file system of", path))?;
            crate::checkpoint::checkpoint(dir, path)?;
        }
        Ok(())
    }
}

/// The current one of ostree's two directories of entries, and of links.
pub(crate) struct Loader<'a> {
    root: &'a Dir,
    durable: Durable,
    /// `boot/loader.N/entries`
    entries: PathBuf,
    /// `ostree/boot.N`
    boot: PathBuf,
    /// `ostree/boot.N.M`, which that is a link to.
    links: PathBuf,
}

pub(crate) const LOADER: &str = "boot/loader";

impl<'a> Loader<'a> {
    /// Those that are current; made where there are none yet.
    pub(crate) fn open(root: &'a Dir, durable: Durable) -> Result<Self> {
        let loader = link(root, LOADER, "loader.0")?;
        let version = match &*loader {
            "loader.0" => "0",
            "loader.1" => "1",
            other => return Err(strange(LOADER, other)),
        };
        let boot = format!("ostree/boot.{version}");
        let links = link(root, &boot, &format!("boot.{version}.0"))?;
        if !["0", "1"]
            .iter()
            .any(|n| links == format!("boot.{version}.{n}"))
        {
            return Err(strange(&boot, &links));
        }
        let opened = Self {
            root,
            durable,
            entries: format!("boot/{loader}/entries").into(),
            links: Path::new("ostree").join(links),
            boot: boot.into(),
        };
        make_dir(root, &opened.entries)?;
        make_dir(root, &opened.links)?;
        Ok(opened)
    }

    /// Which of both is current, for entries and links: `BOOTVERSION` and `SUBBOOTVERSION` of libostree.
    pub(crate) fn versions(&self) -> (&str, &str) {
        let links = self.links.to_str().unwrap_or_default();
        let mut parts = links.rsplit('.');
        let sub = parts.next().unwrap_or_default();
        (parts.next().unwrap_or_default(), sub)
    }

    /// All entries, the default first.
    pub(crate) fn entries(&self) -> Result<Vec<BootEntry>> {
        read_entries(&open_dir(self.root, &self.entries)?)
    }

    /// A name for a deployment's kernel that no other one has.
    ///
    /// # Errors
    /// When all are taken.
    pub(crate) fn free_name(
        &self,
        stateroot: &str,
        boot_checksum: &str,
        target: &Path,
    ) -> Result<String> {
        for name in kernel::names_of(boot_checksum) {
            // One of an attempt that did not come to its end serves as well.
            if [Vec::new(), vec![above(target)]].contains(&self.links_of(stateroot, &name)?) {
                return Ok(name);
            }
        }
        Err(Error::Invalid {
            what: "stateroot",
            value: stateroot.into(),
            reason: "has too many deployments of one kernel: remove some".into(),
        })
    }

    /// Where the links of a kernel's name lead.
    fn links_of(&self, stateroot: &str, name: &str) -> Result<Vec<PathBuf>> {
        let path = self.links.join(stateroot).join(name);
        let Some(dir) = open_dir_if_there(self.root, &path)? else {
            return Ok(Vec::new());
        };
        let read = |name: OsString| {
            dir.read_link_contents(&name)
                .map_err(io("read link", path.join(name)))
        };
        names(&dir, &path)?.into_iter().map(read).collect()
    }

    /// The link of a deployment, by a [free name](Self::free_name): the value that `ostree=` has for it.
    /// `target` is its root below the sysroot.
    pub(crate) fn link(&self, stateroot: &str, name: &str, target: &Path) -> Result<String> {
        let folder = Path::new(stateroot).join(name);
        let path = self.links.join(&folder);
        make_dir(self.root, &path)?;
        let dir = open_dir(self.root, &path)?;
        if self.links_of(stateroot, name)?.is_empty() {
            dir.symlink_contents(above(target), "0")
                .map_err(io("create link", path.join("0")))?;
        }
        self.durable.sync(&dir, &path)?;
        Ok(format!("/{}/{}/0", self.boot.display(), folder.display()))
    }

    /// Whether no other deployment has the name of an entry's kernel, nor can have when ostree numbers the
    /// links anew.
    pub(crate) fn is_alone(&self, entry: &BootEntry) -> Result<bool> {
        let Some((stateroot, name, number)) = entry.link() else {
            return Ok(false);
        };
        Ok(number == "0" && self.links_of(stateroot, name)?.len() == 1)
    }

    /// One entry more, which is the default from then on. It gets its version, and a file name.
    ///
    /// The rename is the moment from which the machine boots it; before it all that it names is synced.
    pub(crate) fn append(&self, mut entry: BootEntry, stateroot: &str) -> Result<BootEntry> {
        let dir = open_dir(self.root, &self.entries)?;
        let highest = read_entries(&dir)?.iter().map(BootEntry::number).max();
        let version = highest.unwrap_or_default() + 1;
        entry.version = Some(version.to_string());
        entry.file_name = format!("ostree-{version}-{stateroot}.conf").into();
        let shown = self.entries.join(&entry.file_name);
        let part = OsString::from(format!(".{}.part", entry.file_name.display()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o644);
        let mut file = dir
            .open_with(&part, &options)
            .map_err(io("create", &shown))?;
        file.write_all(entry.to_string().as_bytes())
            .map_err(io("write", &shown))?;
        self.settle()?;
        dir.rename(&part, &dir, &entry.file_name)
            .map_err(io("rename", &shown))?;
        Ok(entry)
    }

    /// Waits until the entries are what a boot loader reads.
    pub(crate) fn commit(&self) -> Result<()> {
        let dir = open_dir(self.root, &self.entries)?;
        self.durable.settle(&dir, "boot")
    }

    /// The root's file system, and that of /boot if it is another.
    fn settle(&self) -> Result<()> {
        // A directory that a caller passed may be a path only, which cannot be synced.
        let root = open_dir(self.root, ".")?;
        self.durable.settle(&root, ".")?;
        let boot = open_dir(&root, "boot")?;
        let device = |dir: &Dir, path| rustix::fs::fstat(dir).map_err(io("stat", path));
        if device(&boot, "boot")?.st_dev != device(&root, ".")?.st_dev {
            self.durable.settle(&boot, "boot")?;
        }
        Ok(())
    }

    /// Removes entries, and the links that no entry names then. All of the rest stays readable.
    pub(crate) fn remove(&self, entries: &[BootEntry]) -> Result<()> {
        let dir = open_dir(self.root, &self.entries)?;
        for entry in entries {
            let shown = self.entries.join(&entry.file_name);
            gone(dir.remove_file(&entry.file_name)).map_err(io("remove", shown))?;
        }
        for name in names(&dir, &self.entries)? {
            if name.to_string_lossy().ends_with(".conf.part") {
                gone(dir.remove_file(&name)).map_err(io("remove", self.entries.join(&name)))?;
            }
        }
        self.commit()?;
        self.remove_links()
    }

    fn remove_links(&self) -> Result<()> {
        let named: Vec<String> = self
            .entries()?
            .iter()
            .filter_map(|entry| entry.ostree().map(str::to_owned))
            .collect();
        let links = open_dir(self.root, &self.links)?;
        for stateroot in names(&links, &self.links)? {
            let path = self.links.join(&stateroot);
            let folder = open_dir(self.root, &path)?;
            for checksum in names(&folder, &path)? {
                let path = path.join(&checksum);
                let dir = open_dir(self.root, &path)?;
                let mut left = false;
                for number in names(&dir, &path)? {
                    let value = Path::new("/").join(&self.boot).join(&stateroot);
                    let value = value.join(&checksum).join(&number);
                    if named.iter().any(|named| Path::new(named) == value) {
                        left = true;
                    } else {
                        gone(dir.remove_file(&number)).map_err(io("remove", path.join(&number)))?;
                    }
                }
                if !left {
                    gone(folder.remove_dir(&checksum)).map_err(io("remove", path))?;
                }
            }
        }
        Ok(())
    }
}

/// All entries of a directory, the default first.
pub(crate) fn read_entries(dir: &Dir) -> Result<Vec<BootEntry>> {
    const DIR: &str = boot_entry::DIRECTORY;
    let mut all = Vec::new();
    for name in names(dir, Path::new(DIR))? {
        let name = PathBuf::from(name);
        if name.extension().is_some_and(|e| e == "conf") {
            let text = dir.read_to_string(&name).map_err(io("read", &name))?;
            all.push(BootEntry::parse(&name, &text)?);
        }
    }
    boot_entry::sort(&mut all);
    Ok(all)
}

/// From a folder of links, four levels below `ostree`.
fn above(target: &Path) -> PathBuf {
    let below = target.strip_prefix("ostree").unwrap_or(target);
    Path::new("../../..").join(below)
}

/// What a link says; it is made, relative to where it is, if it is not there.
fn link(root: &Dir, path: &str, target: &str) -> Result<String> {
    let read = || root.read_link_contents(path);
    let found = match read() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            root.symlink_contents(target, path)
                .map_err(io("create link", path))?;
            read()
        }
        found => found,
    };
    let found = found.map_err(io("read link", path))?;
    Ok(found.to_string_lossy().into_owned())
}

fn strange(path: &str, value: &str) -> Error {
    Error::Invalid {
        what: "link",
        value: format!("{path} -> {value}"),
        reason: "is not one of ostree's".into(),
    }
}

pub(crate) fn make_dir(root: &Dir, path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755);
    root.create_dir_with(path, &builder)
        .map_err(io("create directory", path))
}

/// Names in a directory, in order.
pub(crate) fn names(dir: &Dir, path: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in dir.entries().map_err(io("read directory", path))? {
        names.push(entry.map_err(io("read directory", path))?.file_name());
    }
    names.sort();
    Ok(names)
}

/// What is not there need not be removed: an attempt before this one did it.
pub(crate) fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
