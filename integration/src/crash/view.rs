//! A sysroot as an initramfs and a booted system would find it: the file system is mounted, its
//! journal replayed.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// SHA-256 over what is meant, abbreviated.
pub type Hash = u64;

/// What a merge of `/etc` remembers of itself, with inodes' numbers and times.
const JOURNAL: &str = "etc.journal";
const KNOWN: &str = "etc.known";

/// A boot entry, and what it would boot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Booting {
    /// The kernel command line.
    pub options: String,
    /// The deployment that `ostree=` leads to: `STATEROOT/CHECKSUM.SERIAL`.
    pub deployment: String,
    /// The kernel, with its path.
    pub kernel: (String, Option<Hash>),
    /// The initramfs images, with their paths.
    pub initrd: Vec<(String, Option<Hash>)>,
    /// All of the deployment but `/etc`, and what its merge remembers.
    pub tree: Option<Hash>,
    /// Its `/etc`.
    pub etc: Option<Hash>,
    /// What is recorded of it: its origin, its record, what the merge of its `/etc` remembers.
    pub beside: Vec<(String, Option<Hash>)>,
}

impl Booting {
    /// The commit of the deployment.
    pub fn checksum(&self) -> &str {
        let name = self.deployment.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }
}

/// A sysroot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// What the boot entries boot, the default first; with its version and its file's name.
    pub entries: Vec<(u64, String, Booting)>,
    /// `/var` of each stateroot.
    pub var: BTreeMap<String, Hash>,
    /// `/etc` of each deployment, whether or not an entry boots it.
    pub etc: BTreeMap<String, Hash>,
    /// What is staged.
    pub staged: Option<Staged>,
}

/// What is prepared for when the machine shuts down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Staged {
    /// The file that says so.
    pub file: Hash,
    /// The deployment that it names, as [`Booting::tree`].
    pub tree: Option<Hash>,
    /// Its `/etc`.
    pub etc: Option<Hash>,
}

impl View {
    /// Reads a sysroot.
    ///
    /// # Errors
    /// When the file system cannot be read; what is missing in it is no error but is not there.
    pub fn read(root: &Path) -> Result<Self> {
        let mut reader = Reader {
            root,
            known: HashMap::new(),
        };
        let mut view = Self::default();
        for stateroot in names(&root.join("ostree/deploy"))? {
            let folder = root.join("ostree/deploy").join(&stateroot);
            if let Some(hash) = reader.tree(&folder.join("var"), &[])? {
                view.var.insert(stateroot.clone(), hash);
            }
            for name in names(&folder.join("deploy"))? {
                let etc = folder.join("deploy").join(&name).join("etc");
                if let Some(hash) = reader.tree(&etc, &[])? {
                    view.etc.insert(format!("{stateroot}/{name}"), hash);
                }
            }
        }
        for name in names(&root.join("boot/loader/entries"))? {
            if !name.ends_with(".conf") {
                continue;
            }
            let text = std::fs::read(root.join("boot/loader/entries").join(&name))?;
            let entry = Entry::parse(&String::from_utf8_lossy(&text));
            view.entries
                .push((entry.version, name, reader.booting(&entry)?));
        }
        view.entries.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        view.staged = reader.staged()?;
        Ok(view)
    }

    /// Without what may be another although the same is booted: which of several deployments of a commit
    /// it is, by which link it is found, what is recorded beside it.
    pub fn essential(&self) -> Self {
        let mut view = self.clone();
        view.staged = None;
        for (_, _, booting) in &mut view.entries {
            let stateroot = booting.deployment.split('/').next().unwrap_or_default();
            booting.deployment = format!("{stateroot}/{}", booting.checksum());
            booting.beside.clear();
            let words = booting
                .options
                .split(' ')
                .filter(|word| !word.starts_with("ostree="));
            booting.options = words.collect::<Vec<_>>().join(" ");
        }
        view
    }

    /// What is booted if nobody chooses.
    pub fn chosen(&self) -> Option<&Booting> {
        self.entries.first().map(|(_, _, booting)| booting)
    }

    /// All that can be booted.
    pub fn bootings(&self) -> impl Iterator<Item = &Booting> {
        self.entries.iter().map(|(_, _, booting)| booting)
    }
}

/// The keys of a boot entry that decide what is booted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) linux: String,
    pub(super) initrd: Vec<String>,
    pub(super) options: String,
}

impl Entry {
    pub(super) fn parse(text: &str) -> Self {
        let mut entry = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim();
            match key {
                "version" => entry.version = value.parse().unwrap_or_default(),
                "linux" => entry.linux = value.to_owned(),
                "initrd" => entry.initrd.push(value.to_owned()),
                "options" => entry.options = value.to_owned(),
                _ => {}
            }
        }
        entry
    }

    /// The path of the link to the deployment.
    pub(super) fn ostree(&self) -> Option<&str> {
        self.options
            .split(' ')
            .rev()
            .find_map(|argument| argument.strip_prefix("ostree="))
    }

    /// Paths are below the file system that `/boot` is on; here that is the one of `/`.
    pub(super) fn path(named: &str) -> String {
        match named.starts_with("/boot/") {
            true => named.to_owned(),
            false => format!("/boot{named}"),
        }
    }
}

struct Reader<'a> {
    root: &'a Path,
    /// Digests of files, by number: deployments share most of theirs.
    known: HashMap<u64, [u8; 32]>,
}

