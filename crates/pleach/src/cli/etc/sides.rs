//! The trees that are compared: of directories, of an image, or of a capture.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::Args;
use pleach_booted_state::model::{PathEntry, Unlisted};
use pleach_booted_state::{Section, Snapshot};
use pleach_etc_merge::{ApplyOptions, known};
use pleach_fs_tree::{
    Digest, FileContent, Inode, Kind, ScanOptions, Tree, TreePath, scan, unescape,
};

use super::entry;
use crate::cli::fetch::Source;
use crate::cli::image::{self, open_dir};

pub(in crate::cli) type Etc = Tree<Digest>;

/// The machine: what its image shipped, and what it has.
#[derive(Args)]
pub(super) struct Machine {
    /// Where the system is: its policies, and what is not named otherwise [default: /]
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// What the image that runs now shipped [default: usr/etc of the root]
    #[arg(long, value_name = "DIR")]
    pristine: Option<PathBuf>,
    /// What the machine has [default: etc of the root]
    #[arg(long, value_name = "DIR")]
    current: Option<PathBuf>,
}

/// The machine's directories, open.
pub(super) struct Open {
    pub(super) root: Dir,
    pub(super) root_path: PathBuf,
    pub(super) pristine: Dir,
    pub(super) pristine_path: PathBuf,
    pub(super) current: Dir,
    pub(super) current_path: PathBuf,
}

impl Machine {
    fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    pub(super) fn current_path(&self) -> PathBuf {
        let default = || self.root().join("etc");
        self.current.clone().unwrap_or_else(default)
    }

    pub(super) fn open(&self) -> Result<Open> {
        let default = || self.root().join("usr/etc");
        let pristine_path = self.pristine.clone().unwrap_or_else(default);
        let current_path = self.current_path();
        Ok(Open {
            root: open_dir(self.root())?,
            root_path: self.root().to_owned(),
            pristine: open_dir(&pristine_path).context(
                "what the image shipped is needed; name it with --pristine, or the system with --root",
            )?,
            current: open_dir(&current_path)?,
            pristine_path,
            current_path,
        })
    }
}

impl Open {
    /// How the directories are merged. What the merge that made the current one left beside it spares
    /// reading; that it is missing, or busy, only costs time.
    pub(super) fn options(&self) -> ApplyOptions {
        let options = ApplyOptions::default();
        let known = known(&self.root, &options).unwrap_or_default();
        ApplyOptions { known, ..options }
    }

    /// What the image shipped, what the machine has, and what is mounted there. What is below a mount
    /// point cannot be seen: it counts as the image's.
    pub(super) fn trees(&self) -> Result<(Etc, Etc, Vec<TreePath>)> {
        let pristine = scan_dir(&self.pristine, &self.pristine_path)?;
        let mut current = scan_dir(&self.current, &self.current_path)?;
        let mounts = mounts_below(&self.current_path)?;
        for path in &mounts {
            hide(&mut current, path, &pristine)?;
        }
        Ok((pristine, current, mounts))
    }

    /// A path below the machine's `/etc`, as people write it: `/etc/motd`, below the directory that
    /// is compared, or relative to it.
    pub(super) fn path(&self, text: &Path) -> Result<TreePath> {
        use std::os::unix::ffi::OsStrExt as _;
        let relative = match text.is_absolute() {
            false => Some(text),
            true => text
                .strip_prefix(&self.current_path)
                .or_else(|_| text.strip_prefix("/etc"))
                .ok(),
        };
        let Some(relative) = relative else {
            bail!("{} is not below /etc", text.display());
        };
        Ok(TreePath::new(relative.as_os_str().as_bytes())?)
    }
}

/// Reads a directory, contents as digests.
pub(super) fn scan_dir(dir: &Dir, shown: &Path) -> Result<Etc> {
    let scanned = scan(dir, &ScanOptions::default());
    let scanned = scanned.with_context(|| format!("reading {}", shown.display()))?;
    Ok(digests(scanned))
}

/// Whoever read the tree was asked for digests.
fn digests(tree: Tree<FileContent>) -> Etc {
    tree.map(|content| content.digest.expect("each content has a digest"))
}

/// `/usr/etc` of an image, or its `/etc`.
pub(super) fn of_image(reference: &str, source: &Source) -> Result<Etc> {
    let image = image::open(reference, source)?;
    of_tree(reference, &image.index(None)?.tree)
}

/// The same of an image's tree.
pub(in crate::cli) fn of_tree(reference: &str, whole: &Tree<FileContent>) -> Result<Etc> {
    let mut found = Vec::new();
    for name in ["usr/etc", "etc"] {
        let top = TreePath::new(name)?;
        let Some(id) = whole.lookup(&top) else {
            continue;
        };
        if whole.inode(id).entries().is_some_and(|e| !e.is_empty()) {
            found.push((name, id));
        }
    }
    let id = match found[..] {
        [(_, id)] => id,
        [] => bail!("{reference} has neither /usr/etc nor /etc"),
        _ => bail!("{reference} has both /usr/etc and /etc: which is the default cannot be told"),
    };
    let mut out = Tree::new(whole.inode(id).metadata.clone());
    for (path, id) in whole.walk_from(id) {
        out.put(&path, alone(whole.inode(id)))?;
    }
    Ok(digests(out))
}

fn alone<C: Clone>(inode: &Inode<C>) -> Inode<C> {
    match &inode.kind {
        Kind::Directory(_) => Inode::directory(inode.metadata.clone()),
        _ => inode.clone(),
    }
}

