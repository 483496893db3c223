//! Objects, commits and refs that come into a repository together.

use std::collections::{BTreeMap, HashSet};

use pleach_fs_tree::{Digest, Tree, TreePath};

use super::error::{Error, LeftOut, io};
use super::gvariant::Value;
use super::object::{CommitParts, Object, ObjectType, commit};
use super::repo::{Lock, Repo, check_ref};
use super::sink::RepoSink;
use super::store::Store;
use super::write_tree::{check_size, write_tree};

/// What is to come into a repository. Until [`finish`](Self::finish) it is in a directory below
/// `tmp`; dropped, it is gone. `ostree prune` waits for it, and it for that.
#[derive(Debug)]
pub struct Transaction {
    repo: Repo,
    pub(super) store: Store,
    options: TransactionOptions,
    /// The names of all that its commits have.
    keep: HashSet<Digest>,
    // Given back when the store is gone.
    _lock: Lock,
}

/// How objects are written.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// Files up to so many bytes are hashed before they are written, and so not written at all where
    /// the repository has them. Each thread that reads layers holds one.
    pub small_file: u64,
    /// Make everything durable before a ref is written. Without it a power cut may leave damaged
    /// objects; a killed process never does.
    pub sync: bool,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            small_file: 512 << 10,
            sync: true,
        }
    }
}

/// What to do with what ostree cannot hold: devices, fifos, sockets, extended attributes without a
/// value. Modification times it never holds, and nothing is said about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unstorable {
    /// An error, with all of it.
    #[default]
    Refuse,
    /// It is left out, and stands in [`Commit::left_out`].
    LeaveOut,
}

/// What a commit says besides its tree. The same tree with the same options has the same name.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// One line for people.
    pub subject: String,
    /// Text for people.
    pub body: String,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// Further keys, such as `ostree.ref-binding`.
    pub metadata: BTreeMap<String, Value>,
    /// The commit before it.
    pub parent: Option<Digest>,
    /// `/etc` of the tree becomes `/usr/etc`, as deployments want it; a tree that has that in its
    /// place is taken as it is.
    pub move_etc: bool,
    /// See there.
    pub unstorable: Unstorable,
}

/// A commit that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub name: Digest,
    /// What ostree cannot hold, in the order of paths; there is something only with
    /// [`Unstorable::LeaveOut`].
    pub left_out: Vec<LeftOut>,
}

impl Commit {
    /// The name as ostree shows it: 64 hexadecimal digits.
    pub fn checksum(&self) -> String {
        crate::digest::hex(&self.name)
    }
}

impl Repo {
    /// Begins a transaction, and sweeps what killed ones left in `tmp`.
    ///
    /// # Errors
    /// When the repository cannot be locked or written.
    pub fn transaction(&self, options: TransactionOptions) -> Result<Transaction, Error> {
        let lock = self.lock()?;
        let dir = self.dir.try_clone().map_err(io("open", "the repository"))?;
        Ok(Transaction {
            repo: Repo { dir, ..*self },
            store: Store::new(self)?,
            options,
            keep: HashSet::new(),
            _lock: lock,
        })
    }
}

impl Transaction {
    /// A sink that writes contents of regular files as objects: for
    /// [`merge_with`](crate::merge_with) and [`read_tar`](crate::read_tar). Several may be used at a
    /// time. [`import`](Self::import) does it for a whole image.
    pub fn sink(&self) -> RepoSink<'_> {
        RepoSink::new(&self.store, self.options.small_file)
    }

    /// Writes a tree whose files are objects already, and a commit of it.
    ///
    /// SELinux labels are those that the tree has; none are computed.
    ///
    /// # Errors
    /// When the tree has what ostree cannot hold, or an object cannot be written.
    pub fn commit(
        &mut self,
        tree: &Tree<Object>,
        options: &CommitOptions,
    ) -> Result<Commit, Error> {
        check_text(options)?;
        let mut keep = HashSet::new();
        let written = write_tree(&self.store, tree, options.move_etc, &mut keep)?;
        if options.unstorable == Unstorable::Refuse && !written.left_out.is_empty() {
            let found = written.left_out;
            return Err(Error::Unstorable { found });
        }
        let bytes = commit(&CommitParts {
            metadata: &options.metadata,
            parent: options.parent,
            subject: &options.subject,
            body: &options.body,
            timestamp: options.timestamp,
            tree: written.tree,
            meta: written.meta,
        });
        check_size(&TreePath::root(), &bytes)?;
        let name = self.store.metadata(ObjectType::Commit, &bytes);
        let name = name.map_err(io("write", "a commit"))?;
        self.keep.extend(keep);
        self.keep.insert(name);
        Ok(Commit {
            name,
            left_out: written.left_out,
        })
    }

    /// Puts the objects of its commits into the repository, and then points refs (`refs/heads`) to
    /// commits. Objects of no commit, as those of files that a higher layer hides, are dropped. Killed
    /// at any point the repository is valid, and each ref is the old one or the new.
    ///
    /// # Errors
    /// When a ref has no name that ostree takes, or points to a commit that neither this transaction
    /// nor the repository has (nothing has happened then), or something cannot be written.
    pub fn finish(self, refs: &[(&str, Digest)]) -> Result<(), Error> {
        for (name, commit) in refs {
            check_ref(name)?;
            if !self.store.has(commit).map_err(io("look up", "a commit"))? {
                return Err(Error::Invalid {
                    what: "ref",
                    value: (*name).to_owned(),
                    why: "its commit is not in the repository",
                });
            }
        }
        let (store, sync) = (&self.store, self.options.sync);
        let published = store.publish(&self.keep, sync);
        published.map_err(io("write", "objects"))?;
        for (name, commit) in refs {
            self.repo.set_ref(store.staging.dir(), name, commit, sync)?;
        }
        store.staging.close().map_err(io("remove", "tmp/pleach-…"))
    }
}

fn check_text(options: &CommitOptions) -> Result<(), Error> {
    let texts = [("subject", &options.subject), ("body", &options.body)];
    let keys = options.metadata.iter();
    let bad = texts
        .into_iter()
        .chain(options.metadata.keys().map(|key| ("metadata key", key)))
        .find(|(_, text)| text.contains('\0'))
        .or_else(|| {
            let mut bad = keys.filter(|(_, value)| !value.is_valid());
            bad.next().map(|(key, _)| ("metadata value of", key))
        });
    match bad {
        None => Ok(()),
        Some((what, value)) => Err(Error::Invalid {
            what,
            value: value.clone(),
            why: "it has a NUL character",
        }),
    }
}
