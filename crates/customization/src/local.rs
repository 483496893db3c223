//! Files beside the document, through the caller.

/// Gives the files that a document names with `local`, `trees` or a `file:` URL.
///
/// A name is relative and clean: it has been checked to hold no `.`, no `..`, no empty part and no
/// leading `/`; the empty name is the directory itself. What it is relative to is the caller's affair,
/// as is refusing links that lead out of it.
pub trait LocalFiles {
    /// The file's bytes.
    ///
    /// # Errors
    /// A reason in words, which becomes part of the diagnostic.
    fn read(&self, name: &str) -> Result<Vec<u8>, String>;

    /// What is below a directory, at any depth and in any order. Links are not followed.
    ///
    /// # Errors
    /// A reason in words, which becomes part of the diagnostic.
    fn tree(&self, name: &str) -> Result<Vec<TreeEntry>, String> {
        let _ = name;
        Err("no directories of local files can be had here".into())
    }
}

/// Something in a directory of local files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the directory that was asked for, with `/` between its parts.
    pub path: String,
    /// What it is.
    pub kind: TreeKind,
}

/// What something in a directory of local files is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeKind {
    /// A regular file, which [`LocalFiles::read`] gives.
    File {
        /// Whether anybody may execute it.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: String,
    },
    /// Anything else.
    Other,
}

impl<F> LocalFiles for F
where
    F: Fn(&str) -> Result<Vec<u8>, String>,
{
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self(name)
    }
}

/// No local files: a document that names one is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLocalFiles;

const NONE: &str = "no directory of local files was given";

impl LocalFiles for NoLocalFiles {
    fn read(&self, _name: &str) -> Result<Vec<u8>, String> {
        Err(NONE.into())
    }

    fn tree(&self, _name: &str) -> Result<Vec<TreeEntry>, String> {
        Err(NONE.into())
    }
}
