//! The same layer as a Containerfile and an archive beside it, for whoever builds images with podman.
//!
//! `ADD` of an archive is the one instruction that keeps owners, setuid bits, extended attributes, hard
//! links and times; `COPY` of single files loses some of each. What the archive holds stands in the
//! Containerfile as comments, each path with what asked for it. Whiteouts have no meaning in such an
//! archive, so what is taken away is taken away by a command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use pleach_customization::Origin;
use pleach_fs_tree::{ContentSource, Inode, Kind, Tree, TreePath};
use pleach_layer_merge::{Changes, Error, FileSize, LayerOptions, WrittenLayer};

use crate::layer::{Source, changes};
use crate::{Content, Derivation, declare};

/// The name that the Containerfile knows the archive by.
pub const ARCHIVE: &str = "layer.tar";

/// What a build mounts over while it runs a command. Where the base has none, an empty one stays.
const MOUNTED: [&str; 7] = [
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc",
    "/run",
    "/sys",
];

/// A derivation for `podman build`.
pub struct Containerfile<C> {
    text: String,
    left: Vec<&'static str>,
    archive: Changes<Content<C>>,
}

/// A path that no instruction can name, since it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: it is to be removed, and a Containerfile cannot name it: its name is not UTF-8")]
pub struct Unspeakable(pub TreePath);

impl<C: Clone> Containerfile<C> {
    /// Plans it. `from` is the base image as `FROM` names it, and the default of the argument `BASE`.
    ///
    /// # Errors
    /// When a path is to be removed whose name is not UTF-8.
    pub fn new(
        base: &Tree<C>,
        derivation: &Derivation<C>,
        same: impl Fn(&C, &C) -> bool,
        from: &str,
    ) -> Result<Self, Unspeakable> {
        let mut archive = changes(base, derivation, same);
        let removals = std::mem::take(&mut archive.removals);
        let origins: BTreeMap<&TreePath, &Origin> = derivation
            .provenance
            .iter()
            .map(|(path, origin)| (path, origin))
            .collect();
        let mut text = format!(
            "# Made by pleach. Change the document rather than this file.\nARG BASE={from}\nFROM ${{BASE}}\n"
        );
        let mut left = Vec::new();
        if !removals.is_empty() {
            let lacks = |path: &&&str| {
                let path = TreePath::new(**path).expect("our own paths are clean");
                derivation.tree.lookup(&path).is_none()
            };
            left.extend(MOUNTED.iter().filter(lacks));
            text.push_str("\n# Taken away:\n");
            let mut words = vec!["rm".to_owned(), "-rf".to_owned(), "--".to_owned()];
            for path in &removals {
                comment(&mut text, path, "", origins.get(path));
                let name = std::str::from_utf8(path.as_bytes());
                words.push(format!("/{}", name.map_err(|_| Unspeakable(path.clone()))?));
            }
            let words: Vec<String> = words.iter().map(|word| declare::quoted(word)).collect();
            if !left.is_empty() {
                text.push_str(
                    "# The build mounts over these and leaves them, empty; the base has none:\n",
                );
                text.push_str(&format!("#   {}\n", left.join(" ")));
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "RUN [{}]", words.join(", "));
        }
        if !archive.is_empty() {
            text.push_str("\n# Added or changed:\n");
            for (path, id) in archive.additions.walk() {
                // Directories that are only on the way are there already.
                if origins.contains_key(&path) || base.lookup(&path).is_none() {
                    let what = described(archive.additions.inode(id));
                    comment(&mut text, &path, &what, origins.get(&path));
                }
            }
            let _ = writeln!(text, "ADD [\"{ARCHIVE}\", \"/\"]");
        }
        Ok(Self {
            text,
            left,
            archive,
        })
    }

    /// The Containerfile.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the tree that is built has beyond the layer's: empty mount points of the command that takes
    /// something away, where the base has none.
    pub fn left_by_command(&self) -> &[&'static str] {
        &self.left
    }

    /// Whether the Containerfile names [`ARCHIVE`].
    pub fn has_archive(&self) -> bool {
        !self.archive.is_empty()
    }

    /// Writes the archive. The same derivation gives the same bytes.
    ///
    /// # Errors
    /// As [`write_layer`](crate::write_layer).
    pub fn write_archive(
        &self,
        source: &mut dyn ContentSource<C>,
        out: impl Write,
        options: &LayerOptions,
    ) -> Result<WrittenLayer, Error>
    where
        C: FileSize,
    {
        pleach_layer_merge::write_layer(&self.archive, &mut Source(source), out, options)
    }
}

fn comment(text: &mut String, path: &TreePath, what: &str, origin: Option<&&Origin>) {
    let by = origin.map_or_else(String::new, |origin| format!("  {origin}"));
    let _ = writeln!(text, "#   {path}{what}{by}");
}

fn described<C>(inode: &Inode<C>) -> String {
    let metadata = &inode.metadata;
    match &inode.kind {
        Kind::Symlink(target) => format!(" -> {}", pleach_fs_tree::escape(target)),
        _ => format!(" {:04o} {}:{}", metadata.mode, metadata.uid, metadata.gid),
    }
}