impl Reader<'_> {
    fn booting(&mut self, entry: &Entry) -> Result<Booting> {
        let deployment = self.deployment(entry);
        let beneath = |deployment: &str| {
            let (stateroot, name) = deployment.split_once('/').unwrap_or_default();
            self.root
                .join("ostree/deploy")
                .join(stateroot)
                .join("deploy")
                .join(name)
        };
        let folder = deployment.as_deref().map(beneath);
        let (mut tree, mut etc, mut beside) = (None, None, Vec::new());
        if let Some(folder) = &folder {
            tree = self.tree(folder, &["etc", JOURNAL, KNOWN])?;
            etc = self.tree(&folder.join("etc"), &[])?;
            for suffix in [".origin", ".pleach.json"] {
                let mut path = folder.clone().into_os_string();
                path.push(suffix);
                beside.push((suffix.to_owned(), self.file(Path::new(&path))?));
            }
            for name in [JOURNAL, KNOWN] {
                beside.push((name.to_owned(), self.file(&folder.join(name))?));
            }
        }
        let mut named = |path: &String| -> Result<(String, Option<Hash>)> {
            let real = self.root.join(Entry::path(path).trim_start_matches('/'));
            Ok((path.clone(), self.file(&real)?))
        };
        Ok(Booting {
            options: entry.options.clone(),
            deployment: deployment.unwrap_or_default(),
            kernel: named(&entry.linux)?,
            initrd: entry.initrd.iter().map(named).collect::<Result<_>>()?,
            tree,
            etc,
            beside,
        })
    }

    fn staged(&mut self) -> Result<Option<Staged>> {
        let path = self.root.join("ostree/pleach/staged.json");
        let Some(file) = self.file(&path)? else {
            return Ok(None);
        };
        let text: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path)?).unwrap_or_default();
        let (mut tree, mut etc) = (None, None);
        if let Some(folder) = text["prepared"]["staged"]["path"].as_str() {
            let folder = self.root.join(folder);
            tree = self.tree(&folder, &["etc", JOURNAL, KNOWN])?;
            etc = self.tree(&folder.join("etc"), &[])?;
        }
        Ok(Some(Staged { file, tree, etc }))
    }

    /// Follows the chain of links that an initramfs follows, which stays in the sysroot.
    fn deployment(&self, entry: &Entry) -> Option<String> {
        let link = self.root.join(entry.ostree()?.trim_start_matches('/'));
        let real = link.canonicalize().ok()?;
        let real = real
            .strip_prefix(self.root.canonicalize().ok()?)
            .ok()?
            .to_owned();
        let parts: Vec<_> = real.iter().map(|part| part.to_string_lossy()).collect();
        match parts.as_slice() {
            [ostree, deploy, stateroot, again, name]
                if ostree == "ostree" && deploy == "deploy" && again == "deploy" =>
            {
                Some(format!("{stateroot}/{name}"))
            }
            _ => None,
        }
    }

    /// A file, if it is there.
    fn file(&mut self, path: &Path) -> Result<Option<Hash>> {
        match std::fs::symlink_metadata(path) {
            Err(_) => Ok(None),
            Ok(metadata) if !metadata.is_file() => Ok(None),
            Ok(metadata) => Ok(Some(short(&self.contents(path, metadata.ino())?))),
        }
    }

    fn contents(&mut self, path: &Path, number: u64) -> Result<[u8; 32]> {
        if let Some(known) = self.known.get(&number) {
            return Ok(*known);
        }
        let mut hasher = Sha256::new();
        let mut file = std::fs::File::open(path)?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = file
                .read(&mut buffer)
                .with_context(|| format!("reading {}", path.display()))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let digest = hasher.finalize().into();
        self.known.insert(number, digest);
        Ok(digest)
    }

    /// Everything below a directory, with all metadata but times; none if it is not there.
    fn tree(&mut self, path: &Path, without: &[&str]) -> Result<Option<Hash>> {
        if !path.is_dir() {
            return Ok(None);
        }
        let mut hasher = Sha256::new();
        self.add(path, &mut hasher, without)?;
        Ok(Some(short(&hasher.finalize().into())))
    }

    fn add(&mut self, path: &Path, hasher: &mut Sha256, without: &[&str]) -> Result<()> {
        let metadata = std::fs::symlink_metadata(path)?;
        let fields = [metadata.mode(), metadata.uid(), metadata.gid()];
        fields
            .iter()
            .for_each(|field| hasher.update(field.to_le_bytes()));
        for (name, value) in attributes(path)? {
            hasher.update(name);
            hasher.update(value);
        }
        if metadata.is_symlink() {
            hasher.update(std::fs::read_link(path)?.as_os_str().as_bytes());
        } else if metadata.is_file() {
            let digest = self.contents(path, metadata.ino())?;
            hasher.update(digest);
        } else if metadata.is_dir() {
            let mut names: Vec<_> = std::fs::read_dir(path)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<_>>()?;
            names.sort();
            let left_out = |name: &&std::ffi::OsString| without.iter().any(|out| *name == out);
            for name in names.iter().filter(|name| !left_out(name)) {
                hasher.update(name.as_bytes());
                hasher.update([0]);
                self.add(&path.join(name), hasher, &[])?;
            }
            hasher.update([1]);
        }
        Ok(())
    }
}

fn attributes(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = Vec::with_capacity(4096);
    rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names))?;
    let mut all = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = Vec::with_capacity(4096);
        let text = std::ffi::OsStr::from_bytes(name);
        rustix::fs::lgetxattr(path, text, rustix::buffer::spare_capacity(&mut value))?;
        all.push((name.to_vec(), value));
    }
    all.sort();
    Ok(all)
}

/// Names in a directory, sorted; none if there is no such directory.
fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn short(digest: &[u8; 32]) -> Hash {
    u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"))
}
