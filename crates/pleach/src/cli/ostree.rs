//! An image into an ostree repository, without unpacking it first.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use cap_std::fs::Dir;
use clap::Args;
use pleach_fs_tree::{FileContent, Kind, Tree, TreePath};
use pleach_layer_merge::ostree::{
    CommitOptions, ImportOptions, Mode, Object, Repo, Transaction, TransactionOptions, Unstorable,
    Value, index_imported,
};
use pleach_layer_merge::{Layer, MergeOptions, Merged};

use super::fetch::Source;
use super::image::{OpenBlob, OpenImage, make, open_with, require_root, tell};
use super::output;

/// What is asked of `unpack` about a repository.
#[derive(Args)]
pub(crate) struct Ostree {
    /// Commit the tree to this ostree repository instead, and print the commit. It is made if it is
    /// missing; /etc becomes /usr/etc.
    #[arg(long, value_name = "REPO", conflicts_with = "directory")]
    ostree_repo: Option<PathBuf>,
    /// The ref that is to point to the commit.
    #[arg(
        long = "ref",
        value_name = "NAME",
        requires = "ostree_repo",
        default_value = "pleach/image"
    )]
    reference: String,
    /// Keep the indexes of layers here: a layer whose files the repository has is not read again.
    #[arg(long, value_name = "DIR", requires = "ostree_repo")]
    cache: Option<PathBuf>,
    /// Leave out what ostree cannot hold (devices, fifos, sockets), and say what it was.
    #[arg(long, requires = "ostree_repo")]
    skip_unstorable: bool,
}

impl Ostree {
    pub(crate) fn run(
        &self,
        image: &str,
        source: &Source,
        no_owners: bool,
        low_memory: bool,
    ) -> Result<()> {
        let path = self.ostree_repo.as_deref().context("no repository")?;
        let dir = make(path)?;
        let mode = match no_owners {
            true => Mode::BareUser,
            false => Mode::Bare,
        };
        let repo = Repo::open_or_create(&dir, mode);
        let repo = repo.with_context(|| format!("opening {}", path.display()))?;
        if repo.mode() == Mode::Bare {
            require_root("a repository of the mode bare")?;
        }
        let cache = self.cache.as_deref().map(make).transpose()?;
        let import = Import {
            reference: &self.reference,
            cache,
            low_memory,
            skip_unstorable: self.skip_unstorable,
            sync: true,
        };
        let (image, imported) = import.fetch(repo, image, source)?;
        if imported.has_policy {
            output::step(&format!(
                "{} has a SELinux policy: its labels are not computed",
                image.reference()
            ));
        }
        output::print(&format!("{}\n", imported.checksum))
    }
}

/// How an image is written into a repository.
pub(crate) struct Import<'a> {
    /// The ref that is to point to the commit.
    pub(crate) reference: &'a str,
    /// Where the indexes of layers are kept.
    pub(crate) cache: Option<Dir>,
    pub(crate) low_memory: bool,
    pub(crate) skip_unstorable: bool,
    /// Whether a power cut may come.
    pub(crate) sync: bool,
}

/// An image in a repository.
pub(crate) struct Imported {
    /// The commit's.
    pub(crate) checksum: String,
    /// Whether libostree would label the files of the commit by the image's SELinux policy, which was not
    /// done.
    pub(crate) has_policy: bool,
}

impl Import<'_> {
    fn merge_options(&self) -> MergeOptions {
        MergeOptions {
            file_digests: false,
            provenance: false,
            threads: usize::from(self.low_memory),
            ..MergeOptions::default()
        }
    }

    fn transaction_options(&self) -> TransactionOptions {
        TransactionOptions {
            sync: self.sync,
            ..TransactionOptions::default()
        }
    }

    /// Imports an image while it is fetched, if it has to be.
    fn fetch(mut self, repo: Repo, image: &str, source: &Source) -> Result<(OpenImage, Imported)> {
        let (merge, with) = (self.merge_options(), self.transaction_options());
        let cache = self.cache.take();
        let read = move |layers: &[Layer], open: &OpenBlob<'_>| {
            let options = ImportOptions {
                merge: merge.clone(),
                cache: cache.as_ref(),
            };
            let transaction = repo.transaction(with.clone())?;
            let imported = transaction.import_blobs(layers, open, &options)?;
            Ok((transaction, imported))
        };
        let (image, (transaction, imported)) = open_with(image, source, read)?;
        let imported = self.commit(&image, transaction, &imported.merged)?;
        Ok((image, imported))
    }

    /// Imports an image that is there, and gives the commit. Of one that has to be labelled nothing stays.
    #[allow(dead_code, reason = "of the two programs pleach-deploy imports such")]
    pub(crate) fn run(&self, repo: &Repo, image: &OpenImage) -> Result<Option<String>> {
        let transaction = repo.transaction(self.transaction_options())?;
        let imported = transaction.import(image.layout(), image.image(), &self.options());
        let imported = imported.with_context(|| format!("reading {}", image.reference()))?;
        if has_policy(&imported.merged.tree) {
            return Ok(None);
        }
        let imported = self.commit(image, transaction, &imported.merged)?;
        Ok(Some(imported.checksum))
    }

    /// What an image has; layers that were imported with the same cache are not read for it.
    #[allow(dead_code, reason = "of the two programs pleach-deploy asks")]
    pub(crate) fn index(&self, image: &OpenImage) -> Result<Merged<FileContent>> {
        let mut options = self.options();
        options.merge.provenance = true;
        index_imported(image.layout(), image.image(), &options)
            .with_context(|| format!("reading {}", image.reference()))
    }

    fn options(&self) -> ImportOptions<'_> {
        ImportOptions {
            merge: self.merge_options(),
            cache: self.cache.as_ref(),
        }
    }

    fn commit(
        &self,
        image: &OpenImage,
        mut transaction: Transaction,
        merged: &Merged<Object>,
    ) -> Result<Imported> {
        tell(image.reference(), &merged.notes);
        let tree = &merged.tree;
        let options = CommitOptions {
            subject: image.digest(),
            timestamp: image.created(),
            metadata: metadata(image, tree, self.reference)?,
            move_etc: true,
            unstorable: match self.skip_unstorable {
                true => Unstorable::LeaveOut,
                false => Unstorable::Refuse,
            },
            ..CommitOptions::default()
        };
        let commit = transaction.commit(tree, &options)?;
        for left_out in &commit.left_out {
            output::step(&format!("left out: {left_out}"));
        }
        transaction.finish(&[(self.reference, commit.name)])?;
        Ok(Imported {
            checksum: commit.checksum(),
            has_policy: has_policy(tree),
        })
    }
}

