//! Files beside the document, through the caller.

/// Gives the bytes of a file that a Butane document names with `local`.
///
/// The name is relative and clean: it has been checked to hold no `..` and no leading `/`. What it is
/// relative to is the caller's affair, as is refusing links that lead out of it.
pub trait LocalFiles {
    /// The file's bytes.
    ///
    /// # Errors
    /// A reason in words, which becomes part of the diagnostic.
    fn read(&self, name: &str) -> Result<Vec<u8>, String>;
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

impl LocalFiles for NoLocalFiles {
    fn read(&self, _name: &str) -> Result<Vec<u8>, String> {
        Err("no directory of local files was given".into())
    }
}