/// The machine's `/etc` in a capture, and what was mounted there.
pub(super) fn captured(capture: &Snapshot) -> Result<(Etc, Vec<TreePath>)> {
    let (tree, mut mounts) = section(&capture.paths, "paths", "etc")?;
    let top = TreePath::new("etc")?;
    for target in capture.mounts.entries().into_iter().flatten() {
        let path = TreePath::new(unescape(target.0)?);
        let below = path.ok().and_then(|path| path.strip_prefix(&top));
        mounts.extend(below.filter(|below| !below.is_root()));
    }
    mounts.sort();
    mounts.dedup();
    outermost(&mut mounts);
    Ok((tree, mounts))
}

/// What the machine's image shipped, in a capture that was asked for it.
pub(super) fn captured_defaults(capture: &Snapshot) -> Result<Etc> {
    let (tree, _) = section(&capture.etc_defaults, "etc_defaults", "usr/etc").context(
        "the capture does not say what its image shipped: capture with --etc-defaults, or name the image with --from",
    )?;
    Ok(tree)
}

fn section(section: &Section<PathEntry>, name: &str, top: &str) -> Result<(Etc, Vec<TreePath>)> {
    let Some(entries) = section.entries() else {
        bail!("the section {name} of the capture: {}", section.status());
    };
    let top = TreePath::new(top)?;
    let mut tree = None;
    let mut mounts = Vec::new();
    // The order of the text has each directory before what is in it.
    for (text, entry) in entries {
        let Some(path) = TreePath::new(unescape(text)?)?.strip_prefix(&top) else {
            continue;
        };
        match entry.unlisted {
            Some(Unlisted::OtherFileSystem) => mounts.push(path.clone()),
            Some(Unlisted::Rule) => bail!("the capture was told not to look into {text}"),
            None => {}
        }
        let inode = entry::inode(entry).with_context(|| format!("{text} in the capture"))?;
        match &mut tree {
            None if path.is_root() => tree = Some(Tree::new(inode.metadata)),
            None => bail!(
                "the capture has {text}, but not /{}",
                top.to_string().trim_matches('/')
            ),
            Some(tree) => {
                tree.put(&path, inode)
                    .with_context(|| format!("{text} in the capture"))?;
            }
        }
    }
    let tree = tree.with_context(|| format!("the capture has no {top}"))?;
    Ok((tree, mounts))
}

/// Puts what the pristine tree has at a path into the current one. A mounted directory that is in no
/// image is kept, empty; a mounted file in no image is left out.
pub(super) fn hide(current: &mut Etc, path: &TreePath, pristine: &Etc) -> Result<()> {
    let directory = current.get(path).filter(|inode| inode.entries().is_some());
    let empty = directory.map(alone);
    if !current.remove(path) {
        return Ok(());
    }
    match (pristine.lookup(path), empty) {
        (Some(id), _) => {
            for (below, id) in pristine.walk_from(id) {
                current.put(&path.concat(&below), alone(pristine.inode(id)))?;
            }
        }
        (None, Some(empty)) => {
            current.put(path, empty)?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// What is mounted below a directory of this machine (proc_pid_mountinfo(5)), the outermost only.
fn mounts_below(directory: &Path) -> Result<Vec<TreePath>> {
    use std::os::unix::ffi::OsStrExt as _;
    let real = std::fs::canonicalize(directory)
        .with_context(|| format!("resolving {}", directory.display()))?;
    let top = TreePath::new(real.as_os_str().as_bytes())?;
    let table = std::fs::read("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    let mut out = Vec::new();
    for line in table.split(|&b| b == b'\n') {
        let Some(field) = line.split(|&b| b == b' ').nth(4) else {
            continue;
        };
        let below = TreePath::new(octal(field))?.strip_prefix(&top);
        out.extend(below.filter(|below| !below.is_root()));
    }
    out.sort();
    out.dedup();
    outermost(&mut out);
    Ok(out)
}

/// Sorted paths without those below another.
fn outermost(paths: &mut Vec<TreePath>) {
    let mut kept: Vec<TreePath> = Vec::new();
    for path in paths.drain(..) {
        if !kept.last().is_some_and(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    *paths = kept;
}

/// `\040` and its kin.
fn octal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail.get(..3)) {
            (b'\\', Some(digits)) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 8).ok()),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = match escaped {
            Some(_) => &tail[3..],
            None => tail,
        };
    }
    out
}

/// The label that an image gets only when it is deployed.
const LABEL: &[u8] = b"security.selinux";

/// Where some of the trees have no labels at all, none can be compared. Says which have none.
pub(super) fn comparable_labels(trees: [(&'static str, &mut Etc); 3]) -> Vec<&'static str> {
    let labelled = |tree: &Etc| {
        let mut inodes = tree.walk().map(|(_, id)| tree.inode(id));
        inodes.any(|inode| inode.metadata.xattrs.contains_key(LABEL))
    };
    let mut trees = trees;
    let without: Vec<_> = trees
        .iter()
        .filter(|(_, tree)| !labelled(tree))
        .map(|(name, _)| *name)
        .collect();
    if without.is_empty() || without.len() == trees.len() {
        return Vec::new();
    }
    for (_, tree) in &mut trees {
        let ids: Vec<_> = tree.walk().map(|(_, id)| id).collect();
        for id in ids {
            tree.metadata_mut(id).xattrs.remove(LABEL);
        }
    }
    without
}