/// The keys by which ostree and bootc find again what it is, as `deploy` sets them.
fn metadata(
    image: &OpenImage,
    tree: &Tree<Object>,
    reference: &str,
) -> Result<BTreeMap<String, Value>> {
    let mut metadata = BTreeMap::new();
    let mut put = |key: &str, value| metadata.insert(key.to_owned(), value);
    put(
        "ostree.ref-binding",
        Value::List(vec![reference.to_owned()]),
    );
    if let Some(kernel) = kernel(tree) {
        put("ostree.bootable", Value::Bool(true));
        put("ostree.linux", Value::Text(kernel));
    }
    if let Some(version) = image.version() {
        put("version", Value::Text(version));
    }
    put("ostree.manifest-digest", Value::Text(image.digest()));
    put("ostree.manifest", Value::Text(image.manifest()?));
    put(
        "ostree.container.image-config",
        Value::Text(image.config()?),
    );
    Ok(metadata)
}

/// The version of the kernel, if there is exactly one.
fn kernel(tree: &Tree<Object>) -> Option<String> {
    let modules = tree
        .get(&TreePath::new("usr/lib/modules").ok()?)?
        .entries()?;
    let mut kernels = modules.iter().filter(|&(_, &id)| {
        let vmlinuz = tree.child(id, b"vmlinuz");
        vmlinuz.is_some_and(|id| matches!(tree.inode(id).kind, Kind::File(_)))
    });
    let (name, _) = kernels.next()?;
    if kernels.next().is_some() {
        return None;
    }
    String::from_utf8(name.as_bytes().to_vec()).ok()
}

/// Whether libostree may label the files of the commit: there is a configuration, and a policy beside it.
/// Debian's packages bring the first alone, and it says that none is used.
pub(crate) fn has_policy<C>(tree: &Tree<C>) -> bool {
    ["etc/selinux", "usr/etc/selinux"]
        .into_iter()
        .filter_map(|path| tree.lookup(&TreePath::new(path).ok()?))
        .any(|folder| {
            let mut entries = tree.inode(folder).entries().into_iter().flatten();
            tree.child(folder, b"config").is_some()
                && entries.any(|(_, &id)| tree.inode(id).entries().is_some())
        })
}

#[cfg(test)]
mod tests {
    use pleach_fs_tree::parse_dump;

    use super::has_policy;

    #[test]
    fn a_policy_is_more_than_its_configuration() {
        let check = |path: &str, lines: &[&str], expect: bool| {
            let mut dump = "/ directory 0755 0:0 0.0\n".to_owned();
            for (at, _) in path.match_indices('/').skip(1) {
                dump += &format!("{} directory 0755 0:0 0.0\n", &path[..at]);
            }
            dump += &format!("{path} directory 0755 0:0 0.0\n");
            for line in lines {
                dump += &format!("{path}/{line}\n");
            }
            let tree = parse_dump(&dump, Some).expect("a dump");
            assert_eq!(has_policy(&tree), expect, "{dump}");
        };
        const CONFIG: &str = "config file 0644 0:0 0.0 SELINUX\\x3ddisabled\\n";
        const POLICY: &str = "targeted directory 0755 0:0 0.0";
        for path in ["/etc/selinux", "/usr/etc/selinux"] {
            check(path, &[], false);
            check(path, &[CONFIG], false);
            check(path, &[POLICY], false);
            check(path, &[CONFIG, POLICY], true);
        }
        check("/etc/other", &[CONFIG, POLICY], false);
    }
}
