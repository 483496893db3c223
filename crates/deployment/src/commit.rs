//! A merged tree into a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cap_std::fs::Dir;
use ostree_ext::glib::{Variant, prelude::*};
use ostree_ext::{gio::Cancellable, ostree};
use rustix::fs::FileType;

use crate::error::{Error, Result, ostree as failed};
use crate::walk::{TreeLimits, walk};
use crate::Sysroot;

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
    /// Leave out devices, fifos and sockets, and list them, in place of an error.
    pub skip_special_files: bool,
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
            skip_special_files: false,
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
    pub skipped: Vec<SpecialFile>,
}

/// A file that ostree cannot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialFile {
    /// Path below the root of the tree.
    pub path: PathBuf,
    /// What it is.
    pub kind: SpecialKind,
}

/// Types of files that ostree cannot store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialKind {
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Sysroot {
    /// Write `root` as a commit, and point the branch to it.
    ///
    /// `/etc` of the tree becomes `/usr/etc` of the commit (a tree that has `/usr/etc` in its place is
    /// taken as it is); `root` is only read. Owners, modes with setuid, setgid and sticky, and all extended
    /// attributes are kept; modification times are not part of ostree's format. If the tree has a SELinux
    /// policy, labels come from it. A kernel in `/usr/lib/modules` marks the commit as bootable.
    pub fn commit_tree(&self, root: &Dir, options: &CommitOptions) -> Result<Commit> {
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotRoot {
                operation: "commit a tree",
            });
        }
        let survey = Survey::of(root, &options.limits)?;
        if !survey.special.is_empty() && !options.skip_special_files {
            return Err(Error::SpecialFiles {
                files: survey.special,
            });
        }
        let metadata = metadata(options, survey.kernel.as_deref())?;
        let repo = self.repo();
        let transaction = repo
            .auto_transaction(Cancellable::NONE)
            .map_err(failed("begin transaction"))?;
        let tree = self.write_tree(root, &survey)?;
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
            skipped: survey.special,
        })
    }

    fn write_tree(&self, root: &Dir, survey: &Survey) -> Result<ostree::RepoFile> {
        let repo = self.repo();
        let fd = root.as_fd().as_raw_fd();
        let skip: BTreeSet<String> = survey
            .special
            .iter()
            .filter_map(|s| s.path.to_str().map(|p| format!("/{p}")))
            .collect();
        let modifier = ostree::RepoCommitModifier::new(
            ostree::RepoCommitModifierFlags::empty(),
            Some(Box::new(move |_, path, _| match skip.contains(path) {
                true => ostree::RepoCommitFilterResult::Skip,
                false => ostree::RepoCommitFilterResult::Allow,
            })),
        );
        let policy = ostree::SePolicy::new_at(fd, Cancellable::NONE)
            .map_err(failed("read SELinux policy"))?;
        if policy.csum().is_some() {
            modifier.set_sepolicy(Some(&policy));
        }
        let tree = ostree::MutableTree::new();
        repo.write_dfd_to_mtree(fd, ".", &tree, Some(&modifier), Cancellable::NONE)
            .map_err(failed("write tree"))?;
        if survey.has_etc {
            move_etc(repo, &tree)?;
        }
        self.write_mtree(&tree)
    }

    fn write_mtree(&self, tree: &ostree::MutableTree) -> Result<ostree::RepoFile> {
        write_mtree(self.repo(), tree)
    }
}

fn write_mtree(repo: &ostree::Repo, tree: &ostree::MutableTree) -> Result<ostree::RepoFile> {
    let file = repo
        .write_mtree(tree, Cancellable::NONE)
        .map_err(failed("write directory"))?;
    file.downcast().map_err(|_| Error::Ostree {
        operation: "write directory",
        message: "not a repository file".into(),
    })
}

/// Rename `etc` to `usr/etc` in the tree of objects: no file of the source is touched, and SELinux
/// labels were computed for `/etc`, as they must be.
fn move_etc(repo: &ostree::Repo, tree: &ostree::MutableTree) -> Result<()> {
    const MOVE: &str = "move /etc to /usr/etc";
    let odd = |message: &str| Error::Ostree {
        operation: MOVE,
        message: message.into(),
    };
    let (_, etc) = tree.lookup("etc").map_err(failed(MOVE))?;
    let etc = write_mtree(repo, &etc.ok_or_else(|| odd("no directory"))?)?;
    let contents = etc.tree_get_contents_checksum();
    let metadata = etc.tree_get_metadata_checksum();
    let (contents, metadata) = contents.zip(metadata).ok_or_else(|| odd("no checksum"))?;
    let usr_etc = tree
        .ensure_dir("usr")
        .and_then(|usr| usr.ensure_dir("etc"))
        .map_err(failed(MOVE))?;
    if !usr_etc.fill_empty_from_dirtree(repo, &contents, &metadata) {
        return Err(odd("/usr/etc is not empty"));
    }
    tree.remove("etc", false).map_err(failed(MOVE))
}

/// What must be known of a tree before any of it is written.
struct Survey {
    has_etc: bool,
    kernel: Option<String>,
    special: Vec<SpecialFile>,
}

impl Survey {
    fn of(root: &Dir, limits: &TreeLimits) -> Result<Self> {
        let mut special = Vec::new();
        let mut directories = BTreeSet::new();
        let mut kernels = BTreeSet::new();
        walk(root, limits, &mut |path, stat| {
            check_name(path)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    if path.components().count() <= 2 {
                        directories.insert(path.to_owned());
                    }
                    return Ok(());
                }
                FileType::RegularFile => {
                    kernels.extend(kernel_version(path));
                    return Ok(());
                }
                FileType::Symlink => return Ok(()),
                FileType::BlockDevice => SpecialKind::BlockDevice,
                FileType::CharacterDevice => SpecialKind::CharacterDevice,
                FileType::Fifo => SpecialKind::Fifo,
                _ => SpecialKind::Socket,
            };
            special.push(SpecialFile {
                path: path.to_owned(),
                kind,
            });
            Ok(())
        })?;
        special.sort_by(|a, b| a.path.cmp(&b.path));
        let has = |path: &str| directories.contains(Path::new(path));
        let missing = |path: &str| Error::MissingDirectory { path: path.into() };
        match (has("usr"), has("etc"), has("usr/etc")) {
            (false, _, _) => Err(missing("usr")),
            (true, false, false) => Err(missing("etc")),
            (true, true, true) => Err(Error::BothEtc),
            (true, has_etc, _) => Ok(Self {
                has_etc,
                // Which of several is booted is for `deploy` to refuse.
                kernel: kernels.pop_first().filter(|_| kernels.is_empty()),
                special,
            }),
        }
    }
}

/// ostree's directory objects hold names as UTF-8, and on checkout `.ostree-wh.NAME` turns into an
/// overlayfs whiteout.
fn check_name(path: &Path) -> Result<()> {
    let bad = |reason| Error::FileName {
        path: path.to_owned(),
        reason,
    };
    let name = path.file_name().unwrap_or_default();
    let name = name.to_str().ok_or_else(|| bad("the name is not UTF-8, which ostree asks for"))?;
    if name.starts_with(".ostree-wh.") {
        return Err(bad("ostree would turn a file of this name into a whiteout"));
    }
    Ok(())
}

/// The version in `usr/lib/modules/VERSION/vmlinuz`.
fn kernel_version(path: &Path) -> Option<String> {
    let version = path.strip_prefix("usr/lib/modules").ok()?;
    if version.file_name()? != "vmlinuz" || version.components().count() != 2 {
        return None;
    }
    version.parent()?.to_str().map(str::to_owned)
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
