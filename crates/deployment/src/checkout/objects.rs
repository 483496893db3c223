//! Directories as a repository has them.

use ostree_ext::glib::Variant;
use ostree_ext::ostree;
use rustix::fs::Mode;

use crate::error::{Error, Result, ostree as failed};

/// `OSTREE_TREE_GVARIANT_FORMAT`: names with checksums.
pub(super) struct Directory {
    pub(super) files: Vec<(String, String)>,
    pub(super) directories: Vec<Child>,
}

/// A directory in another one.
#[derive(Clone)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) tree: String,
    pub(super) meta: String,
}

/// `OSTREE_DIRMETA_GVARIANT_FORMAT`.
pub(super) struct Metadata {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: Mode,
    /// Names, without the zero byte at their end, and values.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The root of a commit (`OSTREE_COMMIT_GVARIANT_FORMAT`).
pub(super) fn root(repo: &ostree::Repo, commit: &str) -> Result<Child> {
    let commit = load(repo, ostree::ObjectType::Commit, commit)?;
    Ok(Child {
        name: String::new(),
        tree: checksum(&commit.child_value(6))?,
        meta: checksum(&commit.child_value(7))?,
    })
}

impl Directory {
    pub(super) fn read(repo: &ostree::Repo, tree: &str) -> Result<Self> {
        let read = load(repo, ostree::ObjectType::DirTree, tree)?;
        let files = read.child_value(0);
        let files = files
            .iter()
            .map(|file| Ok((name(&file)?, checksum(&file.child_value(1))?)));
        let directories = read.child_value(1);
        let directories = directories.iter().map(|child| {
            Ok(Child {
                name: name(&child)?,
                tree: checksum(&child.child_value(1))?,
                meta: checksum(&child.child_value(2))?,
            })
        });
        Ok(Self {
            files: files.collect::<Result<_>>()?,
            directories: directories.collect::<Result<_>>()?,
        })
    }

    pub(super) fn child(&self, name: &str) -> Option<&Child> {
        self.directories.iter().find(|child| child.name == name)
    }
}

impl Metadata {
    pub(super) fn read(repo: &ostree::Repo, meta: &str) -> Result<Self> {
        let read = load(repo, ostree::ObjectType::DirMeta, meta)?;
        let number = |index| {
            let number = read.child_value(index).get::<u32>();
            number.map(u32::from_be).ok_or_else(|| bad("metadata"))
        };
        let xattrs = read.child_value(3);
        let xattrs = xattrs.iter().map(|xattr| {
            let name = bytes(&xattr.child_value(0))?;
            let name = name.strip_suffix(b"\0").unwrap_or(&name).to_vec();
            Ok((name, bytes(&xattr.child_value(1))?))
        });
        Ok(Self {
            uid: number(0)?,
            gid: number(1)?,
            mode: Mode::from_raw_mode(number(2)?),
            xattrs: xattrs.collect::<Result<_>>()?,
        })
    }
}

fn load(repo: &ostree::Repo, of: ostree::ObjectType, name: &str) -> Result<Variant> {
    repo.load_variant(of, name).map_err(failed("read object"))
}

fn bytes(value: &Variant) -> Result<Vec<u8>> {
    let bytes = value.fixed_array::<u8>();
    bytes.map(<[u8]>::to_vec).map_err(|_| bad("bytes"))
}

fn checksum(value: &Variant) -> Result<String> {
    let bytes = bytes(value)?;
    if bytes.len() != 32 {
        return Err(bad("a checksum"));
    }
    Ok(hex::encode(bytes))
}

/// The first of a tuple: the name of one entry.
fn name(entry: &Variant) -> Result<String> {
    let name = entry.child_value(0);
    let name = name.str().ok_or_else(|| bad("a name"))?;
    match name.is_empty() || name == "." || name == ".." || name.contains('/') {
        true => Err(bad("a name")),
        false => Ok(name.to_owned()),
    }
}

fn bad(what: &str) -> Error {
    Error::Ostree {
        operation: "read object",
        message: format!("{what} of a directory is not as it has to be: the repository is damaged"),
    }
}
