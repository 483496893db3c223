//! A merged tree into a commit.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cap_std::fs::Dir;
use ostree_ext::gio::Cancellable;
use ostree_ext::glib::{Variant, prelude::*};

use crate::Sysroot;
use crate::error::{Error, Result, io, ostree as failed};
use crate::walk::{TreeLimits, open_dir};
use crate::write_tree::write_tree;

/// A commit's checksum: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(String);

impl Checksum {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(digits) {
            return Ok(Self(text.into()));
        }
        Err(Error::Invalid {
            what: "checksum",
            value: text.into(),
            reason: "must be 64 lower-case hexadecimal digits".into(),
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a commit says besides its tree. The same tree with the same options has the same checksum.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// Branch that will point to the commit, such as `pleach/base`; it also stands in the commit
    /// (`ostree.ref-binding`).
    pub ref_name: String,
    /// One line for people.
    pub subject: String,
    /// Seconds since the epoch; there is no default, since now would not be reproducible.
    pub timestamp: u64,
    /// Further keys.
    pub metadata: CommitMetadata,
    /// Leave out what ostree cannot store, and list it, in place of an error.
    pub skip_unstorable: bool,
    /// How much of the tree is read before giving up.
    pub limits: TreeLimits,
}

impl CommitOptions {
    /// Nothing but what must be there.
    pub fn new(ref_name: &str, timestamp: u64) -> Self {
        Self {
            ref_name: ref_name.into(),
            subject: String::new(),
            timestamp,
            metadata: CommitMetadata::default(),
            skip_unstorable: false,
            limits: TreeLimits::default(),
        }
    }
}

/// Keys of a commit.
#[derive(Debug, Clone, Default)]
pub struct CommitMetadata {
    /// `version`, for people.
    pub version: Option<String>,
    /// The image that the tree is of.
    pub image: Option<ImageMetadata>,
    /// Any other key with a string; one that this crate sets itself is an error.
    pub other: BTreeMap<String, String>,
}

/// An image, under the keys by which bootc and ostree-ext find it again.
#[derive(Debug, Clone)]
pub struct ImageMetadata {
    /// `ostree.manifest-digest`: `sha256:…`.
    pub manifest_digest: String,
    /// `ostree.manifest`: the manifest, as its JSON text.
    pub manifest: String,
    /// `ostree.container.image-config`: the configuration, as its JSON text.
    pub config: String,
}

/// A written commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub checksum: Checksum,
    /// What was left out, in path order.
    pub skipped: Vec<Unstorable>,
}

/// A part of a tree that ostree cannot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstorable {
    /// Path below the root of the tree.
    pub path: PathBuf,
    /// What it is.
    pub kind: UnstorableKind,
}

/// What ostree cannot store: it knows regular files, directories and symbolic links.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnstorableKind {
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// The extended attribute of this name has an empty value; libostree takes it for absent.
    EmptyXattr(OsString),
}

impl Sysroot {
    /// The manifest of the image that a commit is of (`ostree.manifest`), if it says.
    pub fn manifest(&self, commit: &Checksum) -> Result<Option<String>> {
        let (commit, _) = self
            .repo()
            .load_commit(commit.as_str())
            .map_err(failed("read commit"))?;
        let metadata = ostree_ext::glib::VariantDict::new(Some(&commit.child_value(0)));
        Ok(metadata.lookup::<String>("ostree.manifest").ok().flatten())
    }

