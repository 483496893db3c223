//! Imports into ostree repositories, beside the real `ostree`.

mod cached;
mod faults;
mod refused;
mod same;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pleach_fs_tree::{MaterializeOptions, ScanOptions, Timestamp, Tree, dump, materialize, scan};
use pleach_layer_merge::ostree::{
    Commit, CommitOptions, Error, ImportOptions, Imported, Mode, Repo, TransactionOptions,
    Unstorable,
};
use pleach_layer_merge::{
    ContentStore, Image, Layout, MergeOptions, StoreOptions, contents, merge,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::archive::{layer, write_layout};
use crate::{as_root, open};

/// A directory with an image and repositories.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn dir(&self, name: &str) -> cap_std::fs::Dir {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        open(&path)
    }

    fn image(&self, name: &str, layers: &[Value]) -> (Layout, Image) {
        let layers = layers.iter().map(|entries| entries.as_array().unwrap());
        let blobs: Vec<_> = layers.map(|entries| layer(entries, &Value::Null)).collect();
        write_layout(&self.path(name), &blobs);
        let layout = Layout::open(&self.dir(name)).unwrap();
        let image = layout.resolve(None, None).unwrap();
        (layout, image)
    }

    fn repo(&self, name: &str, mode: Mode) -> Repo {
        Repo::create(&self.dir(name), mode).unwrap()
    }

    /// What `pleach unpack` writes.
    fn unpack(&self, (layout, image): &(Layout, Image), name: &str) -> PathBuf {
        let spool = self.dir("spool");
        let store = ContentStore::new(&spool, &StoreOptions::default()).unwrap();
        let merged = merge(layout, image, &store, &MergeOptions::default()).unwrap();
        let options = MaterializeOptions::default();
        materialize(&merged.tree, &self.dir(name), &mut contents(), &options).unwrap();
        self.path(name)
    }
}

/// Nothing needs to be durable here.
fn transaction_options() -> TransactionOptions {
    TransactionOptions {
        small_file: 1000,
        sync: false,
    }
}

fn import(
    repo: &Repo,
    (layout, image): &(Layout, Image),
    import: &ImportOptions<'_>,
    commit: &CommitOptions,
    name: &str,
) -> Result<(Imported, Commit), Error> {
    let mut transaction = repo.transaction(transaction_options())?;
    let imported = transaction.import(layout, image, import)?;
    let commit = transaction.commit(&imported.merged.tree, commit)?;
    transaction.finish(&[(name, commit.name)])?;
    Ok((imported, commit))
}

fn leave_out() -> CommitOptions {
    CommitOptions {
        unstorable: Unstorable::LeaveOut,
        ..CommitOptions::default()
    }
}

/// Runs `ostree` and returns what it printed.
fn ostree(repo: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("ostree");
    command.args(&arguments[..1]).arg("--repo").arg(repo);
    command.args(&arguments[1..]);
    let output = command.output().expect("ostree runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("ostree {arguments:?}: {}", text(&output.stderr))),
    }
}

/// The commit that `ostree commit` makes of a directory, without any metadata.
fn real_commit(repo: &Path, tree: &Path) -> String {
    let tree = format!("--tree=dir={}", tree.display());
    let rest = ["--timestamp=@0", "--no-bindings", "--orphan", "-s", ""];
    ostree(repo, &[&["commit", &tree], &rest[..]].concat()).unwrap()
}

/// Says why a test cannot run, if so.
macro_rules! needs_root_and_ostree {
    () => {
        if let Some(why) = super::missing() {
            return super::skip(why);
        }
    };
}
use needs_root_and_ostree;

/// The name of a test is that of its thread.
#[allow(clippy::print_stderr, reason = "that a test is skipped is said")]
fn skip(why: &str) {
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!ci, "{why}, and CI must not skip");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().rsplit("::").next();
    eprintln!("SKIP {}: {why}", name.unwrap_or_default());
}

fn missing() -> Option<&'static str> {
    match Command::new("ostree").arg("--version").output() {
        _ if !as_root() => Some("must be root"),
        Err(_) => Some("needs ostree"),
        Ok(_) => None,
    }
}

/// All of a directory but times.
fn timeless(path: &Path) -> String {
    let mut tree = scan(&open(path), &ScanOptions::default()).unwrap();
    let all: Vec<_> = tree.walk().map(|(_, id)| id).collect();
    for id in all {
        tree.metadata_mut(id).mtime = Timestamp::default();
    }
    // A checkout makes hard links of files with the same content.
    unlinked(&tree)
}

fn unlinked(tree: &Tree<pleach_fs_tree::FileContent>) -> String {
    let mut alone = Tree::new(tree.inode(tree.root()).metadata.clone());
    for (path, id) in tree.walk().skip(1) {
        let mut inode = tree.inode(id).clone();
        if inode.entries().is_some() {
            inode = pleach_fs_tree::Inode::directory(inode.metadata);
        }
        alone.put(&path, inode).unwrap();
    }
    dump(&alone, |content| format!("{content:?}").into_bytes())
}
