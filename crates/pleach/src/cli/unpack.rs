//! `pleach unpack`: an image's merged tree as a directory, or as a commit of an ostree repository.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::fs::Dir;
use clap::Args;
use pleach_fs_tree::{MaterializeOptions, materialize_parallel};
use pleach_layer_merge::{
    ContentStore, Layer, MergeOptions, StoreOptions, merge_blobs, take_contents,
};

use super::exit::End;
use super::fetch::Source;
use super::image::{self, Merged, OpenBlob};
use super::ostree::Ostree;

/// Write the merged tree of an image into a directory, or into an ostree repository.
#[derive(Args)]
pub(crate) struct Unpack {
    image: String,
    /// Must be missing or empty.
    #[arg(required_unless_present = "ostree_repo")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    ostree: Ostree,
    /// Leave owners and devices out: everything is the caller's. A new ostree repository gets the
    /// mode bare-user, which keeps them as attributes.
    #[arg(long)]
    no_owners: bool,
    /// Use one thread and hold no contents in memory; slower.
    #[arg(long)]
    low_memory: bool,
    #[command(flatten)]
    source: Source,
}

impl Unpack {
    pub(crate) fn run(&self) -> Result<End> {
        match &self.directory {
            Some(directory) => self.directory(directory)?,
            None => self
                .ostree
                .run(&self.image, &self.source, self.no_owners, self.low_memory)?,
        }
        Ok(End::Fine)
    }

    fn directory(&self, directory: &Path) -> Result<()> {
        let shown = directory.display();
        std::fs::create_dir_all(directory).with_context(|| format!("creating {shown}"))?;
        if std::fs::read_dir(directory)?.next().is_some() {
            bail!("{shown} is not empty");
        }
        if !self.no_owners {
            image::require_root("unpack (without --no-owners)")?;
        }
        // Beside it, and there in one step: half a tree must not look like a whole one. `out/`, `.` and a
        // link to a directory lie beside something else.
        let directory =
            std::fs::canonicalize(directory).with_context(|| format!("finding {shown}"))?;
        if directory.file_name().is_none() {
            bail!("{shown} has nothing beside it; name a directory in it");
        }
        let mut part = directory.clone().into_os_string();
        part.push(format!(".part-{}", std::process::id()));
        let part = std::path::PathBuf::from(part);
        std::fs::create_dir(&part).with_context(|| format!("creating {}", part.display()))?;
        let written = Dir::open_ambient_dir(&part, cap_std::ambient_authority())
            .map_err(anyhow::Error::from)
            .and_then(|target| self.write(&target))
            .and_then(|()| {
                std::fs::rename(&part, &directory).with_context(|| format!("creating {shown}"))
            });
        if written.is_err() {
            let _ = std::fs::remove_dir_all(&part);
        }
        written
    }

    /// Writes the merged tree as fast as this machine can: one that has to be fetched is merged while
    /// it comes. Until all of it was verified, the target has files without names at the most.
    fn write(&self, target: &Dir) -> Result<()> {
        let (store, threads) = match self.low_memory {
            true => (StoreOptions::low_memory(), 1),
            false => (StoreOptions::default(), 0),
        };
        // What is large lies in the target's file system already and only gets a name there.
        let store = StoreOptions {
            own_files: OWN_FILES,
            ..store
        };
        let options = MergeOptions {
            file_digests: false,
            threads,
            provenance: false,
            ..MergeOptions::default()
        };
        let spool = target.try_clone()?;
        let read = move |layers: &[Layer], open: &OpenBlob<'_>| {
            let store = ContentStore::new(&spool, &store)?;
            Ok(merge_blobs(layers, open, &store, &options)?)
        };
        let (_, merged) = image::open_with(&self.image, &self.source, read)?;
        let merged = Merged::new(&self.image, merged);
        let options = MaterializeOptions {
            threads,
            ..image::materialize_options(!self.no_owners)
        };
        materialize_parallel(merged.tree(), target, take_contents, &options)?;
        Ok(())
    }
}

/// Files that are open at a time while layers are merged: a process may have 1024.
const OWN_FILES: usize = 256;