    /// Write `root` as a commit, and point the branch to it.
    ///
    /// `/etc` of the tree becomes `/usr/etc` of the commit (a tree that has `/usr/etc` in its place is
    /// taken as it is); `root` is only read. Owners, modes with setuid, setgid and sticky, and extended
    /// attributes are kept; modification times are not part of ostree's format. If the tree has a SELinux
    /// policy, labels come from it. A kernel in `/usr/lib/modules` marks the commit as bootable. On an error
    /// the branch is as it was.
    pub fn commit_tree(&self, root: &Dir, options: &CommitOptions) -> Result<Commit> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot {
                operation: "commit a tree",
            });
        }
        let has_etc = has_etc(root)?;
        let metadata = metadata(options, kernel(root)?.as_deref())?;
        let repo = self.repo();
        let transaction = repo
            .auto_transaction(Cancellable::NONE)
            .map_err(failed("begin transaction"))?;
        let (tree, unstorable) = write_tree(repo, root, has_etc, &options.limits)?;
        if !unstorable.is_empty() && !options.skip_unstorable {
            return Err(Error::Unstorable { found: unstorable });
        }
        let checksum = repo
            .write_commit_with_time(
                None,
                Some(&options.subject),
                None,
                Some(&metadata),
                &tree,
                options.timestamp,
                Cancellable::NONE,
            )
            .map_err(failed("write commit"))?;
        repo.transaction_set_ref(None, &options.ref_name, Some(&checksum));
        transaction
            .commit(Cancellable::NONE)
            .map_err(failed("commit transaction"))?;
        Ok(Commit {
            checksum: checksum.parse()?,
            skipped: unstorable,
        })
    }
}

/// Whether the defaults are in `/etc`, not in `/usr/etc`; exactly one must be there.
fn has_etc(root: &Dir) -> Result<bool> {
    let is_directory = |path| match open_dir(root, path) {
        Ok(_) => Ok(true),
        Err(Error::Io { source, .. }) if is_no_directory(&source) => Ok(false),
        Err(e) => Err(e),
    };
    let missing = |path: &str| Error::MissingDirectory { path: path.into() };
    if !is_directory("usr")? {
        return Err(missing("usr"));
    }
    match (is_directory("etc")?, is_directory("usr/etc")?) {
        (true, true) => Err(Error::BothEtc),
        (false, false) => Err(missing("etc")),
        (etc, _) => Ok(etc),
    }
}

/// The version of the kernel, if there is exactly one; which of several to boot is for `deploy` to refuse.
fn kernel(root: &Dir) -> Result<Option<String>> {
    const MODULES: &str = "usr/lib/modules";
    let dir = match open_dir(root, MODULES) {
        Err(Error::Io { source, .. }) if is_no_directory(&source) => return Ok(None),
        other => other?,
    };
    let mut found = None;
    for entry in dir.entries().map_err(io("read directory", MODULES))? {
        let name = entry.map_err(io("read directory", MODULES))?.file_name();
        let vmlinuz = Path::new(&name).join("vmlinuz");
        if dir.symlink_metadata(vmlinuz).is_ok_and(|m| m.is_file()) && found.replace(name).is_some()
        {
            return Ok(None);
        }
    }
    Ok(found.and_then(|name| name.into_string().ok()))
}

/// Not there, something else, or a link: opening without following a link says one of these.
fn is_no_directory(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn metadata(options: &CommitOptions, kernel: Option<&str>) -> Result<Variant> {
    let mut keys = BTreeMap::<&str, Variant>::new();
    keys.insert("ostree.ref-binding", vec![&*options.ref_name].to_variant());
    if let Some(kernel) = kernel {
        keys.insert("ostree.bootable", true.to_variant());
        keys.insert("ostree.linux", kernel.to_variant());
    }
    if let Some(version) = &options.metadata.version {
        keys.insert("version", version.to_variant());
    }
    if let Some(image) = &options.metadata.image {
        keys.insert("ostree.manifest-digest", image.manifest_digest.to_variant());
        keys.insert("ostree.manifest", image.manifest.to_variant());
        keys.insert("ostree.container.image-config", image.config.to_variant());
    }
    for (key, value) in &options.metadata.other {
        if keys.insert(key, value.to_variant()).is_some() {
            return Err(Error::Invalid {
                what: "metadata key",
                value: key.clone(),
                reason: "is set by this crate".into(),
            });
        }
    }
    Ok(keys.to_variant())
}
