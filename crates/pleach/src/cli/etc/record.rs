//! What `pleach inject` put, into the ownership ledger.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use pleach_customization::Origin;
use pleach_etc_merge::{Before, Document, Owner, Place, Record, what_was_put};
use pleach_fs_tree::{Digest, Metadata, Tree, TreePath};

use super::ledger_file::LedgerFile;
use super::sides::{Etc, scan_dir};
use super::{beneath, own};

/// The ledger of a deployment, locked, and its `/etc` before anything is put there.
pub(crate) struct Recorder {
    file: LedgerFile,
    document: Document,
    pristine: Etc,
    before: Etc,
}

impl Recorder {
    /// To be made before the plan is carried out.
    pub(crate) fn new(root: &Dir, etc: &Dir, shown: &Path, document: &Path) -> Result<Self> {
        let top = shown.join("etc");
        let file = LedgerFile::lock(etc, &top)?;
        let defaults = beneath::find_dir(root, &TreePath::new("usr/etc")?)
            .with_context(|| format!("opening {}", shown.join("usr/etc").display()))?;
        let pristine = match defaults {
            Some(dir) => scan_dir(&dir, &shown.join("usr/etc"))?,
            None => Tree::new(Metadata::default()),
        };
        Ok(Self {
            file,
            document: own::read_document(document)?,
            pristine,
            before: scan_dir(etc, &top)?,
        })
    }

    /// To be made when the plan was carried out already, on a deployment that had `before` as its `/etc`.
    #[allow(
        dead_code,
        reason = "of the two programs pleach-deploy composes deployments"
    )]
    pub(crate) fn after(
        root: &Dir,
        etc: &Dir,
        before: &Dir,
        shown: &Path,
        document: &Path,
    ) -> Result<Self> {
        let mut recorder = Self::new(root, etc, shown, document)?;
        recorder.before = scan_dir(before, &shown.join("usr/etc"))?;
        Ok(recorder)
    }

    /// Records each path below `/etc` that was put or removed, and the directories that were made for
    /// it. Account files belong to many, and have no record. Gives how many were recorded.
    pub(crate) fn record<'a>(
        mut self,
        etc: &Dir,
        shown: &Path,
        changes: impl Iterator<Item = (&'a [u8], &'a Origin)>,
    ) -> Result<usize> {
        let after = scan_dir(etc, &shown.join("etc"))?;
        let top = TreePath::new("etc")?;
        let mut wanted = BTreeMap::new();
        for (path, origin) in changes {
            let Some(path) = TreePath::new(path)?.strip_prefix(&top) else {
                continue;
            };
            let mut parent = path.parent();
            while let Some(made) = parent.filter(|parent| self.before.lookup(parent).is_none()) {
                parent = made.parent();
                wanted.entry(made).or_insert(origin);
            }
            // The last that speaks of a path is the one that it is from.
            wanted.insert(path, origin);
        }
        let count = wanted.len();
        for (path, origin) in wanted {
            let record = self.one(&path, origin, &after);
            self.file.ledger.insert(path, record);
        }
        self.file.write()?;
        Ok(count)
    }

    fn one(&self, path: &TreePath, origin: &Origin, after: &Etc) -> Record<Digest> {
        let had = self.file.ledger.get(path);
        let before = || Before::of(self.pristine.get(path), self.before.get(path));
        Record {
            owner: Owner {
                route: "etc".to_owned(),
                document: Some(self.document.clone()),
                place: Some(Place {
                    line: origin.line,
                    column: origin.column,
                    path: origin.path.to_string(),
                }),
            },
            before: had.map_or_else(before, |record| record.before),
            put: after.get(path).map(what_was_put),
            pinned: had.is_some_and(|record| record.pinned),
        }
    }
}
